//! A client: a connection of the engine, what it asked for and has not been answered, what it holds, and the model kept
//! in step with both. It does what an adapter does: one request at a time, and nothing is published past one.

mod ask;
mod receive;

use crate::bug::Bug;
use crate::disk::Seen;
use crate::message::Message;
use crate::model::{Entity, Model, QueueKey};
use crate::oracle::order::Order;
use crate::oracle::{Checked, violated};
use crate::trace::Trace;
use fairlead_engine::{Broker, Connection, Endpoints};
use fairlead_journal::backend::simulated::Random;
use fairlead_kernel::message::Body;
use fairlead_kernel::session::{Event, Mechanism, Outcome, Publish, Request, Unsettled};
use fairlead_kernel::{ConnectionId, ConsumerId, MessageView, Origin, Sequence, SessionId, Time};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The one session of a connection.
pub const SESSION: SessionId = SessionId(1);

/// What everything works with.
pub struct Context<'a> {
    /// What must be true.
    pub model: &'a mut Model,
    /// What is on the disk.
    pub seen: &'a Mutex<Seen>,
    /// What happened.
    pub trace: &'a Trace,
    /// The seed's numbers.
    pub random: &'a mut Random,
    /// The time.
    pub now: Time,
    /// The bug that was put in.
    pub bug: Bug,
}

/// How a client publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Without being told.
    Plain,
    /// With confirms.
    Confirms,
    /// In transactions.
    Transactions,
}

/// A delivery that is to be settled.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// From which queue.
    pub queue: QueueKey,
    /// Which message.
    pub message: u64,
    /// As its broker knows it.
    pub unsettled: Unsettled,
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Any answer will do.
    Anything,
    /// The answer says that this is kept, or kept no more.
    Declared(Entity),
    /// A message, or that there is none.
    Get {
        /// From which queue.
        queue: QueueKey,
    },
    /// Everything that the consumer was sent comes before the answer.
    Unsubscribe {
        /// Which.
        consumer: ConsumerId,
    },
    /// The transaction is in force; which of the model's.
    Commit(usize),
}

/// A request without an answer yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The operation.
    pub op: u64,
    /// What was asked.
    pub ask: Ask,
}

/// See the module's text.
pub struct Client {
    /// Its number, which no other client ever has.
    pub number: u64,
    /// How it publishes.
    pub mode: Mode,
    /// What it waits for.
    pub pending: Option<Pending>,
    /// What it has to settle.
    pub held: Vec<Held>,
    /// Its consumers, with their queues.
    pub consumers: BTreeMap<ConsumerId, QueueKey>,
    /// What its open transaction publishes.
    pub publishes: Vec<u64>,
    /// How its open transaction settles.
    pub settlements: Vec<(Outcome, Vec<Held>)>,
    connection: Connection,
    last_consumer: u32,
    last_confirm: u64,
    /// Messages by the number of their confirm, with the operation.
    unconfirmed: BTreeMap<u64, (u64, u64)>,
    order: Order,
}

fn endpoints() -> Endpoints {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
    Endpoints { peer: address, local: address, loopback: true }
}

impl Client {
    /// Connect.
    ///
    /// # Errors
    /// The broker refuses, which it has no reason for.
    pub fn connect(broker: &Arc<Broker>, number: u64, mode: Mode, now: Time) -> Checked<Client> {
        let mut connection = broker
            .connect(endpoints(), now)
            .map_err(|refusal| violated("service", format!("no connection: {refusal:?}")))?;
        let (user, secret) = ("guest".to_owned(), b"guest".to_vec());
        let login = Request::Authenticate { mechanism: Mechanism::Plain, user, secret };
        let host = Request::OpenVirtualHost { name: "/".to_owned() };
        for request in [login, host, Request::OpenSession] {
            if let Some(Event::Reply { result: Err(refusal), .. }) = connection.execute(SESSION, request, now)
            {
                return Err(violated("service", format!("no session: {refusal:?}")));
            }
        }
        Ok(Client {
            number,
            mode,
            pending: None,
            held: Vec::new(),
            consumers: BTreeMap::new(),
            publishes: Vec::new(),
            settlements: Vec::new(),
            connection,
            last_consumer: 0,
            last_confirm: 0,
            unconfirmed: BTreeMap::new(),
            order: Order::default(),
        })
    }

