//! What is declared: exchanges, queues, bindings and consumers, with each protocol's arguments already
//! turned into kernel fields by its adapter.

use crate::ids::ConnectionId;
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// An argument as the declarer gave it, kept so that it can be shown and compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Whether a redeclaration must give it the same value: the broker knows its meaning.
    pub compared: bool,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// Binding key equals routing key.
    Direct,
    /// Binding key is a pattern of words: `*` is one, `#` any number.
    Topic,
    /// Every binding.
    Fanout,
    /// Binding arguments against headers.
    Headers,
    /// One binding, by a hash of the routing key (or of a header), weighted by the binding key's number.
    ConsistentHash,
    /// One binding at random.
    Random,
}

impl ExchangeKind {
    /// Its name in the kernel; adapters have their protocol's own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "consistent-hash",
            ExchangeKind::Random => "random",
        }
    }
}

/// An exchange as declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExchangeSettings {
    /// How it routes.
    pub kind: ExchangeKind,
    /// Outlives a restart.
    pub durable: bool,
    /// Deleted when its last binding goes.
    pub auto_delete: bool,
    /// Clients cannot publish to it.
    pub internal: bool,
    /// Where unroutable messages go.
    pub alternate: Option<String>,
    /// For [`ExchangeKind::ConsistentHash`]: the header to hash instead of the routing key.
    pub hash_header: Option<String>,
    /// As given.
    pub arguments: Vec<Argument>,
}

/// Which of several messages comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// First in, first out.
    #[default]
    Fifo,
    /// Higher levels first; `levels` of them, 1 to 256, clamped.
    Priority {
        /// Number of levels.
        levels: u16,
    },
    /// A message replaces the one with the same value of that header.
    LastValue {
        /// The header's name.
        key: String,
    },
}

/// What happens when a limit is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Overflow {
    /// The oldest ready messages make room (and are dead-lettered).
    #[default]
    DropHead,
    /// The new message is refused.
    Reject,
    /// The new message is refused, and dead-lettered.
    RejectDeadLetter,
}

/// What a queue is built for: decides delivery limits and the order of returned messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum QueueKind {
    /// Local.
    #[default]
    Classic,
    /// Replicated (one replica until clustering is built).
    Quorum,
}

/// The part of a queue's settings that a policy may also give; `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Ready messages at most.
    pub max_messages: Option<u64>,
    /// Bytes of bodies of ready messages at most.
    pub max_bytes: Option<u64>,
    /// What happens beyond.
    pub overflow: Option<Overflow>,
    /// Time to live of each message, in milliseconds.
    pub message_ttl: Option<u64>,
    /// The queue goes when unused for so many milliseconds.
    pub expires: Option<u64>,
    /// Where dead messages go.
    pub dead_letter_exchange: Option<String>,
    /// With which key; their own if absent.
    pub dead_letter_key: Option<String>,
    /// Returned deliveries beyond this many dead-letter the message.
    pub delivery_limit: Option<u32>,
}

/// A queue as declared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// What it is built for.
    pub kind: QueueKind,
    /// Outlives a restart.
    pub durable: bool,
    /// Deleted when its last consumer goes.
    pub auto_delete: bool,
    /// Only for the connection that declared it, and gone with it.
    pub exclusive: Option<ConnectionId>,
    /// Which message comes first.
    pub order: Order,
    /// Only browsing: consumers never take messages away.
    pub browse_only: bool,
    /// At most one consumer is served at a time.
    pub single_active_consumer: bool,
    /// Messages with the same value of this header go to one consumer at a time.
    pub group_header: Option<String>,
    /// Limits, as far as the declarer gave them.
    pub limits: Limits,
    /// As given.
    pub arguments: Vec<Argument>,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// A queue.
    Queue(String),
    /// Another exchange.
    Exchange(String),
}

/// How a headers exchange holds a binding's arguments against a message's headers. An argument without a
/// value ([`Value::Void`]) asks only that the header is there, any other that it
/// [means the same](Value::means_same). Arguments whose name begins with `x-` are compared only in the
/// modes that say so, and `x-match`, which names the mode itself, in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MatchMode {
    /// Every compared argument matches; a binding without any matches everything.
    #[default]
    All,
    /// At least one compared argument matches.
    Any,
    /// As `All`, arguments with `x-` names included.
    AllWithX,
    /// As `Any`, arguments with `x-` names included.
    AnyWithX,
}

/// A binding: all of it is its identity in 0-9-1, whatever the order of its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// The exchange that routes.
    pub source: String,
    /// Where to.
    pub destination: Destination,
    /// Binding key.
    pub key: String,
    /// For headers exchanges: which arguments have to match.
    pub match_mode: MatchMode,
    /// Arguments, in the order given.
    pub arguments: Vec<(String, Value)>,
}

/// A consumer as asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerSettings {
    /// The name its client gave it, for management.
    pub tag: String,
    /// Deliveries wait to be settled; else they are settled when they are delivered.
    pub acknowledge: bool,
    /// The only consumer of its queue.
    pub exclusive: bool,
    /// Higher first, while it has credit.
    pub priority: i32,
    /// Unsettled messages at most; `None` is without bound.
    pub window: Option<u32>,
    /// Does not get what this connection published.
    pub no_local: bool,
    /// Looks without taking.
    pub browse: bool,
    /// As given, for management.
    pub arguments: Vec<(String, Value)>,
}
