//! The cold middle of a long queue: entries that only the store has, a page of them at a time.
//!
//! ```text
//! lanes[0], entries in memory | stretches, each a page in the store | lanes[1], entries in memory
//!   next to be delivered                                                newest
//! ```
//!
//! Only plain queues have one: one level, no keys, no groups, nobody browses. A queue that grows beyond what it may
//! hold is split ([`Queue::page_to_make`]), the store is given the oldest entries of its tail, and is asked for the
//! first page when the front runs short. So memory stays flat however long the queue is.

use super::contents::Contents;
use super::entry::{Entry, FETCHING, Handle};
use super::lane::Lane;
use super::snapshot::{SavedEntry, SavedMessage};
use super::{Gone, Queue, SharedWindows, Turn};
use crate::command::{Command, CommandLog, DropReason, SequenceRange};
use crate::ids::Sequence;

/// Entries in a page at least and at most.
const PAGE_LEAST: usize = 16;
const PAGE_MOST: usize = 4096;
/// Entries that a queue's front has in memory at least before the rest may leave it.
const FRONT_LEAST: usize = 8;
/// Bytes of a queue's memory for each entry that its front may have.
const BYTES_AN_ENTRY: usize = 1024;

/// Entries that are in one page of the store: all ready, never delivered, without expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first one's sequence.
    pub first: Sequence,
    /// The last one's.
    pub last: Sequence,
    /// How many.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// What they are in the queue's state hash.
    pub hash: u64,
    /// They may have been delivered before, in another life of the broker.
    pub redelivered: bool,
    /// Where the page is in the store.
    pub page: u64,
    /// A position in each of the store's segments that have their messages, and how many it has.
    pub stored: Vec<(u64, u64)>,
}

impl Stretch {
    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        size_of::<Stretch>() + self.stored.capacity() * size_of::<(u64, u64)>()
    }
}

/// What nobody needs any more of what stretches had.
#[derive(Debug, Default)]
pub struct ReleasedPages {
    /// Pages.
    pub pages: Vec<u64>,
    /// Positions of messages, each with how many there are in its segment.
    pub messages: Vec<(u64, u64)>,
}

impl Contents {
    /// Lanes whose entries come before all stretches.
    #[inline]
    pub(super) fn open_lanes(&self) -> usize {
        if self.cold.is_empty() { self.lanes.len() } else { 1 }
    }

    /// Stretches that lie wholly in one of these ranges go.
    pub(super) fn remove_stretches(&mut self, ids: &[SequenceRange]) -> u64 {
        let mut removed = 0;
        let Contents { cold, ready, released_pages, .. } = self;
        let released_pages = released_pages.get_or_insert_default();
        cold.retain(|stretch| {
            let goes = ids.iter().any(|range| range.first <= stretch.first && stretch.last <= range.last);
            if goes {
                removed += stretch.messages;
                ready.messages -= stretch.messages;
                ready.bytes -= stretch.bytes;
                released_pages.pages.push(stretch.page);
                released_pages.messages.extend_from_slice(&stretch.stored);
            }
            !goes
        });
        removed
    }

    /// The front has gone, and no stretch stands before the tail: that is the front.
    pub(super) fn join(&mut self) {
        if self.split && self.cold.is_empty() && self.lanes.first().is_some_and(Lane::is_empty) {
            self.lanes.remove(0);
            self.split = false;
        }
    }
}

/// Whether an entry may go into a page.
fn is_plain(entry: &Entry) -> bool {
    entry.position != 0
        && entry.expires.0 == 0
        && entry.delivery_count == 0
        && entry.priority == 0
        && entry.is_ready()
        && !entry.has(FETCHING)
}

impl Queue {
    fn may_have_stretches(&self) -> bool {
        self.shape.levels <= 1
            && !self.is_choosy()
            && !self.needs_messages()
            && self.consumers.browsers.is_empty()
    }

    /// Entries of the front, and of a page.
    fn sizes(&self) -> Option<(usize, usize)> {
        let front = (self.state.contents.budget?.get() / BYTES_AN_ENTRY).max(FRONT_LEAST);
        Some((front, (front / 4).clamp(PAGE_LEAST, PAGE_MOST)))
    }

    /// The entries that are to leave memory, if some are: give them to the store, then say so with
    /// [`Queue::page_made`].
    pub fn page_to_make(&mut self) -> Option<Vec<SavedEntry>> {
        if self.state.contents.lanes.is_empty() || !self.may_have_stretches() {
            return None;
        }
        let (front, page) = self.sizes()?;
        let contents = &mut self.state.contents;
        if !contents.split {
            if contents.lanes.len() == 1 && contents.lanes[0].ready > front as u64 {
                let level = contents.lanes[0].level;
                contents.lanes.push(Lane::new(level));
                contents.split = true;
                contents.page_from = 0;
            }
            return None;
        }
        let contents = &self.state.contents;
        let tail = contents.lanes.last()?;
        if tail.ready < (2 * page as u64).max(contents.page_from) {
            return None;
        }
        let entries: Vec<SavedEntry> =
            tail.iter().take(page).take_while(|entry| is_plain(entry)).map(super::snapshot::saved).collect();
        if entries.len() < page {
            // Not to be tried again with each message.
            self.state.contents.page_from = self.state.contents.lanes.last()?.ready + page as u64;
            return None;
        }
        Some(entries)
    }

