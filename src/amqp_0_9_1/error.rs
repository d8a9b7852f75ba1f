//! Faults of a peer and refusals of the engine, as reply codes and texts.
//!
//! ```text
//! codec::{FrameError, DecodeError} -+
//! kernel::Refusal ------------------+-> Fault (code, text) -> ProtocolError (where, which method)
//! our own checks -------------------+                          -> channel.close or connection.close
//! ```
//!
//! Clients' tests and people's searches know RabbitMQ's wording, so texts follow it where it has one.

use crate::codec::{DecodeError, FrameError};
use crate::spec::ReplyCode;
use fairlead_kernel::refusal::{BadBinding, Bound, Difference, Refusal, Resource};
use fairlead_kernel::router::MAX_WEIGHT;
use fairlead_kernel::value::Value;
use std::fmt;

/// What a fault ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One channel; the connection goes on.
    Channel(u16),
    /// The connection.
    Connection,
}

/// A fault with the place where it happened: what channel.close or connection.close will say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} - {text}", code.name())]
pub struct ProtocolError {
    /// What ends.
    pub scope: Scope,
    /// Reply code. Spec: AMQP 0-9-1 reference, clause 1.2.
    pub code: ReplyCode,
    /// What follows the code's name in the reply text.
    pub text: String,
    /// Class of the failing method, or 0.
    pub class_id: u16,
    /// Failing method, or 0.
    pub method_id: u16,
}

impl ProtocolError {
    /// `fault` on `channel`, by the method with `id` (class in the upper half). A soft code on channel 0
    /// ends the connection too: there is nothing less to end.
    pub(crate) fn new(fault: Fault, channel: u16, id: u32) -> ProtocolError {
        let scope = if channel == 0 || fault.code.closes_connection() {
            Scope::Connection
        } else {
            Scope::Channel(channel)
        };
        ProtocolError {
            scope,
            code: fault.code,
            text: fault.text,
            class_id: (id >> 16) as u16,
            method_id: id as u16,
        }
    }

    /// The whole reply text: `NOT_FOUND - no queue 'q' in vhost '/'`.
    #[must_use]
    pub fn reply_text(&self) -> String {
        self.to_string()
    }
}

impl From<FrameError> for ProtocolError {
    fn from(error: FrameError) -> ProtocolError {
        ProtocolError::new(Fault::new(error.reply_code(), error.to_string()), 0, 0)
    }
}

/// A code and a text, not yet tied to a channel and a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    pub(crate) text: String,
}

impl Fault {
    #[cold]
    pub(crate) fn new(code: ReplyCode, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// 406, the code for whatever a channel's state or an argument does not allow.
    #[cold]
    pub(crate) fn precondition(text: impl Into<String>) -> Fault {
        Fault::new(ReplyCode::PreconditionFailed, text)
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault::new(error.reply_code(), error.to_string())
    }
}

/// What a refusal is in this protocol. `vhost` is the connection's virtual host, `user` its user.
pub(crate) fn of_refusal(refusal: &Refusal, vhost: &str, user: &str) -> Fault {
    use ReplyCode as Code;
    let (code, text) = match refusal {
        Refusal::NotFound(resource, name) => {
            (Code::NotFound, format!("no {resource} '{name}' in vhost '{vhost}'"))
        }
        Refusal::Inequivalent { resource, name, difference } => {
            (Code::PreconditionFailed, inequivalent(*resource, name, difference, vhost))
        }
        Refusal::Locked(name) => (Code::ResourceLocked, locked(name, vhost)),
        Refusal::InExclusiveUse(name) => {
            (Code::AccessRefused, format!("queue '{name}' in vhost '{vhost}' in exclusive use"))
        }
        Refusal::InUse(resource, name) => {
            (Code::PreconditionFailed, format!("{resource} '{name}' in vhost '{vhost}' in use"))
        }
        Refusal::NotEmpty(name) => {
            (Code::PreconditionFailed, format!("queue '{name}' in vhost '{vhost}' not empty"))
        }
        Refusal::QueueFull(name) => (
            Code::PreconditionFailed,
            format!("queue '{name}' in vhost '{vhost}' is full, the transaction was rolled back"),
        ),
        Refusal::SystemExchange(name) => (
            Code::AccessRefused,
            format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed"),
        ),
        Refusal::DefaultExchange => {
            (Code::AccessRefused, "operation not permitted on the default exchange".to_owned())
        }
        Refusal::Internal(name) => {
            (Code::AccessRefused, format!("cannot publish to internal exchange '{name}' in vhost '{vhost}'"))
        }
        Refusal::BadBinding(BadBinding::Weight(key)) => (Code::PreconditionFailed, bad_weight(key)),
        Refusal::NoVirtualHost(name) => (Code::NotAllowed, format!("vhost {name} not found")),
        Refusal::LoginRefused => {
            (Code::AccessRefused, format!("access to vhost '{vhost}' refused for user '{user}'"))
        }
        Refusal::UserId { claimed, user } => (
            Code::PreconditionFailed,
            format!("user_id property set to '{claimed}' but authenticated user was '{user}'"),
        ),
        Refusal::NoReplyConsumer => {
            (Code::PreconditionFailed, "fast reply consumer does not exist".to_owned())
        }
        Refusal::SessionWindow(name) => {
            (Code::NotImplemented, format!("queue '{name}' in vhost '{vhost}' does not support global qos"))
        }
        Refusal::TooMany { bound, limit } => too_many(*bound, *limit, vhost, user),
        Refusal::ShuttingDown => (Code::ConnectionForced, forced_closure("shutdown")),
    };
    Fault::new(code, text)
}

/// The text of a 320: the client libraries that reconnect look for its beginning.
pub(crate) fn forced_closure(reason: &str) -> String {
    format!("broker forced connection closure with reason '{reason}'")
}

fn locked(name: &str, vhost: &str) -> String {
    format!(
        "cannot obtain exclusive access to locked queue '{name}' in vhost '{vhost}'. It could be originally \
         declared on another connection or the exclusive property value does not match that of the original \
         declaration."
    )
}

/// The binding key of a consistent hash is a weight.
fn bad_weight(key: &str) -> String {
    match key.parse::<i64>() {
        Ok(weight) if weight <= 0 => "The binding key must be greater than 0".to_owned(),
        Ok(_) => format!("The binding key must not be greater than {MAX_WEIGHT}"),
        Err(_) => format!("The binding key must be an integer: <<\"{key}\">>"),
    }
}

fn inequivalent(resource: Resource, name: &str, difference: &Difference, vhost: &str) -> String {
    let (argument, received, current) = match difference {
        Difference::Kind { received, current } => {
            let [received, current] =
                [received, current].map(|kind| crate::translate::exchange_type_of(kind));
            ("type", format!("'{received}'"), format!("'{current}'"))
        }
        Difference::Flag { name, received, current } => {
            (*name, format!("'{received}'"), format!("'{current}'"))
        }
        Difference::Argument { name, received: Some(received), current: Some(current) } => {
            (name.as_str(), format!("'{}'", Shown(received)), format!("'{}'", Shown(current)))
        }
        Difference::Argument { name, received, current } => {
            (name.as_str(), described(received.as_ref()), described(current.as_ref()))
        }
    };
    format!(
        "inequivalent arg '{argument}' for {resource} '{name}' in vhost '{vhost}': received {received} but current \
         is {current}"
    )
}

fn described(value: Option<&Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", Shown(value), type_name(value)),
    )
}

