//! What a session asks for, one request at a time, in order.

use crate::connection::{Connection, Consumer, Session};
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use crate::replies::REPLY_BYTES;
use crate::store::{Log, during};
use crate::vhost::VirtualHost;
use crate::windows::SessionWindow;
use fairlead_journal::Position;
use fairlead_kernel::queue::{Attachment, Denial, Got, Queue};
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::session::{Event, Mechanism, Outcome, Reply, Request, Unsettled};
use fairlead_kernel::settings::{ConsumerSettings, Limits, QueueSettings};
use fairlead_kernel::topology::QueueDecision;
use fairlead_kernel::{ConsumerId, Refusal, SessionId, Time};
use std::sync::Arc;

/// Bytes that deliveries of one connection may take in its outbox, shared out to its consumers.
const TRANSFER_BYTES: usize = 4 << 20;
/// Bounds of one consumer's share. The larger one takes what a read of 256 KiB brings, and is granted again in
/// halves: with 256 KiB each read's messages went out in two writes, and waited in the queue between them.
const TRANSFER_LEAST: usize = 16 << 10;
const TRANSFER_MOST: usize = 384 << 10;

/// How often a declaration is tried that finds its queue on the way out; each time is another deletion.
const DECLARE_ATTEMPTS: usize = 16;

/// What a request comes to.
type Answer = Result<Reply, Refusal>;

/// Whether the answer to a request says that something is kept, or is kept no more.
fn is_kept(request: &Request) -> bool {
    match request {
        // One that is only asked for may be one that is kept.
        Request::DeclareExchange { settings, .. } => {
            settings.as_ref().is_none_or(|settings| settings.durable)
        }
        Request::DeclareQueue { settings, .. } => {
            settings.as_deref().is_none_or(|settings| settings.durable && settings.exclusive.is_none())
        }
        Request::DeleteExchange { .. }
        | Request::DeleteQueue { .. }
        | Request::Bind(_)
        | Request::Unbind(_)
        | Request::PurgeQueue { .. } => true,
        Request::Authenticate { .. }
        | Request::OpenVirtualHost { .. }
        | Request::OpenSession
        | Request::CloseSession { .. }
        | Request::Subscribe { .. }
        | Request::SubscribeReplies { .. }
        | Request::CheckReplyAddress { .. }
        | Request::Unsubscribe { .. }
        | Request::SetSessionWindow { .. }
        | Request::Get { .. }
        | Request::Settle { .. }
        | Request::Commit { .. }
        | Request::Rollback => false,
    }
}

impl Connection {
    /// Carry out a request. `None`: it has no reply, or the reply is a delivery, or comes later, behind what
    /// waits in the outbox.
    pub fn execute(&mut self, session: SessionId, request: Request, now: Time) -> Option<Event> {
        let answer = match request {
            Request::OpenSession => {
                self.session(session);
                self.broker.counters.add(Counter::SessionsOpened, 1);
                return None;
            }
            Request::Settle { outcome, deliveries } => {
                let ((), recorded) = during(|| self.settle(session, outcome, deliveries, now));
                self.held_back.recorded(recorded);
                return None;
            }
            Request::SetSessionWindow { window } => {
                self.set_session_window(session, window, now);
                return None;
            }
            Request::Get { queue, acknowledge } => match self.get(session, &queue, acknowledge, now) {
                Ok(true) => return None,
                Ok(false) => Ok(Reply::Empty),
                Err(refusal) => Err(refusal),
            },
            Request::Unsubscribe { consumer } => {
                self.unsubscribe(consumer, now);
                self.tell_later(Event::Reply { session, result: Ok(Reply::Done) });
                return None;
            }
            Request::Commit { settlements } => {
                let (result, recorded) = during(|| self.commit(session, settlements, now));
                self.recorded = recorded.or(self.recorded);
                // Where nothing was kept, a queue may have gone with what the transaction was about.
                let recorded = recorded.or_else(|| Some(self.broker.store.as_ref()?.last_change()));
                let reply = Event::Reply { session, result: result.map(|()| Reply::Done) };
                // Returns come first, and they wait behind deliveries.
                if let Some(reply) = self.unless_recorded(recorded, reply) {
                    self.tell_later(reply);
                }
                return None;
            }
            other => {
                let waits = is_kept(&other);
                let (result, recorded) = during(|| self.answer(session, other, now));
                let recorded = recorded.or_else(|| Some(self.broker.store.as_ref()?.last_change()));
                return self.unless_recorded(recorded.filter(|_| waits), Event::Reply { session, result });
            }
        };
        Some(Event::Reply { session, result: answer })
    }

