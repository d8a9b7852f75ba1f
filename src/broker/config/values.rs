//! From a YAML value to a typed one. Each function answers a parser that says, of a value that does not fit,
//! what it is and what was expected.

use super::node::Value;
use super::units;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A parser's answer; the error is `WHAT IT IS, expected WHAT`.
pub type Parsed<T> = Result<T, String>;

/// A text that must not be shown: its `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Parsed<bool> {
    match value {
        Value::Boolean(value) => Ok(*value),
        other => Err(unexpected(other, "true or false")),
    }
}

/// A whole number within `range`.
pub fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Value) -> Parsed<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let number = match value {
            Value::Integer(number) => T::try_from(*number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        number.ok_or_else(|| {
            unexpected(value, &format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }
}

/// A text of 1 to 255 bytes: a name as AMQP carries it.
pub fn name(value: &Value) -> Parsed<String> {
    match text(value)? {
        text if (1..=255).contains(&text.len()) => Ok(text),
        text => Err(format!("a text of {} bytes, expected 1 to 255", text.len())),
    }
}

/// A text of at most 255 bytes, as a routing key.
pub fn key(value: &Value) -> Parsed<String> {
    match text(value)? {
        text if text.len() <= 255 => Ok(text),
        text => Err(format!("a text of {} bytes, expected at most 255", text.len())),
    }
}

/// A text that is not to be shown, and not empty.
pub fn secret(value: &Value) -> Parsed<Secret> {
    match value {
        Value::Text(text) if text.is_empty() => Err("an empty text, expected a secret".to_owned()),
        Value::Text(text) => Ok(Secret(text.clone())),
        Value::Null => Err(unexpected(value, "a text")),
        // What was given is left out of the message.
        other => Err(format!("{}, expected a text: put it in quotes", kind(other))),
    }
}

/// Any text.
pub fn text(value: &Value) -> Parsed<String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other @ (Value::Null | Value::List(_) | Value::Map(_)) => Err(unexpected(other, "a text")),
        other => Err(unexpected(other, "a text: put it in quotes")),
    }
}

/// An address with a port.
pub fn address(value: &Value) -> Parsed<SocketAddr> {
    let parsed = match value {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| unexpected(value, "ADDRESS:PORT, as 127.0.0.1:5672 or [::]:5672"))
}

/// A number of bytes within `range`.
pub fn size(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Parsed<u64> {
    move |value| {
        let bytes = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => units::bytes(text),
            _ => None,
        };
        bytes.filter(|bytes| range.contains(bytes)).ok_or_else(|| {
            let (from, to) = (units::show_bytes(*range.start()), units::show_bytes(*range.end()));
            unexpected(value, &format!("a size from {from} to {to}, as 128 MiB"))
        })
    }
}

/// A duration within `range`.
pub fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Parsed<Duration> {
    move |value| {
        let duration = match value {
            Value::Integer(0) => Some(Duration::ZERO),
            Value::Text(text) => units::duration(text),
            _ => None,
        };
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| {
            let (from, to) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
            unexpected(value, &format!("a duration from {from} to {to}, as 30 s"))
        })
    }
}

/// One of several words.
pub fn choice<T: Clone>(choices: &[(&'static str, T)]) -> impl Fn(&Value) -> Parsed<T> {
    move |value| {
        let chosen = match value {
            Value::Text(text) => choices.iter().find(|(word, _)| word == text),
            _ => None,
        };
        chosen.map(|(_, choice)| choice.clone()).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            unexpected(value, &format!("one of {}", words.join(", ")))
        })
    }
}

/// `WHAT IT IS, expected WHAT`.
pub fn unexpected(value: &Value, expected: &str) -> String {
    format!("{}, expected {expected}", describe(value))
}

fn describe(value: &Value) -> String {
    match value {
        Value::Boolean(value) => format!("the boolean {value}"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Text(text) => format!("the text {text:?}"),
        other => kind(other).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a sequence",
        Value::Map(_) => "a mapping",
    }
}
