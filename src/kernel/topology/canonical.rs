//! Bytes that stand for values: equal bytes for equal content, different ones for different content. They
//! identify bindings and feed the state hash; they are never written to disk or to a peer.

use crate::settings::{Argument, Limits, MatchMode, Overflow};
use crate::value::Value;

pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

pub(crate) fn flag(out: &mut Vec<u8>, flag: bool) {
    out.push(flag.into());
}

/// `None` as one byte, else one byte and what `write` writes.
pub(crate) fn option<T>(out: &mut Vec<u8>, option: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    flag(out, option.is_some());
    if let Some(some) = option {
        write(out, some);
    }
}

/// A value with its type.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value) {
    let mut plain = |tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Void => plain(0, &[]),
        Value::Boolean(v) => plain(1, &[u8::from(*v)]),
        Value::Int8(v) => plain(2, &v.to_le_bytes()),
        Value::UInt8(v) => plain(3, &v.to_le_bytes()),
        Value::Int16(v) => plain(4, &v.to_le_bytes()),
        Value::UInt16(v) => plain(5, &v.to_le_bytes()),
        Value::Int32(v) => plain(6, &v.to_le_bytes()),
        Value::UInt32(v) => plain(7, &v.to_le_bytes()),
        Value::Int64(v) => plain(8, &v.to_le_bytes()),
        Value::UInt64(v) => plain(9, &v.to_le_bytes()),
        Value::Float32(v) => plain(10, &v.to_bits().to_le_bytes()),
        Value::Float64(v) => plain(11, &v.to_bits().to_le_bytes()),
        Value::Decimal { scale, mantissa } => {
            plain(12, &[*scale]);
            out.extend_from_slice(&mantissa.to_le_bytes());
        }
        Value::Timestamp(v) => plain(13, &v.to_le_bytes()),
        Value::Text(v) => {
            plain(14, &[]);
            text(out, v);
        }
        Value::Bytes(v) => {
            plain(15, &[]);
            bytes(out, v);
        }
        Value::List(values) => {
            plain(16, &[]);
            number(out, values.len() as u64);
            values.iter().for_each(|item| self::value(out, item));
        }
        Value::Map(pairs) => {
            plain(17, &[]);
            self::pairs(out, pairs.iter());
        }
    }
}

/// Names with values, in order.
pub(crate) fn pairs<'a>(out: &mut Vec<u8>, pairs: impl ExactSizeIterator<Item = &'a (String, Value)>) {
    number(out, pairs.len() as u64);
    for (name, item) in pairs {
        text(out, name);
        value(out, item);
    }
}

/// What makes two bindings of one source, destination and key different: arguments, whatever their order,
/// and match mode. Empty for a binding without either, so that most bindings pay nothing.
pub(crate) fn binding_identity(mode: MatchMode, arguments: &[(String, Value)]) -> Box<[u8]> {
    if mode == MatchMode::All && arguments.is_empty() {
        return Box::default();
    }
    let mut sorted: Vec<_> = arguments.iter().collect();
    sorted.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut out = vec![mode as u8];
    pairs(&mut out, sorted.into_iter());
    out.into()
}

pub(crate) fn arguments(out: &mut Vec<u8>, arguments: &[Argument]) {
    number(out, arguments.len() as u64);
    for Argument { name, value: item, compared } in arguments {
        text(out, name);
        value(out, item);
        flag(out, *compared);
    }
}

pub(crate) fn limits(out: &mut Vec<u8>, limits: &Limits) {
    let Limits {
        max_messages,
        max_bytes,
        overflow,
        message_ttl,
        expires,
        dead_letter_exchange,
        dead_letter_key,
        delivery_limit,
    } = limits;
    for limit in [*max_messages, *max_bytes, *message_ttl, *expires, delivery_limit.map(u64::from)] {
        option(out, limit, number);
    }
    option(out, *overflow, |out, overflow| {
        out.push(match overflow {
            Overflow::DropHead => 0,
            Overflow::Reject => 1,
            Overflow::RejectDeadLetter => 2,
        });
    });
    option(out, dead_letter_exchange.as_deref(), text);
    option(out, dead_letter_key.as_deref(), text);
}
