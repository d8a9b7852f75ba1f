//! A queue where tasks meet: the kernel's queue behind one short lock, its consumers' outboxes, and its
//! figures for readers who take no lock.
//!
//! Flow of [`QueueCell::enter`]: lock -> one step of the queue -> deliveries into outboxes (a consumer whose
//! connection has gone is detached, and what it was to get goes to the next) -> dead letters lined up ->
//! figures published -> unlock -> wake the connections -> note what is left to do in the [`Scratch`].

use crate::Broker;
use crate::counters::Counter;
use crate::janitor::Deadline;
use crate::outbox::Outbox;
use crate::scratch::{KEEP, Scratch};
use crate::store::{Log, Want};
use crate::vhost::VirtualHost;
use crate::windows::Windows;
use fairlead_kernel::effect::{Cancelled, DeadLetter, DeliveryBatch, DeliveryCursor, Effects, Slot};
use fairlead_kernel::queue::{Counters, Queue, Turn};
use fairlead_kernel::session::{Event, Outcome};
use fairlead_kernel::{QueueId, Sequence, Time};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A consumer's place, and where its deliveries go.
type Link = (Slot, Arc<Outbox>);

/// A queue and what surrounds it.
#[derive(Debug)]
pub(crate) struct QueueCell {
    id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) host: Arc<VirtualHost>,
    /// Rank: queue. Leaves may be locked under it.
    inner: Mutex<Inner>,
    pub(crate) figures: Figures,
    pub(crate) deadline: Deadline,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    /// Outboxes by consumer slot.
    links: Vec<Option<Link>>,
    windows: Windows,
    /// Dead letters that wait to be sent, in the order in which they died.
    departing: VecDeque<DeadLetter>,
    /// Somebody has it in hand to send them: one at a time, else they would overtake each other.
    sending: bool,
    /// Bytes that the broker's gauge knows of.
    memory: i64,
    log: Log,
}

/// What readers see: as of the last step.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) ready: AtomicU64,
    pub(crate) ready_bytes: AtomicU64,
    pub(crate) unsettled: AtomicU64,
    pub(crate) unsettled_bytes: AtomicU64,
    pub(crate) consumers: AtomicU64,
    pub(crate) memory: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) redelivered: AtomicU64,
    pub(crate) unwanted: Unwanted,
    /// Which consumers are served: [`ALL_SERVED`], or the index of the only one's slot, or [`NONE_SERVED`].
    served: AtomicU64,
}

/// How messages left, or were kept out, that nobody took.
#[derive(Debug, Default)]
pub(crate) struct Unwanted {
    pub(crate) refused: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) displaced: AtomicU64,
    pub(crate) exhausted: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
}

const ALL_SERVED: u64 = u64::MAX;
const NONE_SERVED: u64 = u64::MAX - 1;

/// A queue locked for one step.
pub(crate) struct Entered<'a> {
    pub(crate) queue: &'a mut Queue,
    pub(crate) turn: Turn<'a, Log, Windows>,
    links: &'a mut Vec<Option<Link>>,
}

impl Entered<'_> {
    /// What the consumer in that slot gets goes there.
    pub(crate) fn link(&mut self, slot: Slot, outbox: &Arc<Outbox>) {
        if self.links.len() <= slot.index() {
            self.links.resize_with(slot.index() + 1, || None);
        }
        self.links[slot.index()] = Some((slot, Arc::clone(outbox)));
    }

    /// The consumer in that slot has gone.
    pub(crate) fn unlink(&mut self, slot: Slot) {
        if let Some(link) = self.links.get_mut(slot.index()) {
            // A later consumer may have its place by now.
            link.take_if(|(holder, _)| *holder == slot);
        }
        if self.links.iter().all(Option::is_none) {
            *self.links = Vec::new();
        }
    }
}

impl QueueCell {
    /// A queue of that host, whose commands go into the log.
    pub(crate) fn new(queue: Queue, log: Log, host: Arc<VirtualHost>) -> QueueCell {
        let (id, name) = (queue.id(), Arc::clone(queue.name()));
        let figures = Figures::default();
        // What a start has found is seen before anybody uses the queue.
        figures.publish(&queue, 0);
        QueueCell {
            id,
            host,
            inner: Mutex::new(Inner {
                queue,
                links: Vec::new(),
                windows: Windows::default(),
                departing: VecDeque::new(),
                sending: false,
                memory: 0,
                log,
            }),
            name,
            figures,
            deadline: Deadline::default(),
        }
    }

