//! Message groups: while a consumer holds unsettled messages of a group, it alone gets more of it.
//!
//! What waits for its group's owner is parked here by group, and each consumer knows the first parked entry of each
//! of its groups; so when it can take more, or a group has no owner any more, the next entry is found without
//! reading those that are still not for anybody. Entries go in other ways too: what is listed here may have gone.

use super::delivery_batch::Slot;
use crate::command::SequenceRange;
use crate::ids::Sequence;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

type Group = Box<[u8]>;

/// Where a parked entry stands: higher levels come first.
pub(super) type Standing = (Reverse<u8>, Sequence);

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
    owners: BTreeMap<Group, Owner>,
    held: BTreeMap<Sequence, Group>,
    /// Bytes of the names in `held`.
    bytes: usize,
    parked: BTreeMap<Group, BTreeSet<Standing>>,
    /// How many stand in `parked`.
    parked_count: usize,
    /// For each owner, the first one of each of its groups in `parked`.
    firsts: BTreeMap<Slot, BTreeMap<Standing, Group>>,
    /// Groups in `parked` that have no owner.
    freed: BTreeSet<Group>,
}

impl Groups {
    pub(super) fn new(header: &str) -> Self {
        Groups {
            header: header.into(),
            owners: BTreeMap::new(),
            held: BTreeMap::new(),
            bytes: 0,
            parked: BTreeMap::new(),
            parked_count: 0,
            firsts: BTreeMap::new(),
            freed: BTreeSet::new(),
        }
    }

    /// Who holds messages of that group.
    pub(super) fn owner(&self, group: &[u8]) -> Option<Slot> {
        self.owners.get(group).map(|owner| owner.slot)
    }

    /// A message of the group has gone to that consumer.
    pub(super) fn claim(&mut self, group: Group, slot: Slot, sequence: Sequence) {
        self.bytes += group.len();
        self.owners.entry(group.clone()).or_insert(Owner { slot, held: 0 }).held += 1;
        self.freed.remove(&group);
        self.list_first(&group);
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
                        self.unlist_first(&group);
                        self.owners.remove(&group);
                        if self.parked.contains_key(&group) {
                            self.freed.insert(group);
                        }
                    }
                }
            }
        }
    }

    /// An entry waits for the owner of its group.
    pub(super) fn park(&mut self, group: &[u8], standing: Standing) {
        self.unlist_first(group);
        if !self.parked.contains_key(group) {
            self.parked.insert(group.into(), BTreeSet::new());
        }
        if self.parked.get_mut(group).is_some_and(|of_group| of_group.insert(standing)) {
            self.parked_count += 1;
        }
        self.list_first(group);
    }

    /// The owners of groups of which entries wait.
    pub(super) fn waited_for(&self) -> Vec<Slot> {
        self.firsts.keys().copied().collect()
    }

    /// The first entry that waits for that owner, which is not listed any more.
    pub(super) fn take_first(&mut self, slot: Slot) -> Option<Standing> {
        let (_, group) = self.firsts.get(&slot)?.first_key_value()?;
        let group = group.clone();
        self.take_first_of(&group)
    }

    /// Groups of which entries wait and that have no owner.
    pub(super) fn freed(&self) -> Vec<Group> {
        self.freed.iter().cloned().collect()
    }

    /// The first entry of a group that waits, which is not listed any more.
    pub(super) fn take_first_of(&mut self, group: &[u8]) -> Option<Standing> {
        self.unlist_first(group);
        let of_group = self.parked.get_mut(group)?;
        let first = of_group.pop_first();
        self.parked_count -= usize::from(first.is_some());
        if of_group.is_empty() {
            self.parked.remove(group);
            self.freed.remove(group);
        }
        self.list_first(group);
        first
    }

    /// How many entries are listed, those included that have gone.
    pub(super) fn parked_count(&self) -> usize {
        self.parked_count
    }

    /// No entry waits.
    pub(super) fn forget_parked(&mut self) {
        self.parked = BTreeMap::new();
        self.parked_count = 0;
        self.firsts = BTreeMap::new();
        self.freed = BTreeSet::new();
    }

    fn first_of(&self, group: &[u8]) -> Option<(Slot, Standing)> {
        Some((self.owner(group)?, *self.parked.get(group)?.first()?))
    }

    /// The owner knows the group's first entry.
    fn list_first(&mut self, group: &[u8]) {
        if let Some((slot, first)) = self.first_of(group) {
            self.firsts.entry(slot).or_default().insert(first, group.into());
        }
    }

    /// What comes first is about to change.
    fn unlist_first(&mut self, group: &[u8]) {
        if let Some((slot, first)) = self.first_of(group)
            && let Some(firsts) = self.firsts.get_mut(&slot)
        {
            firsts.remove(&first);
            if firsts.is_empty() {
                self.firsts.remove(&slot);
            }
        }
    }

    /// Bytes held, roughly: a tree's nodes are about two thirds full.
    pub(super) fn memory(&self) -> usize {
        const NODE: usize = 3 * size_of::<(Group, Owner)>() / 2;
        const STANDING: usize = 3 * size_of::<Standing>() / 2;
        let groups = self.owners.len() + self.held.len() + 2 * self.parked.len() + self.freed.len();
        size_of::<Groups>() + self.bytes + groups * NODE + self.parked_count * STANDING
    }
}
