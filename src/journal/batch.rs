//! A batch: what one write and one sync make durable. Small parts are copied into it, large shared ones are
//! referred to; either way it knows what is at which position until it is on disk.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::{ALIGNMENT, BATCH_HEADER, BatchState, RECORD_HEADER, decode_record, peek_length};
use crate::root::NewRoot;

/// A piece of a record's payload.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Copied.
    Slice(&'a [u8]),
    /// Kept by reference until it is on disk when it is long, else copied.
    Shared(&'a Bytes),
}

impl Part<'_> {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Slice(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A shared part, which stands before `buffer[before]`.
struct Shared {
    before: usize,
    part: Bytes,
}

/// Records on their way to one place in one segment.
pub struct Batch {
    /// First position of its segment.
    pub segment: u64,
    /// Its own first position, that of its header.
    pub start: u64,
    /// The root that it ends, when it does.
    pub root: Option<Arc<NewRoot>>,
    buffer: Vec<u8>,
    shared: Vec<Shared>,
    shared_bytes: u64,
}

impl Batch {
    /// One with room for its header; `buffer` is empty and may have space.
    pub fn new(segment: u64, start: u64, mut buffer: Vec<u8>) -> Self {
        buffer.resize(BATCH_HEADER, 0);
        Self { segment, start, root: None, buffer, shared: Vec::new(), shared_bytes: 0 }
    }

    /// Bytes it takes in the segment.
    pub fn length(&self) -> u64 {
        self.buffer.len() as u64 + self.shared_bytes
    }

    /// The position after it.
    pub fn end(&self) -> u64 {
        self.start + self.length()
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.length() == BATCH_HEADER as u64
    }

    /// Append a record, padded.
    pub fn push(&mut self, header: &[u8; RECORD_HEADER], parts: &[Part<'_>], share_from: usize) {
        self.buffer.extend_from_slice(header);
        for part in parts {
            match part {
                Part::Shared(part) if part.len() >= share_from => {
                    self.shared.push(Shared { before: self.buffer.len(), part: Bytes::clone(part) });
                    self.shared_bytes += part.len() as u64;
                }
                Part::Shared(_) | Part::Slice(_) => self.buffer.extend_from_slice(part.bytes()),
            }
        }
        let padding = self.length().next_multiple_of(ALIGNMENT) - self.length();
        self.buffer.extend_from_slice(&[0; ALIGNMENT as usize][..padding as usize]);
    }

    /// Fill the header in.
    pub fn seal(&mut self, state: BatchState, epoch: u32) {
        self.buffer[..BATCH_HEADER].copy_from_slice(&state.encode(self.start, epoch));
    }

    /// What is to be written, in order.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.shared.len() * 2 + 1);
        let mut from = 0;
        for shared in &self.shared {
            slices.push(IoSlice::new(&self.buffer[from..shared.before]));
            slices.push(IoSlice::new(&shared.part));
            from = shared.before;
        }
        slices.push(IoSlice::new(&self.buffer[from..]));
        slices
    }

    /// The payload of the record at `position`, which this batch must contain.
    pub fn read(&self, position: u64) -> Option<Bytes> {
        let at = position.checked_sub(self.start)?;
        let length = peek_length(&self.copy(at..at + RECORD_HEADER as u64), position).ok()?;
        let record = self.copy(at..at + (RECORD_HEADER + length) as u64);
        decode_record(&record, position).ok()?;
        Some(Bytes::from(record).slice(RECORD_HEADER..))
    }

    /// Bytes of a range that counts from the batch's beginning, as far as it goes.
    fn copy(&self, range: Range<u64>) -> Vec<u8> {
        let mut copied = Vec::with_capacity((range.end - range.start) as usize);
        let mut at = 0;
        for slice in self.slices() {
            let end = at + slice.len() as u64;
            if at < range.end && range.start < end {
                let from = range.start.max(at) - at;
                let to = range.end.min(end) - at;
                copied.extend_from_slice(&slice[from as usize..to as usize]);
            }
            at = end;
        }
        copied
    }

    /// Its buffer, emptied, for the next one.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.buffer.clear();
        self.buffer
    }
}
