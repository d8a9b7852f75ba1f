//! A block of a lane: entries in the order of their sequences, allocated and freed together.

use super::entry::Entry;
use crate::ids::Sequence;

/// Entries in a block; few in tests, so that a handful of messages crosses blocks.
pub(super) const BLOCK: usize = if cfg!(test) { 16 } else { 256 };

/// Entries that follow each other.
#[derive(Debug)]
pub(super) struct Block {
    /// Empty when the block died between living ones.
    pub(super) entries: Vec<Entry>,
    /// Entries that are alive.
    pub(super) live: u32,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
}

impl Block {
    /// An empty one, for an entry of that sequence.
    pub(super) fn new(capacity: usize, sequence: Sequence) -> Block {
        Block { entries: Vec::with_capacity(capacity), live: 0, first: sequence, last: sequence }
    }

    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.first = entry.sequence;
        }
        self.last = entry.sequence;
        self.live += 1;
        self.entries.push(entry);
    }

    /// Index behind the last entry with a sequence up to `last`, not below `from`.
    #[inline]
    pub(super) fn end_of(&self, last: Sequence, from: usize) -> usize {
        if self.last <= last {
            return self.entries.len();
        }
        let width = usize::try_from(last.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        match self.entries.get(width) {
            Some(entry) if entry.sequence == last && width >= from => width + 1,
            _ => self.entries.partition_point(|entry| entry.sequence <= last).max(from),
        }
    }

    /// Index of the first entry at `sequence` or above.
    #[inline]
    pub(super) fn index_of(&self, sequence: Sequence) -> usize {
        // Where sequences have no gaps, the distance to the first is the index.
        let guess = usize::try_from(sequence.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        match self.entries.get(guess) {
            Some(entry) if entry.sequence == sequence => guess,
            _ => self.entries.partition_point(|entry| entry.sequence < sequence),
        }
    }
}
