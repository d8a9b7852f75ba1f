//! A YAML text as a tree whose every node knows its place, and the laying of one tree over another.
//!
//! Flow: text -> [`parse`] -> [`Node`]; defaults, then the file, then overrides -> [`Node::overlay`].

use super::problem::{Place, Problem};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_yaml::{
    DuplicateKeyPolicy, Location, MergeKeyPolicy, MessageFormatter, Options, Spanned, UserMessageFormatter,
};
use std::fmt;
use std::sync::Arc;

/// A value and where it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub value: Value,
}

/// YAML's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing; counts as not given.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order given.
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// As YAML writes it in one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = |index: usize| if index == 0 { "" } else { ", " };
        match self {
            Value::Null => f.write_str("null"),
            Value::Boolean(value) => value.fmt(f),
            Value::Integer(number) => number.fmt(f),
            Value::Float(number) => number.fmt(f),
            Value::Text(text) if is_plain(text) => f.write_str(text),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{}", separator(index), item.value)?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (index, entry) in entries.iter().enumerate() {
                    write!(f, "{}{}: {}", separator(index), entry.key, entry.node.value)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Whether a text can stand without quotes and not be taken for something else.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.chars().any(|c| c.is_control() || "{}[],\"'\\#".contains(c))
        && !["true", "false", "null"].contains(&text)
        && text.parse::<f64>().is_err()
}

impl Node {
    /// A text that a flag or an environment variable gives.
    pub fn given(text: String, by: &'static str) -> Node {
        Node { place: Place::Override(by), value: Value::Text(text) }
    }

    /// Puts `node` at the path `keys`, making mappings on the way.
    pub fn set(&mut self, keys: &[&str], node: Node) {
        let Some((first, rest)) = keys.split_first() else {
            *self = node;
            return;
        };
        let mut inner = Node { place: node.place.clone(), value: Value::Null };
        inner.set(rest, node);
        let entry = Entry { key: (*first).to_owned(), place: inner.place.clone(), node: inner };
        self.overlay(Node { place: self.place.clone(), value: Value::Map(vec![entry]) });
    }

    /// Lays `over` on top: mappings are merged key by key, anything else that is given replaces what was.
    pub fn overlay(&mut self, over: Node) {
        match (&mut self.value, over.value) {
            (_, Value::Null) => {}
            (Value::Map(entries), Value::Map(over_entries)) => {
                for over_entry in over_entries {
                    match entries.iter_mut().find(|entry| entry.key == over_entry.key) {
                        Some(entry) => entry.node.overlay(over_entry.node),
                        None => entries.push(over_entry),
                    }
                }
            }
            (value, over_value) => {
                *value = over_value;
                self.place = over.place;
            }
        }
    }
}

/// Reads a YAML text; `file` is its name in messages, and the built-in defaults have none. An empty text is
/// [`Value::Null`].
pub fn parse(file: Option<&Arc<str>>, text: &str) -> Result<Node, Problem> {
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.merge_keys = MergeKeyPolicy::Error;
    options.strict_booleans = true;
    options.underscored_numbers_as_strings = true;
    options.leading_zero_numbers_as_strings = true;
    options.with_snippet = false;
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(placed(file, raw)),
        Err(error) => Err(broken(file, &error)),
    }
}

/// What serde_yaml gives: its own places, which do not know the file.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn placed(file: Option<&Arc<str>>, raw: Spanned<Raw>) -> Node {
    let value = match raw.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(|item| placed(file, item)).collect()),
        Raw::Map(entries) => Value::Map(entries.into_iter().map(|entry| placed_entry(file, entry)).collect()),
    };
    Node { place: place(file, raw.referenced), value }
}

fn placed_entry(file: Option<&Arc<str>>, (key, raw): (Spanned<String>, Spanned<Raw>)) -> Entry {
    Entry { place: place(file, key.referenced), key: key.value, node: placed(file, raw) }
}

fn place(file: Option<&Arc<str>>, location: Location) -> Place {
    match (file, location.line()) {
        (None, _) => Place::BuiltIn,
        (Some(file), 0) => Place::WholeFile(file.clone()),
        (Some(file), line) => Place::File { file: file.clone(), line, column: location.column() },
    }
}

fn broken(file: Option<&Arc<str>>, error: &serde_yaml::Error) -> Problem {
    let place = place(file, error.location().unwrap_or(Location::UNKNOWN));
    let message = UserMessageFormatter.format_message(error.without_snippet());
    Problem { place, key: String::new(), message: format!("not valid YAML: {message}") }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a text, a sequence or a mapping")
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        self.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Boolean(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        i64::try_from(value)
            .map_or(Ok(Raw::Scalar(Value::Float(value as f64))), |value| self.visit_i64(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
