//! What passes between a protocol adapter and the engine, and the unsettled deliveries of a session.
//!
//! Flow: adapter -> [`Publish`] (borrowed, batched) and [`Request`] (owned, in order) -> engine ->
//! [`Event`] and [`Delivery`] -> adapter. Every `Request` with a reply is answered by exactly one
//! `Event::Reply`, in order within its session, not always at once: with a log the record comes first.

mod unsettled;

pub use unsettled::{Unsettled, UnsettledDeliveries};

use crate::ids::{ConsumerId, QueueId, Sequence, SessionId};
use crate::message::MessageView;
use crate::refusal::Refusal;
use crate::settings::{Binding, ConsumerSettings, ExchangeSettings, QueueSettings};
use crate::value::Value;

/// A message on its way in.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Through which session.
    pub session: SessionId,
    /// The message, its `publisher` filled in: a shared one is kept as it is.
    pub message: MessageView<'a>,
    /// Time to live that the publisher gave, in milliseconds.
    pub time_to_live: Option<u64>,
    /// Priority that the publisher gave.
    pub priority: u8,
    /// To be returned if no queue takes it.
    pub mandatory: bool,
    /// Part of the session's transaction.
    pub transacted: bool,
    /// The head names extra routing keys (0-9-1: CC, BCC): ask the head reader.
    pub extra_keys: bool,
    /// The user that the head claims to come from, to be held against the connection's.
    pub user_id: Option<&'a str>,
    /// To be confirmed under this number.
    pub confirm: Option<u64>,
}

/// How deliveries end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: the message goes.
    Accepted,
    /// Not wanted: dead-lettered, or dropped.
    Rejected,
    /// Back to its place.
    Released {
        /// It counts as a failed delivery, and is flagged redelivered.
        delivered: bool,
    },
}

/// Something a session asks for. `session` tells which; the answer is [`Event::Reply`] unless said.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Check who connects (answered on session 0).
    Authenticate {
        /// SASL mechanism, `PLAIN` or `ANONYMOUS`.
        mechanism: Mechanism,
        /// User name.
        user: String,
        /// Password.
        secret: Vec<u8>,
    },
    /// Enter a virtual host (answered on session 0).
    OpenVirtualHost {
        /// Its name.
        name: String,
    },
    /// Begin a session (no reply).
    OpenSession,
    /// End a session: consumers go, unsettled deliveries return as released, an open transaction rolls
    /// back. Answered, so that close-ok comes after all is done.
    CloseSession {
        /// What is unsettled.
        unsettled: Vec<Unsettled>,
    },
    /// Create or check an exchange.
    DeclareExchange {
        /// Its name.
        name: String,
        /// As wanted; `None` only asks whether it exists.
        settings: Option<ExchangeSettings>,
    },
    /// Delete an exchange.
    DeleteExchange {
        /// Its name.
        name: String,
        /// Only without bindings.
        if_unused: bool,
    },
    /// Create a binding.
    Bind(Binding),
    /// Delete a binding; one that does not exist is fine.
    Unbind(Binding),
    /// Create or check a queue.
    DeclareQueue {
        /// Its name; the adapter has chosen it if the client left it to the server.
        name: String,
        /// As wanted, with `exclusive` set to connection 0 for "mine"; `None` only asks whether it exists.
        settings: Option<Box<QueueSettings>>,
    },
    /// Delete a queue.
    DeleteQueue {
        /// Its name.
        name: String,
        /// Only without consumers.
        if_unused: bool,
        /// Only without messages.
        if_empty: bool,
    },
    /// Drop a queue's ready messages.
    PurgeQueue {
        /// Its name.
        name: String,
    },
    /// Start a consumer. Its deliveries may arrive right behind the reply, never before it.
    Subscribe {
        /// Number chosen by the adapter.
        consumer: ConsumerId,
        /// From which queue.
        queue: String,
        /// As wanted.
        settings: Box<ConsumerSettings>,
    },
    /// Start the session's direct-reply consumer: messages sent to its address come as deliveries of it.
    SubscribeReplies {
        /// Number chosen by the adapter.
        consumer: ConsumerId,
        /// The address's opaque part, as the adapter chose it.
        token: String,
        /// Its client's tag, for management.
        tag: String,
    },
    /// Stop a consumer; what it holds stays unsettled. No delivery follows the reply.
    Unsubscribe {
        /// Which.
        consumer: ConsumerId,
    },
    /// Ask whether a direct-reply address is alive, by its token.
    CheckReplyAddress {
        /// The opaque part.
        token: String,
    },
    /// One message, if there is one.
    Get {
        /// From which queue.
        queue: String,
        /// It waits to be settled.
        acknowledge: bool,
    },
    /// Settle deliveries (no reply).
    Settle {
        /// How.
        outcome: Outcome,
        /// Which.
        deliveries: Vec<Unsettled>,
    },
    /// Unsettled messages that all consumers of the session may have together (no reply).
    SetSessionWindow {
        /// How many; `None` is without bound.
        window: Option<u32>,
    },
    /// Commit: the session's transacted publishes since the last end, and these settlements.
    Commit {
        /// In the order they came.
        settlements: Vec<(Outcome, Vec<Unsettled>)>,
    },
    /// Roll back: the session's transacted publishes are dropped. The adapter keeps its deliveries.
    Rollback,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password.
    Plain,
    /// Nobody in particular.
    Anonymous,
}

