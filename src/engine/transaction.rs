//! Transactions of a session: its publishes are held here, its settlements by its adapter, until the end.
//!
//! A commit gives each queue its part, and only when all have theirs does each commit; so a reader of the
//! log finds all parts or ignores them.

use crate::connection::{Connection, Session};
use crate::counters::Counter;
use crate::publish::Batch;
use crate::queue_cell::QueueCell;
use crate::scratch::{Group, Scratch, recycle};
use crate::settle::by_queue;
use crate::store::during;
use fairlead_kernel::command::NewEntry;
use fairlead_kernel::message::Message;
use fairlead_kernel::queue::{Delivered, Denial};
use fairlead_kernel::refusal::Bound;
use fairlead_kernel::session::{Outcome, Publish, Unsettled};
use fairlead_kernel::{QueueId, Refusal, SessionId, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a held publish takes besides its message, in bytes.
const OVERHEAD: u64 = 128;

/// A publish that waits for its transaction's end.
#[derive(Debug)]
pub(crate) struct Held {
    message: Arc<Message>,
    time_to_live: Option<u64>,
    priority: u8,
    mandatory: bool,
    extra_keys: bool,
}

/// Settlements in the order in which they came.
type Settlements = Vec<(Outcome, Vec<Unsettled>)>;

/// Settlements for one queue.
type Part = Vec<(Outcome, Vec<Delivered>)>;

impl Session {
    /// Forget the open transaction's publishes; returns the bytes that are free again.
    pub(crate) fn roll_back(&mut self) -> u64 {
        self.held = Vec::new();
        std::mem::take(&mut self.held_bytes)
    }
}

impl Connection {
    /// Keep a publish for its transaction's end.
    pub(crate) fn hold(&mut self, publish: &Publish<'_>) -> Result<(), Refusal> {
        let limit = self.broker.settings().transaction_bytes;
        // One that cannot be taken is refused when it comes, not at the end.
        self.opened()?.topology().check_publish(publish.message.exchange)?;
        let bytes = (publish.message.body.len() + publish.message.head.len()) as u64 + OVERHEAD;
        let session = self.session(publish.session);
        if session.held_bytes + bytes > limit {
            return Err(Refusal::TooMany { bound: Bound::Transaction, limit });
        }
        session.held_bytes += bytes;
        session.held.push(Held {
            message: publish.message.to_shared(),
            time_to_live: publish.time_to_live,
            priority: publish.priority,
            mandatory: publish.mandatory,
            extra_keys: publish.extra_keys,
        });
        self.broker.memory_changed(bytes as i64);
        Ok(())
    }

    /// Forget the open transaction's publishes.
    pub(crate) fn roll_back(&mut self, session: SessionId) {
        let bytes = self.session(session).roll_back();
        self.broker.memory_changed(-(bytes as i64));
    }

    /// End a session's transaction: all of it, or nothing and a refusal. Returns are in the outbox before the
    /// reply.
    pub(crate) fn commit(
        &mut self,
        id: SessionId,
        mut settlements: Settlements,
        now: Time,
    ) -> Result<(), Refusal> {
        let session = self.session(id);
        let held = std::mem::take(&mut session.held);
        let bytes = session.roll_back();
        self.broker.memory_changed(-(bytes as i64));
        let publishes: Vec<Publish<'_>> = held.iter().map(|held| held.as_publish(id)).collect();
        let settled: u64 = settlements
            .iter()
            .flat_map(|(_, deliveries)| deliveries)
            .filter(|delivery| delivery.consumer.is_some())
            .count() as u64;
        let mut events = Vec::new();
        let mut outcome = Ok(());
        if let Some(mut batch) = Batch::new(self, &publishes, now, &mut events) {
            outcome = Scratch::with(|scratch| {
                self.committing = true;
                let published = self.place(&mut batch, scratch);
                self.committing = false;
                let outcome = self.commit_parts(&mut batch, &mut settlements, scratch);
                if outcome.is_ok() {
                    self.count_published(batch.publishes.iter(), published);
                }
                scratch.batch.clear();
                self.broker.follow_up(scratch, now);
                outcome
            });
        }
        if outcome.is_err() {
            // The channel ends with this, and its adapter has these deliveries no more.
            let deliveries = settlements.into_iter().flat_map(|(_, deliveries)| deliveries).collect();
            self.settle_all(Outcome::Released { delivered: true }, deliveries, now);
        } else {
            events.into_iter().for_each(|event| self.tell_later(event));
        }
        self.give_back(id, settled, now);
        outcome
    }

    /// Give each queue its part, and have all of them commit, or none.
    fn commit_parts(
        &mut self,
        batch: &mut Batch<'_, '_>,
        settlements: &mut Settlements,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let mut transaction =
            Preparing { number: self.broker.next_transaction(), cells: BTreeMap::new(), enqueued: 0 };
        let (prepared, recorded) = during(|| self.prepare(&mut transaction, batch, settlements, scratch));
        if let (Some(store), Ok(()), Some(_)) = (&self.broker.store, &prepared, recorded) {
            store.record_commit(transaction.number);
        }
        for cell in transaction.cells.into_values() {
            cell.enter(&self.broker, scratch, batch.now, |q| {
                // Deleted since it was prepared: its part went with it.
                let _ = match prepared {
                    Ok(()) => q.queue.commit_transaction(transaction.number, &mut q.turn),
                    Err(_) => q.queue.roll_back_transaction(transaction.number, &mut q.turn),
                };
            });
        }
        if prepared.is_ok() {
            self.broker.counters.add(Counter::Enqueued, transaction.enqueued);
            for (outcome, deliveries) in settlements {
                self.broker.counters.add(Counter::of_outcome(*outcome), deliveries.len() as u64);
            }
        }
        prepared
    }

    fn prepare(
        &mut self,
        transaction: &mut Preparing,
        batch: &mut Batch<'_, '_>,
        settlements: &mut Settlements,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        // An exchange may have gone since its publish.
        batch.first_refusal()?;
        let mut parts = self.parts(settlements);
        scratch.batch.order();
        let mut from = 0;
        for at in 0..scratch.batch.groups.len() {
            let Group { cell, count } = &scratch.batch.groups[at];
            let (cell, to) = (Arc::clone(cell), from + *count as usize);
            let mut entries = recycle(std::mem::take(&mut scratch.batch.entries));
            entries.extend(scratch.batch.ordered[from..to].iter().map(|index| batch.entry(*index)));
            let part = parts.remove(&cell.id()).map(|(_, part)| part).unwrap_or_default();
            let taken = transaction.prepare(self, &cell, &mut entries, part, (&mut *scratch, batch.now));
            scratch.batch.entries = recycle(entries);
            if !taken? {
                let lists = &mut scratch.batch;
                lists.missed.extend_from_slice(&lists.ordered[from..to]);
            }
            from = to;
        }
        for (cell, part) in parts.into_values() {
            transaction.prepare(self, &cell, &mut [], part, (&mut *scratch, batch.now))?;
        }
        if scratch.batch.missed.is_empty() {
            return Ok(());
        }
        let again = self.route_again(batch, scratch);
        batch.first_refusal()?;
        for (index, cells) in again {
            let mut reached = false;
            for cell in cells {
                let mut entries = [batch.entry(index)];
                reached |= transaction.prepare(
                    self,
                    &cell,
                    &mut entries,
                    Part::new(),
                    (&mut *scratch, batch.now),
                )?;
            }
            if !reached {
                batch.unroutable(index as usize, self);
            }
        }
        Ok(())
    }

    /// Settlements by queue.
    fn parts(&self, settlements: &mut Settlements) -> BTreeMap<QueueId, (Arc<QueueCell>, Part)> {
        let mut parts = BTreeMap::new();
        for (outcome, deliveries) in settlements {
            by_queue(deliveries);
            for of_queue in deliveries.chunk_by(|left, right| left.queue == right.queue) {
                let Some(cell) = self.cell_of(&of_queue[0]) else { continue };
                let mut delivered = Vec::new();
                self.with_slots(of_queue, &mut delivered);
                let (_, part) = parts.entry(cell.id()).or_insert_with(|| (cell, Part::new()));
                part.push((*outcome, delivered));
            }
        }
        parts
    }
}

/// A transaction whose parts are being given out.
struct Preparing {
    number: u64,
    /// The queues that hold a part.
    cells: BTreeMap<QueueId, Arc<QueueCell>>,
    /// Entries that they hold.
    enqueued: u64,
}

impl Preparing {
    /// Give a queue its part; false if it is gone.
    fn prepare(
        &mut self,
        connection: &Connection,
        cell: &Arc<QueueCell>,
        entries: &mut [NewEntry<'_>],
        part: Part,
        (scratch, now): (&mut Scratch, Time),
    ) -> Result<bool, Refusal> {
        let taken = cell.enter(&connection.broker, scratch, now, |q| {
            q.queue.prepare_transaction(self.number, entries, part, &mut q.turn)
        });
        match taken {
            Ok(()) => {
                self.enqueued += entries.len() as u64;
                self.cells.entry(cell.id()).or_insert_with(|| Arc::clone(cell));
                Ok(true)
            }
            Err(Denial::Gone(_)) => Ok(false),
            Err(Denial::Refused(refusal)) => {
                connection.broker.counters.add(Counter::Refused, scratch.effects.refused.len() as u64);
                Err(refusal)
            }
        }
    }
}

impl Held {
    fn as_publish(&self, session: SessionId) -> Publish<'_> {
        Publish {
            session,
            message: Message::view(&self.message),
            time_to_live: self.time_to_live,
            priority: self.priority,
            mandatory: self.mandatory,
            transacted: true,
            extra_keys: self.extra_keys,
            user_id: None,
            confirm: None,
        }
    }
}
