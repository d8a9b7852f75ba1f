//! The invariants, one file each. They hold what clients are told, and what a restart has found, against the model.

pub mod again;
pub mod declared;
pub mod kept;
pub mod order;
pub mod phantom;
pub mod settled;
pub mod synced;
pub mod whole;

use crate::model::{Copy, Entity, Exchange, Model, QueueKey};
use fairlead_kernel::{Sequence, Time};
use std::collections::{BTreeMap, BTreeSet};

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: the name of its file, or `service` for an answer that makes no sense.
    pub invariant: &'static str,
    /// What was seen.
    pub words: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.words)
    }
}

/// Whether something holds.
pub type Checked<T = ()> = Result<T, Violation>;

/// It does not.
#[must_use]
pub fn violated(invariant: &'static str, words: String) -> Violation {
    Violation { invariant, words }
}

/// A message that a restart has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its place.
    pub sequence: Sequence,
    /// Which it is.
    pub message: u64,
    /// It may have been delivered.
    pub redelivered: bool,
    /// It died elsewhere.
    pub dead_letter: bool,
}

/// What a restart has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Exchanges of clients, by name.
    pub exchanges: BTreeMap<String, Exchange>,
    /// Bindings of those: source, queue, key.
    pub bindings: BTreeSet<(String, String, String)>,
    /// Queues by name, with what is ready in them, in order.
    pub queues: BTreeMap<String, Vec<FoundEntry>>,
    /// Messages of each queue whose time is over and that wait behind others: nobody is shown those.
    pub hidden: BTreeMap<String, u64>,
}

impl Found {
    /// What was found of that queue of the model.
    #[must_use]
    pub fn of(&self, model: &Model, key: QueueKey) -> Option<&Vec<FoundEntry>> {
        let queue = model.queues.get(&key)?;
        if model.latest(&queue.name) == Some(key) { self.queues.get(&queue.name) } else { None }
    }

    /// Whether a message is in that queue.
    #[must_use]
    pub fn has(&self, model: &Model, key: QueueKey, message: u64) -> bool {
        self.of(model, key).is_some_and(|entries| entries.iter().any(|entry| entry.message == message))
    }
}

/// All that must hold after a restart.
///
/// # Errors
/// The first invariant that does not.
pub fn after_restart(model: &Model, found: &Found, now: Time) -> Checked {
    declared::found(model, found)?;
    phantom::found(model, found)?;
    settled::found(model, found)?;
    kept::found(model, found, now)?;
    order::found(model, found, now)?;
    whole::found(model, found, now)
}

/// What was found is what must be true from now on, and on disk; up to `durable` operations were before.
pub fn go_on(model: &mut Model, found: &Found, durable: u64, now: Time) {
    let keys: Vec<QueueKey> = model.queues.keys().copied().collect();
    for key in keys {
        let entries = found.of(model, key).cloned();
        let (Some(entries), Some(queue)) = (entries, model.queues.get_mut(&key)) else {
            model.queues.remove(&key);
            continue;
        };
        // What else was settled may come again: it may have been lost with its settlement, and die once more.
        queue.settled.retain(|_, (_, op)| *op <= durable);
        queue.settled.values_mut().for_each(|(_, op)| *op = 0);
        let hidden = found.hidden.get(&queue.name).is_some_and(|count| *count > 0);
        let is_hidden = |copy: &Copy| {
            hidden && kept::may_be_hidden(copy, now) && copy.left.is_none_or(|left| left.op > durable)
        };
        let hidden: Vec<(u64, Copy)> = queue
            .copies
            .iter()
            .filter(|(_, copy)| is_hidden(copy))
            .map(|(id, copy)| (*id, Copy { may_be_gone: true, ..Copy::found(copy.expires, false) }))
            .collect();
        let copies = entries.iter().filter_map(|entry| {
            let expires = queue.copies.get(&entry.message)?.expires;
            Some((entry.message, Copy::found(expires, entry.redelivered)))
        });
        let copies: Vec<(u64, Copy)> = copies.collect();
        queue.copies = hidden.into_iter().chain(copies).collect();
        (queue.born, queue.deleted, queue.drained) = (0, None, false);
        queue.check_limit();
    }
    model.names = model.queues.iter().map(|(key, queue)| (queue.name.clone(), *key)).collect();
    model.exchanges = found.exchanges.clone();
    model.bindings = found.bindings.clone();
    model.transactions.clear();
    model.history.clear();
    let queues = model.names.iter().map(|(name, key)| Entity::Queue(*key, name.clone()));
    let exchanges = found.exchanges.keys().cloned().map(Entity::Exchange);
    let bindings = found.bindings.iter().cloned();
    let bindings = bindings.map(|(source, queue, key)| Entity::Binding(source, queue, key));
    let there: Vec<Entity> = queues.chain(exchanges).chain(bindings).collect();
    for entity in there {
        model.history.entry(entity).or_default().states.push((0, true));
    }
    model.durable = model.op;
}
