//! What waits for a connection: deliveries and events, in the order in which they were put in.
//!
//! Flow: queues put whole batches in while they are locked (the outbox's lock is a leaf: it is held for a
//! swap and takes nothing); the connection's task takes all of it by swapping with an empty [`Parcel`], and
//! walks that. A waker is handed back to whoever filled an empty outbox, to be woken when no lock is held.

use fairlead_kernel::ConsumerId;
use fairlead_kernel::effect::{DeliveryBatch, DeliveryCursor, Run};
use fairlead_kernel::session::{Delivery, Event};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Memory that an emptied parcel may keep for the next exchange, in bytes: two consumers' transfer windows and
/// some, else a busy one is given back and asked for again with every exchange. An idle one keeps none.
const KEEP: usize = 640 * 1024;

/// A connection's letter box.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Rank: leaf.
    inner: Mutex<Inner>,
    /// Whether `inner` holds anything: spares the reader the lock.
    filled: AtomicBool,
    /// Whether `inner` holds an urgent event: the same.
    urgent: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    closed: bool,
    waker: Option<Waker>,
    /// What does not wait until the peer reads.
    urgent: Option<Event>,
    /// Of a task that only something urgent may wake.
    urgent_waker: Option<Waker>,
    contents: Contents,
}

#[derive(Debug, Default)]
struct Contents {
    deliveries: DeliveryBatch,
    /// Events, each with the number of deliveries that go before it.
    events: VecDeque<(usize, Event)>,
}

impl Contents {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.events.is_empty()
    }

    fn look(&self, mut from: DeliveryCursor, each: &mut impl FnMut(&Delivery<'_>)) {
        while let Some(delivery) = self.deliveries.next(&mut from) {
            each(&delivery);
        }
    }
}