/// The good answer to a [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Done.
    Done,
    /// Who it is.
    Authenticated {
        /// The user's name.
        user: String,
    },
    /// A queue as it is.
    Queue {
        /// Its name.
        name: String,
        /// Ready messages.
        messages: u64,
        /// Consumers.
        consumers: u32,
    },
    /// So many messages went with a purge or a deletion.
    Removed {
        /// How many.
        messages: u64,
    },
    /// Get found nothing. (When it finds a message, a [`Delivery`] without consumer is the answer.)
    Empty,
}

/// Something the engine tells an adapter.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer to the session's oldest unanswered request.
    Reply {
        /// Which session.
        session: SessionId,
        /// What came of it.
        result: Result<Reply, Refusal>,
    },
    /// Publishes `from..=to` are the broker's responsibility now (`accepted`), or were refused.
    Confirmed {
        /// Which session.
        session: SessionId,
        /// First number.
        from: u64,
        /// Last number.
        to: u64,
        /// Taken; else refused by a queue's limit or an internal fault.
        accepted: bool,
    },
    /// A mandatory message found no queue. It comes before its confirmation.
    Returned {
        /// Which session.
        session: SessionId,
        /// The message.
        message: std::sync::Arc<crate::message::Message>,
    },
    /// A publish could not even be tried.
    PublishRefused {
        /// Which session.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// The consumer is gone, with its queue.
    ConsumerCancelled {
        /// Which session.
        session: SessionId,
        /// Which consumer.
        consumer: ConsumerId,
    },
    /// Publishers are not read until [`Event::Unblocked`].
    Blocked {
        /// For people: `low on memory`.
        reason: &'static str,
    },
    /// Publishers are read again.
    Unblocked,
    /// A delivery waited too long for its settlement: end the session.
    SettlementTimeout {
        /// Which session.
        session: SessionId,
        /// The bound, in milliseconds.
        milliseconds: u64,
    },
    /// Close the connection.
    Close {
        /// Shutdown, or an operator's word.
        reason: CloseReason,
    },
}

/// Why the broker closes a connection of its own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The broker stops.
    Shutdown,
    /// An operator asked for it.
    Operator(String),
}

/// A message on its way out, borrowed from the connection's outbox.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// To which session.
    pub session: SessionId,
    /// For which consumer; `None` answers a [`Request::Get`].
    pub consumer: Option<ConsumerId>,
    /// From which queue.
    pub queue: QueueId,
    /// Its place there.
    pub sequence: Sequence,
    /// It has to be settled.
    pub acknowledge: bool,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// Failed deliveries before this one.
    pub delivery_count: u16,
    /// Whether `delivery_count` is to be told (quorum queues).
    pub tell_delivery_count: bool,
    /// For a Get: ready messages left behind.
    pub remaining: u64,
    /// Session, consumer, exchange and routing key are those of the delivery that was walked just before: an
    /// adapter may say again what it said of that.
    pub alike: bool,
    /// The message.
    pub message: MessageView<'a>,
}

/// Text of a name-value list, for management (client properties).
pub type Properties = Vec<(String, Value)>;