    /// An event that tells of what was recorded at that position: given back if it can be told now, else it comes when
    /// it is on disk.
    pub(crate) fn unless_recorded(&self, recorded: Option<Position>, event: Event) -> Option<Event> {
        match (recorded, &self.broker.store) {
            (Some(position), Some(store)) if !store.is_durable(position) => {
                store.tell_when_durable(&self.entry, position, event);
                None
            }
            _ => Some(event),
        }
    }

    fn answer(&mut self, session: SessionId, request: Request, now: Time) -> Answer {
        match request {
            Request::Authenticate { mechanism, user, secret } => {
                self.authenticate(mechanism, &user, &secret, now)
            }
            Request::OpenVirtualHost { name } => self.open_host(name),
            Request::CloseSession { unsettled } => {
                self.close_session(session, unsettled, now);
                Ok(Reply::Done)
            }
            Request::DeclareExchange { name, settings } => self
                .opened()?
                .decide(|topology| topology.decide_declare_exchange(&name, settings.as_ref()))
                .map(|_| Reply::Done),
            Request::DeleteExchange { name, if_unused } => self
                .opened()?
                .decide(|topology| topology.decide_delete_exchange(&name, if_unused))
                .map(|_| Reply::Done),
            Request::Bind(binding) => {
                let id = self.id;
                self.opened()?.decide(|topology| topology.decide_bind(&binding, id)).map(|_| Reply::Done)
            }
            Request::Unbind(binding) => {
                let id = self.id;
                self.opened()?.decide(|topology| topology.decide_unbind(&binding, id)).map(|_| Reply::Done)
            }
            Request::DeclareQueue { name, settings } => self.declare_queue(&name, settings.as_deref(), now),
            Request::DeleteQueue { name, if_unused, if_empty } => {
                self.delete_queue(&name, (if_unused, if_empty), now)
            }
            Request::PurgeQueue { name } => {
                let cell = self.queue(&name)?;
                let messages = self.broker.purge_cell(&cell, now);
                Ok(Reply::Removed { messages })
            }
            Request::Subscribe { consumer, queue, settings } => {
                self.subscribe(session, consumer, &queue, *settings, now)
            }
            Request::SubscribeReplies { consumer, token, tag } => {
                self.subscribe_replies(session, consumer, &token, tag, now)
            }
            Request::CheckReplyAddress { token } => match self.broker.replies.get(&token) {
                Some(cell) => Ok(Reply::Queue { name: cell.name.to_string(), messages: 0, consumers: 1 }),
                None => Err(Refusal::NotFound(Resource::Queue, token)),
            },
            Request::Rollback => {
                self.roll_back(session);
                Ok(Reply::Done)
            }
            // These have no answer of this kind.
            Request::OpenSession
            | Request::Settle { .. }
            | Request::SetSessionWindow { .. }
            | Request::Get { .. }
            | Request::Commit { .. }
            | Request::Unsubscribe { .. } => Ok(Reply::Done),
        }
    }

    fn authenticate(&mut self, mechanism: Mechanism, user: &str, secret: &[u8], now: Time) -> Answer {
        let settings = self.broker.settings();
        let loopback = self.entry.endpoints.loopback;
        let checked = settings.authentication.check(mechanism, user, secret, loopback);
        let name = checked.map_err(|fault| {
            self.broker.counters.add(Counter::LoginsRefused, 1);
            if let Some(withheld) = self.broker.refused_logins.pass(now) {
                tracing::warn!(peer = %self.entry.endpoints.peer, user, withheld, "login refused: {fault}");
            }
            Refusal::LoginRefused
        })?;
        if self.user.is_none() {
            let user: Arc<str> = name.as_str().into();
            self.broker.connections.log_in(&user, settings.connections_per_user)?;
            self.user = Some(user);
        }
        Ok(Reply::Authenticated { user: name })
    }

