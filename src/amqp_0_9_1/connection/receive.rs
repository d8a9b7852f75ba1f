//! Frames of an open connection: publishes begin in the batch, other methods go to their channel.

use super::batch::{Batch, Partial};
use super::content::content_error;
use super::handshaking::id_of;
use super::{Connection, Phase};
use crate::channel::{Channel, Mode, State, expected_body, expected_header};
use crate::codec::{Frame, Payload};
use crate::error::{Fault, ProtocolError};
use crate::spec::{Method, ReplyCode, basic, channel, connection};
use fairlead_kernel::ids::{SessionId, Time};
use fairlead_kernel::session::Request;

impl Connection {
    /// Handle one decoded frame. A publish that it completes is in `batch`, or comes by
    /// [`poll_published`](Self::poll_published).
    ///
    /// # Errors
    /// The peer's fault. It has had no effect yet: give it to [`handle_error`](Self::handle_error).
    #[inline]
    pub fn handle_frame<'a>(
        &mut self,
        frame: Frame<'a>,
        now: Time,
        batch: &mut Batch<'a>,
    ) -> Result<(), ProtocolError> {
        self.timers.received(now);
        if !matches!(self.phase, Phase::Open) {
            return self.frame_while_not_open(&frame, now);
        }
        let number = frame.channel;
        let result = match frame.payload {
            Payload::Method(bytes) => self.method_frame(number, bytes, now, batch),
            Payload::Header { class_id, weight: _, body_size, properties } => self
                .content_header(number, class_id, body_size, properties, batch)
                .map_err(|fault| content_error(fault, number)),
            Payload::Body(piece) => {
                self.content_body(number, piece, batch).map_err(|fault| content_error(fault, number))
            }
            Payload::Heartbeat if number == 0 => Ok(()),
            Payload::Heartbeat => Err(heartbeat_on_channel(number)),
        };
        if result.is_err() {
            batch.partial.take_if(|partial| partial.channel == number);
        }
        result
    }

    /// Keep what a batch still borrows, because its read buffer is about to be reused.
    pub fn finish_batch(&mut self, batch: &mut Batch<'_>) {
        if let Some(partial) = batch.partial.take()
            && let Err(fault) = self.own(&partial)
        {
            let now = self.timers.now();
            self.handle_error(content_error(fault, partial.channel), now);
        }
    }

    fn frame_while_not_open(&mut self, frame: &Frame<'_>, now: Time) -> Result<(), ProtocolError> {
        match self.phase {
            Phase::Ending(_) | Phase::Silent | Phase::Closed => Ok(()),
            Phase::AwaitCloseOk => {
                if let (0, Payload::Method(bytes)) = (frame.channel, frame.payload) {
                    match id_of(bytes) {
                        connection::CloseOk::ID => self.phase = Phase::Closed,
                        connection::Close::ID => self.send(0, &connection::CloseOk),
                        _ => {}
                    }
                }
                Ok(())
            }
            _ => self.handshake_frame(frame.channel, &frame.payload, now),
        }
    }

    #[inline]
    fn method_frame<'a>(
        &mut self,
        number: u16,
        bytes: &'a [u8],
        now: Time,
        batch: &mut Batch<'a>,
    ) -> Result<(), ProtocolError> {
        let id = id_of(bytes);
        let result = match id {
            basic::Publish::ID if number != 0 => self.publish(number, bytes, batch),
            basic::Ack::ID if self.takes_method(number, batch) => basic::Ack::decode(&bytes[4..])
                .map_err(Fault::from)
                .and_then(|method| self.ack(number, &method)),
            _ => self.other_method(number, id, bytes, now, batch),
        };
        result.map_err(|fault| {
            // Where content was expected, the method to name is the one that announced it.
            let id = if fault.code == ReplyCode::UnexpectedFrame { basic::Publish::ID } else { id };
            ProtocolError::new(fault, number, id)
        })
    }

    /// basic.publish: the hot one.
    #[inline]
    fn publish<'a>(&mut self, number: u16, bytes: &'a [u8], batch: &mut Batch<'a>) -> Result<(), Fault> {
        let partial = batch.partial.as_ref().map(|partial| partial.channel);
        let Some(channel) = self.channels.get_mut(number) else { return Err(expected_open()) };
        if channel.state != State::Open {
            return Ok(());
        }
        if partial == Some(number) || channel.content.is_some() {
            return Err(unexpected_method(batch, channel));
        }
        let method = basic::Publish::decode(&bytes[4..])?;
        if method.immediate {
            return Err(not_implemented("immediate=true"));
        }
        let (confirm, transacted) = match &mut channel.mode {
            Mode::Plain => (None, false),
            Mode::Confirm(confirms) => (Some(confirms.next()), false),
            Mode::Transaction(_) => (None, true),
        };
        if partial.is_some() {
            self.finish_batch(batch);
        }
        batch.partial = Some(Partial { channel: number, method, confirm, transacted, head: None });
        if !self.flow.publishes || self.flow.blocked.is_some() {
            self.published_first();
        }
        Ok(())
    }

    /// Whether a method is in its place on that channel.
    #[inline]
    fn takes_method(&mut self, number: u16, batch: &Batch<'_>) -> bool {
        batch.partial.is_none()
            && self
                .channels
                .get_mut(number)
                .is_some_and(|channel| channel.state == State::Open && channel.content.is_none())
    }

    fn other_method(
        &mut self,
        number: u16,
        id: u32,
        bytes: &[u8],
        now: Time,
        batch: &mut Batch<'_>,
    ) -> Result<(), Fault> {
        if number == 0 {
            return self.connection_method(&Method::decode(bytes)?, now);
        }
        let Some(channel) = self.channels.get_mut(number) else { return self.first_method(number, bytes) };
        if channel.state != State::Open {
            return self.method_while_closing(number, id);
        }
        if channel.content.is_some()
            || batch.partial.as_ref().is_some_and(|partial| partial.channel == number)
        {
            return Err(unexpected_method(batch, channel));
        }
        self.channel_method(number, &Method::decode(bytes)?)
    }

    /// A method on a channel that is not open: only channel.open will do.
    fn first_method(&mut self, number: u16, bytes: &[u8]) -> Result<(), Fault> {
        let method = Method::decode(bytes)?;
        let Method::ChannelOpen(_) = method else { return Err(expected_open()) };
        let maximum = self.opened.as_deref().map_or(0, |opened| opened.tuned.channel_max);
        let open = self.channels.len();
        if open >= usize::from(maximum) {
            return Err(Fault::new(
                ReplyCode::NotAllowed,
                format!(
                    "number of channels opened ({open}) has reached the negotiated channel_max ({maximum})"
                ),
            ));
        }
        self.channels.insert(Channel::new(number));
        self.request(SessionId(number), Request::OpenSession);
        self.send(number, &channel::OpenOk);
        Ok(())
    }

    /// Spec: channel.close, rule "stable": all but close and close-ok is dropped.
    fn method_while_closing(&mut self, number: u16, id: u32) -> Result<(), Fault> {
        let told = self.channels.get_mut(number).is_some_and(|channel| channel.state == State::Closing);
        match id {
            channel::Close::ID => self.send(number, &channel::CloseOk),
            channel::CloseOk::ID if told => drop(self.channels.remove(number)),
            _ => {}
        }
        Ok(())
    }
}

#[cold]
fn unexpected_method(batch: &Batch<'_>, channel: &Channel) -> Fault {
    let borrowed = batch
        .partial
        .as_ref()
        .is_some_and(|partial| partial.channel == channel.number && partial.head.is_some());
    let owned = channel.content.as_ref().is_some_and(|content| content.has_head());
    if borrowed || owned { expected_body() } else { expected_header() }
}

#[cold]
fn expected_open() -> Fault {
    Fault::new(ReplyCode::ChannelError, "expected 'channel.open'")
}

#[cold]
pub(super) fn not_implemented(what: &str) -> Fault {
    Fault::new(ReplyCode::NotImplemented, what)
}

/// Spec: clause 4.2.7: heartbeats are for the connection, on channel 0.
#[cold]
fn heartbeat_on_channel(channel: u16) -> ProtocolError {
    let fault = Fault::new(
        ReplyCode::UnexpectedFrame,
        format!("heartbeat frame on channel {channel}, expected channel 0"),
    );
    ProtocolError::new(fault, channel, 0)
}
