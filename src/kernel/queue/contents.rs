//! The entries of a queue, over all its levels, with their messages and the counts of both.
//!
//! Everything that changes an entry goes through here, so that counts, cursors and memory agree.

use super::chunk::Chunks;
use super::entry::{ACQUIRED, Entry, FETCHING, Handle, LEAVING, REDELIVERED};
use super::holding::{keep, shared_size, short, view};
use super::labels;
use super::lane::{Lane, Place};
use super::snapshot::{SavedEntry, SavedMessage};
use super::stretch::{ReleasedPages, Stretch};
use super::volume::Volume;
use crate::command::{NewEntry, SequenceRange};
use crate::ids::{Sequence, Time};
use crate::message::MessageView;
use std::collections::VecDeque;
use std::num::NonZeroUsize;

/// Place of an entry; stands until the next entry is pushed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) lane: usize,
    pub(super) place: Place,
}

/// Why acquiring ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// There is nothing ready.
    Empty,
    /// Nobody takes the next one.
    Refused,
    /// The time of the next one ran out before now.
    Expired(Sequence),
    /// The next one is only in the store.
    Stored(Sequence),
}

/// Messages of one chunk that have died in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Dead {
    chunk: u32,
    messages: u32,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Levels in use, highest first.
    pub(super) lanes: Vec<Lane>,
    pub(super) chunks: Chunks,
    pub(super) ready: Volume,
    /// Delivered and not settled.
    pub(super) unsettled: Volume,
    /// On their way out.
    pub(super) leaving: Volume,
    /// Living entries with an expiry.
    pub(super) expiring: u64,
    /// Where in the store messages are that went since this was asked for.
    pub(super) released: Vec<u64>,
    /// What lies between the two lanes of a split queue.
    pub(super) cold: VecDeque<Stretch>,
    /// The last lane is the tail of the first.
    pub(super) split: bool,
    /// How long the tail has to be before the next page is tried.
    pub(super) page_from: u64,
    /// The first page is asked for.
    pub(super) page_wanted: bool,
    pub(super) released_pages: Option<Box<ReleasedPages>>,
    /// Bytes of messages above which those that come are left to the store, if it has them; `None` is no bound.
    pub(super) budget: Option<NonZeroUsize>,
    /// Bytes of shared messages, each counted in full.
    pub(super) shared_bytes: usize,
}

impl Contents {
    /// Whether messages take as much memory as they may.
    #[inline]
    fn is_over_budget(&self) -> bool {
        self.budget.is_some_and(|budget| self.chunks.memory() + self.shared_bytes >= budget.get())
    }

    /// Add new entries behind all of their levels, the first under that sequence, which is higher than any
    /// before; returns the sequence behind the last. `positions` are where they are in the store, or empty.
    #[inline]
    pub(super) fn enqueue(
        &mut self,
        first: Sequence,
        entries: &[NewEntry<'_>],
        positions: &[u64],
    ) -> Sequence {
        let mut sequence = first;
        let mut positions = positions.iter();
        let mut bytes = 0;
        let mut label = None;
        let mut before: Option<&MessageView<'_>> = None;
        for run in entries.chunk_by(|left, right| left.priority == right.priority) {
            let lane = if self.split { 1 } else { lane_of(&mut self.lanes, run[0].priority) };
            for entry in run {
                let position = positions.next().copied().unwrap_or(0);
                let stored = position != 0 && self.is_over_budget();
                if before.is_none_or(|before| !labels::alike(before, &entry.message)) {
                    label = None;
                }
                before = Some(&entry.message);
                let (handle, body_length) = if stored {
                    (Handle::Stored, short(entry.message.body.len()))
                } else {
                    keep(&mut self.chunks, &mut self.shared_bytes, &entry.message, &mut label)
                };
                self.expiring += u64::from(entry.expires.0 != 0);
                bytes += u64::from(body_length);
                self.lanes[lane].push(Entry {
                    handle,
                    sequence,
                    expires: entry.expires,
                    position,
                    body_length,
                    delivery_count: 0,
                    priority: entry.priority,
                    flags: 0,
                });
                sequence.0 += 1;
            }
        }
        self.ready.messages += entries.len() as u64;
        self.ready.bytes += bytes;
        sequence
    }

    /// Add an entry that was saved and whose message is in the store, ready, to a lane.
    pub(super) fn put_saved(&mut self, lane: usize, saved: &SavedEntry) {
        let SavedMessage::Stored { length } = saved.message else { return };
        self.expiring += u64::from(saved.expires.0 != 0);
        self.ready.add(length);
        self.lanes[lane].push(Entry {
            handle: Handle::Stored,
            sequence: saved.sequence,
            expires: saved.expires,
            position: saved.position,
            body_length: length,
            delivery_count: saved.delivery_count,
            priority: saved.priority,
            flags: if saved.redelivered { REDELIVERED } else { 0 },
        });
    }

    /// Add an entry that was saved, ready; its sequence is higher than any before.
    pub(super) fn put_back(&mut self, mut entry: Entry, message: Option<&MessageView<'_>>) {
        if let Some(message) = message {
            (entry.handle, entry.body_length) =
                keep(&mut self.chunks, &mut self.shared_bytes, message, &mut None);
        }
        self.expiring += u64::from(entry.expires.0 != 0);
        self.ready.add(entry.body_length);
        let behind = self.cold.back().is_some_and(|stretch| stretch.last < entry.sequence);
        let lane = match self.split {
            true => usize::from(behind),
            false => lane_of(&mut self.lanes, entry.priority),
        };
        self.lanes[lane].push(entry);
    }

    /// The living entry with that sequence.
    #[inline]
    pub(super) fn find(&mut self, sequence: Sequence) -> Option<Spot> {
        self.lanes
            .iter_mut()
            .enumerate()
            .find_map(|(lane, entries)| entries.find(sequence).map(|place| Spot { lane, place }))
    }

    /// The ready entry that comes first.
    #[inline]
    pub(super) fn next_ready(&mut self) -> Option<Spot> {
        let open = self.open_lanes();
        self.lanes
            .iter_mut()
            .take(open)
            .enumerate()
            .find_map(|(lane, entries)| entries.next_ready().map(|place| Spot { lane, place }))
    }

    #[inline]
    pub(super) fn at(&self, spot: Spot) -> &Entry {
        self.lanes[spot.lane].at(spot.place)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, spot: Spot) -> &mut Entry {
        self.lanes[spot.lane].at_mut(spot.place)
    }

    /// The message of an entry, unless it is only in the store.
    #[inline]
    pub(super) fn message(&self, spot: Spot) -> Option<MessageView<'_>> {
        view(&self.chunks, self.at(spot))
    }

