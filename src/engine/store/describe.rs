//! The store's records in words, for whoever looks at a stopped journal. No message's contents are shown.

use super::catalogue::Item;
use super::fields::Fields;
use super::message::StoredMessage;
use super::{CATALOGUE, entries, kind};
use fairlead_journal::{Stored, StreamId};
use fairlead_kernel::settings::{Binding, Destination};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// In words, for example `message` or `removed`.
    pub kind: &'static str,
    /// The virtual host and the name of the queue that it is of, where a declaration of it has been seen.
    pub queue: Option<(Arc<str>, Arc<str>)>,
    /// More of it: names, numbers and sizes.
    pub details: Vec<(&'static str, Detail)>,
}

/// A value of a detail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A count, a size in bytes, a sequence, or a position.
    Number(u64),
    /// A name.
    Text(String),
}

/// Describes records in the order of the journal, and learns the names of queues on the way.
#[derive(Debug, Default)]
pub struct Describer {
    /// By number; one that was deleted keeps its name for what came before.
    queues: BTreeMap<u64, (Arc<str>, Arc<str>)>,
}

impl Describer {
    /// Learn from a part of the newest checkpoint.
    pub fn learn(&mut self, stream: StreamId, part: &[u8]) {
        type Catalogue = ((u64, u64), Arc<str>, Vec<Item>);
        if stream != CATALOGUE {
            return;
        }
        if let Ok((_, host, items)) = rmp_serde::from_slice::<Catalogue>(part) {
            items.iter().for_each(|item| self.learn_item(&host, item));
        }
    }

    fn learn_item(&mut self, host: &Arc<str>, item: &Item) {
        if let Item::Queue(id, name, _) = item {
            self.queues.insert(id.0, (Arc::clone(host), Arc::clone(name)));
        }
    }

    /// What a record is; one that is not understood is `unknown`.
    pub fn describe(&mut self, record: &Stored<'_>) -> Described {
        let understood = if record.stream == CATALOGUE {
            self.catalogue(record)
        } else {
            of_queue(record).map(|(kind, details)| Described { kind, queue: None, details })
        };
        let unknown = || {
            let details = vec![("number", Detail::Number(record.kind.0.into()))];
            Described { kind: "unknown", queue: None, details }
        };
        let mut described = understood.unwrap_or_else(unknown);
        described.queue = self.queues.get(&record.stream.0).cloned();
        described
    }

    fn catalogue(&mut self, record: &Stored<'_>) -> Option<Described> {
        match record.kind {
            kind::CHANGES => {
                let (host, item): (Arc<str>, Item) = rmp_serde::from_slice(record.payload).ok()?;
                self.learn_item(&host, &item);
                let (kind, mut details) = of_item(&item);
                details.insert(0, ("vhost", Detail::Text(host.to_string())));
                Some(Described { kind, queue: None, details })
            }
            kind::FLAGGED => {
                Some(Described { kind: "start after a crash", queue: None, details: Vec::new() })
            }
            kind::ENDED => Some(Described { kind: "end of the broker", queue: None, details: Vec::new() }),
            kind::COMMITTED => {
                let number = Fields(record.payload).long()?;
                let details = vec![("transaction", Detail::Number(number))];
                Some(Described { kind: "transaction in force", queue: None, details })
            }
            _ => None,
        }
    }
}

type Details = Vec<(&'static str, Detail)>;

fn text(name: &str) -> Detail {
    Detail::Text(name.to_owned())
}

fn of_item(item: &Item) -> (&'static str, Details) {
    match item {
        Item::Exchange(name, _) => ("exchange declared", vec![("name", text(name))]),
        Item::NoExchange(name) => ("exchange deleted", vec![("name", text(name))]),
        Item::Queue(id, name, _) => {
            ("queue declared", vec![("name", text(name)), ("number", Detail::Number(id.0))])
        }
        Item::NoQueue(id, name) => {
            ("queue deleted", vec![("name", text(name)), ("number", Detail::Number(id.0))])
        }
        Item::Binding(binding) => ("bound", of_binding(binding)),
        Item::NoBinding(binding) => ("unbound", of_binding(binding)),
    }
}

fn of_binding(binding: &Binding) -> Details {
    let to = match &binding.destination {
        Destination::Queue(name) => ("to_queue", text(name)),
        Destination::Exchange(name) => ("to_exchange", text(name)),
    };
    vec![("source", text(&binding.source)), to, ("key", text(&binding.key))]
}

fn of_queue(record: &Stored<'_>) -> Option<(&'static str, Details)> {
    let mut fields = Fields(record.payload);
    let transaction = |fields: &mut Fields<'_>| Some(("transaction", Detail::Number(fields.long()?)));
    Some(match record.kind {
        kind::ENTRY => ("message", of_message(&StoredMessage::decode(record.payload)?, "transaction")),
        kind::MOVED => {
            ("message, moved", of_message(&StoredMessage::decode(record.payload)?, "from_position"))
        }
        // As it was recorded first: what it says of a transaction is over.
        kind::COPY => ("message, copied", of_message(&StoredMessage::decode(record.payload)?, "transaction")),
        kind::PAGE => ("page of entries", of_page(record.payload)?),
        kind::BODY => ("part of a body", Vec::new()),
        kind::REMOVE => ("removed", ranges(fields)?),
        kind::REQUEUE => ("requeued", ranges(fields)?),
        kind::PART_ACCEPTED => {
            let mut details = vec![transaction(&mut fields)?];
            details.extend(ranges(fields)?);
            ("settled in a transaction", details)
        }
        kind::COMMIT => ("transaction committed", vec![transaction(&mut fields)?]),
        kind::COMMIT_FOUND => ("transaction committed by a start", vec![transaction(&mut fields)?]),
        kind::ROLLBACK => ("transaction rolled back", vec![transaction(&mut fields)?]),
        kind::DELETE => ("queue gone", Vec::new()),
        _ => return None,
    })
}

/// Sizes and names; `origin` is what the number is that is 0 for a message of its own.
fn of_message(message: &StoredMessage<'_>, origin: &'static str) -> Details {
    let mut details = vec![
        ("sequence", Detail::Number(message.sequence.0)),
        ("exchange", text(message.exchange())),
        ("key", text(message.routing_key())),
        ("head_bytes", Detail::Number(message.head_bytes() as u64)),
    ];
    match message.parts.len() {
        0 => details.push(("body_bytes", Detail::Number(message.body_bytes() as u64))),
        parts => details.push(("body_parts", Detail::Number(parts as u64))),
    }
    if message.transaction != 0 {
        details.push((origin, Detail::Number(message.transaction)));
    }
    details
}

/// The same of entries that only the disk has.
fn of_page(page: &[u8]) -> Option<Details> {
    let entries = entries::decode_page(page)?;
    let (first, last) = (entries.first()?.sequence.0, entries.last()?.sequence.0);
    let bounds = [("messages", entries.len() as u64), ("first", first), ("last", last)];
    Some(bounds.map(|(name, number)| (name, Detail::Number(number))).to_vec())
}

/// How many messages, and between which sequences.
fn ranges(mut fields: Fields<'_>) -> Option<Details> {
    let (mut messages, mut first, mut last) = (0_u64, u64::MAX, 0);
    while !fields.0.is_empty() {
        let (from, to) = (fields.long()?, fields.long()?);
        messages = messages.saturating_add(to.checked_sub(from)?.saturating_add(1));
        (first, last) = (first.min(from), last.max(to));
    }
    let bounds = [("messages", messages), ("first", first.min(last)), ("last", last)];
    Some(bounds.map(|(name, number)| (name, Detail::Number(number))).to_vec())
}
