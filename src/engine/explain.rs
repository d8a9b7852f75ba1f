//! A refusal in words for those who wrote the settings: what is there, what was declared.

use fairlead_kernel::refusal::{Bound, Difference, Refusal};
use fairlead_kernel::value::Value;

/// Why a declaration cannot be done, without the name of what is declared.
#[must_use]
pub fn explain(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Inequivalent { difference, .. } => explain_difference(difference),
        Refusal::TooMany { bound, limit } => format!("there may be {limit} {} at most", noun(*bound)),
        Refusal::NotFound(..)
        | Refusal::Locked(_)
        | Refusal::InExclusiveUse(_)
        | Refusal::InUse(..)
        | Refusal::NotEmpty(_)
        | Refusal::QueueFull(_)
        | Refusal::SystemExchange(_)
        | Refusal::DefaultExchange
        | Refusal::Internal(_)
        | Refusal::BadBinding(_)
        | Refusal::NoVirtualHost(_)
        | Refusal::LoginRefused
        | Refusal::UserId { .. }
        | Refusal::NoReplyConsumer
        | Refusal::SessionWindow(_)
        | Refusal::ShuttingDown => refusal.to_string(),
    }
}

fn explain_difference(difference: &Difference) -> String {
    match difference {
        Difference::Kind { received, current } => {
            format!("it exists with the type {current}, and the type {received} is declared")
        }
        Difference::Flag { name, received, current } => {
            format!("it exists with {name} {current}, and {name} {received} is declared")
        }
        Difference::Argument { name, received: Some(received), current: Some(current) } => {
            let (received, current) = (show(received), show(current));
            format!("it exists with {name} {current}, and {name} {received} is declared")
        }
        Difference::Argument { name, received: Some(received), current: None } => {
            format!("it exists without {name}, and {name} {} is declared", show(received))
        }
        Difference::Argument { name, received: None, current: Some(current) } => {
            format!("it exists with {name} {}, and is declared without it", show(current))
        }
        Difference::Argument { name, received: None, current: None } => format!("{name} differs"),
    }
}

fn noun(bound: Bound) -> &'static str {
    match bound {
        Bound::Queues => "queues in a virtual host",
        Bound::Exchanges => "exchanges in a virtual host",
        Bound::Bindings => "bindings in a virtual host",
        Bound::Consumers => "consumers of a session",
        Bound::Connections => "connections",
        Bound::UserConnections => "connections of a user",
        Bound::RoutingSteps => "steps in routing a message",
        Bound::Transaction => "bytes in a transaction",
    }
}

fn show(value: &Value) -> String {
    let joined = |items: Vec<String>| items.join(", ");
    match value {
        Value::Void => "nothing".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Int8(_)
        | Value::UInt8(_)
        | Value::Int16(_)
        | Value::UInt16(_)
        | Value::Int32(_)
        | Value::UInt32(_)
        | Value::Int64(_) => value.as_integer().map(|number| number.to_string()).unwrap_or_default(),
        Value::UInt64(number) | Value::Timestamp(number) => number.to_string(),
        Value::Float32(number) => number.to_string(),
        Value::Float64(number) => number.to_string(),
        Value::Decimal { scale, mantissa } => {
            (f64::from(*mantissa) / 10f64.powi(i32::from(*scale))).to_string()
        }
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::List(items) => format!("[{}]", joined(items.iter().map(show).collect())),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| format!("{name}: {}", show(value)));
            format!("{{{}}}", joined(entries.collect()))
        }
    }
}
