//! Frames: the envelope of everything after the protocol header.
//!
//! ```text
//! octet type | short channel | long size | size bytes of payload | octet 206
//! ```
//!
//! Spec: AMQP 0-9-1, clause 4.2.3 "General Frame Format".

use super::writer::{patch_length, reserve_length};
use super::{EncodeMethod, FrameError, PayloadSnippet};
use crate::spec::{FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD};

/// Bytes before the payload.
pub const HEAD_SIZE: usize = 7;

/// Bytes of a frame that are not payload: head and frame-end. frame-max counts them.
pub const ENVELOPE_SIZE: usize = 8;

/// Bytes of a content header before its properties: class, weight, body size.
const CONTENT_HEAD_SIZE: usize = 12;

/// One frame, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// 0 is the connection itself.
    pub channel: u16,
    /// What the frame carries.
    pub payload: Payload<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Class id, method id and arguments: at least four bytes, for [`crate::spec::Method::decode`]. A publisher
    /// repeats itself, and to compare a payload with the one before costs a tenth of decoding it again.
    Method(&'a [u8]),
    /// A content header.
    Header {
        /// The class of the method that the content belongs to.
        class_id: u16,
        /// Must be zero: clause 4.2.6.1.
        weight: u16,
        /// Bytes of all the body frames that follow.
        body_size: u64,
        /// Property flags and list, not yet validated: [`super::properties::scan`].
        properties: &'a [u8],
    },
    /// A part of the body.
    Body(&'a [u8]),
    /// A sign of life.
    Heartbeat,
}

/// Takes the first frame off `input`: the frame and how many bytes of `input` it is, or `None` while it is incomplete.
///
/// `frame_max` is the negotiated one, in bytes, not zero. A payload of up to `frame_max` bytes passes, eight more
/// than the spec allows: RabbitMQ is as lenient, for clients that forget the envelope.
#[inline]
pub fn decode(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some(&[frame_type, c0, c1, s0, s1, s2, s3]) = input.first_chunk::<HEAD_SIZE>() else {
        return Ok(None);
    };
    let channel = u16::from_be_bytes([c0, c1]);
    let size = u32::from_be_bytes([s0, s1, s2, s3]);
    if size > frame_max {
        let maximum = frame_max.saturating_sub(ENVELOPE_SIZE as u32);
        return Err(FrameError::TooLarge { frame_type, channel, size, maximum });
    }
    let end = HEAD_SIZE + size as usize;
    let Some((payload, &[octet, ..])) =
        input.get(HEAD_SIZE..).and_then(|rest| rest.split_at_checked(size as usize))
    else {
        return Ok(None);
    };
    if octet != FRAME_END {
        return Err(wrong_end(frame_type, channel, octet, payload));
    }
    match classify(frame_type, payload) {
        Some(payload) => Ok(Some((Frame { channel, payload }, end + 1))),
        None => Err(unknown(frame_type, channel, payload)),
    }
}

#[inline]
fn classify(frame_type: u8, payload: &[u8]) -> Option<Payload<'_>> {
    match frame_type {
        FRAME_METHOD if payload.len() >= 4 => Some(Payload::Method(payload)),
        FRAME_HEADER => {
            let (&[c0, c1, w0, w1, size @ ..], properties) =
                payload.split_first_chunk::<CONTENT_HEAD_SIZE>()?;
            Some(Payload::Header {
                class_id: u16::from_be_bytes([c0, c1]),
                weight: u16::from_be_bytes([w0, w1]),
                body_size: u64::from_be_bytes(size),
                properties,
            })
        }
        FRAME_BODY => Some(Payload::Body(payload)),
        FRAME_HEARTBEAT if payload.is_empty() => Some(Payload::Heartbeat),
        _ => None,
    }
}

#[cold]
fn wrong_end(frame_type: u8, channel: u16, octet: u8, payload: &[u8]) -> FrameError {
    FrameError::WrongEnd { frame_type, channel, octet, payload: PayloadSnippet::of(payload) }
}

#[cold]
fn unknown(frame_type: u8, channel: u16, payload: &[u8]) -> FrameError {
    FrameError::Unknown { frame_type, channel, payload: PayloadSnippet::of(payload) }
}

/// The seven bytes before a payload of `size` bytes; [`FRAME_END`] goes behind it.
#[inline]
#[must_use]
fn head(frame_type: u8, channel: u16, size: u32) -> [u8; HEAD_SIZE] {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = size.to_be_bytes();
    [frame_type, c0, c1, s0, s1, s2, s3]
}

/// Appends a method frame.
#[inline]
pub fn encode_method(out: &mut Vec<u8>, channel: u16, method: &impl EncodeMethod) {
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[FRAME_METHOD, c0, c1]);
    let place = reserve_length(out);
    method.encode(out);
    patch_length(out, place);
    out.push(FRAME_END);
}

/// Appends a content header frame. `properties` are encoded flags and list, passed through as they are.
#[inline]
pub fn encode_header(out: &mut Vec<u8>, channel: u16, class_id: u16, body_size: u64, properties: &[u8]) {
    let mut start = [0; HEAD_SIZE + CONTENT_HEAD_SIZE];
    start[..HEAD_SIZE].copy_from_slice(&head(
        FRAME_HEADER,
        channel,
        (CONTENT_HEAD_SIZE + properties.len()) as u32,
    ));
    start[HEAD_SIZE..HEAD_SIZE + 2].copy_from_slice(&class_id.to_be_bytes());
    start[HEAD_SIZE + 4..].copy_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(&start);
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// The head of a body frame whose payload of `size` bytes is sent from where it lies; [`FRAME_END`] goes behind it.
#[inline]
#[must_use]
pub fn body_head(channel: u16, size: u32) -> [u8; HEAD_SIZE] {
    head(FRAME_BODY, channel, size)
}

/// Appends one body frame. `body` must fit the peer's frame-max less [`ENVELOPE_SIZE`].
#[inline]
pub fn encode_body(out: &mut Vec<u8>, channel: u16, body: &[u8]) {
    out.extend_from_slice(&body_head(channel, body.len() as u32));
    out.extend_from_slice(body);
    out.push(FRAME_END);
}

/// Appends a heartbeat frame, which is always on channel 0. Spec: clause 4.2.7.
pub fn encode_heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&head(FRAME_HEARTBEAT, 0, 0));
    out.push(FRAME_END);
}