/// The connection has gone; what was brought stays with the bringer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Outbox {
    /// Put deliveries in; all of `batch` is taken. Wake what comes back, once no queue is locked.
    pub(crate) fn deliver(&self, batch: &mut DeliveryBatch) -> Result<Option<Waker>, Closed> {
        self.put(|contents| contents.deliveries.append(batch))
    }

    /// Put an event behind all that is there.
    pub(crate) fn tell(&self, event: Event) -> Result<Option<Waker>, Closed> {
        self.put(|contents| contents.events.push_back((contents.deliveries.len(), event)))
    }

    /// Put an event in front of all that is there, and wake the reader.
    pub(crate) fn tell_first(&self, event: Event) {
        if let Ok(Some(waker)) = self.put(|contents| contents.events.push_front((0, event))) {
            waker.wake();
        }
    }

    /// Put in what must not wait behind anything, not even output that the peer does not read, and wake the reader.
    /// One that nobody has taken yet is replaced.
    pub(crate) fn tell_urgently(&self, event: Event) {
        let mut inner = self.inner.lock();
        if inner.closed {
            return;
        }
        inner.urgent = Some(event);
        self.urgent.store(true, Ordering::Release);
        let wakers = [inner.waker.take(), inner.urgent_waker.take()];
        drop(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The urgent event, if there is one.
    pub(crate) fn take_urgent(&self) -> Option<Event> {
        if !self.urgent.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = self.inner.lock();
        self.urgent.store(false, Ordering::Release);
        inner.urgent.take()
    }

    fn put(&self, put: impl FnOnce(&mut Contents)) -> Result<Option<Waker>, Closed> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Closed);
        }
        put(&mut inner.contents);
        self.filled.store(true, Ordering::Release);
        Ok(inner.waker.take())
    }

    /// Take nothing in from now on.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Exchange the contents for an empty parcel; false if there is nothing. Only the connection's own
    /// task may call this.
    pub fn take(&self, parcel: &mut Parcel) -> bool {
        debug_assert!(parcel.is_empty());
        if !self.is_filled() {
            return false;
        }
        parcel.reset(KEEP);
        let mut inner = self.inner.lock();
        std::mem::swap(&mut inner.contents, &mut parcel.contents);
        self.filled.store(false, Ordering::Release);
        !parcel.contents.is_empty()
    }

    /// Ready when there is something to take, urgent or not; else the task is woken when there is.
    pub fn poll_filled(&self, context: &mut Context<'_>) -> Poll<()> {
        let ready = || self.is_filled() || self.urgent.load(Ordering::Acquire);
        self.poll(context, ready, |inner| &mut inner.waker)
    }

    /// Ready when there is something urgent; else the task is woken when there is.
    pub(crate) fn poll_urgent(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll(context, || self.urgent.load(Ordering::Acquire), |inner| &mut inner.urgent_waker)
    }

    fn poll(
        &self,
        context: &mut Context<'_>,
        ready: impl Fn() -> bool,
        waker: fn(&mut Inner) -> &mut Option<Waker>,
    ) -> Poll<()> {
        if ready() {
            return Poll::Ready(());
        }
        let mut inner = self.inner.lock();
        // Filled between the look and the lock.
        if ready() {
            return Poll::Ready(());
        }
        match waker(&mut inner) {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Look at the deliveries that wait.
    pub(crate) fn look(&self, each: &mut impl FnMut(&Delivery<'_>)) {
        self.inner.lock().contents.look(DeliveryCursor::default(), each);
    }

    /// Give up buffers that earlier exchanges left here, if nothing is in them.
    pub(crate) fn shrink(&self) {
        let mut inner = self.inner.lock();
        if inner.contents.is_empty() {
            inner.contents = Contents::default();
        }
    }
}

/// What was taken out of an outbox, walked by its connection.
#[derive(Debug, Default)]
pub struct Parcel {
    contents: Contents,
    cursor: DeliveryCursor,
    walked: usize,
    /// Runs of which the window's credit has been given back.
    credited: DeliveryCursor,
}

impl Parcel {
    /// Whether all of it has been walked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contents.events.is_empty() && self.contents.deliveries.is_walked(&self.cursor)
    }

    /// The next event, if it comes before the next delivery.
    pub fn next_event(&mut self) -> Option<Event> {
        match self.contents.events.front() {
            Some((before, _)) if *before <= self.walked => {
                self.contents.events.pop_front().map(|(_, event)| event)
            }
            _ => None,
        }
    }

    /// Deliveries before the next event.
    #[inline]
    fn before_event(&self) -> usize {
        self.contents.events.front().map_or(usize::MAX, |(before, _)| before.saturating_sub(self.walked))
    }

    /// Walk the deliveries before the next event, run by run, until `each` breaks off; those to consumers that
    /// are not `known` are passed over. A Get is known.
    #[inline]
    pub(crate) fn walk<'a>(
        &'a mut self,
        known: impl Fn(ConsumerId) -> bool,
        mut each: impl FnMut(&Delivery<'a>) -> ControlFlow<()>,
    ) {
        let mut left = self.before_event();
        let Parcel { contents, cursor, walked, .. } = self;
        let deliveries = &contents.deliveries;
        let mut flow = ControlFlow::Continue(());
        while left > 0 && flow.is_continue() && deliveries.enter_run(cursor) {
            let consumer = deliveries.runs()[cursor.run].consumer;
            let count = if consumer.is_none_or(&known) {
                deliveries.walk_run(cursor, left, |delivery| {
                    flow = each(delivery);
                    flow
                })
            } else {
                deliveries.walk_run(cursor, left, |_| ControlFlow::Continue(()))
            };
            *walked += count;
            left -= count;
        }
    }

    /// What has been walked since the last call, as runs.
    pub(crate) fn walked_runs(&mut self, mut each: impl FnMut(Run)) {
        let runs = self.contents.deliveries.runs();
        for (index, run) in runs.iter().enumerate().take(self.cursor.run + 1).skip(self.credited.run) {
            let (count, cost) = if index < self.cursor.run {
                (run.count, run.cost)
            } else {
                (self.cursor.taken, self.cursor.cost)
            };
            let (before, cost_before) =
                if index == self.credited.run { (self.credited.taken, self.credited.cost) } else { (0, 0) };
            if count > before {
                each(Run { count: count - before, cost: cost - cost_before, ..*run });
            }
        }
        self.credited = self.cursor;
    }

    /// Look at the deliveries that have not been walked.
    pub(crate) fn look(&self, each: &mut impl FnMut(&Delivery<'_>)) {
        self.contents.look(self.cursor, each);
    }

    /// Give up all memory, if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.reset(0);
        }
    }

    fn reset(&mut self, keep: usize) {
        self.contents.deliveries.clear(keep);
        self.contents.events.clear();
        self.contents.events.shrink_to(keep / size_of::<Event>());
        self.cursor = DeliveryCursor::default();
        self.credited = DeliveryCursor::default();
        self.walked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_kernel::session::CloseReason;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_something_urgent_wakes_a_task_that_cannot_take_more() {
        let outbox = Outbox::default();
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        outbox.tell_first(Event::Unblocked);
        assert_eq!(outbox.poll_filled(&mut context), Poll::Ready(()));
        assert_eq!(outbox.poll_urgent(&mut context), Poll::Pending);
        assert_eq!(outbox.tell(Event::Unblocked).map(|waker| waker.is_some()), Ok(false));
        let close = Event::Close { reason: CloseReason::Shutdown };
        outbox.tell_urgently(close.clone());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(outbox.poll_urgent(&mut context), Poll::Ready(()));
        assert_eq!((outbox.take_urgent(), outbox.take_urgent()), (Some(close.clone()), None));

        let mut parcel = Parcel::default();
        assert!(outbox.take(&mut parcel));
        assert_eq!(outbox.poll_filled(&mut context), Poll::Pending);
        outbox.tell_urgently(close);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "an idle task hears of it too");
        assert_eq!(outbox.poll_filled(&mut context), Poll::Ready(()));
    }
}
