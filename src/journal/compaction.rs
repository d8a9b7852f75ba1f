//! Compaction: of a sealed segment that is less than half live, the owners append again what still lives, and release
//! the old. The segment goes once the copies are durable, so one old record pins no more than about twice itself.

use std::ops::Range;
use std::sync::atomic::Ordering;

use crate::ids::SegmentId;
use crate::journal::Journal;
use crate::segments::State;

impl Journal {
    /// The segments to copy from: sealed, covered by the checkpoint, less than half live; those with the least to copy
    /// first.
    #[must_use]
    pub fn victims(&self) -> Vec<SegmentId> {
        let covered = self.shared.covered.load(Ordering::Acquire);
        let table = self.shared.table.read();
        let sparse = table.iter().filter(|segment| {
            segment.state == State::Sealed
                && segment.end <= covered
                && segment.counts.live.load(Ordering::Acquire) > 0
                && segment.is_sparse()
        });
        let mut sparse: Vec<_> = sparse.map(|segment| (segment.counts.live_bytes(), segment.id.0)).collect();
        sparse.sort_unstable();
        sparse.into_iter().map(|(_, id)| SegmentId(id)).collect()
    }

    /// The positions that a segment has room for; none when it has gone.
    #[must_use]
    pub fn range_of(&self, segment: SegmentId) -> Option<Range<u64>> {
        let table = self.shared.table.read();
        table.by_id(segment).map(|segment| segment.first..segment.first + segment.size)
    }
}
