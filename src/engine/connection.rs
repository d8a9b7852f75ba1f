//! A connection as the engine sees it: its sessions, its consumers, and what waits for it.
//!
//! It belongs to one task. That task gives publishes and requests in, and walks what comes out:
//! [`Connection::next_urgent`], then [`Connection::next_event`] and [`Connection::walk_deliveries`] until neither
//! gives more, then [`Connection::delivered`] returns the consumers' credit. When the connection ends, by its protocol or by
//! accident, [`Connection::end`] (or dropping it) gives everything back.

use crate::Broker;
use crate::connections::{ConsumerDescription, Description, Entry};
use crate::counters::Counter;
use crate::held_back::HeldBack;
use crate::outbox::{Outbox, Parcel};
use crate::queue_cell::QueueCell;
use crate::routes::RouteCache;
use crate::scratch::Scratch;
use crate::transaction::Held;
use crate::vhost::VirtualHost;
use crate::windows::SessionWindow;
use fairlead_journal::Position;
use fairlead_kernel::effect::Slot;
use fairlead_kernel::session::{Delivery, Event, Outcome, Unsettled};
use fairlead_kernel::settings::ConsumerSettings;
use fairlead_kernel::{ConnectionId, ConsumerId, SessionId, Time};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};

/// See the module's text.
#[derive(Debug)]
pub struct Connection {
    pub(crate) broker: Arc<Broker>,
    pub(crate) id: ConnectionId,
    pub(crate) entry: Arc<Entry>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) host: Option<Arc<VirtualHost>>,
    /// By id.
    pub(crate) sessions: Vec<Session>,
    /// By id.
    pub(crate) consumers: Vec<Consumer>,
    /// Queues that go with this connection.
    pub(crate) exclusive: Vec<Arc<QueueCell>>,
    pub(crate) routes: RouteCache,
    /// Number of the batch of publishes at hand.
    pub(crate) batches: u64,
    /// The batch at hand is a transaction's end.
    pub(crate) committing: bool,
    /// See [`Connection::take_outpaces`].
    pub(crate) outpaces: bool,
    /// Confirms that wait for what was read with their publishes.
    pub(crate) held_back: HeldBack,
    /// The last record that it made the journal take, unless that is known to be on disk.
    pub(crate) recorded: Option<Position>,
    /// It is not read, see [`Connection::poll_caught_up`].
    pub(crate) waits_for_disk: bool,
    parcel: Parcel,
    /// Bytes of messages that have not wholly arrived.
    incomplete: u64,
    ended: bool,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The window of the whole session, with its size.
    pub(crate) window: Option<(Arc<SessionWindow>, u32)>,
    /// Deliveries that its consumers have to settle.
    pub(crate) unsettled: u64,
    /// Publishes of the open transaction.
    pub(crate) held: Vec<Held>,
    /// Bytes of their bodies and heads.
    pub(crate) held_bytes: u64,
    /// The direct-reply address.
    pub(crate) reply_token: Option<Box<str>>,
}

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) session: SessionId,
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) slot: Slot,
    pub(crate) settings: Arc<ConsumerSettings>,
    /// Bytes that may lie in the outbox at a time.
    pub(crate) transfer_window: u32,
    /// Bytes that have left the outbox and are not granted again yet.
    pub(crate) owed: u64,
    /// It is detached, and its client will be told behind its last delivery.
    pub(crate) cancelled: bool,
}

impl Connection {
    pub(crate) fn new(broker: Arc<Broker>, entry: Arc<Entry>) -> Connection {
        Connection {
            broker,
            id: entry.id,
            entry,
            user: None,
            host: None,
            sessions: Vec::new(),
            consumers: Vec::new(),
            exclusive: Vec::new(),
            routes: RouteCache::default(),
            batches: 0,
            committing: false,
            outpaces: false,
            held_back: HeldBack::default(),
            recorded: None,
            waits_for_disk: false,
            parcel: Parcel::default(),
            incomplete: 0,
            ended: false,
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// What the broker keeps of it for operators.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Why publishers are to be stopped, if they are.
    #[must_use]
    pub fn blocked(&self) -> Option<&'static str> {
        self.broker.blocked()
    }

    /// Ready when events or deliveries wait; else the task is woken when they do.
    pub fn poll_filled(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.parcel.is_empty() { self.outbox().poll_filled(context) } else { Poll::Ready(()) }
    }

    /// What must not wait behind anything else, not even behind output that the peer does not read: the connection's
    /// end.
    pub fn next_urgent(&mut self) -> Option<Event> {
        self.outbox().take_urgent()
    }

    /// Ready when there is something urgent; else the task is woken when there is.
    pub fn poll_urgent(&self, context: &mut Context<'_>) -> Poll<()> {
        self.outbox().poll_urgent(context)
    }

    /// So many bytes are held of messages that have not wholly arrived: they count as memory of messages.
    pub fn holds_incomplete(&mut self, bytes: u64) {
        if bytes != self.incomplete {
            self.broker.memory_changed(bytes as i64 - self.incomplete as i64);
            self.incomplete = bytes;
        }
    }

    /// Whether a queue was left behind its publisher since the last call: messages wait although it has consumers.
    /// Whoever publishes gives way then, so that queues stay short and what is in them near.
    pub fn take_outpaces(&mut self) -> bool {
        std::mem::take(&mut self.outpaces)
    }

    /// Whether events or deliveries wait.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        !self.parcel.is_empty() || self.outbox().is_filled()
    }

