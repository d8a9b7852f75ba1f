//! Encoded properties, read for the kernel: once when a message comes in, and whenever a queue or a router
//! asks for a header.

use super::names::REPLY_TO;
use super::values::to_value;
use crate::codec::properties::{Scan, Span, scan};
use crate::codec::{Table, Value as Field};
use crate::connection::batch::HeadFacts;
use crate::error::Fault;
use crate::spec::BasicProperties;
use fairlead_kernel::{HeadReader, Value};

/// Longest expiration, in milliseconds.
const EXPIRATION_MAX: i64 = 0xffff_ffff;

/// What the name of a property begins with where the kernel asks for a header.
const PROPERTY: &str = "\0property ";

/// Properties that can be asked for so.
const PROPERTIES: [&str; 3] = ["message_id", "correlation_id", "timestamp"];

/// The name under which the kernel can ask for that property as for a header.
pub(super) fn property_as_header(property: &str) -> Option<String> {
    PROPERTIES.contains(&property).then(|| format!("{PROPERTY}{property}"))
}

fn property_of(head: &[u8], property: &str) -> Option<Value> {
    let properties = BasicProperties::decode(head).ok()?;
    let bytes = match property {
        "message_id" => properties.message_id,
        "correlation_id" => properties.correlation_id,
        "timestamp" => return properties.timestamp.map(Value::Timestamp),
        _ => None,
    };
    bytes.map(|bytes| to_value(Field::LongString(bytes)))
}

/// Reads heads whose origin is this protocol.
#[derive(Clone, Copy, Debug)]
pub struct Heads;

/// The reader for [`fairlead_kernel::message::HeadReaders`].
pub static HEAD_READER: Heads = Heads;

impl HeadReader for Heads {
    fn header(&self, head: &[u8], name: &str) -> Option<Value> {
        match name.strip_prefix(PROPERTY) {
            Some(property) => property_of(head, property),
            None => headers_of(head)?.get(name).map(to_value),
        }
    }

    fn headers(&self, head: &[u8]) -> Vec<(String, Value)> {
        headers_of(head).map(super::values::to_map).unwrap_or_default()
    }

    fn time_to_live(&self, head: &[u8]) -> Option<u64> {
        let found = scan(head).ok()?;
        parse_expiration(found.expiration?.of(head)).ok()
    }

    fn extra_keys(&self, head: &[u8], hidden: bool) -> Vec<String> {
        let Some(headers) = headers_of(head) else { return Vec::new() };
        let mut keys = Vec::new();
        for name in if hidden { &["CC", "BCC"][..] } else { &["CC"][..] } {
            let array = headers.get(name).and_then(|field| field.as_array()).unwrap_or_default();
            keys.extend(array.iter().filter_map(|field| match field {
                Field::LongString(key) => Some(String::from_utf8_lossy(key).into_owned()),
                _ => None,
            }));
        }
        keys
    }

    fn priority(&self, head: &[u8]) -> u8 {
        scan(head).ok().and_then(|found| found.priority).unwrap_or(0)
    }
}

/// The headers table of a head that was validated when it came in.
pub(super) fn headers_of(head: &[u8]) -> Option<Table<'_>> {
    let found = scan(head).ok()?;
    found.headers.map(|span: Span| Table::from_validated(span.of(head)))
}

/// What [`inspect`] finds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inspected<'a> {
    pub(crate) facts: HeadFacts<'a>,
    /// reply-to is the pseudo-queue: it has to be replaced by the channel's address.
    pub(crate) direct_reply: bool,
}

/// Validate the properties of a message on its way in, and find what the engine must know.
#[inline]
pub(crate) fn inspect(properties: &[u8]) -> Result<Inspected<'_>, Fault> {
    let found = scan(properties)?;
    if found.flags == 0 { Ok(Inspected::default()) } else { inspect_found(properties, &found) }
}

fn inspect_found<'a>(properties: &'a [u8], found: &Scan) -> Result<Inspected<'a>, Fault> {
    let mut facts = HeadFacts {
        persistent: found.delivery_mode == Some(2),
        priority: found.priority.unwrap_or(0),
        ..HeadFacts::default()
    };
    if let Some(span) = found.user_id {
        facts.user_id = Some(user_id(span.of(properties))?);
    }
    if let Some(span) = found.expiration {
        facts.time_to_live = Some(expiration(span.of(properties))?);
    }
    if let Some(span) = found.headers {
        facts.extra_keys = has_extra_keys(Table::from_validated(span.of(properties)))?;
    }
    let direct_reply = found.reply_to.is_some_and(|span| span.of(properties) == REPLY_TO.as_bytes());
    Ok(Inspected { facts, direct_reply })
}

fn user_id(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::precondition("user_id property is not UTF-8"))
}

/// Whether there are CC or BCC headers, which must be arrays.
fn has_extra_keys(headers: Table<'_>) -> Result<bool, Fault> {
    let mut any = false;
    for (name, field) in headers {
        if matches!(name, "CC" | "BCC") {
            any = true;
            if field.as_array().is_none() {
                return Err(Fault::precondition(format!(
                    "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
                    field.type_name()
                )));
            }
        }
    }
    Ok(any)
}

fn expiration(bytes: &[u8]) -> Result<u64, Fault> {
    parse_expiration(bytes).map_err(|problem| {
        Fault::precondition(format!("invalid expiration '{}': {problem}", String::from_utf8_lossy(bytes)))
    })
}

/// A whole number of milliseconds as text. The error is RabbitMQ's term for what is wrong with it.
fn parse_expiration(bytes: &[u8]) -> Result<u64, String> {
    let signs = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let digits = bytes[signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err("no_integer".to_owned());
    }
    let (number, rest) = bytes.split_at(signs + digits);
    if !rest.is_empty() {
        return Err(format!("{{leftover_string,\"{}\"}}", String::from_utf8_lossy(rest)));
    }
    let text = std::str::from_utf8(number).unwrap_or_default();
    // More digits than 64 bits hold are too many in any case.
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("{{value_negative,{number}}}")),
        Ok(number) if number <= EXPIRATION_MAX => Ok(number.unsigned_abs()),
        Ok(_) | Err(_) => Err(format!("{{value_too_big,{text}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_are_whole_milliseconds_in_bounds() {
        let check = |text: &str, expect: Result<u64, &str>| {
            assert_eq!(parse_expiration(text.as_bytes()), expect.map_err(str::to_owned), "{text}");
        };
        check("0", Ok(0));
        check("+60000", Ok(60_000));
        check("4294967295", Ok(4_294_967_295));
        check("4294967296", Err("{value_too_big,4294967296}"));
        check("99999999999999999999", Err("{value_too_big,99999999999999999999}"));
        check("-1", Err("{value_negative,-1}"));
        check("", Err("no_integer"));
        check("abc", Err("no_integer"));
        check("-", Err("no_integer"));
        check("10s", Err("{leftover_string,\"s\"}"));
    }
}
