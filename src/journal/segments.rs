//! The segments that hold positions, and what keeps each: live records of owners, pinned parts of checkpoints, and
//! until which position the records that released them must be durable.
//!
//! The table's lock is innermost: whoever holds it takes no other. Counters are atomic, so that releasing a record
//! takes the read lock only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::backend::File;
use crate::error::ReadError;
use crate::ids::{Position, SegmentId};
use crate::scan::Reader;

/// How a segment file is named.
#[must_use]
pub fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}.segment")
}

/// The number of the segment that a file is named for.
#[must_use]
pub fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Positions in it were given out; its file is not begun.
    Planned,
    /// It is written to.
    Active,
    /// It is full, and all of it is on disk.
    Sealed,
    /// Known from the checkpoint, not in the folder: only while recovering.
    Gone,
}

/// What keeps a segment.
#[derive(Debug, Default)]
pub struct Counts {
    /// Live records of owners.
    pub live: AtomicU64,
    /// Parts and roots of checkpoints that are or may become the newest.
    pub pinned: AtomicU64,
    /// Everything before this must be durable before the segment may go.
    pub released_at: AtomicU64,
    /// Records that were live when they were appended.
    pub marked: AtomicU64,
    /// Their bytes.
    pub marked_bytes: AtomicU64,
}

impl Counts {
    /// One more live record of so many bytes.
    pub fn mark(&self, bytes: u64) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.marked.fetch_add(1, Ordering::Relaxed);
        self.marked_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Live bytes: the count times what a record had on average.
    pub fn live_bytes(&self) -> u64 {
        let (live, marked) = (self.live.load(Ordering::Relaxed), self.marked.load(Ordering::Relaxed));
        let bytes = u128::from(self.marked_bytes.load(Ordering::Relaxed));
        u64::try_from(bytes * u128::from(live) / u128::from(marked.max(1))).unwrap_or(u64::MAX)
    }
}

/// One segment.
#[derive(Clone)]
pub struct Segment {
    /// Its number.
    pub id: SegmentId,
    /// The position of its file's first byte.
    pub first: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Where its records end, once it is sealed; else how far they were known to go.
    pub end: u64,
    /// Where it is in its life.
    pub state: State,
    /// Its file, when begun.
    pub file: Option<Arc<dyn File>>,
    /// What keeps it.
    pub counts: Arc<Counts>,
}

impl Segment {
    /// How its file is named.
    pub fn name(&self) -> String {
        file_name(self.id.0)
    }

    /// The payload of a record in it.
    pub fn read(&self, position: u64) -> Result<Bytes, ReadError> {
        let file = self.file.clone().ok_or(ReadError::NotFound(Position(position)))?;
        let name = self.name();
        let mut reader = Reader::for_one_record(file, name.clone(), self.first, self.first + self.size);
        let found = reader.record(position).map_err(|source| ReadError::Io { file: name.clone(), source })?;
        match found {
            Ok((_, payload)) => Ok(Bytes::copy_from_slice(payload)),
            Err(fault) => Err(ReadError::Corrupt {
                file: name,
                offset: position - self.first,
                expected: fault.to_string(),
            }),
        }
    }

    /// Whether less than half of it is live.
    pub fn is_sparse(&self) -> bool {
        self.counts.live_bytes().saturating_mul(2) < self.end.saturating_sub(self.first)
    }

    /// Whether nothing needs it: `durable` and `covered` are the journal's.
    fn is_free(&self, durable: u64, covered: u64) -> bool {
        self.state == State::Sealed
            && self.end <= covered
            && self.counts.pinned.load(Ordering::Acquire) == 0
            && self.counts.live.load(Ordering::Acquire) == 0
            && self.counts.released_at.load(Ordering::Acquire) <= durable
    }
}

/// All segments, by first position.
#[derive(Default)]
pub struct Table {
    segments: BTreeMap<u64, Segment>,
}

