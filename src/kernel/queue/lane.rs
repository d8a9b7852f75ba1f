//! Entries of one priority level in the order of their sequences, in blocks that are freed when dead.
//!
//! Dispatch reads at a cursor: every ready entry lies at the cursor or beyond it, or is listed in
//! `passed` (it came back, or is worth another try) or in `parked` (nobody may have it for now). So the next
//! ready entry is found without a search, and a returned one comes before all that were never delivered.

use super::block::{BLOCK, Block};
use super::entry::{Entry, Handle};
use crate::command::SequenceRange;
use crate::ids::Sequence;
use std::collections::{BTreeSet, VecDeque};

/// Place of an entry; stands until the next entry is pushed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    block: usize,
    index: usize,
}

/// One priority level.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) level: u8,
    /// Entries that are ready.
    pub(super) ready: u64,
    /// Ready entries behind the cursor.
    pub(super) passed: BTreeSet<Sequence>,
    /// More of them, which dispatch does not try until they are woken.
    parked: BTreeSet<Sequence>,
    blocks: VecDeque<Block>,
    /// Number of the front block.
    first_block: u64,
    /// Block number and index.
    cursor: (u64, usize),
    /// Where the last search ended: settlements mostly ask for the next one.
    hint: (usize, usize),
    /// Bytes allocated for entries.
    allocated: usize,
}

impl Lane {
    pub(super) fn new(level: u8) -> Self {
        Lane { level, ..Lane::default() }
    }