    fn open_host(&mut self, name: String) -> Answer {
        match self.broker.host(&name) {
            Some(host) => {
                self.host = Some(host);
                Ok(Reply::Done)
            }
            None => Err(Refusal::NoVirtualHost(name)),
        }
    }

    /// The virtual host, which every adapter opens before it asks for anything in it.
    pub(crate) fn opened(&self) -> Result<&Arc<VirtualHost>, Refusal> {
        self.host.as_ref().ok_or_else(|| Refusal::NoVirtualHost(String::new()))
    }

    /// A queue by name, for use by this connection.
    fn queue(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        let id = self.opened()?.topology().queue_for(name, self.id)?.id();
        self.broker.queues.get(id).ok_or_else(|| Refusal::NotFound(Resource::Queue, name.to_owned()))
    }

    fn declare_queue(&mut self, name: &str, settings: Option<&QueueSettings>, now: Time) -> Answer {
        for _ in 0..DECLARE_ATTEMPTS {
            if let Some(reply) = self.try_declare_queue(name, settings, now)? {
                return Ok(reply);
            }
            // The queue is being deleted. Whoever does it holds the right to change the topology until it is done.
            drop(self.opened()?.change());
        }
        Err(Refusal::NotFound(Resource::Queue, name.to_owned()))
    }

    /// `None`: there is such a queue, and it is going.
    pub(crate) fn try_declare_queue(
        &mut self,
        name: &str,
        settings: Option<&QueueSettings>,
        now: Time,
    ) -> Result<Option<Reply>, Refusal> {
        let host = Arc::clone(self.opened()?);
        let (decision, created) = self.broker.declare_queue(&host, name, settings, self.id, now)?;
        if let Some(cell) = created {
            if settings.is_some_and(|settings| settings.exclusive.is_some()) {
                if self.exclusive.len() == self.exclusive.capacity() {
                    // Those that went by themselves, before the list grows.
                    self.exclusive.retain(|cell| self.broker.queues.get(cell.id()).is_some());
                }
                self.exclusive.push(cell);
            }
            return Ok(Some(Reply::Queue { name: name.to_owned(), messages: 0, consumers: 0 }));
        }
        let QueueDecision::Existing(id) = decision else {
            return Err(Refusal::NotFound(Resource::Queue, name.to_owned()));
        };
        let Some(cell) = self.broker.queues.get(id) else { return Ok(None) };
        let found = self.enter(&cell, now, |q| {
            let counts = (q.queue.ready().messages, q.queue.consumers() as u32);
            q.queue.touch(now).map(|()| counts)
        });
        let reply = |(messages, consumers)| Reply::Queue { name: name.to_owned(), messages, consumers };
        Ok(found.ok().map(reply))
    }

    fn delete_queue(&mut self, name: &str, conditions: (bool, bool), now: Time) -> Answer {
        let topology = arc_swap::Guard::into_inner(self.opened()?.topology());
        if topology.decide_delete_queue(name, self.id)?.is_none() {
            return Ok(Reply::Removed { messages: 0 });
        }
        let cell = self.queue(name)?;
        let messages = self.broker.delete_cell(&cell, conditions, now)?;
        self.exclusive.retain(|other| other.id() != cell.id());
        Ok(Reply::Removed { messages })
    }

    fn subscribe(
        &mut self,
        session: SessionId,
        consumer: ConsumerId,
        queue: &str,
        settings: ConsumerSettings,
        now: Time,
    ) -> Answer {
        let cell = self.queue(queue)?;
        self.attach(session, consumer, cell, settings, now)?;
        Ok(Reply::Done)
    }

