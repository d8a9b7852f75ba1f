//! A batch: what one write and one sync make durable. Small parts are copied into it, large shared ones are
//! referred to; either way it knows what is at which position until it is on disk.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::aligned::{Aligned, BLOCK};
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

/// A shared part, which stands before the byte `before` of the buffer.
struct Shared {
    before: usize,
    part: Bytes,
}

/// The bytes of a segment's last block, which the next batch goes on with.
#[derive(Default)]
pub struct LastBlock {
    /// The position behind them; 0 when they are not known.
    end: u64,
    bytes: Vec<u8>,
}

/// Records on their way to one place in one segment.
pub struct Batch {
    /// First position of its segment.
    pub segment: u64,
    /// Its own first position, that of its header.
    pub start: u64,
    /// The root that it ends, when it does.
    pub root: Option<Arc<NewRoot>>,
    /// Behind `lead` bytes of the block that the batch goes on with.
    buffer: Aligned,
    lead: usize,
    /// Zeros behind it, up to the end of a block; with them it is whole blocks.
    padding: Option<usize>,
    shared: Vec<Shared>,
    shared_bytes: u64,
}

impl Batch {
    /// One with room for its header, in the memory of an earlier one.
    pub fn new(segment: u64, start: u64, memory: Vec<u8>) -> Self {
        let lead = ((start - segment) % BLOCK as u64) as usize;
        let buffer = Aligned::new(memory, lead + BATCH_HEADER);
        Self { segment, start, root: None, buffer, lead, padding: None, shared: Vec::new(), shared_bytes: 0 }
    }

    /// What was copied into it.
    fn copied(&self) -> &[u8] {
        let end = self.buffer.len() - self.padding.unwrap_or_default();
        &self.buffer.bytes()[self.lead..end]
    }

    /// Bytes it takes in the segment.
    pub fn length(&self) -> u64 {
        self.copied().len() as u64 + self.shared_bytes
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
        self.buffer.extend(header);
        for part in parts {
            match part {
                Part::Shared(part) if part.len() >= share_from => {
                    self.shared.push(Shared { before: self.copied().len(), part: Bytes::clone(part) });
                    self.shared_bytes += part.len() as u64;
                }
                Part::Shared(_) | Part::Slice(_) => self.buffer.extend(part.bytes()),
            }
        }
        let padding = self.length().next_multiple_of(ALIGNMENT) - self.length();
        self.buffer.extend(&[0; ALIGNMENT as usize][..padding as usize]);
    }

    /// Fill the header in.
    pub fn seal(&mut self, state: BatchState, epoch: u32) {
        let header = self.lead..self.lead + BATCH_HEADER;
        self.buffer.bytes_mut()[header].copy_from_slice(&state.encode(self.start, epoch));
    }

    /// Make whole blocks of it, when nothing in it is elsewhere and `last` has the bytes of the block it goes on with.
    pub fn complete_blocks(&mut self, last: &LastBlock) {
        if !self.shared.is_empty() || last.end != self.start {
            return;
        }
        self.buffer.bytes_mut()[..self.lead].copy_from_slice(&last.bytes);
        let padding = self.buffer.len().next_multiple_of(BLOCK) - self.buffer.len();
        self.buffer.extend(&[0; BLOCK][..padding]);
        self.padding = Some(padding);
    }

    /// It as whole blocks, if it is, and where they begin in the segment's file.
    pub fn blocks(&self) -> Option<(&[u8], u64)> {
        self.padding?;
        Some((self.buffer.bytes(), self.start - self.segment - self.lead as u64))
    }

    /// The block that the next batch goes on with, as far as it is filled, when this batch has all of that.
    pub fn last_block(&self, last: &mut LastBlock) {
        let filled = ((self.end() - self.segment) % BLOCK as u64) as usize;
        let of_this = (filled as u64) <= self.length();
        last.end = if of_this || self.padding.is_some() { self.end() } else { 0 };
        last.bytes.clear();
        if let Some(padding) = self.padding {
            let end = self.buffer.len() - padding;
            last.bytes.extend_from_slice(&self.buffer.bytes()[end - filled..end]);
        } else if of_this {
            last.bytes = self.copy(self.length() - filled as u64..self.length());
        }
    }

    /// What is to be written, in order.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        let copied = self.copied();
        let mut slices = Vec::with_capacity(self.shared.len() * 2 + 1);
        let mut from = 0;
        for shared in &self.shared {
            slices.push(IoSlice::new(&copied[from..shared.before]));
            slices.push(IoSlice::new(&shared.part));
            from = shared.before;
        }
        slices.push(IoSlice::new(&copied[from..]));
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

    /// Its memory, for the next one.
    pub fn into_memory(self) -> Vec<u8> {
        self.buffer.into_memory()
    }
}