impl Table {
    /// The one that has a position.
    pub fn find(&self, position: u64) -> Option<&Segment> {
        let (_, segment) = self.segments.range(..=position).next_back()?;
        (position < segment.first + segment.size).then_some(segment)
    }

    /// The one that begins there, to change.
    pub fn at_mut(&mut self, first: u64) -> Option<&mut Segment> {
        self.segments.get_mut(&first)
    }

    /// The one of a number.
    pub fn by_id(&self, id: SegmentId) -> Option<&Segment> {
        self.segments.values().find(|segment| segment.id == id)
    }

    /// Add one.
    pub fn insert(&mut self, segment: Segment) {
        self.segments.insert(segment.first, segment);
    }

    /// Forget one.
    pub fn remove(&mut self, first: u64) -> Option<Segment> {
        self.segments.remove(&first)
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.values()
    }

    /// Take out those that nothing needs.
    pub fn take_free(&mut self, durable: u64, covered: u64) -> Vec<Segment> {
        let free: Vec<u64> = self
            .segments
            .values()
            .filter(|segment| segment.is_free(durable, covered))
            .map(|segment| segment.first)
            .collect();
        free.into_iter().filter_map(|first| self.segments.remove(&first)).collect()
    }

    /// One more pinned part at a position.
    pub fn pin(&self, position: u64) {
        if let Some(segment) = self.find(position) {
            segment.counts.pinned.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// A part at a position is pinned no more.
    pub fn unpin(&self, position: u64) {
        if let Some(segment) = self.find(position) {
            let pinned = &segment.counts.pinned;
            // Never below zero: a segment that went too early would be worse than one that stays.
            let _ = pinned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
        }
    }
}

/// How many live records a stream has in which segment. Its owner counts while it makes a checkpoint, and gets the
/// sum of all streams to correct while it recovers.
pub struct LiveCounts {
    table: Arc<RwLock<Table>>,
    counts: BTreeMap<u64, u64>,
    /// First position and size of the segment asked for last.
    last: (u64, u64),
}

impl LiveCounts {
    pub(crate) fn new(table: Arc<RwLock<Table>>) -> Self {
        Self { table, counts: BTreeMap::new(), last: (0, 0) }
    }

    fn segment(&mut self, position: Position) -> Option<u64> {
        let (first, size) = self.last;
        if !(first..first + size).contains(&position.0) {
            let table = self.table.read();
            let segment = table.find(position.0)?;
            self.last = (segment.first, segment.size);
        }
        Some(self.last.0)
    }

    /// So many more live records at or near a position: in its segment.
    pub fn add(&mut self, position: Position, records: u64) {
        let segment = self.segment(position);
        debug_assert!(segment.is_some(), "position {position} is in no segment");
        if let Some(first) = segment {
            *self.counts.entry(first).or_default() += records;
        }
    }

    /// So many fewer; false when there were not so many, and then nothing is changed.
    #[must_use]
    pub fn release(&mut self, position: Position, records: u64) -> bool {
        let Some(first) = self.segment(position) else { return false };
        let Some(count) = self.counts.get_mut(&first) else { return false };
        let Some(left) = count.checked_sub(records) else { return false };
        *count = left;
        true
    }

    /// A position in each segment that has some, and how many.
    pub fn segments(&self) -> impl Iterator<Item = (Position, u64)> {
        self.iter().map(|(first, count)| (Position(first), count))
    }

    /// The payload of an earlier record, for an owner that is given its records back and needs it for that.
    ///
    /// # Errors
    /// When the disk fails, the record is damaged, or the position is none of a record that is kept.
    pub fn read(&self, position: Position) -> Result<Bytes, ReadError> {
        let segment = self.table.read().find(position.0).cloned().ok_or(ReadError::NotFound(position))?;
        segment.read(position.0)
    }

    pub(crate) fn add_to_segment(&mut self, first: u64, records: u64) {
        let count = self.counts.entry(first).or_default();
        *count = count.saturating_add(records);
    }

    /// First position of a segment and its count, without zeros.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().filter(|(_, count)| **count > 0).map(|(first, count)| (*first, *count))
    }
}