    /// A ready entry goes to a consumer.
    #[inline]
    pub(super) fn acquire(&mut self, spot: Spot) {
        let length = self.at(spot).body_length;
        self.lanes[spot.lane].hold(spot.place, ACQUIRED);
        self.ready.remove(length);
        self.unsettled.add(length);
    }

    /// An entry, ready or held by a consumer, is on its way out.
    pub(super) fn leave(&mut self, spot: Spot) {
        let entry = self.at(spot);
        let (length, acquired) = (entry.body_length, entry.has(ACQUIRED));
        if entry.has(LEAVING) {
            return;
        }
        if acquired {
            self.unsettled.remove(length);
            let entry = self.at_mut(spot);
            entry.flags = entry.flags & !ACQUIRED | LEAVING;
        } else {
            self.ready.remove(length);
            self.lanes[spot.lane].hold(spot.place, LEAVING);
        }
        self.leaving.add(length);
    }

    /// An entry that is held for that reason (`ACQUIRED` or `LEAVING`) is ready again.
    pub(super) fn give_back(&mut self, spot: Spot, reason: u8) {
        let entry = self.at(spot);
        let length = entry.body_length;
        if entry.has(reason) {
            if reason == LEAVING {
                self.leaving.remove(length);
            } else {
                self.unsettled.remove(length);
            }
            self.ready.add(length);
            self.lanes[spot.lane].unhold(spot.place, reason);
        }
    }

    /// Acquire ready entries, first ones first, as long as `serve` takes them.
    #[inline]
    pub(super) fn acquire_while(
        &mut self,
        now: Time,
        mut serve: impl FnMut(&Chunks, &Entry) -> bool,
    ) -> Stopped {
        while let Some(spot) = self.next_ready() {
            let lane = &mut self.lanes[spot.lane];
            let one_only = !lane.passed.is_empty() || lane.parked() > 0;
            let mut acquired = Volume::default();
            let mut stopped = None;
            let mut seen = 0;
            for entry in lane.rest_of_block(spot.place) {
                if entry.is_ready() {
                    stopped = if entry.expired_before(now) {
                        Some(Stopped::Expired(entry.sequence))
                    } else if matches!(entry.handle, Handle::Stored) {
                        Some(Stopped::Stored(entry.sequence))
                    } else if serve(&self.chunks, entry) {
                        None
                    } else {
                        Some(Stopped::Refused)
                    };
                    if stopped.is_some() {
                        break;
                    }
                    acquired.add(entry.body_length);
                    if one_only {
                        break;
                    }
                    entry.flags |= ACQUIRED;
                }
                seen += 1;
            }
            if one_only && acquired.messages == 1 {
                lane.hold(spot.place, ACQUIRED);
            } else if !one_only {
                lane.acquired(spot.place, seen, acquired.messages);
            }
            self.ready.messages -= acquired.messages;
            self.ready.bytes -= acquired.bytes;
            self.unsettled.messages += acquired.messages;
            self.unsettled.bytes += acquired.bytes;
            if let Some(stopped) = stopped {
                return stopped;
            }
        }
        Stopped::Empty
    }

