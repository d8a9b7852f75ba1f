//! Messages on their way out: deliveries, answers to basic.get, returns.
//!
//! A delivery is encoded straight into the connection's output: method, header, body. Long bodies are shared
//! there, not copied.

use super::Connection;
use super::replies::Then;
use crate::channel::State;
use crate::codec::frame::{ENVELOPE_SIZE, HEAD_SIZE, body_head, encode_body, encode_header, encode_method};
use crate::spec::{CLASS_BASIC, FRAME_END, FRAME_METHOD, ReplyCode, basic};
use crate::translate::{delivered_head, needs_rewriting};
use bytes::Bytes;
use fairlead_kernel::ids::{ConsumerId, SessionId, Time};
use fairlead_kernel::message::{Body, Message, MessageView};
use fairlead_kernel::output::Output;
use fairlead_kernel::session::{Delivery, Outcome, Request, Unsettled, UnsettledDeliveries};
use std::sync::Arc;

/// Bytes of the three frames of a small message that are neither names nor content, at most.
const FRAMES: usize = 64;
/// Bytes of basic.deliver's frame before its delivery tag, the consumer tag's own left out.
const TAG_BEHIND: usize = HEAD_SIZE + 4 + 1;

impl Connection {
    /// Encode a delivery. One that its channel cannot take any more goes back to its queue. Where
    /// [`Delivery::alike`] says so, the call before this one was for the delivery before it.
    #[inline]
    pub fn deliver(&mut self, delivery: &Delivery<'_>, now: Time, output: &mut Output) {
        if !delivery.alike || !self.deliver_again(delivery, now, output) {
            self.repeat.forget();
            self.deliver_any(delivery, now, output);
        }
    }

    /// The short way, for a small message like the one before: false if this is none.
    #[inline]
    fn deliver_again(&mut self, delivery: &Delivery<'_>, now: Time, output: &mut Output) -> bool {
        let message = &delivery.message;
        let Body::Slice(body) = message.body else { return false };
        if !self.repeat.fits(message.head, body)
            || body.len() > payload_max(self.frame_max)
            || needs_rewriting(message.head, message.overlay, told_count(delivery).is_some())
        {
            return false;
        }
        let Some(channel) = self.channels.get_mut(delivery.session.0) else { return false };
        let tag = next_tag(&mut channel.unsettled, delivery, now);
        output.inline(|out| self.repeat.put(out, tag, delivery.redelivered, message.head, body));
        true
    }

    fn deliver_any(&mut self, delivery: &Delivery<'_>, now: Time, output: &mut Output) {
        self.timers.tell(now);
        self.timers.sent();
        self.poll_transmit(output);
        let SessionId(number) = delivery.session;
        let Some(channel) = self.channels.get_mut(number).filter(|channel| channel.state == State::Open)
        else {
            return self.give_back(delivery);
        };
        let consumer_tag = match delivery.consumer.map(|consumer| channel.consumers.tag(consumer)) {
            Some(None) => return self.give_back(delivery),
            Some(tag) => tag,
            None => None,
        };
        if delivery.acknowledge {
            self.timers.watch_acknowledgements(self.config.acknowledgement_timeout);
        }
        let tag = next_tag(&mut channel.unsettled, delivery, now);
        let count = told_count(delivery);
        let message = &delivery.message;
        match (consumer_tag, message.body) {
            (Some(consumer_tag), Body::Slice(body))
                if body.len() <= payload_max(self.frame_max)
                    && !needs_rewriting(message.head, message.overlay, count.is_some()) =>
            {
                output.inline(|out| {
                    let start = out.len();
                    put_deliver(out, number, consumer_tag, tag, delivery);
                    put_small_content(out, number, message.head, body);
                    if !body.is_empty() {
                        let frames = &out[start..out.len() - body.len() - 1];
                        self.repeat.keep(frames, TAG_BEHIND + consumer_tag.len(), message.head.len());
                    }
                });
            }
            (Some(consumer_tag), _) => {
                output.inline(|out| put_deliver(out, number, consumer_tag, tag, delivery));
                put_content(output, number, self.frame_max, message, count);
            }
            (None, _) => {
                self.put_get_ok(number, tag, delivery, output);
                put_content(output, number, self.frame_max, message, count);
            }
        }
    }

    #[cold]
    fn give_back(&mut self, delivery: &Delivery<'_>) {
        if delivery.consumer.is_none() {
            self.take_got(delivery.session);
        }
        if delivery.acknowledge {
            let deliveries = vec![Unsettled {
                queue: delivery.queue,
                sequence: delivery.sequence,
                consumer: delivery.consumer,
            }];
            let outcome = Outcome::Released { delivered: false };
            self.request(delivery.session, Request::Settle { outcome, deliveries });
            // No batch is at hand, whose end would take it along.
            self.urgent += 1;
        }
        self.end_if_sessions_have();
    }

    /// A delivery without a consumer answers basic.get.
    fn take_got(&mut self, session: SessionId) {
        let answered = self.answered(session);
        debug_assert!(answered.is_some_and(|awaiting| matches!(awaiting.then, Then::Got)));
    }