    fn attach(
        &mut self,
        session: SessionId,
        id: ConsumerId,
        cell: Arc<QueueCell>,
        settings: ConsumerSettings,
        now: Time,
    ) -> Result<(), Refusal> {
        let window = self.session(session).window.as_ref().map(|(window, _)| Arc::clone(window));
        let share = TRANSFER_BYTES / (self.consumers.len() + 1);
        let transfer_window = share.clamp(TRANSFER_LEAST, TRANSFER_MOST) as u32;
        let settings = Arc::new(settings);
        let attachment = Attachment {
            connection: self.id,
            session,
            consumer: id,
            settings: &settings,
            transfer_window,
            shared_window: window.is_some(),
        };
        let slot = self.enter(&cell, now, |q| {
            if let Some(window) = window {
                q.turn.windows.set(attachment.connection, session, Some(window));
            }
            let slot = q.queue.attach(&attachment, &mut q.turn)?;
            q.link(slot, &self.entry.outbox);
            Ok::<_, Denial>(slot)
        });
        let slot = slot.map_err(|denial| match denial {
            Denial::Refused(refusal) => refusal,
            Denial::Gone(_) => Refusal::NotFound(Resource::Queue, cell.name.to_string()),
        })?;
        let consumer =
            Consumer { id, session, cell, slot, settings, transfer_window, owed: 0, cancelled: false };
        let at = self.consumers.partition_point(|other| other.id < id);
        self.consumers.insert(at, consumer);
        Ok(())
    }

    fn subscribe_replies(
        &mut self,
        session: SessionId,
        consumer: ConsumerId,
        token: &str,
        tag: String,
        now: Time,
    ) -> Answer {
        let host = Arc::clone(self.opened()?);
        let limits = Limits { max_bytes: Some(REPLY_BYTES), ..Limits::default() };
        let name: Arc<str> = format!("{}{token}", crate::replies::REPLY_PREFIX).into();
        let identity = (self.broker.queues.next_id(), name);
        let settings = QueueSettings::default();
        let (id, name) = identity;
        let queue = Queue::new(id, name, &settings, &limits, self.broker.readers, now);
        let cell = Arc::new(QueueCell::new(queue, Log::Memory, host));
        let settings = ConsumerSettings { tag, ..ConsumerSettings::default() };
        self.attach(session, consumer, Arc::clone(&cell), settings, now)?;
        self.broker.replies.insert(token, cell);
        self.session(session).reply_token = Some(token.into());
        Ok(Reply::Done)
    }

    fn unsubscribe(&mut self, id: ConsumerId, now: Time) {
        let Ok(at) = self.consumers.binary_search_by_key(&id, |consumer| consumer.id) else { return };
        self.detach(&self.consumers[at], now);
        let consumer = &mut self.consumers[at];
        consumer.cancelled = true;
        let (session, cell) = (consumer.session, consumer.cell.id());
        self.drop_reply_address(session, now, |address| address.id() == cell);
    }

    /// The session's reply address goes, if it is the one.
    fn drop_reply_address(&mut self, session: SessionId, now: Time, is: impl Fn(&QueueCell) -> bool) {
        let Ok(at) = self.sessions.binary_search_by_key(&session, |session| session.id) else { return };
        let session = &mut self.sessions[at];
        if let Some(token) = &session.reply_token
            && self.broker.replies.get(token).is_some_and(|cell| is(&cell))
        {
            let token = session.reply_token.take();
            self.remove_reply_address(token.as_deref(), now);
        }
    }

    /// Replies that still wait go with their address, and what comes later finds it gone.
    fn remove_reply_address(&self, token: Option<&str>, now: Time) {
        if let Some(cell) = token.and_then(|token| self.broker.replies.remove(token)) {
            self.enter(&cell, now, |q| {
                // Without conditions, and once only: nothing can stand against it.
                let _ = q.queue.delete(false, false, &mut q.turn);
            });
            self.broker.janitor.forget(cell.id(), &cell.deadline);
        }
    }

