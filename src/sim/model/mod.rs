//! What must be true of the broker, as far as its clients can know: which queues, exchanges and bindings there are, which
//! messages are in which queue, and since when. It decides nothing that the broker decides: where a message may have
//! gone by a rule (time to live, a limit, a consumer that does not acknowledge), the model says "may be gone".
//!
//! Everything has the number of the operation that brought it about. Operations up to [`Model::durable`] are known to
//! be on disk: the writer had nothing left to write, or the answer to a later operation waited for its record.

mod copies;
mod topology;

pub use copies::{Copy, How, Left};
pub use topology::{Entity, Exchange, History};

use crate::message::Message;
use fairlead_kernel::settings::QueueSettings;
use fairlead_kernel::{Sequence, Time};
use std::collections::{BTreeMap, BTreeSet};

/// A queue's number in the model: another one for every declaration that makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey(pub u64);

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// As declared.
    pub settings: QueueSettings,
    /// The operation that made it; 0 if a restart found it.
    pub born: u64,
    /// The operation that deleted it.
    pub deleted: Option<u64>,
    /// Dead letters go here, and nothing else does.
    pub graveyard: bool,
    /// What has been published to it, by the message's number. Not for a graveyard.
    pub copies: BTreeMap<u64, Copy>,
    /// Entries that have left for good, with the message and the operation.
    pub settled: BTreeMap<Sequence, (u64, u64)>,
    /// A consumer that takes without acknowledging has been there: anything may be gone.
    pub drained: bool,
}

/// A transaction that was committed in this life of the broker.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The operation of its commit.
    pub op: u64,
    /// What it published.
    pub published: Vec<u64>,
    /// What it accepted.
    pub accepted: Vec<(QueueKey, u64)>,
    /// Its client has been told.
    pub answered: bool,
}

/// See the module's text.
#[derive(Default)]
pub struct Model {
    /// The last operation.
    pub op: u64,
    /// Operations up to this one are on disk.
    pub durable: u64,
    /// All messages, ever, by number.
    pub messages: BTreeMap<u64, Message>,
    /// Where each was put, ever.
    pub targets: BTreeMap<u64, Vec<QueueKey>>,
    /// Exchanges by name.
    pub exchanges: BTreeMap<String, Exchange>,
    /// Source, queue, key.
    pub bindings: BTreeSet<(String, String, String)>,
    /// The queues that live, by name.
    pub names: BTreeMap<String, QueueKey>,
    /// Queues that live, and those whose deletion is not known to be on disk.
    pub queues: BTreeMap<QueueKey, Queue>,
    /// What became of durable things in this life.
    pub history: BTreeMap<Entity, History>,
    /// Transactions of this life.
    pub transactions: Vec<Transaction>,
    next_queue: u64,
    next_message: u64,
}

impl Model {
    /// Another operation begins; its number.
    pub fn next_op(&mut self) -> u64 {
        self.op += 1;
        self.op
    }

    /// Everything up to that operation is on disk.
    pub fn is_durable_up_to(&mut self, op: u64) {
        self.durable = self.durable.max(op);
    }

    /// A message with a number of its own.
    pub fn new_message(&mut self, message: Message) -> Message {
        self.next_message += 1;
        let message = Message { id: self.next_message, ..message };
        self.messages.insert(message.id, message.clone());
        message
    }

    /// The live queue of that name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<(QueueKey, &Queue)> {
        let key = *self.names.get(name)?;
        Some((key, self.queues.get(&key)?))
    }

    /// The latest queue of that name, its deletion not known to be on disk.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<QueueKey> {
        self.queues.iter().rev().find(|(_, queue)| queue.name == name).map(|(key, _)| *key)
    }

    /// The queues that a publish reaches.
    #[must_use]
    pub fn route(&self, exchange: &str, key: &str) -> Vec<QueueKey> {
        if exchange.is_empty() {
            return self.names.get(key).copied().into_iter().collect();
        }
        let Some(found) = self.exchanges.get(exchange) else { return Vec::new() };
        let of_source = self.bindings.iter().filter(|(source, ..)| source == exchange);
        let matching = of_source.filter(|(_, _, binding)| found.is_fanout || binding == key);
        let names: BTreeSet<&String> = matching.map(|(_, queue, _)| queue).collect();
        names.into_iter().filter_map(|name| self.names.get(name).copied()).collect()
    }

    /// A message has been put into its queues by this operation; `transaction` is its place among them.
    pub fn publish(&mut self, id: u64, now: Time, transaction: Option<usize>) {
        let Some(message) = self.messages.get(&id).cloned() else { return };
        let targets = self.route(&message.exchange, &message.key);
        for key in &targets {
            let op = self.op;
            if let Some(queue) = self.queues.get_mut(key) {
                queue.enqueue(&message, op, now, transaction);
            }
        }
        self.targets.insert(id, targets);
    }

    /// How many records of a message must be on the disk when it is confirmed.
    #[must_use]
    pub fn records_of(&self, id: u64) -> usize {
        if !self.messages.get(&id).is_some_and(|message| message.persistent) {
            return 0;
        }
        let targets = self.targets.get(&id).into_iter().flatten();
        let kept = |key: &&QueueKey| self.queues.get(key).is_some_and(|queue| queue.settings.durable);
        targets.filter(kept).count()
    }

    /// The broker's word for a publish has come.
    pub fn confirmed(&mut self, id: u64) {
        for key in self.targets.get(&id).cloned().unwrap_or_default() {
            if let Some(copy) = self.queues.get_mut(&key).and_then(|queue| queue.copies.get_mut(&id)) {
                (copy.sure, copy.durable) = (true, true);
            }
        }
    }
}

impl Queue {
    /// Whether a restart finds it.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.settings.durable && self.settings.exclusive.is_none()
    }

    /// Where its dead letters go, by name.
    #[must_use]
    pub fn graveyard_of(&self) -> Option<&str> {
        self.settings.limits.dead_letter_key.as_deref()
    }
}
