//! A start: the journal's records become topologies and queues again.
//!
//! Records come in the order in which they were appended, so that a queue's declaration comes before its messages.
//! What belongs to nothing that is left (a deleted queue, a part of a message that never came) is released.

use super::catalogue::{HostCatalogue, Item};
use super::entries::Saved;
use super::fields::Fields;
use super::message::StoredMessage;
use super::queue_log::Kept;
use super::upkeep::EVERY;
use super::{CATALOGUE, Ears, Fatal, Gates, Store, entries, kind};
use bytes::Bytes;
use fairlead_journal::{Backend, Journal, LiveCounts, Options, Position, Rejected, Replay};
use fairlead_journal::{Keeper, Stopped, Stored, StreamId, Writer};
use fairlead_kernel::command::{Command, DropReason, SequenceRange};
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::queue::{Queue, Stretch};
use fairlead_kernel::settings::QueueSettings;
use fairlead_kernel::topology::TopologySnapshot;
use fairlead_kernel::{QueueId, Sequence, Time};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What a start has found.
pub(crate) struct Recovered {
    pub(crate) store: Arc<Store>,
    pub(crate) writer: Writer,
    pub(crate) keeper: Keeper,
    /// Virtual hosts with their topologies.
    pub(crate) hosts: Vec<(Arc<str>, TopologySnapshot)>,
    pub(crate) queues: HashMap<QueueId, RecoveredQueue>,
    /// Behind every queue's number that was ever recorded.
    pub(crate) next_queue: u64,
    /// Behind every transaction's.
    pub(crate) next_transaction: u64,
    /// Open transactions, each with whether it was to be committed.
    pub(crate) transactions: Vec<(QueueId, u64, bool)>,
    pub(crate) found: fairlead_journal::Recovered,
}

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
    pub(crate) fn into_parts(self, store: &Arc<Store>) -> (Queue, super::Log) {
        let log = super::queue_log::QueueLog::new(Arc::clone(store), self.queue.id(), self.kept);
        (self.queue, super::Log::Journal(Box::new(log)))
    }
}

/// Open the journal, and make of it what it says.
///
/// # Errors
/// The journal's.
pub(crate) fn recover(
    backend: Arc<dyn Backend>,
    options: Options,
    fatal: Fatal,
    readers: HeadReaders,
    now: Time,
) -> Result<Recovered, fairlead_journal::Error> {
    let gates = Arc::new(Gates::default());
    let ears = Ears { gates: Arc::clone(&gates), fatal };
    let mut recovery = Recovery::new(readers, now);
    let opened = Journal::open(backend, options, Box::new(ears), &mut recovery)?;
    let checkpoint_at = opened.recovered.end.0.saturating_sub(opened.recovered.bytes) + EVERY;
    let epoch = opened.recovered.epoch;
    let store = Arc::new(Store::new(opened.journal, epoch, gates, checkpoint_at));
    store.release_after_checkpoint(std::mem::take(&mut recovery.old_pages), []);
    if recovery.ended.and_then(|ended: u32| ended.checked_add(1)) != Some(epoch) {
        // It ended without a word. What was delivered leaves no record, or one that did not come so far.
        recovery.flag_all();
        store.append(CATALOGUE, kind::FLAGGED, &[]);
    }
    // Their deletion was recorded, and what the catalogue would say of it was not any more.
    recovery.queues.retain(|_, queue| !queue.queue.is_gone());
    recovery.hosts.values_mut().for_each(|host| host.keep_queues(|id| recovery.queues.contains_key(&id)));
    let transactions = recovery.queues.iter().flat_map(|(id, queue)| {
        let committed = &recovery.committed;
        queue.open.keys().map(|number| (*id, *number, committed.contains(number)))
    });
    let mut transactions: Vec<_> = transactions.collect();
    // In the order in which they were begun, whatever the maps' order: what ends them is recorded again.
    transactions.sort_unstable_by_key(|(queue, number, _)| (*number, *queue));
    Ok(Recovered {
        store,
        writer: opened.writer,
        keeper: opened.keeper,
        hosts: recovery.hosts.into_iter().map(|(name, host)| (name, host.snapshot())).collect(),
        queues: recovery.queues,
        next_queue: recovery.last_queue + 1,
        next_transaction: recovery.last_transaction + 1,
        transactions,
        found: opened.recovered,
    })
}

