//! A queue's logged state as plain data.

use super::entry::{Entry, Handle, REDELIVERED};
use super::holding::view;
use super::{Part, Queue};
use crate::ids::{QueueId, Sequence, Time};
use crate::message::{HeadReaders, Message};
use crate::settings::{Limits, QueueSettings};
use std::sync::Arc;

/// Where a saved entry's message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedMessage {
    /// Here.
    Here(Arc<Message>),
    /// In the store only.
    Stored {
        /// Length of its body.
        length: u32,
    },
}

/// An entry of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEntry {
    /// Its place.
    pub sequence: Sequence,
    /// When it expires; `Time(0)` is never.
    pub expires: Time,
    /// Its level.
    pub priority: u8,
    /// Failed deliveries.
    pub delivery_count: u16,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Where its message is in the store; 0 is nowhere.
    pub position: u64,
    /// Its message.
    pub message: SavedMessage,
}

/// All that the log has made of a queue: with the commands behind it, the same as the whole log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The sequence that the next entry gets.
    pub next: Sequence,
    /// The limits in force.
    pub limits: Limits,
    /// It is a tombstone.
    pub deleted: bool,
    /// In the order of their sequences.
    pub entries: Vec<SavedEntry>,
    /// Open transactions.
    pub parts: Vec<(u64, Part)>,
}

impl Queue {
    /// The state as the log has made it, without consumers and what they hold.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let contents = &self.state.contents;
        let entries = contents.in_order().into_iter().map(|entry| match view(&contents.chunks, entry) {
            Some(message) => SavedEntry { message: SavedMessage::Here(message.to_shared()), ..saved(entry) },
            None => saved(entry),
        });
        Snapshot {
            next: self.state.next,
            limits: self.state.limits.clone(),
            deleted: self.state.deleted,
            entries: entries.collect(),
            parts: self.state.parts.iter().map(|(id, part)| (*id, part.clone())).collect(),
        }
    }

    /// The queue that a snapshot was taken of; all its entries are ready.
    #[must_use]
    pub fn restore(
        id: QueueId,
        name: Arc<str>,
        settings: &QueueSettings,
        readers: HeadReaders,
        snapshot: &Snapshot,
        now: Time,
    ) -> Self {
        let mut queue = Queue::new(id, name, settings, &snapshot.limits, readers, now);
        snapshot.entries.iter().for_each(|saved| queue.restore_entry(saved));
        queue.state.deleted = snapshot.deleted;
        for (transaction, part) in &snapshot.parts {
            queue.state.parts.add(*transaction, part.clone());
        }
        queue.restore_next(snapshot.next);
        queue
    }

    /// Put a saved entry behind those that are there, ready; for a queue that is being made.
    pub fn restore_entry(&mut self, saved: &SavedEntry) {
        let entry = |handle, body_length| Entry {
            handle,
            sequence: saved.sequence,
            expires: saved.expires,
            position: saved.position,
            body_length,
            delivery_count: saved.delivery_count,
            priority: saved.priority,
            flags: if saved.redelivered { REDELIVERED } else { 0 },
        };
        let contents = &mut self.state.contents;
        match &saved.message {
            SavedMessage::Here(message) => {
                contents.put_back(entry(Handle::Gone, 0), Some(&Message::view(message)));
            }
            SavedMessage::Stored { length } => contents.put_back(entry(Handle::Stored, *length), None),
        }
        self.index_keys(std::iter::once(saved.sequence));
    }

    /// The next entry gets that sequence, or a later one; for a queue that is being made.
    pub fn restore_next(&mut self, next: Sequence) {
        self.state.next = self.state.next.max(next);
        self.proposed = self.state.next;
    }

    /// What a store that has the messages must know of the entries that are in it, in the order of their sequences.
    pub fn stored_entries(&self) -> impl Iterator<Item = SavedEntry> {
        let entries = self.state.contents.in_order().into_iter().filter(|entry| entry.position != 0);
        entries.map(saved)
    }

    /// Whether there are transactions that have neither been committed nor rolled back.
    #[must_use]
    pub fn has_open_transactions(&self) -> bool {
        self.state.parts.iter().next().is_some()
    }
}

/// An entry as one whose message is in the store.
pub(super) fn saved(entry: &Entry) -> SavedEntry {
    SavedEntry {
        sequence: entry.sequence,
        expires: entry.expires,
        priority: entry.priority,
        delivery_count: entry.delivery_count,
        redelivered: entry.has(REDELIVERED),
        position: entry.position,
        message: SavedMessage::Stored { length: entry.body_length },
    }
}
