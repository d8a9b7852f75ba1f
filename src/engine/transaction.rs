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
use fairlead_kernel::message::Message;
use fairlead_kernel::queue::Delivered;
use fairlead_kernel::refusal::Bound;
use fairlead_kernel::session::{Event, Outcome, Publish, Unsettled};
use fairlead_kernel::{Refusal, SessionId, Time};
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

    /// End a session's transaction. Returns, or a refusal that ended it, are in the outbox before the reply.
    pub(crate) fn commit(
        &mut self,
        id: SessionId,
        settlements: Vec<(Outcome, Vec<Unsettled>)>,
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
        if let Some(mut batch) = Batch::new(self, &publishes, now, &mut events) {
            Scratch::with(|scratch| {
                self.committing = true;
                let published = self.place(&mut batch, scratch);
                self.committing = false;
                if batch.has_refusals() {
                    // All or nothing: an exchange has gone since its publish. The channel ends with this.
                    let deliveries = settlements.into_iter().flat_map(|(_, deliveries)| deliveries).collect();
                    self.settle_all(Outcome::Released { delivered: true }, deliveries, now);
                } else {
                    self.count_published(batch.publishes.iter(), published);
                    self.commit_parts(&batch, settlements, scratch, now);
                    self.publish_missed(&mut batch, scratch);
                }
                scratch.batch.clear();
                self.broker.follow_up(scratch, now);
            });
        }
        self.give_back(id, settled, now);
        let refusal = events.iter().find_map(|event| match event {
            Event::PublishRefused { refusal, .. } => Some(refusal.clone()),
            _ => None,
        });
        for event in events {
            if !matches!(event, Event::PublishRefused { .. }) {
                self.tell_later(event);
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn commit_parts(
        &mut self,
        batch: &Batch<'_, '_>,
        settlements: Vec<(Outcome, Vec<Unsettled>)>,
        scratch: &mut Scratch,
        now: Time,
    ) {
        let transaction = self.broker.next_transaction();
        let mut parts = self.parts(settlements);
        let mut prepared: Vec<Arc<QueueCell>> = Vec::new();
        scratch.batch.order();
        let mut from = 0;
        for at in 0..scratch.batch.groups.len() {
            let Group { cell, count } = &scratch.batch.groups[at];
            let (cell, to) = (Arc::clone(cell), from + *count as usize);
            let mut entries = recycle(std::mem::take(&mut scratch.batch.entries));
            entries.extend(scratch.batch.ordered[from..to].iter().map(|index| batch.entry(*index, self)));
            let part = parts.remove(&cell.id()).map(|(_, part)| part).unwrap_or_default();
            let taken = cell.enter(&self.broker, scratch, now, |q| {
                q.queue.prepare_transaction(transaction, &mut entries, part, &mut q.turn)
            });
            scratch.batch.entries = recycle(entries);
            let Scratch { batch: lists, effects, .. } = &mut *scratch;
            if taken.is_ok() {
                let refused = effects.refused.len() as u64;
                self.broker.counters.add(Counter::Enqueued, u64::from(lists.groups[at].count) - refused);
                self.broker.counters.add(Counter::Refused, refused);
                prepared.push(cell);
            } else {
                lists.missed.extend_from_slice(&lists.ordered[from..to]);
            }
            from = to;
        }
        for (cell, part) in parts.into_values() {
            let taken = cell.enter(&self.broker, scratch, now, |q| {
                q.queue.prepare_transaction(transaction, &mut [], part, &mut q.turn)
            });
            prepared.extend(taken.is_ok().then_some(cell));
        }
        for cell in prepared {
            cell.enter(&self.broker, scratch, now, |q| {
                // Deleted since it was prepared: its part went with it.
                let _ = q.queue.commit_transaction(transaction, &mut q.turn);
            });
        }
    }

    /// Settlements by queue.
    fn parts(
        &self,
        settlements: Vec<(Outcome, Vec<Unsettled>)>,
    ) -> BTreeMap<fairlead_kernel::QueueId, (Arc<QueueCell>, Part)> {
        let mut parts = BTreeMap::new();
        for (outcome, mut deliveries) in settlements {
            let counter = match outcome {
                Outcome::Accepted => Counter::Acknowledged,
                Outcome::Rejected => Counter::Rejected,
                Outcome::Released { .. } => Counter::Released,
            };
            self.broker.counters.add(counter, deliveries.len() as u64);
            by_queue(&mut deliveries);
            for of_queue in deliveries.chunk_by(|left, right| left.queue == right.queue) {
                let Some(cell) = self.cell_of(&of_queue[0]) else { continue };
                let mut delivered = Vec::new();
                self.with_slots(of_queue, &mut delivered);
                let (_, part) = parts.entry(cell.id()).or_insert_with(|| (cell, Part::new()));
                part.push((outcome, delivered));
            }
        }
        parts
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