    /// The store has the entries of [`Queue::page_to_make`] at `page`, and their messages where `stored` says: they
    /// leave memory.
    pub fn page_made(&mut self, entries: &[SavedEntry], page: u64, stored: Vec<(u64, u64)>) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let (first, last) = (first.sequence, last.sequence);
        let mut stretch =
            Stretch { first, last, messages: 0, bytes: 0, hash: 0, redelivered: false, page, stored };
        let contents = &mut self.state.contents;
        for entry in entries {
            if let SavedMessage::Stored { length } = entry.message {
                stretch.messages += 1;
                stretch.bytes += u64::from(length);
                stretch.hash = stretch.hash.wrapping_add(hash_of(entry, length));
            }
        }
        let Contents { lanes, chunks, shared_bytes, .. } = contents;
        if let Some(tail) = lanes.last_mut() {
            tail.remove(SequenceRange { first, last }, 0, |_, handle| match handle {
                Handle::Inline { chunk, .. } => chunks.release(chunk, 1),
                Handle::Shared(message) => *shared_bytes -= super::holding::shared_size(&message),
                Handle::Stored | Handle::Gone => {}
            });
        }
        contents.cold.push_back(stretch);
    }

    /// Ask for the first page, when the front runs short.
    pub(super) fn want_page(&mut self, effects: &mut crate::effect::Effects) {
        self.state.contents.join();
        if self.state.contents.cold.is_empty() {
            return;
        }
        let low = self.sizes().map_or(0, |(_, page)| page as u64);
        let short = self.state.contents.lanes.first().is_none_or(|front| front.ready < low);
        if (short || !self.may_have_stretches()) && !self.state.contents.page_wanted {
            self.state.contents.page_wanted = true;
            effects.page = self.next_page();
        }
    }

    /// The first page, asked for already or not.
    #[must_use]
    pub fn next_page(&self) -> Option<u64> {
        self.state.contents.cold.front().map(|stretch| stretch.page)
    }

    /// The first page has come from the store; `None`: it cannot be read, and what was in it is lost. Without effect
    /// if another is the first meanwhile.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn page_loaded<L: CommandLog, W: SharedWindows>(
        &mut self,
        page: u64,
        entries: Option<&[SavedEntry]>,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        self.state.contents.page_wanted = false;
        if self.next_page() == Some(page) {
            match entries {
                Some(entries) => self.unfold(entries),
                None => self.lose_page(turn),
            }
        }
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// The entries of the first page are in memory again.
    pub fn unfold(&mut self, entries: &[SavedEntry]) {
        let contents = &mut self.state.contents;
        let Some(stretch) = contents.cold.pop_front() else { return };
        contents.released_pages.get_or_insert_default().pages.push(stretch.page);
        contents.ready.messages -= stretch.messages;
        contents.ready.bytes -= stretch.bytes;
        for saved in entries {
            let redelivered = saved.redelivered || stretch.redelivered;
            contents.put_saved(0, &SavedEntry { redelivered, ..saved.clone() });
        }
    }

    fn lose_page<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        let Some(stretch) = self.state.contents.cold.front() else { return };
        let ids = [SequenceRange { first: stretch.first, last: stretch.last }];
        self.counters.unreadable += stretch.messages;
        self.commit(&Command::Drop { ids: &ids, reason: DropReason::Unreadable }, turn);
    }

    /// The first page, if a command that names these entries needs it or one behind it in memory: the command takes
    /// some of a page's entries, and not all, or does something else with them than remove them.
    #[must_use]
    pub fn page_touched(&self, ids: &[SequenceRange], removes: bool) -> Option<u64> {
        let cold = &self.state.contents.cold;
        let touched = cold.iter().any(|stretch| {
            let touches = |range: &&SequenceRange| range.first <= stretch.last && stretch.first <= range.last;
            let whole = |range: &SequenceRange| range.first <= stretch.first && stretch.last <= range.last;
            ids.iter().filter(touches).any(|range| !(removes && whole(range)))
        });
        if touched { self.next_page() } else { None }
    }

    /// A page is elsewhere now, and so are some of its messages; false if it is not waited for any more.
    pub fn page_moved(&mut self, from: u64, to: u64, stored: Vec<(u64, u64)>) -> bool {
        let contents = &mut self.state.contents;
        let Some(stretch) = contents.cold.iter_mut().find(|stretch| stretch.page == from) else {
            return false;
        };
        (stretch.page, stretch.stored) = (to, stored);
        // What is being read is the old one.
        contents.page_wanted = false;
        true
    }

    /// The stretches, first ones first.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.state.contents.cold.iter()
    }

    /// Put a saved stretch behind the others; for a queue that is being made, before its entries.
    pub fn restore_stretch(&mut self, stretch: Stretch) {
        let contents = &mut self.state.contents;
        while contents.lanes.len() < 2 {
            contents.lanes.push(Lane::new(0));
        }
        contents.split = true;
        contents.ready.messages += stretch.messages;
        contents.ready.bytes += stretch.bytes;
        contents.cold.push_back(stretch);
    }

    /// What nobody needs any more of what stretches had, since this was asked for last.
    pub fn take_released_pages(&mut self) -> Option<Box<ReleasedPages>> {
        self.state.contents.released_pages.take()
    }
}

/// What an entry is in the state hash, wherever it lies: the sum over all entries is the same whatever is in pages.
pub(super) fn hash_of(entry: &SavedEntry, body_length: u32) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&entry.sequence.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.expires.0.to_le_bytes());
    bytes[16..18].copy_from_slice(&entry.delivery_count.to_le_bytes());
    bytes[18..20].copy_from_slice(&[entry.priority, u8::from(entry.redelivered)]);
    bytes[20..].copy_from_slice(&body_length.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}
