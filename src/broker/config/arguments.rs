//! Arguments of declared queues, exchanges and bindings: those whose meaning is known are held against it here, in
//! the words of this file and with the line of each; the adapter, which gives them their meaning, comes after.

use super::node::{Node, Value as Yaml};
use super::section::Section;
use super::values::{Parsed, boolean, choice, integer, key, text, unexpected};
use fairlead_kernel::Value;

/// Mappings and sequences in arguments may be nested this deep; it is the bound that peers have, too.
const DEPTH: usize = 16;
/// Longest time that a timer argument may say, in milliseconds: 0-9-1 clients cannot say more.
const MILLISECONDS_MAX: i64 = 0xffff_ffff;

/// What declares, and so which arguments have a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
    /// A binding.
    Binding,
}

/// The arguments of an item; `None` if one of them is wrong, which has been reported.
pub(super) fn read(item: &Section, of: Of) -> Option<Vec<(String, Value)>> {
    let arguments = item.free("arguments", |name, value| {
        match of {
            Of::Queue => check_queue(name, value)?,
            Of::Exchange => check_exchange(name, value)?,
            Of::Binding => check_binding(name, value)?,
        }
        to_value(value, DEPTH)
    })?;
    let has = |wanted: &str| arguments.iter().any(|(name, _)| name == wanted);
    if of == Of::Queue && has("x-dead-letter-routing-key") && !has("x-dead-letter-exchange") {
        item.fault("arguments", "x-dead-letter-routing-key without x-dead-letter-exchange, expected both");
        return None;
    }
    if of == Of::Queue && has("x-last-value-key") && has("x-max-priority") {
        item.fault("arguments", "x-last-value-key together with x-max-priority, expected one of them");
        return None;
    }
    Some(arguments)
}

fn check_queue(name: &str, value: &Yaml) -> Parsed<()> {
    let milliseconds = |least: i64| integer(least..=MILLISECONDS_MAX);
    match name {
        "x-max-length" | "x-max-length-bytes" => integer(0..=i64::MAX)(value).map(drop),
        "x-message-ttl" => milliseconds(0)(value).map(drop),
        "x-expires" => milliseconds(1)(value).map(drop),
        "x-max-priority" => integer(0..=255i64)(value).map(drop),
        "x-overflow" => {
            choice(&[("drop-head", ()), ("reject-publish", ()), ("reject-publish-dlx", ())])(value)
        }
        "x-queue-mode" => choice(&[("default", ()), ("lazy", ())])(value),
        "x-queue-type" => match value {
            Yaml::Text(kind) if kind == "classic" => Ok(()),
            other => Err(unexpected(other, "classic, the one type of queue that there is yet")),
        },
        "x-dead-letter-exchange" | "x-dead-letter-routing-key" => key(value).map(drop),
        "x-last-value-key" | "x-group-key" => text(value).map(drop),
        "x-single-active-consumer" | "x-browse-only" => boolean(value).map(drop),
        "x-delivery-limit" => Err(
            "classic queues do not take it from their declarer, expected the key delivery-limit of a policy"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn check_exchange(name: &str, value: &Yaml) -> Parsed<()> {
    match name {
        "alternate-exchange" | "hash-header" | "hash-property" => key(value).map(drop),
        _ => Ok(()),
    }
}

fn check_binding(name: &str, value: &Yaml) -> Parsed<()> {
    match name {
        "x-match" => choice(&[("all", ()), ("any", ()), ("all-with-x", ()), ("any-with-x", ())])(value),
        _ => Ok(()),
    }
}

/// Whole numbers are 64 bits wide.
fn to_value(value: &Yaml, depth: usize) -> Parsed<Value> {
    if depth == 0 {
        return Err(format!("nested too deep, expected at most {DEPTH} levels"));
    }
    let inner = |node: &Node| to_value(&node.value, depth - 1);
    match value {
        Yaml::Null => Ok(Value::Void),
        Yaml::Boolean(value) => Ok(Value::Boolean(*value)),
        Yaml::Integer(number) => Ok(Value::Int64(*number)),
        Yaml::Float(number) => Ok(Value::Float64(*number)),
        Yaml::Text(text) => Ok(Value::Text(text.clone())),
        Yaml::List(items) => items.iter().map(inner).collect::<Parsed<_>>().map(Value::List),
        Yaml::Map(entries) => {
            let entries = entries.iter().map(|entry| Ok((entry.key.clone(), inner(&entry.node)?)));
            entries.collect::<Parsed<_>>().map(Value::Map)
        }
    }
}
