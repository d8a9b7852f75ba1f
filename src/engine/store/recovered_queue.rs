//! A queue that a start makes again: its checkpoint put back, then each of its records applied.
//!
//! Messages stay where they are; what a record says is live no more is taken from the counts at once.

use super::entries::{self, Saved};
use super::fields::Fields;
use super::message::StoredMessage;
use super::queue_log::{Kept, QueueLog};
use super::{Log, Store, kind};
use bytes::Bytes;
use fairlead_journal::{LiveCounts, Position, Rejected, Stored};
use fairlead_kernel::Sequence;
use fairlead_kernel::command::{Command, DropReason, SequenceRange};
use fairlead_kernel::queue::{Queue, Stretch};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A queue with its messages.
pub(crate) struct RecoveredQueue {
    pub(crate) queue: Queue,
    kept: Kept,
    /// Transactions whose end has not come, with their parts.
    open: BTreeMap<u64, Part>,
    /// Parts of long bodies whose message has not come.
    parts: HashMap<u64, Bytes>,
}

/// A transaction's part of a queue, held until its end says which sequences its entries have: those that are not
/// persistent had some too, and are not here.
#[derive(Default)]
struct Part {
    entries: Vec<PartEntry>,
    accepted: Vec<SequenceRange>,
}

struct PartEntry {
    position: u64,
    payload: Bytes,
    segments: Vec<Bytes>,
}

impl RecoveredQueue {
    /// The queue, and the log that it goes on with.
    pub(crate) fn into_parts(self, store: &Arc<Store>) -> (Queue, Log) {
        let log = QueueLog::new(Arc::clone(store), self.queue.id(), self.kept);
        (self.queue, Log::Journal(Box::new(log)))
    }

    /// One that has nothing yet.
    pub(super) fn new(mut queue: Queue) -> RecoveredQueue {
        // Ready before bodies are read: they are left where they are.
        queue.set_memory_budget(0);
        let kept = Kept { changed: true, ..Kept::default() };
        RecoveredQueue { queue, kept, open: BTreeMap::new(), parts: HashMap::new() }
    }

    /// Transactions whose end has not come.
    pub(super) fn open_transactions(&self) -> impl Iterator<Item = u64> {
        self.open.keys().copied()
    }

    /// All records have come: what belongs to nothing is live no more. Pages of a queue that has gone stay, in
    /// `old_pages`: a start that follows reads them again, until there is another checkpoint.
    pub(super) fn finish(&mut self, live: &mut LiveCounts, old_pages: &mut Vec<u64>) {
        self.release_rest(live, old_pages);
        self.hand_over_parts();
    }

    /// The catalogue says that it was deleted.
    pub(super) fn delete(&mut self, live: &mut LiveCounts, old_pages: &mut Vec<u64>) {
        self.hand_over_parts();
        self.queue.apply(&Command::Delete, &[]);
        self.release(live);
        self.release_rest(live, old_pages);
    }

    fn release_rest(&mut self, live: &mut LiveCounts, old_pages: &mut Vec<u64>) {
        self.parts.drain().for_each(|(position, _)| release(live, position));
        if self.queue.is_gone() {
            old_pages.append(&mut self.kept.old_pages);
        }
    }

    /// Put back what a part of a checkpoint has. `None` if it is not understood.
    pub(super) fn restore(&mut self, part: &[u8]) -> Option<()> {
        let RecoveredQueue { queue, kept, .. } = self;
        let next = entries::decode(part, |saved| match saved {
            Saved::Stretch(stretch) => {
                kept.messages += stretch.messages;
                queue.restore_stretch(stretch);
            }
            Saved::Entry(entry, parts) => {
                queue.restore_entry(&entry);
                kept.messages += 1;
                if !parts.is_empty() {
                    kept.parts.insert(entry.position, parts.into());
                }
            }
        })?;
        queue.restore_next(next);
        Some(())
    }

