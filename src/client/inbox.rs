//! The read buffer: bytes from the socket until their frames have been taken.
//!
//! It starts small, for ten thousand idle connections, and doubles while reads fill it.

use crate::Error;
use fairlead_amqp_0_9_1::codec::{Frame, frame};

/// The first size, in bytes.
const FIRST: usize = 4 * 1024;

/// What a busy connection's buffer grows to, in bytes, unless a frame needs more.
const BUSY: usize = 256 * 1024;

/// What is held at most while a reply is awaited behind other frames, in bytes.
const HELD_MAX: usize = 64 * 1024 * 1024;

/// Bytes that were read, from `start` to `end`.
#[derive(Debug, Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Bytes not yet taken.
    #[inline]
    pub fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Room for the next read, never empty. The pending bytes move to the front; the buffer doubles up to its busy
    /// size when the last read filled it, and beyond when one frame is longer or a reply is awaited.
    pub fn room(&mut self) -> Result<&mut [u8], Error> {
        let filled = self.end == self.buffer.len();
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let length = self.buffer.len();
        if length == 0 {
            self.buffer.resize(FIRST, 0);
        } else if filled && (length < BUSY || self.end == length) {
            if length >= HELD_MAX {
                return Err(Error::TooMuch { maximum: HELD_MAX as u64, expected: "the awaited reply" });
            }
            self.buffer.resize(length * 2, 0);
        }
        Ok(&mut self.buffer[self.end..])
    }

    /// `count` bytes were read into the room.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// Takes the next complete frame.
    #[inline]
    pub fn next_frame(&mut self, frame_max: u32) -> Result<Option<Frame<'_>>, Error> {
        match frame::decode(&self.buffer[self.start..self.end], frame_max)? {
            Some((frame, used)) => {
                self.start += used;
                Ok(Some(frame))
            }
            None => Ok(None),
        }
    }

    /// The frame that begins `offset` bytes into the pending ones, left where it is, and its length.
    pub fn frame_at(&self, offset: usize, frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, Error> {
        Ok(frame::decode(&self.buffer[self.start + offset..self.end], frame_max)?)
    }

    /// Takes `length` bytes out from the middle, `offset` bytes into the pending ones.
    pub fn remove(&mut self, offset: usize, length: usize) {
        let from = self.start + offset;
        self.buffer.copy_within(from + length..self.end, from);
        self.end -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_amqp_0_9_1::codec::Payload;

    fn put(inbox: &mut Inbox, bytes: &[u8]) {
        for chunk in bytes.chunks(1000) {
            let mut left = chunk;
            while !left.is_empty() {
                let room = inbox.room().unwrap();
                let count = room.len().min(left.len());
                room[..count].copy_from_slice(&left[..count]);
                inbox.filled(count);
                left = &left[count..];
            }
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut bytes = Vec::new();
        for number in 0..2000u16 {
            frame::encode_body(&mut bytes, number, &vec![7; usize::from(number % 97)]);
        }
        let mut inbox = Inbox::default();
        let mut next = 0;
        for chunk in bytes.chunks(777) {
            put(&mut inbox, chunk);
            while let Some(frame) = inbox.next_frame(131_072).unwrap() {
                assert_eq!(frame.channel, next);
                assert_eq!(frame.payload, Payload::Body(&vec![7; usize::from(next % 97)]));
                next += 1;
            }
        }
        assert_eq!(next, 2000);
        assert!(inbox.pending().is_empty());
        assert!(inbox.buffer.len() <= 2 * FIRST, "a buffer that is emptied does not grow");
    }

    #[test]
    fn a_frame_longer_than_the_buffer_is_waited_for() {
        let mut bytes = Vec::new();
        frame::encode_body(&mut bytes, 1, &vec![1; 100_000]);
        let mut inbox = Inbox::default();
        put(&mut inbox, &bytes[..bytes.len() - 1]);
        assert!(inbox.next_frame(131_072).unwrap().is_none());
        put(&mut inbox, &bytes[bytes.len() - 1..]);
        assert!(inbox.next_frame(131_072).unwrap().is_some());
    }

    #[test]
    fn a_frame_can_be_taken_from_behind_others() {
        let mut bytes = Vec::new();
        for number in 1..=3 {
            frame::encode_body(&mut bytes, number, b"body");
        }
        let mut inbox = Inbox::default();
        put(&mut inbox, &bytes);
        let (_, first) = inbox.frame_at(0, 4096).unwrap().unwrap();
        let (second, length) = inbox.frame_at(first, 4096).unwrap().unwrap();
        assert_eq!(second.channel, 2);
        inbox.remove(first, length);
        let mut left = Vec::new();
        while let Some(frame) = inbox.next_frame(4096).unwrap() {
            left.push(frame.channel);
        }
        assert_eq!(left, [1, 3]);
    }
}