/// A value as RabbitMQ's texts show it.
pub(crate) struct Shown<'a>(pub(crate) &'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Void => f.write_str("undefined"),
            Value::Boolean(v) => write!(f, "{v}"),
            Value::Int8(v) => write!(f, "{v}"),
            Value::UInt8(v) => write!(f, "{v}"),
            Value::Int16(v) => write!(f, "{v}"),
            Value::UInt16(v) => write!(f, "{v}"),
            Value::Int32(v) => write!(f, "{v}"),
            Value::UInt32(v) => write!(f, "{v}"),
            Value::Int64(v) => write!(f, "{v}"),
            Value::UInt64(v) | Value::Timestamp(v) => write!(f, "{v}"),
            Value::Float32(v) => write!(f, "{v}"),
            Value::Float64(v) => write!(f, "{v}"),
            Value::Decimal { scale, mantissa } => write!(f, "{mantissa}e-{scale}"),
            Value::Text(v) => f.write_str(v),
            Value::Bytes(v) => f.write_str(&String::from_utf8_lossy(v)),
            Value::List(v) => write!(f, "array of {} values", v.len()),
            Value::Map(v) => write!(f, "table of {} fields", v.len()),
        }
    }
}

/// The name RabbitMQ's texts have for a value's type.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Boolean(_) => "bool",
        Value::Int8(_) => "byte",
        Value::UInt8(_) => "unsignedbyte",
        Value::Int16(_) => "short",
        Value::UInt16(_) => "unsignedshort",
        Value::Int32(_) => "signedint",
        Value::UInt32(_) => "unsignedint",
        Value::Int64(_) | Value::UInt64(_) => "long",
        Value::Float32(_) => "float",
        Value::Float64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Timestamp(_) => "timestamp",
        Value::Text(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::List(_) => "array",
        Value::Map(_) => "table",
    }
}

fn too_many(bound: Bound, limit: u64, vhost: &str, user: &str) -> (ReplyCode, String) {
    use ReplyCode as Code;
    match bound {
        Bound::Queues => (
            Code::PreconditionFailed,
            format!("cannot declare queue: queue limit in vhost '{vhost}' ({limit}) is reached"),
        ),
        Bound::Exchanges => (
            Code::PreconditionFailed,
            format!("cannot declare exchange: exchange limit in vhost '{vhost}' ({limit}) is reached"),
        ),
        Bound::Bindings => (
            Code::PreconditionFailed,
            format!("cannot bind: binding limit in vhost '{vhost}' ({limit}) is reached"),
        ),
        Bound::Consumers => (Code::NotAllowed, format!("reached maximum ({limit}) of consumers per channel")),
        Bound::Connections => {
            (Code::NotAllowed, format!("connection refused: connection limit ({limit}) is reached"))
        }
        Bound::UserConnections => (
            Code::NotAllowed,
            format!("connection refused for user '{user}': user connection limit ({limit}) is reached"),
        ),
        Bound::RoutingSteps => (
            Code::PreconditionFailed,
            format!(
                "message needs more than {limit} steps to be routed: its keys fit too much of too many bindings"
            ),
        ),
        Bound::Transaction => {
            (Code::PreconditionFailed, format!("transaction holds more than the limit of {limit}"))
        }
    }
}
