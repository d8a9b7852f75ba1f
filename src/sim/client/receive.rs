//! What comes to a client: deliveries and events in their order, each held against what it says of the broker.

use super::{Ask, Client, Context, Held};
use crate::model::{How, QueueKey};
use crate::oracle::{Checked, order, phantom, settled, synced, violated};
use fairlead_kernel::session::{Event, Unsettled};
use fairlead_kernel::{ConsumerId, Sequence};
use std::ops::ControlFlow;

/// A delivery, looked at.
struct Got {
    consumer: Option<ConsumerId>,
    unsettled: Unsettled,
    acknowledge: bool,
    redelivered: bool,
    dead_letter: bool,
    message: Checked<u64>,
}

impl Client {
    /// Take what waits, at most so many deliveries.
    ///
    /// # Errors
    /// An invariant is violated.
    pub fn receive(&mut self, most: usize, context: &mut Context<'_>) -> Checked {
        let mut left = most;
        loop {
            if let Some(event) = self.connection.next_event() {
                self.on_event(event, true, context)?;
                continue;
            }
            let got = self.walk(left, context);
            if got.is_empty() {
                break;
            }
            left -= got.len();
            got.into_iter().try_for_each(|got| self.on_delivery(got, context))?;
            if left == 0 {
                break;
            }
        }
        self.connection.delivered(context.now);
        Ok(())
    }

    fn walk(&mut self, most: usize, context: &Context<'_>) -> Vec<Got> {
        let mut got = Vec::new();
        self.connection.walk_deliveries(|delivery| {
            let unsettled =
                Unsettled { queue: delivery.queue, sequence: delivery.sequence, consumer: delivery.consumer };
            got.push(Got {
                consumer: delivery.consumer,
                unsettled,
                acknowledge: delivery.acknowledge,
                redelivered: delivery.redelivered,
                dead_letter: delivery.message.overlay.is_some(),
                message: phantom::identify(context.model, &delivery.message),
            });
            if got.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        got
    }

    fn queue_of(&mut self, got: &Got) -> Checked<QueueKey> {
        match got.consumer {
            Some(consumer) => self
                .consumers
                .get(&consumer)
                .copied()
                .ok_or_else(|| violated("phantom", format!("a delivery to {consumer:?}, which is none"))),
            None => match self.pending.take().map(|pending| pending.ask) {
                Some(Ask::Get { queue }) => Ok(queue),
                other => Err(violated("phantom", format!("a message that nobody asked for, but {other:?}"))),
            },
        }
    }

    fn on_delivery(&mut self, got: Got, context: &mut Context<'_>) -> Checked {
        let queue = self.queue_of(&got)?;
        let message = got.message.clone()?;
        let Sequence(sequence) = got.unsettled.sequence;
        context.trace.note(format_args!(
            "{}: client {} has {message} of {queue:?}, sequence {sequence}, redelivered {}, to be settled {}",
            context.model.op, self.number, got.redelivered, got.acknowledge,
        ));
        phantom::delivered(context.model, queue, message, got.dead_letter)?;
        settled::delivered(context.model, queue, message, got.unsettled.sequence, got.redelivered)?;
        if !got.redelivered {
            order::delivered(&mut self.order, context.model, (got.consumer, queue), message)?;
        }
        let op = context.model.op;
        if got.acknowledge {
            self.held.push(Held { queue, message, unsettled: got.unsettled });
            if let Some(copy) = context.model.copy_mut(queue, message) {
                copy.holder = Some(self.number);
                copy.delivered.get_or_insert(op);
                (copy.may_be_gone, copy.may_be_dead) = (false, false);
            }
        } else {
            context.model.leave(queue, message, How::Taken);
            if let Some(queue) = context.model.queues.get_mut(&queue) {
                queue.settled.insert(got.unsettled.sequence, (message, op));
            }
        }
        Ok(())
    }

    /// An event, `late` if it did not come at once.
    pub(super) fn on_event(&mut self, event: Event, late: bool, context: &mut Context<'_>) -> Checked {
        match event {
            Event::Reply { result, .. } => {
                let Some(pending) = self.pending.take() else {
                    return Err(violated("service", format!("an answer to nothing: {result:?}")));
                };
                if let Err(refusal) = result {
                    return Err(violated("service", format!("{pending:?} is refused: {refusal:?}")));
                }
                context.trace.note(format_args!("client {} is answered {pending:?}", self.number));
                self.answered(pending.op, pending.ask, late, context);
                Ok(())
            }
            Event::Confirmed { from, to, accepted, .. } => {
                (from..=to).try_for_each(|number| self.confirmed(number, accepted, context))
            }
            Event::ConsumerCancelled { consumer, .. } => {
                self.consumers.remove(&consumer);
                Ok(())
            }
            Event::Blocked { .. } | Event::Unblocked | Event::Returned { .. } => Ok(()),
            Event::PublishRefused { .. } | Event::SettlementTimeout { .. } | Event::Close { .. } => {
                Err(violated("service", format!("client {} is told {event:?}", self.number)))
            }
        }
    }

    fn answered(&mut self, op: u64, ask: Ask, late: bool, context: &mut Context<'_>) {
        match ask {
            Ask::Declared(entity) => {
                let changed = context.model.answered(&entity, op);
                if late && changed {
                    // It waited for its record, which is behind those of all operations before.
                    context.model.is_durable_up_to(op - 1);
                }
            }
            Ask::Unsubscribe { consumer } => {
                self.consumers.remove(&consumer);
            }
            Ask::Commit(index) => {
                let Some(transaction) = context.model.transactions.get_mut(index) else { return };
                transaction.answered = true;
                let published = transaction.published.clone();
                if published.iter().any(|id| context.model.records_of(*id) > 0) {
                    context.model.is_durable_up_to(op - 1);
                }
                published.into_iter().for_each(|id| context.model.confirmed(id));
            }
            Ask::Get { .. } | Ask::Anything => {}
        }
    }

    fn confirmed(&mut self, number: u64, accepted: bool, context: &mut Context<'_>) -> Checked {
        let Some((message, op)) = self.unconfirmed.remove(&number) else {
            return Err(violated(
                "service",
                format!("number {number} is confirmed twice, or was never used"),
            ));
        };
        context.trace.note(format_args!("client {} has {message} confirmed: {accepted}", self.number));
        if !accepted {
            return Ok(());
        }
        synced::confirmed(context.model, &context.seen.lock(), message)?;
        if context.model.records_of(message) > 0 {
            context.model.is_durable_up_to(op - 1);
        }
        context.model.confirmed(message);
        Ok(())
    }
}
