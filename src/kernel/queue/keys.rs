//! Last-value queues: which entry has each key, and which entries newer ones have replaced.

use super::{Queue, Turn};
use crate::command::{CommandLog, SequenceRange, push_sequence};
use crate::ids::Sequence;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which entry is the newest of each key. Derived from the entries, so it is not hashed.
#[derive(Debug)]
pub(super) struct Keys {
    /// The header whose value is the key.
    header: Box<str>,
    newest: BTreeMap<Arc<[u8]>, Sequence>,
    of: BTreeMap<Sequence, Arc<[u8]>>,
    /// Replaced since the last step.
    replaced: Vec<Sequence>,
    /// Bytes of the keys.
    bytes: usize,
}

impl Keys {
    pub(super) fn new(header: &str) -> Self {
        Keys {
            header: header.into(),
            newest: BTreeMap::new(),
            of: BTreeMap::new(),
            replaced: Vec::new(),
            bytes: 0,
        }
    }

    /// An entry has come, or has been read back: then perhaps a newer one is known.
    fn insert(&mut self, sequence: Sequence, key: Arc<[u8]>) {
        if self.of.insert(sequence, Arc::clone(&key)).is_some() {
            return;
        }
        self.bytes += key.len();
        let newest = self.newest.entry(key).or_insert(sequence);
        if *newest > sequence {
            self.replaced.push(sequence);
        } else if *newest < sequence {
            self.replaced.push(std::mem::replace(newest, sequence));
        }
    }

    /// Whether a newer entry has the same key.
    pub(super) fn is_replaced(&self, sequence: Sequence) -> bool {
        self.of.get(&sequence).is_some_and(|key| self.newest.get(key) != Some(&sequence))
    }

    /// These entries go.
    pub(super) fn forget(&mut self, ids: &[SequenceRange]) {
        if self.of.is_empty() {
            return;
        }
        for range in ids.iter().filter(|range| range.first <= range.last) {
            while let Some((&sequence, _)) = self.of.range(range.first..=range.last).next() {
                let Some(key) = self.of.remove(&sequence) else { break };
                self.bytes -= key.len();
                if self.newest.get(&key) == Some(&sequence) {
                    self.newest.remove(&key);
                }
            }
        }
    }

    /// Bytes held, roughly: a tree's nodes are about two thirds full, and entries share their keys.
    pub(super) fn memory(&self) -> usize {
        const NODE: usize = 3 * size_of::<(Arc<[u8]>, Sequence)>() / 2;
        size_of::<Keys>()
            + self.bytes
            + (self.newest.len() + self.of.len()) * NODE
            + self.replaced.capacity() * size_of::<Sequence>()
    }
}

/// Bytes that are the same for values that mean the same; `None` for what cannot be a key.
pub(super) fn identity(value: &Value) -> Option<Vec<u8>> {
    match value.as_integer() {
        Some(number) => Some(number.to_be_bytes().to_vec()),
        None => value.as_bytes().map(<[u8]>::to_vec),
    }
}

impl Queue {
    /// Note the keys of entries that have come.
    pub(super) fn index_keys(&mut self, sequences: impl Iterator<Item = Sequence>) {
        let Some(keys) = &mut self.keys else { return };
        for sequence in sequences {
            if let Some(spot) = self.state.contents.find(sequence)
                && let Some(message) = self.state.contents.message(spot)
                && let Some(value) = self.readers.of(message.origin).header(message.head, &keys.header)
                && let Some(key) = identity(&value)
            {
                keys.insert(sequence, key.into());
            }
        }
    }

    /// Drop replaced entries that no consumer holds; those that are held go when they come back.
    pub(super) fn drop_replaced<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        let Some(keys) = &mut self.keys else { return };
        for sequence in std::mem::take(&mut keys.replaced) {
            if let Some(spot) = self.state.contents.find(sequence)
                && self.state.contents.at(spot).is_ready()
            {
                push_sequence(&mut turn.effects.scratch.replaced, sequence);
                self.state.contents.leave(spot);
            }
        }
    }
}
