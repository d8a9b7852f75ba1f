//! A message as the kernel sees it: bytes it does not read, and the few things it must know.
//!
//! Flow: an adapter gives a [`MessageView`] borrowed from its read buffer; a queue copies small ones into
//! its own chunks and keeps larger ones as a shared [`Message`]; both come out as a [`MessageView`] again.

use crate::ids::{ConnectionId, Origin, Time};
use crate::value::Value;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A body: one borrowed slice, or shared segments in order.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The whole body, borrowed.
    Slice(&'a [u8]),
    /// Shared segments: a 1 GiB message is many.
    Segments(&'a [Bytes]),
}

impl Body<'_> {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Body::Slice(slice) => slice.len(),
            Body::Segments(segments) => segments.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message borrowed from where it lies.
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// Whose encoding `head` is in.
    pub origin: Origin,
    /// Persistent: to be kept on disk by a durable queue.
    pub persistent: bool,
    /// The connection that published it.
    pub publisher: ConnectionId,
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub routing_key: &'a str,
    /// Properties, encoded as they came.
    pub head: &'a [u8],
    /// The body.
    pub body: Body<'a>,
    /// What the broker has added since.
    pub overlay: Option<&'a Overlay>,
    /// The shared message this is a view of, if it is one: to be kept without a copy.
    pub shared: Option<&'a Arc<Message>>,
}

impl MessageView<'_> {
    /// Nothing, of nobody.
    pub const EMPTY: MessageView<'static> = MessageView {
        origin: Origin::Amqp091,
        persistent: false,
        publisher: ConnectionId(0),
        exchange: "",
        routing_key: "",
        head: &[],
        body: Body::Slice(&[]),
        overlay: None,
        shared: None,
    };

    /// A message of its own with the same content; a shared one is only counted.
    #[must_use]
    pub fn to_shared(&self) -> Arc<Message> {
        if let Some(shared) = self.shared {
            return Arc::clone(shared);
        }
        Arc::new(Message {
            origin: self.origin,
            persistent: self.persistent,
            publisher: self.publisher,
            exchange: self.exchange.into(),
            routing_key: self.routing_key.into(),
            head: Bytes::copy_from_slice(self.head),
            body: match self.body {
                Body::Slice(slice) => vec![Bytes::copy_from_slice(slice)],
                Body::Segments(segments) => segments.to_vec(),
            },
            overlay: self.overlay.cloned().map(Box::new),
        })
    }
}

/// A message that several queues may share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// See [`MessageView::origin`].
    pub origin: Origin,
    /// See [`MessageView::persistent`].
    pub persistent: bool,
    /// See [`MessageView::publisher`].
    pub publisher: ConnectionId,
    /// See [`MessageView::exchange`].
    pub exchange: Box<str>,
    /// See [`MessageView::routing_key`].
    pub routing_key: Box<str>,
    /// See [`MessageView::head`].
    pub head: Bytes,
    /// See [`MessageView::body`].
    pub body: Vec<Bytes>,
    /// See [`MessageView::overlay`].
    pub overlay: Option<Box<Overlay>>,
}

impl Message {
    /// Borrow a shared message.
    #[must_use]
    pub fn view(this: &Arc<Message>) -> MessageView<'_> {
        MessageView {
            origin: this.origin,
            persistent: this.persistent,
            publisher: this.publisher,
            exchange: &this.exchange,
            routing_key: &this.routing_key,
            head: &this.head,
            body: Body::Segments(&this.body),
            overlay: this.overlay.as_deref(),
            shared: Some(this),
        }
    }
}

/// What the broker has added to a message: told by each adapter in its own protocol's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Overlay {
    /// Dead-letter history, latest first; one item for each (queue, reason).
    pub deaths: Vec<Death>,
    /// The first death, kept when `deaths` is reordered.
    pub first_death: Option<(Box<str>, DeathReason, Box<str>)>,
    /// The head's own expiry is void: it died once, and must not expire in its dead-letter queue.
    pub expiry_removed: bool,
    /// The extra routing keys that the head names are void: dead-lettering gave a new key.
    pub extra_keys_removed: bool,
}

/// Why a message left its queue unwanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeathReason {
    /// Its time to live ran out.
    Expired,
    /// A consumer rejected it.
    Rejected,
    /// The queue was full.
    Displaced,
    /// It was delivered too often.
    DeliveryLimit,
}

/// One item of a dead-letter history.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Death {
    /// How often it died so.
    pub count: u64,
    /// Why.
    pub reason: DeathReason,
    /// In which queue.
    pub queue: Box<str>,
    /// When first.
    pub time: Time,
    /// The exchange it had been published to.
    pub exchange: Box<str>,
    /// Its routing keys, the extra ones of its head included.
    pub routing_keys: Vec<Box<str>>,
    /// The time to live that its head gave, in milliseconds, if any.
    pub original_expiry: Option<u64>,
}

/// Reads out of an encoded head what routing and queues ask for. Each adapter has one; they are found by
/// [`Origin`], so that a stored message of any protocol can be read.
pub trait HeadReader: Send + Sync {
    /// The header of that name.
    fn header(&self, head: &[u8], name: &str) -> Option<Value>;
    /// All headers, in the order they came.
    fn headers(&self, head: &[u8]) -> Vec<(String, Value)>;
    /// Time to live in milliseconds, as the publisher gave it.
    fn time_to_live(&self, head: &[u8]) -> Option<u64>;
    /// Extra routing keys (0-9-1's CC and, when `hidden`, BCC too).
    fn extra_keys(&self, head: &[u8], hidden: bool) -> Vec<String>;
    /// Priority, as the publisher gave it; 0 if absent.
    fn priority(&self, head: &[u8]) -> u8;
}

/// The readers of all protocols that this broker speaks, by origin.
#[derive(Clone, Copy)]
pub struct HeadReaders {
    /// For [`Origin::Amqp091`].
    pub amqp_0_9_1: &'static dyn HeadReader,
}

impl HeadReaders {
    /// The reader for messages of that origin. Until their adapters exist, messages of other origins
    /// cannot be, and are read as 0-9-1.
    #[must_use]
    pub fn of(&self, origin: Origin) -> &'static dyn HeadReader {
        match origin {
            Origin::Amqp091 | Origin::Amqp010 | Origin::Amqp100 => self.amqp_0_9_1,
        }
    }
}