    pub(crate) fn id(&self) -> QueueId {
        self.id
    }

    /// Do one step, and all that has to be done before another. See the module's text.
    pub(crate) fn enter<R>(
        self: &Arc<Self>,
        broker: &Broker,
        scratch: &mut Scratch,
        now: Time,
        step: impl FnOnce(&mut Entered<'_>) -> R,
    ) -> R {
        scratch.effects.clear(KEEP);
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        inner.log.before_step(&mut inner.queue, &broker.memory);
        let result = step(&mut inner.entered(&mut scratch.effects, now));
        inner.hand_over(scratch, now);
        if inner.collect_letters(&mut scratch.effects) {
            scratch.letters.push(Arc::clone(self));
        }
        inner.log.after_step(&mut inner.queue);
        let memory = inner.memory_now();
        let grown = memory - std::mem::replace(&mut inner.memory, memory);
        let redelivered = self.figures.publish(&inner.queue, memory);
        drop(guard);
        if redelivered > 0 {
            broker.counters.add(Counter::Redelivered, redelivered);
        }
        broker.memory_changed(grown);
        scratch.wake();
        self.note(broker, scratch);
        result
    }

    /// Look at the queue and its log, between steps.
    pub(crate) fn with_log<R>(&self, look: impl FnOnce(&mut Queue, &mut Log) -> R) -> R {
        let mut inner = self.inner.lock();
        let Inner { queue, log, .. } = &mut *inner;
        look(queue, log)
    }

    /// Whether messages wait although there are consumers, as of the last step: none of them can take more now.
    pub(crate) fn is_behind(&self) -> bool {
        let holds = |figure: &AtomicU64| figure.load(Ordering::Relaxed) > 0;
        holds(&self.figures.ready) && holds(&self.figures.consumers)
    }

    /// The next dead letters that wait, at most so many, for whoever has them in hand. None: all are sent, and he has
    /// them in hand no more.
    pub(crate) fn take_letters(&self, most: usize) -> Vec<DeadLetter> {
        let mut inner = self.inner.lock();
        let count = inner.departing.len().min(most);
        if count == 0 {
            inner.departing = VecDeque::new();
            inner.sending = false;
        }
        inner.departing.drain(..count).collect()
    }

    /// Note what the step asked for.
    fn note(self: &Arc<Self>, broker: &Broker, scratch: &mut Scratch) {
        let effects = &mut scratch.effects;
        if effects.more {
            broker.janitor.note(self.id, &self.deadline, Time(0));
        } else if let Some(deadline) = effects.deadline {
            broker.janitor.note(self.id, &self.deadline, deadline);
        }
        if let Some(store) = &broker.store {
            if !effects.fetches.is_empty() {
                store.fetches.want(Arc::clone(self), Want::Messages(std::mem::take(&mut effects.fetches)));
            }
            if let Some(page) = effects.page {
                store.fetches.want(Arc::clone(self), Want::Page(page));
            }
        }
        if effects.delete_me {
            scratch.deletions.push(Arc::clone(self));
        }
    }
}

impl Inner {
    fn entered<'a>(&'a mut self, effects: &'a mut Effects, now: Time) -> Entered<'a> {
        Entered {
            queue: &mut self.queue,
            turn: Turn { now, log: &mut self.log, windows: &mut self.windows, effects },
            links: &mut self.links,
        }
    }

    /// Deliveries into outboxes.
    fn hand_over(&mut self, scratch: &mut Scratch, now: Time) {
        let Scratch { effects, wakers, undeliverable, .. } = scratch;
        loop {
            let links = &self.links;
            effects.drain_deliveries(|slot, batch| {
                match outbox_of(links, slot).map(|outbox| outbox.deliver(batch)) {
                    Some(Ok(waker)) => wakers.extend(waker),
                    _ => undeliverable.push(std::mem::take(batch)),
                }
            });
            for cancelled in effects.cancelled.drain(..) {
                wakers.extend(tell_cancelled(links, &cancelled));
            }
            let Some(batch) = undeliverable.pop() else { break };
            self.take_back(&batch, effects, now);
        }
        if self.queue.is_gone() {
            self.links = Vec::new();
            self.windows = Windows::default();
        }
    }

