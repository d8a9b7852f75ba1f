//! Queues, exchanges and bindings as clients have declared and deleted them, and what of that a restart may find.

use super::{Model, Queue, QueueKey};
use fairlead_kernel::settings::QueueSettings;
use std::collections::BTreeMap;

/// An exchange: direct, or fanout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// It takes every binding.
    pub is_fanout: bool,
    /// A restart finds it.
    pub durable: bool,
    /// It goes with its last binding.
    pub auto_delete: bool,
}

/// Something that is declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// An exchange, by name.
    Exchange(String),
    /// A queue.
    Queue(QueueKey, String),
    /// A binding: source, queue, key.
    Binding(String, String, String),
}

/// When a durable thing came and went.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Operations, each with whether it was there afterwards.
    pub states: Vec<(u64, bool)>,
    /// The last operation on it that was answered.
    pub answered: u64,
}

impl History {
    /// Whether a restart may find it there, or not there, when operations up to `durable` are on disk.
    #[must_use]
    pub fn allows(&self, there: bool, durable: u64) -> bool {
        let from = durable.max(self.answered);
        let certain = self.states.iter().rev().find(|(op, _)| *op <= from).is_some_and(|(_, there)| *there);
        certain == there || self.states.iter().any(|(op, state)| *op > from && *state == there)
    }
}

impl Model {
    fn note(&mut self, entity: Entity, there: bool) {
        let op = self.op;
        self.history.entry(entity).or_default().states.push((op, there));
    }

    /// The operation on that thing was answered; whether it changed something that is kept.
    pub fn answered(&mut self, entity: &Entity, op: u64) -> bool {
        let Some(history) = self.history.get_mut(entity) else { return false };
        history.answered = history.answered.max(op);
        history.states.iter().any(|(changed, _)| *changed == op)
    }

    /// A new queue.
    pub fn declare_queue(&mut self, name: &str, settings: QueueSettings, graveyard: bool) -> QueueKey {
        self.next_queue += 1;
        let key = QueueKey(self.next_queue);
        let queue = Queue {
            name: name.to_owned(),
            settings,
            born: self.op,
            deleted: None,
            graveyard,
            copies: BTreeMap::new(),
            settled: BTreeMap::new(),
            drained: false,
        };
        if queue.is_kept() {
            self.note(Entity::Queue(key, name.to_owned()), true);
        }
        self.queues.insert(key, queue);
        self.names.insert(name.to_owned(), key);
        key
    }

    /// A queue goes, with its bindings.
    pub fn delete_queue(&mut self, key: QueueKey) {
        let op = self.op;
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.deleted = Some(op);
        let (name, kept) = (queue.name.clone(), queue.is_kept());
        self.names.remove(&name);
        let bindings: Vec<_> = self.bindings.iter().filter(|(_, queue, _)| *queue == name).cloned().collect();
        for (source, queue, binding) in bindings {
            self.remove_binding(&source, &queue, &binding, kept);
        }
        if kept {
            self.note(Entity::Queue(key, name), false);
        }
    }

    /// Whether a queue of that name may be made: another one may not be found in its place after a crash.
    #[must_use]
    pub fn name_is_free(&self, name: &str) -> bool {
        self.latest(name).is_none_or(|key| {
            let answered =
                self.history.get(&Entity::Queue(key, name.to_owned())).map_or(0, |found| found.answered);
            let deleted = self.queues.get(&key).and_then(|queue| queue.deleted);
            deleted.is_some_and(|op| op <= self.durable.max(answered))
        })
    }

    /// An exchange, new or as it was.
    pub fn declare_exchange(&mut self, name: &str, exchange: Exchange) {
        if self.exchanges.insert(name.to_owned(), exchange).is_none() && exchange.durable {
            self.note(Entity::Exchange(name.to_owned()), true);
        }
    }

    /// An exchange goes, with its bindings.
    pub fn delete_exchange(&mut self, name: &str) {
        let Some(exchange) = self.exchanges.remove(name) else { return };
        let bindings: Vec<_> = self.bindings.iter().filter(|(source, ..)| source == name).cloned().collect();
        for (source, queue, key) in bindings {
            let kept = exchange.durable && self.queue(&queue).is_some_and(|(_, queue)| queue.is_kept());
            self.bindings.remove(&(source.clone(), queue.clone(), key.clone()));
            if kept {
                self.note(Entity::Binding(source, queue, key), false);
            }
        }
        if exchange.durable {
            self.note(Entity::Exchange(name.to_owned()), false);
        }
    }

    fn joins_kept(&self, source: &str, queue: &str) -> bool {
        self.exchanges.get(source).is_some_and(|exchange| exchange.durable)
            && self.queue(queue).is_some_and(|(_, queue)| queue.is_kept())
    }

    /// A binding, new or as it was.
    pub fn bind(&mut self, source: &str, queue: &str, key: &str) {
        let binding = (source.to_owned(), queue.to_owned(), key.to_owned());
        if self.bindings.insert(binding.clone()) && self.joins_kept(source, queue) {
            self.note(Entity::Binding(binding.0, binding.1, binding.2), true);
        }
    }

    /// A binding goes, if it is there.
    pub fn unbind(&mut self, source: &str, queue: &str, key: &str) {
        let kept = self.joins_kept(source, queue);
        self.remove_binding(source, queue, key, kept);
    }

    fn remove_binding(&mut self, source: &str, queue: &str, key: &str, queue_kept: bool) {
        let binding = (source.to_owned(), queue.to_owned(), key.to_owned());
        if !self.bindings.remove(&binding) {
            return;
        }
        let exchange = self.exchanges.get(source).copied();
        if queue_kept && exchange.is_some_and(|exchange| exchange.durable) {
            self.note(Entity::Binding(binding.0, binding.1, binding.2), false);
        }
        let last = !self.bindings.iter().any(|(other, ..)| other == source);
        if last && exchange.is_some_and(|exchange| exchange.auto_delete) {
            self.delete_exchange(source);
        }
    }
}
