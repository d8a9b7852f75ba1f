//! Content frames: headers and bodies of publishes, while they are whole in the read buffer and when not.
//!
//! ```text
//! basic.publish -> Partial (borrowed) -- header --> complete, if there is no body
//!                        |           `- body ----> complete, if one frame is all of it
//!                        `- else -> PendingPublish (owned, in its channel) -> OwnedPublish
//! ```
//!
//! Spec: AMQP 0-9-1, clause 4.2.6 "Content Framing".

use super::Connection;
use super::batch::{Batch, Partial, PartialHead};
use crate::channel::{
    PendingPublish, State, body_too_long, expected_body, expected_header, expected_method, wrong_class,
};
use crate::error::{Fault, ProtocolError};
use crate::spec::{BasicProperties, CLASS_BASIC, ReplyCode, basic};
use crate::translate::names::REPLY_TO_PREFIX;
use crate::translate::{Inspected, inspect};
use bytes::Bytes;
use fairlead_kernel::ids::{Origin, SessionId};
use fairlead_kernel::message::{Body, MessageView};
use fairlead_kernel::session::Publish;

impl Connection {
    #[inline]
    pub(super) fn content_header<'a>(
        &mut self,
        number: u16,
        class_id: u16,
        body_size: u64,
        properties: &'a [u8],
        batch: &mut Batch<'a>,
    ) -> Result<(), Fault> {
        let Some(partial) = batch.partial.as_mut().filter(|partial| partial.channel == number) else {
            return self.late_header(number, class_id, body_size, properties);
        };
        if partial.head.is_some() {
            return Err(expected_body());
        }
        let inspected = self.inspect_header(class_id, body_size, properties)?;
        if inspected.direct_reply {
            self.finish_batch(batch);
            return self.owned_header(number, body_size, properties, &inspected);
        }
        partial.head = Some(PartialHead { properties, body_size, facts: inspected.facts });
        if body_size == 0 {
            self.complete(batch, &[]);
        }
        Ok(())
    }

    #[inline]
    fn inspect_header<'a>(
        &self,
        class_id: u16,
        body_size: u64,
        properties: &'a [u8],
    ) -> Result<Inspected<'a>, Fault> {
        if class_id != CLASS_BASIC {
            return Err(wrong_class(class_id));
        }
        let maximum = self.config.message_size_max;
        if body_size > maximum {
            return Err(Fault::precondition(format!(
                "message size {body_size} is larger than configured max size {maximum}"
            )));
        }
        inspect(properties)
    }

    /// A header whose method came in an earlier read.
    fn late_header(
        &mut self,
        number: u16,
        class_id: u16,
        body_size: u64,
        properties: &[u8],
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Err(expected_method()) };
        if channel.state != State::Open {
            return Ok(());
        }
        match &channel.content {
            None => Err(expected_method()),
            Some(content) if content.has_head() => Err(expected_body()),
            Some(_) => {
                let inspected = self.inspect_header(class_id, body_size, properties)?;
                self.owned_header(number, body_size, properties, &inspected)
            }
        }
    }

    /// Give a collected message its head.
    fn owned_header(
        &mut self,
        number: u16,
        body_size: u64,
        properties: &[u8],
        inspected: &Inspected<'_>,
    ) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        let head = if inspected.direct_reply {
            let Some(address) = &channel.reply_address else {
                return Err(Fault::precondition("fast reply consumer does not exist"));
            };
            with_reply_to(properties, &format!("{REPLY_TO_PREFIX}{}", address.token))?
        } else {
            Bytes::copy_from_slice(properties)
        };
        let length = head.len() as u64;
        if let Some(content) = &mut channel.content {
            content.set_head(head, body_size, &inspected.facts);
            self.incomplete_bytes += length;
        }
        self.publish_if_complete(number);
        self.check_incomplete()
    }

    #[inline]
    pub(super) fn content_body<'a>(
        &mut self,
        number: u16,
        piece: &'a [u8],
        batch: &mut Batch<'a>,
    ) -> Result<(), Fault> {
        let Some(partial) = batch.partial.as_ref().filter(|partial| partial.channel == number) else {
            return self.late_body(number, piece);
        };
        let Some(head) = &partial.head else { return Err(expected_header()) };
        let length = piece.len() as u64;
        if length == head.body_size {
            self.complete(batch, piece);
            return Ok(());
        }
        if length > head.body_size {
            return Err(body_too_long(head.body_size));
        }
        self.finish_batch(batch);
        self.late_body(number, piece)
    }

    /// The partial message of `batch` has all its body.
    #[inline]
    fn complete<'a>(&mut self, batch: &mut Batch<'a>, body: &'a [u8]) {
        let Some(Partial { channel, method, confirm, transacted, head: Some(head) }) = batch.partial.take()
        else {
            return;
        };
        // An earlier publish may have ended the channel since this one began.
        if self.channels.get_mut(channel).is_none_or(|channel| channel.state != State::Open) {
            return;
        }
        batch.complete.push(Publish {
            session: SessionId(channel),
            message: MessageView {
                origin: Origin::Amqp091,
                persistent: head.facts.persistent,
                publisher: self.peer.connection,
                exchange: method.exchange,
                routing_key: method.routing_key,
                head: head.properties,
                body: Body::Slice(body),
                overlay: None,
                shared: None,
            },
            time_to_live: head.facts.time_to_live,
            priority: head.facts.priority,
            mandatory: method.mandatory,
            transacted,
            extra_keys: head.facts.extra_keys,
            user_id: head.facts.user_id,
            confirm,
        });
    }

    /// A body frame of a message that is being collected.
    fn late_body(&mut self, number: u16, piece: &[u8]) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Err(expected_method()) };
        if channel.state != State::Open {
            return Ok(());
        }
        let Some(content) = &mut channel.content else { return Err(expected_method()) };
        content.append(piece)?;
        self.incomplete_bytes += piece.len() as u64;
        self.publish_if_complete(number);
        self.check_incomplete()
    }

    /// Whether all channels together hold no more of what is incomplete than they may.
    fn check_incomplete(&self) -> Result<(), Fault> {
        let maximum = self.config.incomplete_bytes_max;
        if self.incomplete_bytes <= maximum {
            return Ok(());
        }
        Err(Fault::new(
            ReplyCode::ResourceError,
            format!("incomplete messages of this connection hold more than {maximum} bytes"),
        ))
    }

    fn publish_if_complete(&mut self, number: u16) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let Some(content) = channel.content.take_if(|content| content.is_complete()) else { return };
        self.incomplete_bytes -= content.held();
        self.published.extend(content.complete(SessionId(number), self.peer.connection));
    }

    /// Copy what is borrowed into its channel.
    pub(super) fn own(&mut self, partial: &Partial<'_>) -> Result<(), Fault> {
        if let Some(channel) = self.channels.get_mut(partial.channel)
            && channel.state == State::Open
        {
            let content = channel.content.insert(Box::new(PendingPublish::from_partial(partial)));
            self.incomplete_bytes += content.held();
        }
        self.check_incomplete()
    }
}

/// The same properties with another reply-to.
fn with_reply_to(properties: &[u8], address: &str) -> Result<Bytes, Fault> {
    let mut changed = BasicProperties::decode(properties)?;
    changed.reply_to = Some(address.as_bytes());
    let mut out = Vec::with_capacity(properties.len() + address.len());
    changed.encode(&mut out);
    Ok(Bytes::from(out))
}

#[cold]
pub(super) fn content_error(fault: Fault, channel: u16) -> ProtocolError {
    // Where a method was expected there is none to name.
    let id = if fault == expected_method() { 0 } else { basic::Publish::ID };
    ProtocolError::new(fault, channel, id)
}