    /// Dead letters line up behind those that wait; true if the caller has to send them now.
    fn collect_letters(&mut self, effects: &mut Effects) -> bool {
        if effects.dead_letters.is_empty() {
            return false;
        }
        self.departing.extend(effects.dead_letters.drain(..));
        !std::mem::replace(&mut self.sending, true)
    }

    /// A tombstone counts for nothing.
    fn memory_now(&self) -> i64 {
        if self.queue.is_gone() { 0 } else { self.queue.memory() as i64 }
    }

    /// The connection of these deliveries has gone before they could reach it.
    fn take_back(&mut self, batch: &DeliveryBatch, effects: &mut Effects, now: Time) {
        let mut entered = self.entered(effects, now);
        for slot in batch.runs().iter().filter_map(|run| run.slot) {
            entered.unlink(slot);
            let _ = entered.queue.detach(slot, &mut entered.turn);
        }
        let held = unsettled_of(batch);
        let released = Outcome::Released { delivered: false };
        // A queue that is gone holds nothing that could come back.
        let _ = entered.queue.settle(&held, released, &mut entered.turn);
    }
}

/// The deliveries of a batch that wait to be settled, by nobody.
fn unsettled_of(batch: &DeliveryBatch) -> Vec<(Sequence, Option<Slot>)> {
    let mut cursor = DeliveryCursor::default();
    std::iter::from_fn(|| batch.next(&mut cursor))
        .filter(|delivery| delivery.acknowledge)
        .map(|delivery| (delivery.sequence, None))
        .collect()
}

fn outbox_of(links: &[Option<Link>], slot: Slot) -> Option<&Outbox> {
    let (holder, outbox) = links.get(slot.index())?.as_ref()?;
    (*holder == slot).then_some(outbox)
}

fn tell_cancelled(links: &[Option<Link>], gone: &Cancelled) -> Option<std::task::Waker> {
    let outbox = outbox_of(links, gone.slot)?;
    outbox.tell(Event::ConsumerCancelled { session: gone.session, consumer: gone.consumer }).ok()?
}

impl Unwanted {
    fn publish(&self, counters: &Counters) {
        let set = |figure: &AtomicU64, value: u64| figure.store(value, Ordering::Relaxed);
        set(&self.refused, counters.refused);
        set(&self.expired, counters.expired);
        set(&self.displaced, counters.displaced);
        set(&self.exhausted, counters.exhausted);
        set(&self.dead_lettered, counters.dead_lettered);
    }
}

impl Figures {
    /// Returns how many deliveries of messages that may have been delivered before are new.
    fn publish(&self, queue: &Queue, memory: i64) -> u64 {
        let (ready, unsettled, counters) = (queue.ready(), queue.unsettled(), queue.counters());
        let set = |figure: &AtomicU64, value: u64| figure.store(value, Ordering::Relaxed);
        set(&self.ready, ready.messages);
        set(&self.ready_bytes, ready.bytes);
        set(&self.unsettled, unsettled.messages);
        set(&self.unsettled_bytes, unsettled.bytes);
        set(&self.consumers, queue.consumers() as u64);
        set(&self.memory, memory.unsigned_abs());
        set(&self.published, counters.published);
        let got = counters.got + counters.got_no_ack;
        set(&self.delivered, counters.delivered + counters.delivered_no_ack + got);
        set(&self.accepted, counters.accepted);
        self.unwanted.publish(counters);
        let redelivered_before = self.redelivered.load(Ordering::Relaxed);
        set(&self.redelivered, counters.redelivered);
        let served = queue.single_active();
        set(
            &self.served,
            served.map_or(ALL_SERVED, |one| one.map_or(NONE_SERVED, |slot| slot.index() as u64)),
        );
        counters.redelivered - redelivered_before
    }

    /// Whether the consumer in that slot is served.
    pub(crate) fn serves(&self, slot: Slot) -> bool {
        let served = self.served.load(Ordering::Relaxed);
        served == ALL_SERVED || served == slot.index() as u64
    }
}
