//! The part of a queue that its log makes, and the one function that changes it.
//!
//! `apply` is total and needs no clock: what it is told to remove and does not find is gone already. The
//! flags, counts and cursors that dispatch reads are kept up to date in passing, and are not hashed.

use super::contents::{Contents, Spot};
use super::entry::{ACQUIRED, REDELIVERED};
use super::lane::Lane;
use super::snapshot::saved;
use super::stretch::hash_of;
use super::volume::Volume;
use crate::command::{Command, NewEntry, RecordedEntry, SequenceRange};
use crate::ids::{Sequence, Time};
use crate::settings::Limits;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// A transaction's share of this queue, held until its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// To be enqueued.
    pub entries: Vec<RecordedEntry>,
    /// Where each of them is in the store; 0 is nowhere.
    pub positions: Vec<u64>,
    /// To be settled as accepted.
    pub accepted: Vec<SequenceRange>,
}

/// The shares of all open transactions, and how much they hold together.
#[derive(Debug, Default)]
pub(super) struct Parts {
    open: BTreeMap<u64, Part>,
    promised: Volume,
}

impl Parts {
    /// What all of them will enqueue.
    pub(super) fn promised(&self) -> Volume {
        self.promised
    }

    pub(super) fn get(&self, transaction: u64) -> Option<&Part> {
        self.open.get(&transaction)
    }

    /// Add to the share of a transaction, which may be new.
    pub(super) fn add(&mut self, transaction: u64, share: Part) {
        let volume = volume_of(&share);
        self.promised.messages += volume.messages;
        self.promised.bytes += volume.bytes;
        let part = self.open.entry(transaction).or_default();
        part.entries.extend(share.entries);
        part.positions.extend(share.positions);
        part.accepted.extend(share.accepted);
    }

    fn remove(&mut self, transaction: u64) -> Option<Part> {
        let part = self.open.remove(&transaction)?;
        let volume = volume_of(&part);
        self.promised.messages -= volume.messages;
        self.promised.bytes -= volume.bytes;
        Some(part)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Part)> {
        self.open.iter()
    }
}

fn volume_of(part: &Part) -> Volume {
    let bodies = part.entries.iter().map(|entry| entry.view().message.body.len() as u64);
    Volume { messages: part.entries.len() as u64, bytes: bodies.sum() }
}

/// What the log makes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) contents: Contents,
    /// The sequence that the next entry gets, if all proposed commands are applied.
    pub(super) next: Sequence,
    /// In force, the policy's share included.
    pub(super) limits: Limits,
    pub(super) parts: Parts,
    pub(super) deleted: bool,
}

impl State {
    pub(super) fn new(limits: &Limits) -> Self {
        State {
            contents: Contents::default(),
            next: Sequence(1),
            limits: limits.clone(),
            parts: Parts::default(),
            deleted: false,
        }
    }

    pub(super) fn apply(&mut self, command: &Command<'_>, positions: &[u64]) {
        if self.deleted {
            return;
        }
        match *command {
            Command::Enqueue { first, entries } => self.enqueue(first, entries, positions),
            Command::Settle { ids, .. } | Command::Drop { ids, .. } => self.remove(ids),
            Command::Requeue { ids, delivered } => {
                self.for_each(ids, |contents, spot| {
                    if delivered {
                        let entry = contents.at_mut(spot);
                        entry.delivery_count = entry.delivery_count.saturating_add(1);
                        entry.flags |= REDELIVERED;
                    }
                    contents.give_back(spot, ACQUIRED);
                });
            }
            Command::Configure { limits } => self.limits.clone_from(limits),
            Command::Delete => {
                let mut released = std::mem::take(&mut self.contents.released);
                let stored = self.contents.lanes.iter().flat_map(Lane::iter).map(|entry| entry.position);
                let held = self.parts.iter().flat_map(|(_, part)| &part.positions).copied();
                released.extend(stored.chain(held).filter(|position| *position != 0));
                let mut released_pages = self.contents.released_pages.take();
                for stretch in self.contents.cold.drain(..) {
                    let pages = released_pages.get_or_insert_default();
                    pages.pages.push(stretch.page);
                    pages.messages.extend(stretch.stored);
                }
                *self = State { next: self.next, deleted: true, ..State::new(&self.limits) };
                self.contents.released = released;
                self.contents.released_pages = released_pages;
            }
            Command::TxPart { transaction, entries, accepted } => {
                let entries: Vec<_> = entries.iter().map(RecordedEntry::from).collect();
                let mut positions = positions.to_vec();
                positions.resize(entries.len(), 0);
                self.parts.add(transaction, Part { entries, positions, accepted: accepted.to_vec() });
            }
            Command::TxCommit { transaction, first } => {
                if let Some(part) = self.parts.remove(transaction) {
                    let entries: Vec<_> = part.entries.iter().map(RecordedEntry::view).collect();
                    self.enqueue(first, &entries, &part.positions);
                    self.remove(&part.accepted);
                }
            }
            Command::TxRollback { transaction } => {
                let positions = self.parts.remove(transaction).map(|part| part.positions).unwrap_or_default();
                self.contents.released.extend(positions.into_iter().filter(|position| *position != 0));
            }
        }
    }