    /// True: the message is in the outbox.
    fn get(&mut self, session: SessionId, name: &str, acknowledge: bool, now: Time) -> Result<bool, Refusal> {
        let cell = self.queue(name)?;
        loop {
            let (mut fetches, mut page) = (Vec::new(), None);
            let got = self.enter(&cell, now, |q| {
                let got = q.queue.get(session, acknowledge, &mut q.turn);
                if got == Ok(Got::Waiting) {
                    fetches = std::mem::take(&mut q.turn.effects.fetches);
                    if fetches.is_empty() {
                        fetches.extend(q.queue.next_fetch());
                    }
                    if fetches.is_empty() {
                        page = q.queue.next_page();
                    }
                }
                if got == Ok(Got::Found) {
                    // The outbox is ours, and the task that would be woken at work.
                    let _ = self.outbox().deliver(&mut q.turn.effects.got);
                }
                got
            });
            match got {
                Ok(Got::Found) => {
                    self.broker.counters.add(Counter::Got, 1);
                    return Ok(true);
                }
                Ok(Got::Empty) => {
                    self.broker.counters.add(Counter::GotEmpty, 1);
                    return Ok(false);
                }
                // Expired messages are in the way, of which each step takes some; or it is only on disk, and the
                // client waits for it in any case.
                Ok(Got::Waiting) => {
                    if let Some(store) = &self.broker.store {
                        if !fetches.is_empty() {
                            self.broker.fetch(store, &cell, &fetches, now);
                        } else if let Some(page) = page {
                            self.broker.fetch_page(store, &cell, page, now);
                        }
                    }
                }
                Err(_gone) => return Err(Refusal::NotFound(Resource::Queue, name.to_owned())),
            }
        }
    }

    fn close_session(&mut self, session: SessionId, mut unsettled: Vec<Unsettled>, now: Time) {
        let (gone, kept) =
            std::mem::take(&mut self.consumers).into_iter().partition(|consumer| consumer.session == session);
        self.consumers = kept;
        let gone: Vec<Consumer> = gone;
        for consumer in &gone {
            self.detach(consumer, now);
        }
        // What answers a Get is walked yet, and its adapter gives it back then.
        let of_consumers = self.waiting(|other| other == session).into_iter();
        unsettled.splice(0..0, of_consumers.filter(|delivery| delivery.consumer.is_some()));
        self.settle_all(Outcome::Released { delivered: true }, unsettled, now);
        if let Ok(at) = self.sessions.binary_search_by_key(&session, |session| session.id) {
            let session = self.sessions.remove(at);
            self.end_session(&session, now);
        }
    }

    /// What is left of a session once its consumers are gone.
    pub(crate) fn end_session(&mut self, session: &Session, now: Time) {
        self.remove_reply_address(session.reply_token.as_deref(), now);
        self.broker.memory_changed(-(session.held_bytes as i64));
        self.broker.counters.add(Counter::SessionsClosed, 1);
    }

    fn set_session_window(&mut self, id: SessionId, size: Option<u32>, now: Time) {
        let session = self.session(id);
        let before = session.window.take();
        session.window = size.map(|size| match &before {
            Some((window, old)) => {
                window.grow(i64::from(size) - i64::from(*old));
                (Arc::clone(window), size)
            }
            // Closed, until nothing can leave without it: then what is under way can be counted.
            None => (Arc::new(SessionWindow::new(0)), size),
        });
        let window = session.window.clone();
        let connection = self.id;
        for consumer in self.consumers.iter().filter(|consumer| consumer.session == id) {
            self.enter(&consumer.cell, now, |q| {
                q.turn.windows.set(connection, id, window.as_ref().map(|(window, _)| Arc::clone(window)));
                // Gone with its queue: it has no window any more.
                let _ = q.queue.set_shared_window(consumer.slot, window.is_some(), &mut q.turn);
            });
        }
        if let (None, Some((window, size))) = (before, window) {
            let held = self.held_by_consumers(id);
            window.grow(i64::from(size) - i64::try_from(held).unwrap_or(i64::MAX));
            self.window_opened(id, now);
        }
    }

    /// Deliveries of a session's consumers that wait to be settled, those included that its adapter has not seen yet.
    fn held_by_consumers(&mut self, id: SessionId) -> u64 {
        self.count_all_walked();
        let under_way = self.waiting(|session| session == id);
        let of_consumers = under_way.iter().filter(|delivery| delivery.consumer.is_some()).count() as u64;
        self.session(id).unsettled + of_consumers
    }
}
