//! A message in the journal: one record each, so that it is read back alone and its checksum covers it alone.
//!
//! ```text
//! sequence 8 | transaction 8 | expires 8 | publisher 8 | priority 1 | flags 1
//! lengths: exchange 2, routing key 2, head 4, overlay 4, parts 4
//! exchange | routing key | head | overlay (MessagePack) | positions of parts, 8 each | body, if it is not in parts
//! ```
//!
//! Flags: bits 0 and 1 are the origin. A body above [`WHOLE_BODY`] bytes is in records of its own, its parts, which
//! come before it. The transaction is 0 for a message that belongs to none; for a copy it is the position copied from.

use super::fields::{Fields, word};
use fairlead_kernel::command::NewEntry;
use fairlead_kernel::message::{Body, MessageView, Overlay};
use fairlead_kernel::{ConnectionId, Origin, Sequence, Time};

/// The longest body that is in its message's record, in bytes; longer ones are cut into records of this length.
pub(super) const WHOLE_BODY: usize = 1 << 20;

/// Everything of the record in front of the body. `parts` are the positions of a body that is not in it.
pub(super) fn encode(
    out: &mut Vec<u8>,
    sequence: Sequence,
    transaction: u64,
    entry: &NewEntry<'_>,
    parts: &[u64],
) {
    let message = &entry.message;
    let overlay = message.overlay.map(encode_overlay).unwrap_or_default();
    for number in [sequence.0, transaction, entry.expires.0, message.publisher.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&[entry.priority, message.origin as u8]);
    // Names and keys came as short strings or were bounded by their adapter.
    out.extend_from_slice(&(message.exchange.len() as u16).to_le_bytes());
    out.extend_from_slice(&(message.routing_key.len() as u16).to_le_bytes());
    for length in [message.head.len(), overlay.len(), parts.len()] {
        out.extend_from_slice(&word(length).to_le_bytes());
    }
    out.extend_from_slice(message.exchange.as_bytes());
    out.extend_from_slice(message.routing_key.as_bytes());
    out.extend_from_slice(message.head);
    out.extend_from_slice(&overlay);
    parts.iter().for_each(|part| out.extend_from_slice(&part.to_le_bytes()));
}

/// Plain data of known types: it always encodes.
fn encode_overlay(overlay: &Overlay) -> Vec<u8> {
    rmp_serde::to_vec_named(overlay).unwrap_or_default()
}