    #[inline]
    fn enqueue(&mut self, first: Sequence, entries: &[NewEntry<'_>], positions: &[u64]) {
        self.next = self.contents.enqueue(first.max(self.next), entries, positions);
    }

    fn remove(&mut self, ids: &[SequenceRange]) {
        self.contents.remove(ids, 0);
    }

    /// Call `f` for each living entry of the ranges. A range is walked by its entries, so that one of any
    /// width costs no more than what it holds.
    pub(super) fn for_each(&mut self, ids: &[SequenceRange], mut f: impl FnMut(&mut Contents, Spot)) {
        for range in ids {
            for lane in 0..self.contents.lanes.len() {
                let mut from = range.first;
                while let Some(place) = self.contents.lanes[lane].find_next(from) {
                    let spot = Spot { lane, place };
                    let sequence = self.contents.at(spot).sequence;
                    if sequence > range.last {
                        break;
                    }
                    f(&mut self.contents, spot);
                    if sequence == range.last {
                        break;
                    }
                    from = Sequence(sequence.0 + 1);
                }
            }
        }
    }

    /// Digest of all that the log has made, nothing of dispatch.
    pub(super) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&[u8::from(self.deleted)]);
        hash.update(&self.next.0.to_le_bytes());
        hash_limits(&mut hash, &self.limits);
        let entries = self.contents.lanes.iter().flat_map(Lane::iter);
        let entries = entries.map(|entry| hash_of(&saved(entry), entry.body_length));
        let cold = self.contents.cold.iter().map(|stretch| stretch.hash);
        hash.update(&entries.chain(cold).fold(0_u64, u64::wrapping_add).to_le_bytes());
        for (transaction, part) in self.parts.iter() {
            hash.update(&transaction.to_le_bytes());
            for entry in &part.entries {
                hash.update(&entry.expires.0.to_le_bytes());
                hash.update(&[entry.priority]);
                hash.update(&(entry.view().message.body.len() as u64).to_le_bytes());
            }
            for range in &part.accepted {
                hash.update(&range.first.0.to_le_bytes());
                hash.update(&range.last.0.to_le_bytes());
            }
        }
        hash.digest()
    }
}

fn hash_limits(hash: &mut Xxh3, limits: &Limits) {
    let number = |hash: &mut Xxh3, value: Option<u64>| {
        hash.update(&[u8::from(value.is_some())]);
        hash.update(&value.unwrap_or_default().to_le_bytes());
    };
    number(hash, limits.max_messages);
    number(hash, limits.max_bytes);
    number(hash, limits.overflow.map(|overflow| overflow as u64));
    number(hash, limits.message_ttl);
    number(hash, limits.expires);
    number(hash, limits.delivery_limit.map(u64::from));
    for name in [&limits.dead_letter_exchange, &limits.dead_letter_key] {
        number(hash, name.as_ref().map(|name| name.len() as u64));
        hash.update(name.as_deref().unwrap_or_default().as_bytes());
    }
}

/// The earlier of two times of which `Time(0)` is never.
#[inline]
pub(super) fn earlier(left: Time, right: Time) -> Time {
    match (left.0, right.0) {
        (0, _) => right,
        (_, 0) => left,
        _ => left.min(right),
    }
}
