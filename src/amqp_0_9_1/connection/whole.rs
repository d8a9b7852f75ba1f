//! Publishes that lie whole in the read buffer: the shortest way through.
//!
//! ```text
//! | method frame: basic.publish | header frame | body frame | next publish ...
//! ```
//!
//! The general way ([`Connection::handle_frame`]) takes the same bytes frame by frame and has the same result,
//! for some four times the instructions. Whatever is not the plain case, a fault of the peer's included, is
//! left to it.

use super::batch::{Batch, HeadFacts};
use super::{Connection, Phase};
use crate::channel::{Mode, State};
use crate::spec::{CLASS_BASIC, FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD, basic};
use crate::translate::inspect;
use fairlead_kernel::ids::{Origin, SessionId, Time};
use fairlead_kernel::message::{Body, MessageView};
use fairlead_kernel::session::Publish;

/// Content header before the properties: class, weight, body size.
const CONTENT_HEAD: usize = 12;

impl Connection {
    /// Take up to `most` messages that stand one behind the other at the start of `bytes`, each in its
    /// method, header and (if it has a body) one body frame. Gives how many bytes they were; what stands
    /// behind is for [`handle_frame`](Self::handle_frame), also when nothing was taken.
    pub fn handle_whole_publishes<'a>(
        &mut self,
        bytes: &'a [u8],
        now: Time,
        batch: &mut Batch<'a>,
        most: usize,
    ) -> usize {
        // The first publish of a connection, and one while publishers are held back, is seen to elsewhere.
        let plain = matches!(self.phase, Phase::Open) && self.flow.publishes && self.flow.blocked.is_none();
        if !plain || batch.partial.is_some() {
            return 0;
        }
        let mut rest = bytes;
        // Most publishers repeat channel, exchange and key: what was decoded once is known by its bytes.
        let mut known = Opening::default();
        for _ in 0..most {
            let behind = match rest.strip_prefix(known.bytes) {
                Some(behind) if !known.bytes.is_empty() => behind,
                _ => {
                    let Some((opening, behind)) = Opening::find(rest, self.frame_max) else { break };
                    known = opening;
                    behind
                }
            };
            let Some(whole) = Whole::find(behind, &known, self.frame_max) else { break };
            let Some(publish) = self.accept(&whole, &known) else { break };
            batch.complete.push(publish);
            rest = whole.rest;
        }
        let taken = bytes.len() - rest.len();
        if taken > 0 {
            self.timers.received(now);
        }
        taken
    }

    /// The publish, if there is nothing special about it or its channel.
    #[inline]
    fn accept<'a>(&mut self, whole: &Whole<'a>, opening: &Opening<'a>) -> Option<Publish<'a>> {
        let method = &opening.method;
        let facts = if whole.properties == [0, 0] {
            HeadFacts::default()
        } else {
            inspect(whole.properties).ok().filter(|found| !found.direct_reply)?.facts
        };
        if method.immediate || whole.body.len() as u64 > self.config.message_size_max {
            return None;
        }
        let channel = self.channels.get_mut(opening.channel)?;
        if channel.state != State::Open || channel.content.is_some() {
            return None;
        }
        let (confirm, transacted) = match &mut channel.mode {
            Mode::Plain => (None, false),
            Mode::Confirm(confirms) => (Some(confirms.next()), false),
            Mode::Transaction(_) => (None, true),
        };
        Some(Publish {
            session: SessionId(opening.channel),
            message: MessageView {
                origin: Origin::Amqp091,
                persistent: facts.persistent,
                publisher: self.peer.connection,
                exchange: method.exchange,
                routing_key: method.routing_key,
                head: whole.properties,
                body: Body::Slice(whole.body),
                overlay: None,
                shared: None,
            },
            time_to_live: facts.time_to_live,
            priority: facts.priority,
            mandatory: method.mandatory,
            transacted,
            extra_keys: facts.extra_keys,
            user_id: facts.user_id,
            confirm,
        })
    }
}

/// The method frame of a publish.
#[derive(Default)]
struct Opening<'a> {
    /// All of it.
    bytes: &'a [u8],
    channel: u16,
    method: basic::Publish<'a>,
}

impl<'a> Opening<'a> {
    /// At the start of `bytes`, with what stands behind it.
    fn find(bytes: &'a [u8], frame_max: u32) -> Option<(Opening<'a>, &'a [u8])> {
        let &[_, c0, c1, ..] = bytes else { return None };
        let (payload, rest) = take_frame(bytes, FRAME_METHOD, [c0, c1], frame_max)?;
        let (id, method) = payload.split_first_chunk::<4>()?;
        if u32::from_be_bytes(*id) != basic::Publish::ID {
            return None;
        }
        let method = basic::Publish::decode(method).ok()?;
        let bytes = &bytes[..bytes.len() - rest.len()];
        Some((Opening { bytes, channel: u16::from_be_bytes([c0, c1]), method }, rest))
    }
}

/// Content of a publish, in its frames.
struct Whole<'a> {
    properties: &'a [u8],
    body: &'a [u8],
    /// What stands behind.
    rest: &'a [u8],
}

impl<'a> Whole<'a> {
    /// At the start of `bytes`, which stand behind the method.
    #[inline]
    fn find(bytes: &'a [u8], opening: &Opening<'_>, frame_max: u32) -> Option<Whole<'a>> {
        let channel = opening.channel.to_be_bytes();
        let (payload, rest) = take_frame(bytes, FRAME_HEADER, channel, frame_max)?;
        let (&[c0, c1, _, _, size @ ..], properties) = payload.split_first_chunk::<CONTENT_HEAD>()?;
        if u16::from_be_bytes([c0, c1]) != CLASS_BASIC {
            return None;
        }
        let size = u64::from_be_bytes(size);
        let (body, rest) =
            if size == 0 { (&[][..], rest) } else { take_frame(rest, FRAME_BODY, channel, frame_max)? };
        (body.len() as u64 == size).then_some(Whole { properties, body, rest })
    }
}

/// The payload of a frame of that type and channel, and what stands behind it; `None` if it is another one, or
/// incomplete, or broken.
#[inline]
fn take_frame(bytes: &[u8], frame_type: u8, channel: [u8; 2], frame_max: u32) -> Option<(&[u8], &[u8])> {
    let (&[found_type, c0, c1, size @ ..], rest) = bytes.split_first_chunk::<7>()?;
    let size = u32::from_be_bytes(size);
    if found_type != frame_type || [c0, c1] != channel || size > frame_max {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(size as usize)?;
    let (&end, rest) = rest.split_first()?;
    (end == FRAME_END).then_some((payload, rest))
}