    /// The connection, for who looks without being a client of the model.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Publish, in one batch.
    ///
    /// # Errors
    /// An invariant is violated.
    pub fn publish(&mut self, messages: &[Message], context: &mut Context<'_>) -> Checked {
        let op = context.model.next_op();
        let transacted = self.mode == Mode::Transactions;
        let mut confirms = Vec::new();
        for message in messages {
            let confirm = (self.mode == Mode::Confirms).then(|| {
                self.last_confirm += 1;
                self.unconfirmed.insert(self.last_confirm, (message.id, op));
                self.last_confirm
            });
            confirms.push(confirm);
            context.trace.note(format_args!(
                "{op}: client {} publishes {} to '{}' with '{}', {} bytes, persistent {}, ttl {:?}, confirm {confirm:?}",
                self.number, message.id, message.exchange, message.key, message.length, message.persistent, message.time_to_live,
            ));
            if transacted {
                self.publishes.push(message.id);
            } else {
                context.model.publish(message.id, context.now, None);
            }
        }
        if transacted && context.bug == Bug::TransactionInPieces {
            return Ok(());
        }
        let events = self.send(messages, &confirms, transacted, context);
        if context.bug == Bug::ConfirmsEarly {
            for number in confirms.into_iter().flatten() {
                let event = Event::Confirmed { session: SESSION, from: number, to: number, accepted: true };
                self.on_event(event, false, context)?;
            }
        }
        events.into_iter().try_for_each(|event| self.on_event(event, false, context))
    }

    /// Give a batch to the broker.
    fn send(
        &mut self,
        messages: &[Message],
        confirms: &[Option<u64>],
        transacted: bool,
        context: &mut Context<'_>,
    ) -> Vec<Event> {
        let heads: Vec<_> = messages.iter().map(Message::head).collect();
        let bodies: Vec<_> = messages.iter().map(Message::body).collect();
        let publisher = self.connection.id();
        let mut publishes: Vec<Publish<'_>> = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            let body = match bodies[at].as_slice() {
                [one] if one.len() < 1024 => Body::Slice(one),
                segments => Body::Segments(segments),
            };
            publishes.push(Publish {
                session: SESSION,
                message: view(message, &heads[at], body, publisher),
                time_to_live: message.time_to_live,
                priority: message.priority,
                mandatory: false,
                transacted,
                extra_keys: false,
                user_id: None,
                confirm: confirms[at],
            });
        }
        if context.bug == Bug::BatchReversed {
            publishes.reverse();
        }
        let mut events = Vec::new();
        self.connection.publish_batch(&publishes, context.now, &mut events);
        events
    }

    /// Settle deliveries, or note that the transaction will.
    pub fn settle(&mut self, outcome: Outcome, held: Vec<Held>, context: &mut Context<'_>) {
        if self.mode == Mode::Transactions {
            self.settlements.push((outcome, held));
            return;
        }
        let op = context.model.next_op();
        for one in &held {
            context.trace.note(format_args!(
                "{op}: client {} settles {} of {:?}, sequence {}: {outcome:?}",
                self.number, one.message, one.queue, one.unsettled.sequence.0,
            ));
            settled(outcome, one, context.model);
        }
        if context.bug == Bug::AcksForgotten && outcome == Outcome::Accepted {
            return;
        }
        let outcome = match outcome {
            Outcome::Rejected if context.bug == Bug::DeadLetterLost => Outcome::Accepted,
            other => other,
        };
        let deliveries = held.iter().map(|held| held.unsettled).collect();
        // Settlements have no answer.
        self.connection.execute(SESSION, Request::Settle { outcome, deliveries }, context.now);
    }

    /// Go, in an orderly way or not: it is the same to the engine.
    pub fn end(mut self, context: &mut Context<'_>) {
        let op = context.model.next_op();
        context.trace.note(format_args!("{op}: client {} goes", self.number));
        let settlements = std::mem::take(&mut self.settlements).into_iter().flat_map(|(_, held)| held);
        let held: Vec<Held> = std::mem::take(&mut self.held).into_iter().chain(settlements).collect();
        held.iter().for_each(|one| context.model.give_back(one.queue, one.message));
        for queue in self.consumers.values() {
            if let Some(queue) = context.model.queues.get_mut(queue) {
                queue.came_back();
            }
        }
        let unsettled: Vec<Unsettled> = held.iter().map(|held| held.unsettled).collect();
        self.connection.end(&unsettled, context.now);
    }
}

fn view<'a>(
    message: &'a Message,
    head: &'a [u8],
    body: Body<'a>,
    publisher: ConnectionId,
) -> MessageView<'a> {
    MessageView {
        origin: Origin::Amqp091,
        persistent: message.persistent,
        publisher,
        exchange: &message.exchange,
        routing_key: &message.key,
        head,
        body,
        overlay: None,
        shared: None,
    }
}

/// A delivery has been settled by this operation.
fn settled(outcome: Outcome, held: &Held, model: &mut Model) {
    use crate::model::How;
    let sequence = Sequence(held.unsettled.sequence.0);
    match outcome {
        Outcome::Accepted | Outcome::Rejected => {
            let op = model.op;
            if let Some(queue) = model.queues.get_mut(&held.queue) {
                queue.settled.insert(sequence, (held.message, op));
            }
            let how = if outcome == Outcome::Accepted { How::Accepted } else { How::Rejected };
            model.leave(held.queue, held.message, how);
        }
        Outcome::Released { .. } => model.give_back(held.queue, held.message),
    }
}
