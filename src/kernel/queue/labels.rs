//! What messages in a row have in common: publisher, exchange, routing key, origin, persistence.
//!
//! Messages of one publisher come in batches with the same names, so chunks and delivery batches keep
//! each label once for all messages in a row, and a message only its number.

use crate::ids::{ConnectionId, Origin};
use crate::message::{Body, MessageView};

#[derive(Clone, Copy, Debug, Default)]
struct Label {
    publisher: ConnectionId,
    /// Origin, persistence and lengths of both names, so that one comparison tells most differences.
    shape: u64,
    /// Where in the names the exchange begins; the routing key follows it.
    names: u32,
}

/// Labels in the order in which they were needed.
#[derive(Debug, Default)]
pub(super) struct Labels {
    list: Vec<Label>,
    names: String,
}

const PERSISTENT: u64 = 1 << 63;

/// See [`Label::shape`].
#[inline]
fn shape(message: &MessageView<'_>) -> u64 {
    message.exchange.len() as u64
        | (message.routing_key.len() as u64) << 16
        | (message.origin as u64) << 32
        | if message.persistent { PERSISTENT } else { 0 }
}

impl Label {
    fn exchange(&self) -> std::ops::Range<usize> {
        let from = self.names as usize;
        from..from + (self.shape & 0xffff) as usize
    }

    fn routing_key(&self) -> std::ops::Range<usize> {
        let from = self.exchange().end;
        from..from + (self.shape >> 16 & 0xffff) as usize
    }

    fn origin(&self) -> Origin {
        match self.shape >> 32 & 0xff {
            0 => Origin::Amqp091,
            1 => Origin::Amqp010,
            _ => Origin::Amqp100,
        }
    }
}

/// Whether two messages have the same label. Where a publisher's batch repeats names as the same slices,
/// this costs next to nothing.
#[inline]
pub(super) fn alike(left: &MessageView<'_>, right: &MessageView<'_>) -> bool {
    same_text(left.routing_key, right.routing_key)
        && same_text(left.exchange, right.exchange)
        && left.publisher == right.publisher
        && left.origin == right.origin
        && left.persistent == right.persistent
}

#[inline]
fn same_text(left: &str, right: &str) -> bool {
    std::ptr::eq(left, right) || left.len() == right.len() && same_bytes(left.as_bytes(), right.as_bytes())
}

impl Labels {
    /// The number of the message's label: that of the last one if it is the same. Names are short enough
    /// ([`super::packed::lengths`] has looked).
    #[inline]
    pub(super) fn note(&mut self, message: &MessageView<'_>) -> u32 {
        if let Some(last) = self.list.last()
            && last.shape == shape(message)
            && last.publisher == message.publisher
            && self.same(last.routing_key(), message.routing_key)
            && self.same(last.exchange(), message.exchange)
        {
            return short(self.list.len() - 1);
        }
        self.push(message)
    }

    /// Equality of names of equal length.
    #[inline]
    fn same(&self, range: std::ops::Range<usize>, name: &str) -> bool {
        self.names.as_bytes().get(range).is_some_and(|known| same_bytes(known, name.as_bytes()))
    }

    #[cold]
    #[inline(never)]
    fn push(&mut self, message: &MessageView<'_>) -> u32 {
        let names = short(self.names.len());
        self.names.push_str(message.exchange);
        self.names.push_str(message.routing_key);
        self.list.push(Label { publisher: message.publisher, shape: shape(message), names });
        short(self.list.len() - 1)
    }

    /// The message with that label and these contents.
    #[inline]
    pub(super) fn view<'a>(&'a self, label: u32, head: &'a [u8], body: &'a [u8]) -> MessageView<'a> {
        let label = &self.list[label as usize];
        MessageView {
            origin: label.origin(),
            persistent: label.shape & PERSISTENT != 0,
            publisher: label.publisher,
            exchange: self.names.get(label.exchange()).unwrap_or_default(),
            routing_key: self.names.get(label.routing_key()).unwrap_or_default(),
            head,
            body: Body::Slice(body),
            overlay: None,
            shared: None,
        }
    }

    /// Move all labels of `other` behind these; returns how far their numbers have moved.
    pub(super) fn append(&mut self, other: &mut Labels) -> u32 {
        let base = short(self.list.len());
        let names = short(self.names.len());
        self.names.push_str(&other.names);
        self.list.extend(other.list.drain(..).map(|label| Label { names: label.names + names, ..label }));
        other.names.clear();
        base
    }

    /// Forget all; buffers larger than `keep` bytes are given back.
    pub(super) fn clear(&mut self, keep: usize) {
        self.list.clear();
        self.names.clear();
        self.list.shrink_to(keep / size_of::<Label>());
        self.names.shrink_to(keep);
    }

    /// Bytes allocated.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.list.capacity() * size_of::<Label>() + self.names.capacity()
    }
}

/// Equality of two slices of the same length, without a call for none or for 8 to 16 bytes: the default
/// exchange is the empty string, and most keys are of that length.
#[inline]
fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    match (left.first_chunk::<8>(), left.last_chunk::<8>(), right.first_chunk::<8>(), right.last_chunk::<8>())
    {
        (Some(left_first), Some(left_last), Some(right_first), Some(right_last)) if left.len() <= 16 => {
            left_first == right_first && left_last == right_last
        }
        _ => left.is_empty() || left == right,
    }
}

/// Labels and names lie beside at most 4 GiB of messages.
#[inline]
fn short(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
