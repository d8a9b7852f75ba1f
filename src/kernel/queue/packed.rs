//! A small message as one run of bytes: how it lies in a queue's chunk and in a batch of deliveries.
//!
//! Layout, little-endian: number of its label (4), length of head (2), of body (2); then head and body.
//! The rest of the message is in its label: see `labels`.

use super::labels::Labels;
use crate::message::{Body, MessageView};

/// Bytes in front of a packed message's contents.
pub(super) const HEADER: usize = 8;
/// Larger bodies are shared instead of packed.
pub(super) const LARGEST_BODY: usize = 1024;
/// Larger heads are shared instead of packed.
const LARGEST_HEAD: usize = 1024;
/// Longer names are shared instead of packed.
const LONGEST_NAME: usize = 1024;

/// Lengths of a message that can be packed: its body's in the upper 16 bits, its head's below, as they stand
/// in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths(u32);

impl Lengths {
    /// Length of the body.
    #[inline]
    pub(super) fn body(self) -> u32 {
        self.0 >> 16
    }

    /// Length of all, the header too.
    #[inline]
    pub(super) fn packed(self) -> usize {
        HEADER + (self.0 >> 16) as usize + (self.0 & 0xffff) as usize
    }
}

/// Lengths of the message when packed; `None` if it is to be shared: too large, or changed by the broker.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the lengths are bounded before")]
pub(super) fn lengths(message: &MessageView<'_>) -> Option<Lengths> {
    let body = message.body.len();
    let head = message.head.len();
    let names = message.exchange.len() + message.routing_key.len();
    if body > LARGEST_BODY || head > LARGEST_HEAD || names > LONGEST_NAME || message.overlay.is_some() {
        return None;
    }
    Some(Lengths((body as u32) << 16 | head as u32))
}

/// Append the message, for which [`lengths`] gave these.
#[inline]
pub(super) fn pack(message: &MessageView<'_>, lengths: Lengths, label: u32, into: &mut Vec<u8>) {
    into.extend_from_slice(&(u64::from(label) | u64::from(lengths.0) << 32).to_le_bytes());
    into.extend_from_slice(message.head);
    match message.body {
        Body::Slice(slice) => into.extend_from_slice(slice),
        Body::Segments(segments) => segments.iter().for_each(|segment| into.extend_from_slice(segment)),
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the fields are cut out of the header")]
fn header(bytes: &[u8]) -> (u32, usize, usize) {
    let mut header = [0u8; HEADER];
    header.copy_from_slice(&bytes[..HEADER]);
    let header = u64::from_le_bytes(header);
    (header as u32, (header >> 32) as usize & 0xffff, (header >> 48) as usize)
}

/// The packed message that begins at the front of `bytes`, without what follows it, and its label.
#[inline]
pub(super) fn record(bytes: &[u8]) -> (u32, &[u8]) {
    let (label, head, body) = header(bytes);
    (label, &bytes[..HEADER + head + body])
}

/// Head and body of the packed message at the front of `bytes`.
#[inline]
pub(super) fn contents(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (_, head, body) = header(bytes);
    bytes[HEADER..HEADER + head + body].split_at(head)
}

/// Read the packed message at the front of `bytes`, given its label's number among `labels`.
#[inline]
pub(super) fn view<'a>(bytes: &'a [u8], label: u32, labels: &'a Labels) -> MessageView<'a> {
    let (head, body) = contents(bytes);
    labels.view(label, head, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnectionId, Origin};
    use crate::message::Overlay;
    use bytes::Bytes;

    fn message<'a>(head: &'a [u8], body: Body<'a>) -> MessageView<'a> {
        MessageView {
            origin: Origin::Amqp010,
            persistent: true,
            publisher: ConnectionId(u64::MAX - 3),
            exchange: "amq.topic",
            routing_key: "a.ключ",
            head,
            body,
            overlay: None,
            shared: None,
        }
    }

    #[test]
    fn what_is_packed_is_read_back() {
        let segments = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let large = [9u8; LARGEST_BODY];
        let mut labels = Labels::default();
        for (body, whole) in [
            (Body::Slice(b"sixteen bytes ok"), &b"sixteen bytes ok"[..]),
            (Body::Slice(b""), b""),
            (Body::Segments(&segments), b"onetwo"),
            (Body::Slice(&large), &large),
        ] {
            let original = message(&[7; LARGEST_HEAD], body);
            let mut bytes = Vec::new();
            let label = labels.note(&original);
            assert_eq!(label, 0, "one label serves all");
            let lengths = lengths(&original).expect("it is small");
            pack(&original, lengths, label, &mut bytes);
            assert_eq!(bytes.len(), lengths.packed());
            assert_eq!(lengths.body() as usize, whole.len());
            bytes.extend_from_slice(b"what follows");
            assert_eq!(record(&bytes).1.len(), bytes.len() - 12);
            let read = view(&bytes, label, &labels);
            assert_eq!((read.origin, read.persistent), (Origin::Amqp010, true));
            assert_eq!(read.publisher, original.publisher);
            assert_eq!((read.exchange, read.routing_key), ("amq.topic", "a.ключ"));
            assert_eq!(read.head, original.head);
            assert!(matches!(read.body, Body::Slice(slice) if slice == whole));
        }
    }

    #[test]
    fn every_difference_makes_another_label() {
        let mut labels = Labels::default();
        let first = message(&[], Body::Slice(&[]));
        let others = [
            MessageView { persistent: false, ..first },
            MessageView { origin: Origin::Amqp100, ..first },
            MessageView { publisher: ConnectionId(1), ..first },
            MessageView { exchange: "amq.topi", routing_key: "ca.ключ", ..first },
            MessageView { routing_key: "", ..first },
            first,
        ];
        assert_eq!(labels.note(&first), 0);
        for (number, other) in (1..).zip(&others) {
            assert_eq!((labels.note(other), labels.note(other)), (number, number));
            let read = labels.view(number, &[], &[]);
            assert_eq!((read.exchange, read.routing_key), (other.exchange, other.routing_key));
            assert_eq!((read.publisher, read.origin, read.persistent), {
                (other.publisher, other.origin, other.persistent)
            });
        }
    }

    #[test]
    fn what_is_too_large_or_changed_is_not_packed() {
        assert!(lengths(&message(&[0; 1024], Body::Slice(&[0; 1024]))).is_some());
        assert_eq!(lengths(&message(&[0; 1025], Body::Slice(&[]))), None);
        assert_eq!(lengths(&message(&[], Body::Slice(&[0; 1025]))), None);
        let overlay = Overlay::default();
        let changed = MessageView { overlay: Some(&overlay), ..message(&[], Body::Slice(&[])) };
        assert_eq!(lengths(&changed), None);
        let long = "k".repeat(1020);
        let long = MessageView { routing_key: &long, ..message(&[], Body::Slice(&[])) };
        assert_eq!(lengths(&long), None);
    }
}
