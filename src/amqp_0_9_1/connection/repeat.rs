//! The frames of the small message that was delivered last, to be said again of one that is like it.
//!
//! ```text
//! | basic.deliver ... tag, redelivered ... | header: body size, properties | body frame's head |  body  end
//! '------------------------------ kept, with the parts that are named written anew ------------'
//! ```
//!
//! Messages come in rows with the same consumer, exchange and routing key: one copy then takes the place of ten.

use crate::codec::frame::HEAD_SIZE;
use crate::spec::FRAME_END;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    /// All up to the body; empty if there is nothing to repeat.
    frames: Vec<u8>,
    /// Where the delivery tag is; the redelivered flag follows it.
    tag_at: usize,
    /// Where the properties are; the body's size stands before them.
    head_at: usize,
    head_length: usize,
}

impl Repeat {
    /// What was sent last cannot be repeated.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.frames.clear();
    }

    /// Keep `frames`: all of a delivery up to its body, which is not empty, with its tag at `tag_at` and
    /// `head_length` bytes of properties.
    #[inline]
    pub(super) fn keep(&mut self, frames: &[u8], tag_at: usize, head_length: usize) {
        self.frames.clear();
        self.frames.extend_from_slice(frames);
        self.tag_at = tag_at;
        self.head_length = head_length;
        self.head_at = frames.len().saturating_sub(head_length + 1 + HEAD_SIZE);
    }

    /// Whether the kept frames fit a message with such properties and body.
    #[inline]
    pub(super) fn fits(&self, head: &[u8], body: &[u8]) -> bool {
        !self.frames.is_empty() && self.head_length == head.len() && !body.is_empty()
    }

    /// Append the frames of a message that they [fit](Self::fits).
    #[inline]
    pub(super) fn put(&mut self, out: &mut Vec<u8>, tag: u64, redelivered: bool, head: &[u8], body: &[u8]) {
        let size = body.len() as u64;
        let (method, content) = self.frames.split_at_mut(self.head_at);
        if let Some((tag_bytes, [flag, ..])) = method[self.tag_at..].split_first_chunk_mut() {
            *tag_bytes = tag.to_be_bytes();
            *flag = u8::from(redelivered);
        }
        if let Some(size_bytes) = method.last_chunk_mut() {
            *size_bytes = size.to_be_bytes();
        }
        let (properties, rest) = content.split_at_mut(self.head_length);
        match (properties, head) {
            // No properties at all: as most messages come.
            ([first, second], [one, two]) => (*first, *second) = (*one, *two),
            (properties, head) => properties.copy_from_slice(head),
        }
        if let Some(size_bytes) = rest.last_chunk_mut() {
            *size_bytes = (size as u32).to_be_bytes();
        }
        out.reserve(self.frames.len() + body.len() + 1);
        out.extend_from_slice(&self.frames);
        out.extend_from_slice(body);
        out.push(FRAME_END);
    }
}
