//! Message groups: while a consumer holds unsettled messages of a group, it alone gets more of it.

use super::delivery_batch::Slot;
use crate::command::SequenceRange;
use crate::ids::Sequence;
use std::collections::BTreeMap;

#[derive(Debug)]
struct Owner {
    slot: Slot,
    /// Messages of the group that it holds.
    held: u32,
}

/// Groups of which messages are held.
#[derive(Debug)]
pub(super) struct Groups {
    /// The header that names a message's group.
    pub(super) header: Box<str>,
    owners: BTreeMap<Box<[u8]>, Owner>,
    held: BTreeMap<Sequence, Box<[u8]>>,
    /// Bytes of the names in `held`.
    bytes: usize,
}

impl Groups {
    pub(super) fn new(header: &str) -> Self {
        Groups { header: header.into(), owners: BTreeMap::new(), held: BTreeMap::new(), bytes: 0 }
    }

    /// Who holds messages of that group.
    pub(super) fn owner(&self, group: &[u8]) -> Option<Slot> {
        self.owners.get(group).map(|owner| owner.slot)
    }

    /// A message of the group has gone to that consumer.
    pub(super) fn claim(&mut self, group: Box<[u8]>, slot: Slot, sequence: Sequence) {
        self.bytes += group.len();
        self.owners.entry(group.clone()).or_insert(Owner { slot, held: 0 }).held += 1;
        self.held.insert(sequence, group);
    }

    /// These messages are held no more.
    pub(super) fn release(&mut self, ids: &[SequenceRange]) {
        if self.held.is_empty() {
            return;
        }
        for range in ids.iter().filter(|range| range.first <= range.last) {
            while let Some((&sequence, _)) = self.held.range(range.first..=range.last).next() {
                let Some(group) = self.held.remove(&sequence) else { break };
                self.bytes -= group.len();
                if let Some(owner) = self.owners.get_mut(&group) {
                    owner.held -= 1;
                    if owner.held == 0 {
                        self.owners.remove(&group);
                    }
                }
            }
        }
    }

    /// Bytes held, roughly: a tree's nodes are about two thirds full.
    pub(super) fn memory(&self) -> usize {
        const NODE: usize = 3 * size_of::<(Box<[u8]>, Owner)>() / 2;
        size_of::<Groups>() + self.bytes + (self.owners.len() + self.held.len()) * NODE
    }
}