/// What a start on a stopped journal would miss: segments with live records that are not there, and records that are
/// not understood. Nothing is changed; damage of what is there is [`Stopped::verify`]'s to tell.
#[must_use]
pub fn missing(stopped: &Stopped, readers: HeadReaders) -> Vec<fairlead_journal::Error> {
    // The time decides about nothing that is needed: what has expired goes after a start.
    stopped.missing(&mut Recovery::new(readers, Time(0)))
}

struct Recovery {
    readers: HeadReaders,
    now: Time,
    hosts: BTreeMap<Arc<str>, HostCatalogue>,
    queues: HashMap<QueueId, RecoveredQueue>,
    /// Transactions that are in force.
    committed: HashSet<u64>,
    /// Parts of checkpoints of queues that are not known yet.
    early: HashMap<QueueId, Vec<Bytes>>,
    last_queue: u64,
    last_transaction: u64,
    /// The last life that has ended in peace.
    ended: Option<u32>,
    /// Pages of queues that have gone, which the newest checkpoint names.
    old_pages: Vec<u64>,
}

impl Recovery {
    fn new(readers: HeadReaders, now: Time) -> Self {
        Self {
            readers,
            now,
            hosts: BTreeMap::new(),
            queues: HashMap::new(),
            committed: HashSet::new(),
            early: HashMap::new(),
            last_queue: 0,
            last_transaction: 0,
            ended: None,
            old_pages: Vec::new(),
        }
    }
}

fn unknown(what: &str) -> Rejected {
    Rejected(format!("expected {what}; it was written by a newer version, or by a fault of this one"))
}

impl Replay for Recovery {
    fn checkpoint(&mut self, stream: StreamId, part: Bytes) -> Result<(), Rejected> {
        if stream != CATALOGUE {
            let id = QueueId(stream.0);
            match self.queues.get_mut(&id) {
                Some(queue) => return queue.restore(&part).ok_or_else(|| unknown("a queue's entries")),
                // It was declared while the checkpoint was made; that is read behind it.
                None => self.early.entry(id).or_default().push(part),
            }
            return Ok(());
        }
        let (head, host, items): ((u64, u64), Arc<str>, Vec<Item>) = rmp_serde::from_slice(&part)
            .map_err(|error| Rejected(format!("a snapshot of the catalogue: {error}")))?;
        self.last_queue = self.last_queue.max(head.0);
        self.last_transaction = self.last_transaction.max(head.1);
        for item in &items {
            if let Item::Queue(id, name, settings) = item {
                self.add_queue(*id, name, settings)?;
            }
        }
        let catalogue = self.hosts.entry(host).or_default();
        items.into_iter().for_each(|item| catalogue.take(item));
        Ok(())
    }