    /// The next event, unless deliveries come before it.
    pub fn next_event(&mut self) -> Option<Event> {
        if self.parcel.is_empty() && !self.take() {
            return None;
        }
        let event = self.parcel.next_event()?;
        match event {
            Event::ConsumerCancelled { consumer, .. } => drop(self.forget_consumer(consumer)),
            Event::Reply { session, .. } => self.forget_cancelled(session),
            _ => {}
        }
        Some(event)
    }

    /// Walk the deliveries that come before the next event, until `each` breaks off. Those of consumers that
    /// went with their session are passed over: they were given back.
    #[inline]
    pub fn walk_deliveries<'a>(&'a mut self, each: impl FnMut(&Delivery<'a>) -> ControlFlow<()>) {
        if self.parcel.is_empty() && !self.take() {
            return;
        }
        let Connection { parcel, consumers, .. } = self;
        parcel.walk(|id| consumers.binary_search_by_key(&id, |consumer| consumer.id).is_ok(), each);
    }

    /// Put the outbox's contents into the empty parcel.
    fn take(&mut self) -> bool {
        debug_assert!(self.parcel.is_empty());
        let mut parcel = std::mem::take(&mut self.parcel);
        self.count_walked(&mut parcel);
        let filled = self.outbox().take(&mut parcel);
        self.parcel = parcel;
        filled
    }

    /// All deliveries given so far have been encoded: their bytes are granted to their consumers again, in
    /// portions of at least half a window.
    pub fn delivered(&mut self, now: Time) {
        self.count_all_walked();
        for at in 0..self.consumers.len() {
            let Consumer { cell, slot, transfer_window, owed, .. } = &mut self.consumers[at];
            if *owed < u64::from(*transfer_window / 2) {
                continue;
            }
            let bytes = std::mem::take(owed);
            let (cell, slot) = (Arc::clone(cell), *slot);
            self.enter(&cell, now, |q| {
                // A queue that is gone has no consumers to grant to.
                let _ = q.queue.grant(slot, 0, bytes, &mut q.turn);
            });
        }
    }

    pub(crate) fn count_all_walked(&mut self) {
        let mut parcel = std::mem::take(&mut self.parcel);
        self.count_walked(&mut parcel);
        self.parcel = parcel;
    }

    fn count_walked(&mut self, parcel: &mut Parcel) {
        let (mut waiting, mut settled, mut bytes) = (0, 0, 0);
        parcel.walked_runs(|run| {
            let count = u64::from(run.count);
            bytes += run.cost;
            let Some(consumer) = run.consumer else { return };
            let Ok(at) = self.consumers.binary_search_by_key(&consumer, |consumer| consumer.id) else {
                return;
            };
            self.consumers[at].owed += run.cost;
            if run.acknowledge {
                waiting += count;
                if let Some(session) = self.sessions.iter_mut().find(|session| session.id == run.session) {
                    session.unsettled += count;
                }
            } else {
                settled += count;
            }
        });
        let counters = &self.broker.counters;
        counters.add(Counter::Delivered, waiting);
        counters.add(Counter::DeliveredSettled, settled);
        counters.add(Counter::DeliveredBytes, bytes);
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.entry.outbox
    }

    /// Put an event of our own behind all deliveries.
    pub(crate) fn tell_later(&self, event: Event) {
        // The task that would be woken is ours, and at work; an outbox that is closed needs no telling.
        let _ = self.outbox().tell(event);
    }