    /// Whether each entry of the range is held by a consumer.
    pub(super) fn all_acquired(&mut self, range: SequenceRange) -> bool {
        let held: u64 = self.lanes.iter_mut().map(|lane| lane.count(range, ACQUIRED)).sum();
        held == range.last.0 - range.first.0 + 1
    }

    /// Entries of these ranges go for good: all that carry the `wanted` flags, or just all for 0. Returns how
    /// many went.
    #[inline]
    pub(super) fn remove(&mut self, ids: &[SequenceRange], wanted: u8) -> u64 {
        let mut dead = Dead::default();
        let mut removed = 0;
        let Contents { lanes, chunks, ready, unsettled, leaving, expiring, released, shared_bytes, .. } =
            self;
        for lane in lanes {
            for range in ids {
                lane.remove(*range, wanted, |entry, handle| {
                    removed += 1;
                    let volume = if entry.has(ACQUIRED) {
                        &mut *unsettled
                    } else if entry.has(LEAVING) {
                        &mut *leaving
                    } else {
                        &mut *ready
                    };
                    volume.remove(entry.body_length);
                    *expiring -= u64::from(entry.expires.0 != 0);
                    if entry.position != 0 {
                        released.push(entry.position);
                    }
                    match handle {
                        Handle::Inline { chunk, .. } if chunk == dead.chunk => dead.messages += 1,
                        Handle::Inline { chunk, .. } => {
                            chunks.release(dead.chunk, dead.messages);
                            dead = Dead { chunk, messages: 1 };
                        }
                        Handle::Shared(message) => *shared_bytes -= shared_size(&message),
                        Handle::Stored | Handle::Gone => {}
                    }
                });
            }
        }
        chunks.release(dead.chunk, dead.messages);
        if wanted == 0 && !self.cold.is_empty() {
            removed += self.remove_stretches(ids);
        }
        removed
    }

    /// The message is in the store: let go of it here.
    pub(super) fn page_out(&mut self, spot: Spot, position: u64) {
        let entry = self.at_mut(spot);
        entry.position = position;
        let handle = std::mem::replace(&mut entry.handle, Handle::Stored);
        match handle {
            Handle::Inline { chunk, .. } => self.chunks.release(chunk, 1),
            Handle::Shared(message) => self.shared_bytes -= shared_size(&message),
            Handle::Stored | Handle::Gone => {}
        }
    }

    /// The message has come from the store.
    pub(super) fn page_in(&mut self, spot: Spot, message: &MessageView<'_>) {
        let (handle, _) = keep(&mut self.chunks, &mut self.shared_bytes, message, &mut None);
        let entry = self.at_mut(spot);
        entry.handle = handle;
        entry.flags &= !FETCHING;
    }

    /// Whether no entry is alive.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.messages + self.unsettled.messages + self.leaving.messages == 0
    }

    /// Give back what a drained queue does not need; without effect while entries live.
    pub(super) fn trim(&mut self) {
        if self.is_empty() {
            self.chunks.trim();
            self.lanes = Vec::new();
            self.split = false;
            self.released.shrink_to(0);
        }
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.lanes.capacity() * size_of::<Lane>()
            + self.lanes.iter().map(Lane::memory).sum::<usize>()
            + self.chunks.memory()
            + self.released.capacity() * size_of::<u64>()
            + self.cold.iter().map(Stretch::memory).sum::<usize>()
            + self.shared_bytes
    }

    /// Living entries, in the order of their sequences.
    pub(super) fn in_order(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.lanes.iter().flat_map(Lane::iter).collect();
        if self.lanes.len() > 1 {
            entries.sort_unstable_by_key(|entry| entry.sequence);
        }
        entries
    }
}

/// The lane of a level, made if it has none.
#[inline]
fn lane_of(lanes: &mut Vec<Lane>, level: u8) -> usize {
    match lanes.first() {
        Some(lane) if lane.level == level => 0,
        _ => lanes.binary_search_by(|lane| level.cmp(&lane.level)).unwrap_or_else(|index| {
            if lanes.is_empty() {
                // Most queues have one level for ever.
                lanes.reserve_exact(1);
            }
            lanes.insert(index, Lane::new(level));
            index
        }),
    }
}