/// A message's record, taken apart.
#[derive(Debug)]
pub(super) struct StoredMessage<'a> {
    pub(super) sequence: Sequence,
    pub(super) transaction: u64,
    pub(super) expires: Time,
    pub(super) priority: u8,
    pub(super) overlay: Option<Overlay>,
    /// Positions of the body's parts, if it has some.
    pub(super) parts: Vec<u64>,
    origin: Origin,
    publisher: ConnectionId,
    exchange: &'a str,
    routing_key: &'a str,
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> StoredMessage<'a> {
    /// What [`encode`] and the body behind it say; `None` if it is none.
    pub(super) fn decode(payload: &'a [u8]) -> Option<StoredMessage<'a>> {
        let mut fields = Fields(payload);
        let [sequence, transaction, expires, publisher] =
            [fields.long()?, fields.long()?, fields.long()?, fields.long()?];
        let (priority, origin) = (fields.byte()?, origin(fields.byte()?)?);
        let (exchange, routing_key) = (fields.short()?, fields.short()?);
        let [head, overlay, parts] = [fields.word()?, fields.word()?, fields.word()?];
        let exchange = fields.text(exchange.into())?;
        let routing_key = fields.text(routing_key.into())?;
        let head = fields.take(head as usize)?;
        let overlay = match overlay as usize {
            0 => None,
            length => Some(rmp_serde::from_slice(fields.take(length)?).ok()?),
        };
        let parts = fields.take((parts as usize).checked_mul(8)?)?;
        let parts = parts.chunks_exact(8).filter_map(|part| Fields(part).long()).collect();
        Some(StoredMessage {
            sequence: Sequence(sequence),
            transaction,
            expires: Time(expires),
            priority,
            overlay,
            parts,
            origin,
            publisher: ConnectionId(publisher),
            exchange,
            routing_key,
            head,
            body: fields.0,
        })
    }

    /// The record of a copy, in front of its body if that is in parts, else with it.
    pub(super) fn moved(&self, sequence: Sequence, from: u64, parts: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, sequence, from, &self.entry(&[]), parts);
        if parts.is_empty() {
            out.extend_from_slice(self.body);
        }
        out
    }

    /// The exchange that it was published to.
    pub(super) fn exchange(&self) -> &str {
        self.exchange
    }

    /// Its routing key.
    pub(super) fn routing_key(&self) -> &str {
        self.routing_key
    }

    /// Bytes of its head.
    pub(super) fn head_bytes(&self) -> usize {
        self.head.len()
    }

    /// Bytes of its body, if that is in the record.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The message, as a queue takes it. `segments` is the body where it is in parts.
    pub(super) fn entry<'m>(&'m self, segments: &'m [bytes::Bytes]) -> NewEntry<'m> {
        let body = if self.parts.is_empty() { Body::Slice(self.body) } else { Body::Segments(segments) };
        NewEntry {
            message: MessageView {
                origin: self.origin,
                persistent: true,
                publisher: self.publisher,
                exchange: self.exchange,
                routing_key: self.routing_key,
                head: self.head,
                body,
                overlay: self.overlay.as_ref(),
                shared: None,
            },
            expires: self.expires,
            priority: self.priority,
        }
    }
}

fn origin(byte: u8) -> Option<Origin> {
    [Origin::Amqp091, Origin::Amqp010, Origin::Amqp100].into_iter().find(|origin| *origin as u8 == byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_kernel::message::{Death, DeathReason};

    fn death() -> Death {
        Death {
            count: 3,
            reason: DeathReason::Rejected,
            queue: "source".into(),
            time: Time(17),
            exchange: "from".into(),
            routing_keys: vec!["a".into(), "b".into()],
            original_expiry: Some(60_000),
        }
    }

    #[test]
    fn what_is_encoded_is_read_back_and_nothing_shorter_is() {
        let overlay = Overlay { deaths: vec![death()], expiry_removed: true, ..Overlay::default() };
        let message = MessageView {
            origin: Origin::Amqp100,
            persistent: true,
            publisher: ConnectionId(9),
            exchange: "exchange",
            routing_key: "key.ключ",
            head: b"head",
            body: Body::Slice(b"body"),
            overlay: Some(&overlay),
            shared: None,
        };
        let entry = NewEntry { message, expires: Time(99), priority: 7 };
        let mut bytes = Vec::new();
        encode(&mut bytes, Sequence(5), 6, &entry, &[]);
        for length in 0..bytes.len() {
            assert!(StoredMessage::decode(&bytes[..length]).is_none(), "{length} bytes");
        }
        bytes.extend_from_slice(b"body");
        let read = StoredMessage::decode(&bytes).unwrap();
        assert_eq!((read.sequence, read.transaction), (Sequence(5), 6));
        let again = read.entry(&[]);
        assert_eq!((again.expires, again.priority), (Time(99), 7));
        assert_eq!(again.message.to_shared(), message.to_shared());
        let mut bytes = Vec::new();
        encode(&mut bytes, Sequence(5), 0, &entry, &[10, 20]);
        let read = StoredMessage::decode(&bytes).unwrap();
        assert_eq!(read.parts, [10, 20]);
        let segments = [bytes::Bytes::from_static(b"bo"), bytes::Bytes::from_static(b"dy")];
        assert_eq!(read.entry(&segments).message.body.len(), 4);
    }
}