    /// Do what a record says; gives the transaction that it belongs to. `None` if it is not understood.
    pub(super) fn take(
        &mut self,
        record: Stored<'_>,
        live: &mut LiveCounts,
    ) -> Result<Option<Option<u64>>, Rejected> {
        let named = match record.kind {
            kind::REMOVE | kind::REQUEUE => ranges(Fields(record.payload)),
            kind::PART_ACCEPTED => record.payload.get(8..).and_then(|ids| ranges(Fields(ids))),
            kind::MOVED => {
                StoredMessage::decode(record.payload).map(|it| vec![SequenceRange::one(it.sequence)])
            }
            _ => None,
        };
        if let Some(ids) = named {
            self.unfold(&ids, record.kind == kind::REMOVE, live)?;
        }
        if matches!(record.kind, kind::PAGE | kind::COPY) {
            // What they have is here in any case, or where it was.
            release(live, record.position.0);
            return Ok(Some(None));
        }
        Ok(self.take_known(record))
    }

    /// Have in memory what a command names.
    fn unfold(
        &mut self,
        ids: &[SequenceRange],
        removes: bool,
        live: &mut LiveCounts,
    ) -> Result<(), Rejected> {
        while let Some(page) = self.queue.page_touched(ids, removes) {
            let payload = live.read(Position(page)).map_err(|error| Rejected(format!("a page: {error}")))?;
            let entries = entries::decode_page(&payload).ok_or_else(|| unknown("a page of entries"))?;
            self.queue.unfold(&entries);
        }
        Ok(())
    }

    fn take_known(&mut self, record: Stored<'_>) -> Option<Option<u64>> {
        let mut fields = Fields(record.payload);
        match record.kind {
            kind::ENTRY => return self.entry(record),
            kind::MOVED => {
                let stored = StoredMessage::decode(record.payload)?;
                stored.parts.iter().for_each(|part| drop(self.parts.remove(part)));
                let position = record.position.0;
                self.kept.messages += 1;
                if !stored.parts.is_empty() {
                    self.kept.parts.insert(position, stored.parts.as_slice().into());
                }
                // A queue that is being made is not gone, or wants no copies.
                let _ = self.queue.relocated(&[(stored.sequence, stored.transaction, position)]);
            }
            kind::BODY => {
                self.parts.insert(record.position.0, Bytes::copy_from_slice(record.payload));
            }
            kind::REMOVE => {
                let reason = DropReason::Purged;
                self.queue.apply(&Command::Drop { ids: &ranges(fields)?, reason }, &[]);
            }
            kind::REQUEUE => {
                self.queue.apply(&Command::Requeue { ids: &ranges(fields)?, delivered: true }, &[]);
            }
            kind::PART_ACCEPTED => {
                let transaction = fields.long()?;
                let accepted = ranges(fields)?;
                self.open.entry(transaction).or_default().accepted.extend(accepted);
                return Some(Some(transaction));
            }
            kind::COMMIT | kind::COMMIT_FOUND => {
                let (transaction, first) = (fields.long()?, Sequence(fields.long()?));
                let part = self.open.remove(&transaction).unwrap_or_default();
                self.commit(part, first, record.kind == kind::COMMIT)?;
                return Some(Some(transaction));
            }
            kind::ROLLBACK => {
                let transaction = fields.long()?;
                let part = self.open.remove(&transaction).unwrap_or_default();
                hand_over(&mut self.queue, transaction, &part);
                self.queue.apply(&Command::TxRollback { transaction }, &[]);
                return Some(Some(transaction));
            }
            kind::DELETE => {
                self.hand_over_parts();
                self.queue.apply(&Command::Delete, &[]);
            }
            _ => return None,
        }
        Some(None)
    }

