//! What a session asks for, one request at a time, in order.

use crate::connection::{Connection, Consumer, Session};
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use crate::store::during;
use crate::vhost::VirtualHost;
use fairlead_journal::Position;
use fairlead_kernel::queue::Got;
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::session::{Event, Mechanism, Outcome, Reply, Request, Unsettled};
use fairlead_kernel::settings::QueueSettings;
use fairlead_kernel::topology::QueueDecision;
use fairlead_kernel::{Refusal, SessionId, Time};
use std::sync::Arc;

/// How often a declaration is tried that finds its queue on the way out; each time is another deletion.
const DECLARE_ATTEMPTS: usize = 16;

/// What a request comes to.
pub(crate) type Answer = Result<Reply, Refusal>;

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
    pub(crate) fn queue(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
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
}
