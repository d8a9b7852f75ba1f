//! Settlements: grouped by queue, each queue entered once, windows opened after.

use crate::connection::Connection;
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use fairlead_kernel::effect::Slot;
use fairlead_kernel::queue::Delivered;
use fairlead_kernel::session::{Outcome, Unsettled};
use fairlead_kernel::{ConsumerId, QueueId, SessionId, Time};
use std::sync::Arc;

impl Connection {
    /// Settle deliveries of a session.
    pub(crate) fn settle(
        &mut self,
        session: SessionId,
        outcome: Outcome,
        deliveries: Vec<Unsettled>,
        now: Time,
    ) {
        let held = deliveries.iter().filter(|delivery| delivery.consumer.is_some()).count() as u64;
        self.settle_all(outcome, deliveries, now);
        self.give_back(session, held, now);
    }

    /// Settle deliveries of any sessions; windows are not their concern any more.
    pub(crate) fn settle_all(&mut self, outcome: Outcome, mut deliveries: Vec<Unsettled>, now: Time) {
        self.broker.counters.add(Counter::of_outcome(outcome), deliveries.len() as u64);
        by_queue(&mut deliveries);
        let mut settled = Vec::new();
        for of_queue in deliveries.chunk_by(|left, right| left.queue == right.queue) {
            let Some(cell) = self.cell_of(&of_queue[0]) else { continue };
            self.with_slots(of_queue, &mut settled);
            self.enter(&cell, now, |q| {
                // A queue that is gone has nothing left to settle.
                let _ = q.queue.settle(&settled, outcome, &mut q.turn);
            });
        }
    }

    /// Messages that a session's consumers held are settled: its window may open.
    pub(crate) fn give_back(&mut self, id: SessionId, held: u64, now: Time) {
        let Ok(at) = self.sessions.binary_search_by_key(&id, |session| session.id) else { return };
        let session = &mut self.sessions[at];
        session.unsettled = session.unsettled.saturating_sub(held);
        let Some((window, _)) = &session.window else { return };
        if window.give_back(held) {
            self.window_opened(id, now);
        }
    }

    /// The window of a session has room: its consumers may be served.
    pub(crate) fn window_opened(&self, id: SessionId, now: Time) {
        let mut cells: Vec<&Arc<QueueCell>> = self
            .consumers
            .iter()
            .filter(|consumer| consumer.session == id)
            .map(|consumer| &consumer.cell)
            .collect();
        cells.sort_unstable_by_key(|cell| cell.id());
        cells.dedup_by_key(|cell| cell.id());
        for cell in cells {
            self.enter(cell, now, |q| {
                // Gone with its queue: nobody waits there.
                let _ = q.queue.window_opened(self.id, id, &mut q.turn);
            });
        }
    }

    /// The queue of a delivery, if it lives.
    pub(crate) fn cell_of(&self, delivery: &Unsettled) -> Option<Arc<QueueCell>> {
        let of_consumer = delivery.consumer.and_then(|consumer| self.consumer(consumer)).map(|it| &it.cell);
        match of_consumer {
            Some(cell) if cell.id() == delivery.queue => Some(Arc::clone(cell)),
            _ => self.broker.queues.get(delivery.queue),
        }
    }

    /// The deliveries as their queue knows them.
    pub(crate) fn with_slots(&self, deliveries: &[Unsettled], into: &mut Vec<Delivered>) {
        let mut last: (Option<ConsumerId>, Option<Slot>) = (None, None);
        into.clear();
        into.extend(deliveries.iter().map(|delivery| {
            if delivery.consumer != last.0 {
                let slot = delivery.consumer.and_then(|consumer| self.consumer(consumer)).map(|it| it.slot);
                last = (delivery.consumer, slot);
            }
            (delivery.sequence, last.1)
        }));
    }
}

/// Bring deliveries of one queue together, in their order.
pub(crate) fn by_queue(deliveries: &mut [Unsettled]) {
    let first = deliveries.first().map_or(QueueId(0), |delivery| delivery.queue);
    if deliveries.iter().any(|delivery| delivery.queue != first) {
        deliveries.sort_by_key(|delivery| delivery.queue);
    }
}