    fn put_get_ok(&mut self, number: u16, tag: u64, delivery: &Delivery<'_>, output: &mut Output) {
        self.take_got(delivery.session);
        let method = basic::GetOk {
            delivery_tag: tag,
            redelivered: delivery.redelivered,
            exchange: delivery.message.exchange,
            routing_key: delivery.message.routing_key,
            message_count: u32::try_from(delivery.remaining).unwrap_or(u32::MAX),
        };
        output.inline(|out| encode_method(out, number, &method));
    }

    /// A mandatory message that found no queue.
    pub(super) fn returned(&mut self, session: SessionId, message: &Arc<Message>) {
        let SessionId(number) = session;
        if self.channels.get_mut(number).is_none_or(|channel| channel.state != State::Open) {
            return;
        }
        let view = Message::view(message);
        let method = basic::Return {
            reply_code: ReplyCode::NoRoute.code(),
            reply_text: ReplyCode::NoRoute.name(),
            exchange: view.exchange,
            routing_key: view.routing_key,
        };
        self.send(number, &method);
        put_content(&mut self.replies, number, self.frame_max, &view, None);
    }

    /// The next consumer number of this connection.
    pub(super) fn next_consumer(&mut self) -> ConsumerId {
        self.last_consumer = self.last_consumer.wrapping_add(1);
        ConsumerId(self.last_consumer)
    }
}

/// The tag of a delivery that goes out now.
#[inline]
fn next_tag(unsettled: &mut UnsettledDeliveries, delivery: &Delivery<'_>, now: Time) -> u64 {
    if delivery.acknowledge {
        let Delivery { queue, sequence, consumer, .. } = *delivery;
        unsettled.push(Unsettled { queue, sequence, consumer }, now)
    } else {
        unsettled.push_settled()
    }
}

/// The count of failed deliveries, if it is to be told.
#[inline]
fn told_count(delivery: &Delivery<'_>) -> Option<u16> {
    (delivery.tell_delivery_count && delivery.delivery_count > 0).then_some(delivery.delivery_count)
}

/// basic.deliver, without the detours of the general encoder.
#[inline]
fn put_deliver(out: &mut Vec<u8>, channel: u16, consumer_tag: &str, tag: u64, delivery: &Delivery<'_>) {
    let message = &delivery.message;
    let (exchange, key) = (message.exchange.as_bytes(), message.routing_key.as_bytes());
    // Names and keys came as short strings, 255 bytes at most; nothing is cut here.
    let size = 4 + 1 + consumer_tag.len() + 9 + 1 + exchange.len() + 1 + key.len();
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = (size as u32).to_be_bytes();
    let tag_length = consumer_tag.len() as u8;
    out.reserve(size + delivery.message.head.len() + delivery.message.body.len() + FRAMES);
    out.extend_from_slice(&[FRAME_METHOD, c0, c1, s0, s1, s2, s3, 0, 60, 0, 60, tag_length]);
    out.extend_from_slice(consumer_tag.as_bytes());
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
    let redelivered = u8::from(delivery.redelivered);
    out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, redelivered, exchange.len() as u8]);
    out.extend_from_slice(exchange);
    out.push(key.len() as u8);
    out.extend_from_slice(key);
    out.push(FRAME_END);
}

/// Content header and the one body frame of a small message, as they are.
#[inline]
fn put_small_content(out: &mut Vec<u8>, channel: u16, head: &[u8], body: &[u8]) {
    encode_header(out, channel, CLASS_BASIC, body.len() as u64, head);
    if !body.is_empty() {
        encode_body(out, channel, body);
    }
}

/// Bytes of a frame's payload at most.
fn payload_max(frame_max: u32) -> usize {
    frame_max as usize - ENVELOPE_SIZE
}

/// Content header and body frames.
#[inline]
fn put_content(
    output: &mut Output,
    channel: u16,
    frame_max: u32,
    message: &MessageView<'_>,
    count: Option<u16>,
) {
    let body_size = message.body.len();
    let rewritten = needs_rewriting(message.head, message.overlay, count.is_some())
        .then(|| delivered_head(message.head, message.overlay, count));
    let head = rewritten.as_deref().unwrap_or(message.head);
    let payload_max = payload_max(frame_max);
    output.inline(|out| {
        encode_header(out, channel, CLASS_BASIC, body_size as u64, head);
        if let Body::Slice(body) = message.body {
            for piece in body.chunks(payload_max) {
                encode_body(out, channel, piece);
            }
        }
    });
    if let Body::Segments(segments) = message.body {
        put_segments(output, channel, payload_max, body_size, segments);
    }
}

/// A body in segments, cut into frames as long as they may be.
fn put_segments(output: &mut Output, channel: u16, payload_max: usize, body_size: usize, segments: &[Bytes]) {
    let mut remaining = body_size;
    // What is left to fill of the current frame.
    let mut room = 0;
    for segment in segments {
        let mut at = 0;
        while at < segment.len() {
            if room == 0 {
                room = remaining.min(payload_max);
                remaining -= room;
                output.inline(|out| out.extend_from_slice(&body_head(channel, room as u32)));
            }
            let length = room.min(segment.len() - at);
            output.share(&segment.slice(at..at + length));
            at += length;
            room -= length;
            if room == 0 {
                output.inline(|out| out.push(FRAME_END));
            }
        }
    }
}
