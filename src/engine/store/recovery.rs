//! A start: the journal's records become topologies and queues again.
//!
//! Records come in the order in which they were appended, so that a queue's declaration comes before its messages.
//! What belongs to nothing that is left (a deleted queue, a part of a message that never came) is released. A queue's own
//! records are applied in `recovered_queue`.

use super::catalogue::{HostCatalogue, Item};
use super::entries::Saved;
use super::fields::Fields;
use super::recovered_queue::{RecoveredQueue, release, release_stretch, unknown};
use super::upkeep::EVERY;
use super::{CATALOGUE, Ears, Fatal, Gates, Store, entries, kind};
use bytes::Bytes;
use fairlead_journal::{Backend, Journal, LiveCounts, Options, Rejected, Replay};
use fairlead_journal::{Keeper, Stopped, Stored, StreamId, Writer};
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::queue::Queue;
use fairlead_kernel::settings::QueueSettings;
use fairlead_kernel::topology::TopologySnapshot;
use fairlead_kernel::{QueueId, Time};
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
        queue.open_transactions().map(|number| (*id, number, committed.contains(&number)))
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
            queue.finish(live, &mut self.old_pages);
        }
    }
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
        let queue = Queue::new(id, Arc::clone(name), settings, &settings.limits, self.readers, self.now);
        let mut queue = RecoveredQueue::new(queue);
        for part in self.early.remove(&id).into_iter().flatten() {
            queue.restore(&part).ok_or_else(|| unknown("a queue's entries"))?;
        }
        self.queues.insert(id, queue);
        Ok(())
    }

    fn drop_queue(&mut self, id: QueueId, live: &mut LiveCounts) {
        if let Some(mut queue) = self.queues.remove(&id) {
            queue.delete(live, &mut self.old_pages);
        }
    }
}