    fn record(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<(), Rejected> {
        if record.stream == CATALOGUE {
            return self.catalogue(record, live);
        }
        match self.queues.get_mut(&QueueId(record.stream.0)) {
            Some(queue) => {
                let transaction = queue.take(record, live)?.ok_or_else(|| unknown("a queue's record"))?;
                self.last_transaction = self.last_transaction.max(transaction.unwrap_or(0));
                queue.release(live);
            }
            None if record.live => release(live, record.position.0),
            None => {}
        }
        Ok(())
    }

    fn finished(&mut self, live: &mut LiveCounts) {
        for part in self.early.drain().flat_map(|(_, parts)| parts) {
            // Of queues that were never more than declared: their declaration did not come so far.
            entries::decode(&part, |saved| match saved {
                Saved::Entry(entry, parts) => {
                    std::iter::once(entry.position).chain(parts).for_each(|position| release(live, position));
                }
                Saved::Stretch(stretch) => release_stretch(live, &stretch),
            });
        }
        for queue in self.queues.values_mut() {
            queue.parts.drain().for_each(|(position, _)| release(live, position));
            if queue.queue.is_gone() {
                self.old_pages.append(&mut queue.kept.old_pages);
            }
            queue.hand_over_parts();
        }
    }
}

fn release(live: &mut LiveCounts, position: u64) {
    release_some(live, position, 1);
}

fn release_some(live: &mut LiveCounts, position: u64, records: u64) {
    let counted = live.release(Position(position), records);
    debug_assert!(counted, "position {position} was released before");
}

fn release_stretch(live: &mut LiveCounts, stretch: &Stretch) {
    release(live, stretch.page);
    stretch.stored.iter().for_each(|(position, count)| release_some(live, *position, *count));
}

impl Recovery {
    fn flag_all(&mut self) {
        self.queues.values_mut().for_each(|queue| queue.queue.may_have_been_delivered());
    }

    fn catalogue(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<(), Rejected> {
        match record.kind {
            kind::CHANGES => {
                let (host, item): (Arc<str>, Item) = rmp_serde::from_slice(record.payload)
                    .map_err(|error| Rejected(format!("a change of the catalogue: {error}")))?;
                match &item {
                    Item::Queue(id, name, settings) => self.add_queue(*id, name, settings)?,
                    Item::NoQueue(id, _) => self.drop_queue(*id, live),
                    Item::Exchange(..) | Item::NoExchange(_) | Item::Binding(_) | Item::NoBinding(_) => {}
                }
                self.hosts.entry(host).or_default().take(item);
            }
            kind::FLAGGED => self.flag_all(),
            kind::ENDED => {
                self.ended = Some(Fields(record.payload).word().ok_or_else(|| unknown("an epoch"))?);
            }
            kind::COMMITTED => {
                let number = Fields(record.payload).long().ok_or_else(|| unknown("a number"))?;
                self.last_transaction = self.last_transaction.max(number);
                self.committed.insert(number);
            }
            _ => return Err(unknown("a kind of the catalogue")),
        }
        Ok(())
    }

    fn add_queue(&mut self, id: QueueId, name: &Arc<str>, settings: &QueueSettings) -> Result<(), Rejected> {
        self.last_queue = self.last_queue.max(id.0);
        // Behind a checkpoint that was made meanwhile the same may be read twice.
        if self.queues.contains_key(&id) {
            return Ok(());
        }
        let mut queue = Queue::new(id, Arc::clone(name), settings, &settings.limits, self.readers, self.now);
        // Ready before bodies are read: they are left where they are.
        queue.set_memory_budget(0);
        let kept = Kept { changed: true, ..Kept::default() };
        let (open, parts) = Default::default();
        let mut queue = RecoveredQueue { queue, kept, open, parts };
        for part in self.early.remove(&id).into_iter().flatten() {
            queue.restore(&part).ok_or_else(|| unknown("a queue's entries"))?;
        }
        self.queues.insert(id, queue);
        Ok(())
    }

    fn drop_queue(&mut self, id: QueueId, live: &mut LiveCounts) {
        if let Some(mut queue) = self.queues.remove(&id) {
            queue.hand_over_parts();
            queue.queue.apply(&Command::Delete, &[]);
            queue.release(live);
            // A start that follows reads them again, until there is another checkpoint.
            self.old_pages.append(&mut queue.kept.old_pages);
            queue.parts.drain().for_each(|(position, _)| release(live, position));
        }
    }
}

impl RecoveredQueue {
    /// Put back what a part of a checkpoint has. `None` if it is not understood.
    fn restore(&mut self, part: &[u8]) -> Option<()> {
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
    fn take(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<Option<Option<u64>>, Rejected> {
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

    fn release(&mut self, live: &mut LiveCounts) {
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
