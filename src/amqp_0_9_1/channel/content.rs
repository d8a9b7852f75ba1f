//! A message that is collected over several reads: head and body in owned pieces.
//!
//! A body frame of some size is copied once into a buffer of exactly that size. Small ones are copied
//! together, so that a peer that sends its body octet by octet makes us hold octets, not buffers.

use crate::connection::batch::{HeadFacts, OwnedPublish, Partial};
use crate::error::Fault;
use crate::spec::ReplyCode;
use bytes::Bytes;
use fairlead_kernel::ids::{ConnectionId, Origin, SessionId};
use fairlead_kernel::message::Message;
use std::sync::Arc;

/// Body frames of at least this many bytes get a buffer of their own.
const OWN_BUFFER_FROM: usize = 4096;

/// Smaller ones are collected in buffers of this many bytes.
const COLLECTING_BUFFER: usize = 16 * 1024;

/// A message of which frames are missing.
#[derive(Debug)]
pub(crate) struct PendingPublish {
    exchange: Box<str>,
    routing_key: Box<str>,
    mandatory: bool,
    transacted: bool,
    confirm: Option<u64>,
    head: Option<PendingHead>,
}

#[derive(Debug)]
struct PendingHead {
    properties: Bytes,
    persistent: bool,
    priority: u8,
    time_to_live: Option<u64>,
    extra_keys: bool,
    user_id: Option<Box<str>>,
    body: Vec<Bytes>,
    collecting: Vec<u8>,
    body_size: u64,
    remaining: u64,
}

impl PendingPublish {
    /// Copy what a batch borrowed.
    pub(crate) fn from_partial(partial: &Partial<'_>) -> PendingPublish {
        let mut pending = PendingPublish {
            exchange: partial.method.exchange.into(),
            routing_key: partial.method.routing_key.into(),
            mandatory: partial.method.mandatory,
            transacted: partial.transacted,
            confirm: partial.confirm,
            head: None,
        };
        if let Some(head) = &partial.head {
            pending.set_head(Bytes::copy_from_slice(head.properties), head.body_size, &head.facts);
        }
        pending
    }

    pub(crate) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    pub(crate) fn set_head(&mut self, properties: Bytes, body_size: u64, facts: &HeadFacts<'_>) {
        self.head = Some(PendingHead {
            properties,
            persistent: facts.persistent,
            priority: facts.priority,
            time_to_live: facts.time_to_live,
            extra_keys: facts.extra_keys,
            user_id: facts.user_id.map(Into::into),
            body: Vec::new(),
            collecting: Vec::new(),
            body_size,
            remaining: body_size,
        });
    }

    /// Append a body frame.
    pub(crate) fn append(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let Some(head) = &mut self.head else { return Err(expected_header()) };
        head.append(piece)
    }

    /// Whether nothing is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.remaining == 0)
    }

    /// Bytes of head and body held so far.
    pub(crate) fn held(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.properties.len() as u64 + head.body_size - head.remaining)
    }

    /// The complete message.
    pub(crate) fn complete(self, session: SessionId, publisher: ConnectionId) -> Option<OwnedPublish> {
        let mut head = self.head?;
        head.collected();
        Some(OwnedPublish {
            session,
            message: Arc::new(Message {
                origin: Origin::Amqp091,
                persistent: head.persistent,
                publisher,
                exchange: self.exchange,
                routing_key: self.routing_key,
                head: head.properties,
                body: head.body,
                overlay: None,
            }),
            time_to_live: head.time_to_live,
            priority: head.priority,
            mandatory: self.mandatory,
            transacted: self.transacted,
            extra_keys: head.extra_keys,
            user_id: head.user_id,
            confirm: self.confirm,
        })
    }
}

impl PendingHead {
    fn append(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let length = piece.len() as u64;
        if length > self.remaining {
            return Err(body_too_long(self.body_size));
        }
        self.remaining -= length;
        if piece.len() >= OWN_BUFFER_FROM {
            self.collected();
            self.body.push(Bytes::copy_from_slice(piece));
            return Ok(());
        }
        if self.collecting.capacity() - self.collecting.len() < piece.len() {
            self.collected();
            let wanted = (length + self.remaining).min(COLLECTING_BUFFER as u64) as usize;
            self.collecting.reserve_exact(wanted);
        }
        self.collecting.extend_from_slice(piece);
        Ok(())
    }

    /// What was copied together becomes a piece of the body.
    fn collected(&mut self) {
        if !self.collecting.is_empty() {
            self.body.push(Bytes::from(std::mem::take(&mut self.collecting)));
        }
    }
}

pub(crate) fn expected_method() -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, "expected method frame, got non method frame instead")
}

pub(crate) fn expected_header() -> Fault {
    Fault::new(
        ReplyCode::UnexpectedFrame,
        "expected content header for class 60, got non content header frame instead",
    )
}

pub(crate) fn expected_body() -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, "expected content body, got non content body frame instead")
}

/// Spec: clause 4.2.6.1 "The Content Header": the class must be that of the method.
pub(crate) fn wrong_class(class_id: u16) -> Fault {
    Fault::new(
        ReplyCode::UnexpectedFrame,
        format!("expected content header for class 60, got one for class {class_id} instead"),
    )
}

pub(crate) fn body_too_long(body_size: u64) -> Fault {
    Fault::new(
        ReplyCode::UnexpectedFrame,
        format!("content body is longer than the {body_size} octets of its header"),
    )
}