    fn entry(&mut self, record: Stored<'_>) -> Option<Option<u64>> {
        let stored = StoredMessage::decode(record.payload)?;
        let segments: Option<Vec<Bytes>> = stored.parts.iter().map(|part| self.parts.remove(part)).collect();
        let segments = segments?;
        let position = record.position.0;
        self.kept.messages += 1;
        if !stored.parts.is_empty() {
            self.kept.parts.insert(position, stored.parts.as_slice().into());
        }
        let entries = &[stored.entry(&segments)];
        if stored.transaction == 0 {
            self.queue.apply(&Command::Enqueue { first: stored.sequence, entries }, &[position]);
            return Some(None);
        }
        let transaction = stored.transaction;
        let payload = Bytes::copy_from_slice(record.payload);
        self.open.entry(transaction).or_default().entries.push(PartEntry { position, payload, segments });
        Some(Some(transaction))
    }

    /// A part comes into force; `first` is the sequence of its first entry, be that persistent or not if there are
    /// `gaps`.
    fn commit(&mut self, part: Part, first: Sequence, gaps: bool) -> Option<()> {
        for (PartEntry { position, payload, segments }, number) in part.entries.iter().zip(0..) {
            let stored = StoredMessage::decode(payload)?;
            let first = Sequence(first.0 + if gaps { stored.sequence.0 } else { number });
            self.queue.apply(&Command::Enqueue { first, entries: &[stored.entry(segments)] }, &[*position]);
        }
        if !part.accepted.is_empty() {
            self.queue.apply(&Command::Drop { ids: &part.accepted, reason: DropReason::Purged }, &[]);
        }
        Some(())
    }

    /// The queue holds the parts from now on: their end has not come, or all of it ends.
    fn hand_over_parts(&mut self) {
        for (transaction, part) in &self.open {
            hand_over(&mut self.queue, *transaction, part);
        }
    }

    pub(super) fn release(&mut self, live: &mut LiveCounts) {
        if let Some(released) = self.queue.take_released_pages() {
            // The checkpoint that names them is the newest still: a start after this one reads it, too.
            self.kept.old_pages.extend(released.pages);
            for (position, count) in released.messages {
                self.kept.messages -= count;
                release_some(live, position, count);
            }
        }
        for position in self.queue.take_released() {
            self.kept.messages -= 1;
            release(live, position);
            for part in self.kept.parts.remove(&position).into_iter().flatten() {
                release(live, part);
            }
        }
    }
}

/// The queue holds a part. Sequences have not been given, so that nothing refers to one.
fn hand_over(queue: &mut Queue, transaction: u64, part: &Part) {
    for PartEntry { position, payload, segments } in &part.entries {
        // It was decoded before.
        if let Some(stored) = StoredMessage::decode(payload) {
            let entries = &[stored.entry(segments)];
            queue.apply(&Command::TxPart { transaction, entries, accepted: &[] }, &[*position]);
        }
    }
    if !part.accepted.is_empty() {
        queue.apply(&Command::TxPart { transaction, entries: &[], accepted: &part.accepted }, &[]);
    }
}

fn ranges(mut fields: Fields<'_>) -> Option<Vec<SequenceRange>> {
    let mut ranges = Vec::new();
    while !fields.0.is_empty() {
        ranges.push(SequenceRange { first: Sequence(fields.long()?), last: Sequence(fields.long()?) });
    }
    Some(ranges)
}

pub(super) fn release(live: &mut LiveCounts, position: u64) {
    release_some(live, position, 1);
}

fn release_some(live: &mut LiveCounts, position: u64, records: u64) {
    let counted = live.release(Position(position), records);
    debug_assert!(counted, "position {position} was released before");
}

pub(super) fn release_stretch(live: &mut LiveCounts, stretch: &Stretch) {
    release(live, stretch.page);
    stretch.stored.iter().for_each(|(position, count)| release_some(live, *position, *count));
}

pub(super) fn unknown(what: &str) -> Rejected {
    Rejected(format!("expected {what}; it was written by a newer version, or by a fault of this one"))
}
