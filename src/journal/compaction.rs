//! Compaction: a sealed segment of which less than half is live is read by its owner, who appends what still lives
//! again and releases the old. The segment goes once the copies are durable, so one old record pins no more than
//! about twice itself.

use std::sync::atomic::Ordering;

use crate::error::ReadError;
use crate::format::{Class, SEGMENT_HEADER};
use crate::ids::{Position, SegmentId};
use crate::journal::Journal;
use crate::recovery::Stored;
use crate::scan::{Reader, Until, walk};
use crate::segments::State;

impl Journal {
    /// The segment that gives most room back for the least copying. None when there is none.
    #[must_use]
    pub fn victim(&self) -> Option<SegmentId> {
        self.victims().first().copied()
    }

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

    /// Visit the records of a sealed segment that were live when they were appended, in order; which of them still
    /// are is the caller's to know. Reads the whole segment, and blocks.
    ///
    /// # Errors
    /// When the segment is not there, is still written to, is damaged, or the disk fails.
    pub fn scan(&self, segment: SegmentId, mut visit: impl FnMut(Stored<'_>)) -> Result<(), ReadError> {
        let found = self.shared.table.read().by_id(segment).cloned();
        let sealed = found.filter(|segment| segment.state == State::Sealed);
        let Some((segment, file)) =
            sealed.and_then(|segment| segment.file.clone().map(|file| (segment, file)))
        else {
            return Err(ReadError::NotFound(Position(0)));
        };
        let mut reader = Reader::new(file, segment.name(), segment.first, segment.first + segment.size);
        let from = segment.first + SEGMENT_HEADER;
        walk::<ReadError>(&mut reader, from, None, Until::End(segment.end), |header, payload| {
            if header.class == Class::Owner && header.live {
                visit(Stored::of(header, payload));
            }
            Ok(())
        })?;
        Ok(())
    }
}
