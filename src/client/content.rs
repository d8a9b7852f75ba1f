//! Contents: a header frame and the body frames behind it.

use crate::{Connection, Error};
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{Method, basic};

/// The largest body that [`Connection::receive`] and [`Connection::get`] collect, in bytes. Walk the frames to
/// take larger ones.
const BODY_MAX: u64 = 128 * 1024 * 1024;

/// How far the content of one channel has come, frame by frame, without holding any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentProgress {
    left: u64,
}

impl ContentProgress {
    /// Takes the next frame of the channel; true when it ends a message. Methods and heartbeats end none.
    #[inline]
    pub fn take(&mut self, payload: &Payload<'_>) -> Result<bool, Error> {
        match payload {
            Payload::Header { body_size, .. } if self.left == 0 => {
                self.left = *body_size;
                Ok(*body_size == 0)
            }
            Payload::Body(part) if !part.is_empty() && part.len() as u64 <= self.left => {
                self.left -= part.len() as u64;
                Ok(self.left == 0)
            }
            Payload::Method(_) if self.left == 0 => Ok(false),
            Payload::Heartbeat => Ok(false),
            Payload::Header { .. } | Payload::Method(_) => Err(Error::Unexpected {
                found: "another content or method".into(),
                expected: "the rest of a body",
            }),
            Payload::Body(part) => Err(Error::Unexpected {
                found: format!("{} bytes of body", part.len()),
                expected: "what the content header announced",
            }),
        }
    }
}

/// A received message, copied out of the read buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The channel it came on.
    pub channel: u16,
    /// The consumer it was delivered to; empty for a message that was got.
    pub consumer_tag: String,
    /// What to acknowledge.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// Property flags and list, encoded.
    pub properties: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    pub(crate) fn delivered(channel: u16, method: &basic::Deliver<'_>) -> Self {
        Self {
            channel,
            consumer_tag: method.consumer_tag.into(),
            delivery_tag: method.delivery_tag,
            redelivered: method.redelivered,
            exchange: method.exchange.into(),
            routing_key: method.routing_key.into(),
            ..Self::default()
        }
    }

    pub(crate) fn got(channel: u16, method: &basic::GetOk<'_>) -> Self {
        Self {
            channel,
            delivery_tag: method.delivery_tag,
            redelivered: method.redelivered,
            exchange: method.exchange.into(),
            routing_key: method.routing_key.into(),
            ..Self::default()
        }
    }
}

impl Connection {
    /// Waits for the next delivery and copies it. For few messages: many are walked by
    /// [`Connection::next_frame`]. The channels of a connection used so must not deliver at once.
    pub async fn receive(&mut self) -> Result<Message, Error> {
        loop {
            while let Some(frame) = self.next_frame()? {
                let channel = frame.channel;
                if let Payload::Method(payload) = frame.payload
                    && let Method::BasicDeliver(deliver) = Method::decode(payload)?
                {
                    let message = Message::delivered(channel, &deliver);
                    return self.content(message).await;
                }
            }
            self.read().await?;
        }
    }

    /// Waits for the content of `message`, which is the next on its channel, and puts it in.
    pub(crate) async fn content(&mut self, mut message: Message) -> Result<Message, Error> {
        let mut progress = ContentProgress::default();
        loop {
            while let Some(frame) = self.next_frame()? {
                if frame.channel != message.channel {
                    continue;
                }
                match frame.payload {
                    Payload::Header { body_size, .. } if body_size > BODY_MAX => {
                        return Err(Error::TooMuch { maximum: BODY_MAX, expected: "the end of a message" });
                    }
                    Payload::Header { properties, .. } => message.properties.extend_from_slice(properties),
                    Payload::Body(part) => message.body.extend_from_slice(part),
                    Payload::Method(_) | Payload::Heartbeat => {}
                }
                if progress.take(&frame.payload)? {
                    return Ok(message);
                }
            }
            self.read().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(body_size: u64) -> Payload<'static> {
        Payload::Header { class_id: 60, weight: 0, body_size, properties: &[0, 0] }
    }

    #[test]
    fn a_message_ends_with_its_last_body_frame() {
        let mut progress = ContentProgress::default();
        assert!(!progress.take(&Payload::Method(&[0, 60, 0, 60])).unwrap());
        assert!(!progress.take(&header(5)).unwrap());
        assert!(!progress.take(&Payload::Body(b"abc")).unwrap());
        assert!(!progress.take(&Payload::Heartbeat).unwrap());
        assert!(progress.take(&Payload::Body(b"de")).unwrap());
        assert!(progress.take(&header(0)).unwrap(), "an empty message ends with its header");
    }

    #[test]
    fn frames_out_of_order_are_errors() {
        let begun = ContentProgress { left: 3 };
        assert!(begun.clone().take(&header(1)).is_err());
        assert!(begun.clone().take(&Payload::Method(&[0, 60, 0, 60])).is_err());
        assert!(begun.clone().take(&Payload::Body(b"long")).is_err());
        assert!(ContentProgress::default().take(&Payload::Body(b"x")).is_err());
    }
}
