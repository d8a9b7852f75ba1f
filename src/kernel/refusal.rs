//! Why the kernel or the engine would not do what a session asked: each adapter turns these into its
//! protocol's codes and texts by one total match.

use crate::value::Value;
use std::fmt;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Queue => "queue",
            Resource::Exchange => "exchange",
        })
    }
}

/// Which property of an existing object a redeclaration contradicts.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// An exchange's kind.
    Kind {
        /// As asked.
        received: &'static str,
        /// As it is.
        current: &'static str,
    },
    /// A flag: `durable`, `auto_delete`, `internal`.
    Flag {
        /// Its name.
        name: &'static str,
        /// As asked.
        received: bool,
        /// As it is.
        current: bool,
    },
    /// An argument; `None` is absent.
    Argument {
        /// Its name.
        name: String,
        /// As asked.
        received: Option<Value>,
        /// As it is.
        current: Option<Value>,
    },
}

/// The bound that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Queues of the virtual host.
    Queues,
    /// Exchanges of the virtual host.
    Exchanges,
    /// Bindings of the virtual host.
    Bindings,
    /// Consumers of a session.
    Consumers,
    /// Connections of the broker.
    Connections,
    /// Connections of one user.
    UserConnections,
    /// Steps of routing one message: [`crate::router::STEPS_MAX`].
    RoutingSteps,
    /// Bytes or messages of one uncommitted transaction.
    Transaction,
}

/// A request that was not done. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No such queue or exchange.
    #[error("no {0} '{1}'")]
    NotFound(Resource, String),
    /// Redeclared with other properties.
    #[error("{resource} '{name}' exists with other properties")]
    Inequivalent {
        /// What.
        resource: Resource,
        /// Its name.
        name: String,
        /// The first difference found.
        difference: Difference,
    },
    /// An exclusive queue of another connection, or a redeclaration with another exclusivity.
    #[error("queue '{0}' is exclusive to another connection")]
    Locked(String),
    /// A consumer could not be attached: the queue has, or the consumer wanted, exclusive use.
    #[error("queue '{0}' is in exclusive use")]
    InExclusiveUse(String),
    /// Deletion "if unused" of something used.
    #[error("{0} '{1}' is in use")]
    InUse(Resource, String),
    /// Deletion "if empty" of a queue with messages.
    #[error("queue '{0}' is not empty")]
    NotEmpty(String),
    /// A transaction's commit found a queue that refuses what is beyond its limit.
    #[error("queue '{0}' has no room for all messages of the transaction")]
    QueueFull(String),
    /// A predeclared exchange cannot be deleted.
    #[error("deletion of system exchange '{0}' is not allowed")]
    SystemExchange(String),
    /// The default exchange cannot be declared, bound or deleted.
    #[error("operation is not permitted on the default exchange")]
    DefaultExchange,
    /// Publishing to an internal exchange.
    #[error("cannot publish to internal exchange '{0}'")]
    Internal(String),
    /// A binding's arguments make no sense for its exchange.
    #[error("{0}")]
    BadBinding(BadBinding),
    /// A virtual host that does not exist.
    #[error("no virtual host '{0}'")]
    NoVirtualHost(String),
    /// Name or secret is wrong, or this user may not come from there.
    #[error("login refused")]
    LoginRefused,
    /// The message's user id is not the connection's user.
    #[error("user id '{claimed}' is not the authenticated user '{user}'")]
    UserId {
        /// As the message says.
        claimed: String,
        /// As authenticated.
        user: String,
    },
    /// Direct reply-to without its consumer on this session.
    #[error("the session has no reply consumer")]
    NoReplyConsumer,
    /// A consumer of a session that has a window of its own: queues of that kind only keep one a consumer.
    #[error("queue '{0}' cannot keep to a session's window")]
    SessionWindow(String),
    /// A bound was reached.
    #[error("{bound:?} are bounded by {limit}")]
    TooMany {
        /// Which.
        bound: Bound,
        /// How many are allowed.
        limit: u64,
    },
    /// The broker is stopping.
    #[error("the broker is shutting down")]
    ShuttingDown,
}

/// A binding that its exchange cannot take.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadBinding {
    /// Consistent hash: the binding key is not a weight.
    #[error("binding key '{0}' is not a whole number from 1 to {max}", max = crate::router::MAX_WEIGHT)]
    Weight(String),
}