    /// One step of a queue, and what follows from it.
    pub(crate) fn enter<R>(
        &self,
        cell: &Arc<QueueCell>,
        now: Time,
        step: impl FnOnce(&mut crate::queue_cell::Entered<'_>) -> R,
    ) -> R {
        Scratch::with(|scratch| {
            let result = cell.enter(&self.broker, scratch, now, step);
            self.broker.follow_up(scratch, now);
            result
        })
    }

    pub(crate) fn session(&mut self, id: SessionId) -> &mut Session {
        match self.sessions.binary_search_by_key(&id, |session| session.id) {
            Ok(at) => &mut self.sessions[at],
            Err(at) => {
                self.sessions.insert(
                    at,
                    Session {
                        id,
                        window: None,
                        unsettled: 0,
                        held: Vec::new(),
                        held_bytes: 0,
                        reply_token: None,
                    },
                );
                &mut self.sessions[at]
            }
        }
    }

    pub(crate) fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        let at = self.consumers.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        Some(&self.consumers[at])
    }

    pub(crate) fn forget_consumer(&mut self, id: ConsumerId) -> Option<Consumer> {
        let at = self.consumers.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        let consumer = self.consumers.remove(at);
        if self.consumers.is_empty() {
            self.consumers = Vec::new();
        }
        Some(consumer)
    }

    /// The reply to its cancellation has passed: so have all its deliveries.
    fn forget_cancelled(&mut self, session: SessionId) {
        let gone = |consumer: &Consumer| consumer.cancelled && consumer.session == session;
        if self.consumers.iter().any(gone) {
            self.consumers.retain(|consumer| !gone(consumer));
        }
    }

    /// Detach a consumer from its queue; it stays known until forgotten.
    pub(crate) fn detach(&self, consumer: &Consumer, now: Time) {
        let Consumer { slot, session, ref cell, .. } = *consumer;
        let alone = !self.consumers.iter().any(|other| {
            other.session == session && other.id != consumer.id && Arc::ptr_eq(&other.cell, cell)
        });
        self.enter(cell, now, |q| {
            // Gone with its queue: detached already.
            let _ = q.queue.detach(slot, &mut q.turn);
            q.unlink(slot);
            if alone {
                q.turn.windows.set(self.id, session, None);
            }
        });
    }

    /// Publish what operators see; the consumers are filled in here.
    pub fn describe(&self, mut description: Description) {
        description.consumers = self
            .consumers
            .iter()
            .filter(|consumer| !consumer.cancelled)
            .map(|consumer| ConsumerDescription {
                session: consumer.session.0,
                vhost: Arc::clone(consumer.cell.host.name()),
                queue: Arc::clone(&consumer.cell.name),
                settings: Arc::clone(&consumer.settings),
                cell: Arc::clone(&consumer.cell),
                slot: consumer.slot,
            })
            .collect();
        self.entry.description.store(Some(Arc::new(description)));
    }

    /// Give up memory that only a busy connection needs.
    pub fn rest(&mut self) {
        self.routes = RouteCache::default();
        self.parcel.shrink();
        self.outbox().shrink();
    }

    /// The connection has ended, by its protocol or without a word: what it held goes back, and what was only
    /// its own goes. `unsettled` is what its adapter had delivered and not settled.
    pub fn end(&mut self, unsettled: &[Unsettled], now: Time) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.outbox().close();
        if let Some(store) = self.broker.store.as_ref().filter(|_| self.waits_for_disk) {
            store.wake_no_more(self.id);
        }
        self.holds_incomplete(0);
        for consumer in std::mem::take(&mut self.consumers) {
            self.detach(&consumer, now);
        }
        for session in std::mem::take(&mut self.sessions) {
            self.end_session(&session, now);
        }
        let mut waiting = self.waiting(|_| true);
        waiting.extend_from_slice(unsettled);
        self.settle_all(Outcome::Released { delivered: true }, waiting, now);
        for cell in std::mem::take(&mut self.exclusive) {
            // Deleted by somebody already: as wanted.
            let _ = self.broker.delete_cell(&cell, (false, false), now);
        }
        self.broker.disconnect(self);
    }

    /// The deliveries of certain sessions that wait to be walked and to be settled.
    pub(crate) fn waiting(&self, which: impl Fn(SessionId) -> bool) -> Vec<Unsettled> {
        let mut waiting = Vec::new();
        let mut look = |delivery: &Delivery<'_>| {
            let Delivery { session, queue, sequence, consumer, .. } = *delivery;
            if delivery.acknowledge && which(session) {
                waiting.push(Unsettled { queue, sequence, consumer });
            }
        };
        self.parcel.look(&mut look);
        self.outbox().look(&mut look);
        waiting
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Only after a fault of our own: a task that ends as it should has called `end`.
        let now = self.broker.clock.now();
        self.end(&[], now);
    }
}