    /// Whether no entry is alive.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.iter().all(|block| block.live == 0)
    }

    /// Put a ready entry behind all others; its sequence is higher than theirs.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.ready += 1;
        if let Some(block) = self.blocks.back_mut()
            && block.entries.len() < block.entries.capacity()
        {
            block.push(entry);
        } else {
            self.make_room(entry.sequence);
            if let Some(block) = self.blocks.back_mut() {
                block.push(entry);
            }
        }
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &Entry {
        &self.blocks[place.block].entries[place.index]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Entry {
        &mut self.blocks[place.block].entries[place.index]
    }

    /// The living entry with that sequence.
    #[inline]
    pub(super) fn find(&mut self, sequence: Sequence) -> Option<Place> {
        let place = self.first_at(sequence)?;
        let entry = self.at(place);
        if entry.sequence != sequence || !entry.is_live() {
            return None;
        }
        self.hint = (place.block, place.index + 1);
        Some(place)
    }

    /// The first entry, dead or alive, at `sequence` or above.
    fn lower_bound(&self, sequence: Sequence) -> Option<Place> {
        let mut block = 0;
        if self.blocks.front()?.last < sequence {
            block = self.blocks.partition_point(|block| block.last < sequence);
        }
        while self.blocks.get(block)?.entries.is_empty() {
            block += 1;
        }
        Some(Place { block, index: self.blocks[block].index_of(sequence) })
    }

    /// The same, quickly when it is the one behind the last that was found.
    #[inline]
    pub(super) fn find_next(&mut self, sequence: Sequence) -> Option<Place> {
        match self.find(sequence) {
            Some(place) => Some(place),
            None => {
                let place = self.find_from(sequence)?;
                self.hint = (place.block, place.index + 1);
                Some(place)
            }
        }
    }

    /// The first living entry at `sequence` or above.
    pub(super) fn find_from(&self, sequence: Sequence) -> Option<Place> {
        let place = self.lower_bound(sequence)?;
        if self.at(place).is_live() { Some(place) } else { self.next_live(place) }
    }

    /// The next living entry behind `place`.
    pub(super) fn next_live(&self, place: Place) -> Option<Place> {
        let mut index = place.index + 1;
        for block in place.block..self.blocks.len() {
            let entries = &self.blocks[block].entries;
            while let Some(entry) = entries.get(index) {
                if entry.is_live() {
                    return Some(Place { block, index });
                }
                index += 1;
            }
            index = 0;
        }
        None
    }

    /// The first ready entry at `sequence` or above. What is held before the cursor is not walked.
    pub(super) fn next_ready_from(&mut self, sequence: Sequence) -> Option<Place> {
        if self.ready == 0 {
            return None;
        }
        let [passed, parked] = [&self.passed, &self.parked].map(|set| set.range(sequence..).next().copied());
        let passed = passed.into_iter().chain(parked).min();
        let mut beyond = self.ready_at_cursor();
        if beyond.is_some_and(|place| self.at(place).sequence < sequence) {
            beyond = self.find_from(sequence);
            while let Some(place) = beyond.filter(|place| !self.at(*place).is_ready()) {
                beyond = self.next_live(place);
            }
        }
        match (passed, beyond) {
            (Some(passed), Some(place)) if self.at(place).sequence < passed => beyond,
            (Some(passed), _) => self.find(passed),
            (None, _) => beyond,
        }
    }

    /// The ready entry that comes first.
    #[inline]
    pub(super) fn next_ready(&mut self) -> Option<Place> {
        if self.ready == 0 {
            return None;
        }
        if let Some(first) = self.passed.first().copied() {
            let parked = self.parked.first().copied().unwrap_or(first);
            return self.find(first.min(parked));
        }
        if let Some(first) = self.parked.first().copied() {
            return self.find(first);
        }
        self.ready_at_cursor()
    }

    /// The ready entry that is to be tried first: the next one that is not parked.
    pub(super) fn next_to_try(&mut self) -> Option<Place> {
        match self.passed.first().copied() {
            Some(first) => self.find(first),
            None => self.ready_at_cursor(),
        }
    }

    /// How many entries are parked.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// A parked entry is worth a try; false if it is not parked any more.
    pub(super) fn wake(&mut self, sequence: Sequence) -> bool {
        self.parked.remove(&sequence) && self.passed.insert(sequence)
    }

    /// All parked entries are worth a try.
    pub(super) fn wake_all(&mut self) {
        self.passed.append(&mut self.parked);
    }

    /// The entry is neither passed nor parked any more.
    #[inline]
    fn unlist(&mut self, sequence: Sequence) {
        if !self.passed.remove(&sequence) {
            self.parked.remove(&sequence);
        }
    }

    /// The first ready entry at the cursor or beyond, where the cursor moves to.
    #[inline]
    pub(super) fn ready_at_cursor(&mut self) -> Option<Place> {
        let (number, mut index) = self.cursor;
        let mut block = usize::try_from(number.saturating_sub(self.first_block)).unwrap_or(usize::MAX);
        while let Some(found) = self.blocks.get(block) {
            while let Some(entry) = found.entries.get(index) {
                if entry.is_ready() {
                    self.cursor = (self.first_block + block as u64, index);
                    return Some(Place { block, index });
                }
                index += 1;
            }
            if block + 1 == self.blocks.len() {
                break;
            }
            block += 1;
            index = 0;
        }
        self.cursor = (self.first_block + block as u64, index);
        None
    }

    /// Whether the entry lies behind the cursor.
    fn is_passed(&self, place: Place) -> bool {
        (self.first_block + place.block as u64, place.index) < self.cursor
    }

    /// A ready entry was acquired, or is leaving.
    #[inline]
    pub(super) fn hold(&mut self, place: Place, flag: u8) {
        self.ready -= 1;
        let entry = self.at_mut(place);
        entry.flags |= flag;
        if !self.passed.is_empty() || !self.parked.is_empty() {
            let sequence = self.at(place).sequence;
            self.unlist(sequence);
        }
    }

    /// A held entry is ready again.
    pub(super) fn unhold(&mut self, place: Place, flag: u8) {
        let entry = self.at_mut(place);
        entry.flags &= !flag;
        let sequence = entry.sequence;
        self.ready += 1;
        if self.is_passed(place) {
            self.passed.insert(sequence);
        }
    }

    /// A ready entry stays ready, but dispatch goes on behind it, and does not come back before it is woken.
    pub(super) fn park(&mut self, place: Place) {
        let sequence = self.at(place).sequence;
        self.passed.remove(&sequence);
        self.parked.insert(sequence);
        let beyond = (self.first_block + place.block as u64, place.index + 1);
        self.cursor = self.cursor.max(beyond);
    }

    /// The entries from `place` to the end of its block.
    #[inline]
    pub(super) fn rest_of_block(&mut self, place: Place) -> &mut [Entry] {
        &mut self.blocks[place.block].entries[place.index..]
    }

    /// So many ready entries from `place` on were acquired, by way of [`Lane::rest_of_block`]; dispatch goes
    /// on `seen` places further.
    #[inline]
    pub(super) fn acquired(&mut self, place: Place, seen: usize, acquired: u64) {
        self.ready -= acquired;
        self.cursor = (self.first_block + place.block as u64, place.index + seen);
    }

    /// How many entries of the range carry that flag.
    #[inline]
    pub(super) fn count(&mut self, range: SequenceRange, flag: u8) -> u64 {
        let Some(Place { mut block, mut index }) = self.first_at(range.first) else { return 0 };
        let mut count = 0;
        while let Some(found) = self.blocks.get(block) {
            let end = found.end_of(range.last, index);
            count += found.entries[index..end].iter().filter(|entry| entry.has(flag)).count() as u64;
            if found.last >= range.last {
                break;
            }
            block += 1;
            index = 0;
        }
        count
    }

    /// Take the living entries of a range that carry the `wanted` flags out, and hand each over with its
    /// message's place.
    #[inline]
    pub(super) fn remove(
        &mut self,
        range: SequenceRange,
        wanted: u8,
        mut removed: impl FnMut(&Entry, Handle),
    ) {
        let Some(Place { mut block, mut index }) = self.first_at(range.first) else { return };
        let first = block;
        let mut died = false;
        while let Some(found) = self.blocks.get_mut(block) {
            let end = found.end_of(range.last, index);
            for entry in &mut found.entries[index..end] {
                if !entry.is_live() || entry.flags & wanted != wanted {
                    continue;
                }
                if entry.is_ready() {
                    self.ready -= 1;
                    if !self.passed.remove(&entry.sequence) {
                        self.parked.remove(&entry.sequence);
                    }
                }
                found.live -= 1;
                let handle = std::mem::replace(&mut entry.handle, Handle::Gone);
                removed(entry, handle);
                entry.flags = 0;
            }
            died |= found.live == 0;
            self.hint = (block, end);
            if found.last >= range.last {
                break;
            }
            block += 1;
            index = 0;
        }
        if died {
            self.free(first, block);
        }
    }

    /// The first entry, dead or alive, at `sequence` or above; quick in the block of the last search.
    #[inline]
    fn first_at(&self, sequence: Sequence) -> Option<Place> {
        let (block, index) = self.hint;
        if let Some(found) = self.blocks.get(block) {
            // Where sequences have no gaps, the distance to the first is the index.
            let guess = usize::try_from(sequence.0.wrapping_sub(found.first.0)).unwrap_or(usize::MAX);
            for index in [guess, index] {
                if found.entries.get(index).is_some_and(|entry| entry.sequence == sequence) {
                    return Some(Place { block, index });
                }
            }
        }
        self.lower_bound(sequence)
    }

    /// Living entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flat_map(|block| &block.entries).filter(|entry| entry.is_live())
    }

    /// Bytes held, besides the lane's own fields.
    pub(super) fn memory(&self) -> usize {
        self.allocated
            + self.blocks.capacity() * size_of::<Block>()
            + (self.passed.len() + self.parked.len()) * 2 * size_of::<Sequence>()
    }

    /// Grow the last block, or begin another, for an entry of that sequence.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, sequence: Sequence) {
        let last = self.first_block + (self.blocks.len() as u64).saturating_sub(1);
        if let Some(block) = self.blocks.back_mut() {
            if block.live == 0 {
                // It died while it was the last one, which keeps its memory.
                block.entries.clear();
                self.hint = (0, 0);
                if self.cursor.0 == last {
                    self.cursor.1 = 0;
                }
            }
            let before = block.entries.capacity();
            if block.entries.len() < before {
                return;
            }
            if before < BLOCK {
                block.entries.reserve_exact(before.min(BLOCK - before));
                self.allocated += (block.entries.capacity() - before) * size_of::<Entry>();
                return;
            }
        }
        let block = Block::new(if self.blocks.is_empty() { 4 } else { BLOCK }, sequence);
        self.allocated += block.entries.capacity() * size_of::<Entry>();
        self.blocks.push_back(block);
    }

    /// Some of the blocks from `from` to `to` have died.
    #[cold]
    #[inline(never)]
    fn free(&mut self, from: usize, to: usize) {
        let last = self.blocks.len() - 1;
        // The last one keeps its memory for what comes next.
        for block in self.blocks.range_mut(from..(to + 1).min(last)).filter(|block| block.live == 0) {
            self.allocated -= block.entries.capacity() * size_of::<Entry>();
            block.entries = Vec::new();
        }
        while self.blocks.len() > 1 && self.blocks[0].live == 0 {
            self.blocks.pop_front();
            self.first_block += 1;
        }
        if self.blocks.len() == 1 {
            self.blocks.shrink_to(4);
            let block = &mut self.blocks[0];
            if block.live == 0 {
                block.entries.clear();
                self.cursor = (self.first_block, 0);
            }
        }
        if self.cursor.0 < self.first_block {
            self.cursor = (self.first_block, 0);
        }
        self.hint = (0, 0);
    }
}
