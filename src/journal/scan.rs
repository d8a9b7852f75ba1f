//! Walking a segment's records: forward, each checked, until the known end or the first that is not one. There it is
//! decided whether that is the torn end of what was being written when the journal stopped, or damage to what was
//! once on disk: a batch further on that says "everything before me is durable" proves the latter.

use std::io;
use std::sync::Arc;

use crate::backend::{File, read_full};
use crate::error::{Error, ReadError};
use crate::format::{
    ALIGNMENT, BATCH_HEADER, BATCH_MOST, BatchState, Class, Fault, RECORD_HEADER, RecordHeader,
    SEGMENT_HEADER, decode_record, peek_length,
};

/// Bytes read at a time on a walk.
const READ_AHEAD: usize = 256 << 10;
/// Bytes read for one record, unless it is longer.
const READ_AHEAD_FOR_ONE: usize = 2048;

/// The bytes of a segment by position, read in windows.
pub struct Reader {
    file: Arc<dyn File>,
    name: String,
    first: u64,
    /// No position from here on is read.
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
    read_ahead: usize,
}

/// A record, borrowed from its reader.
pub type Found<'a> = (RecordHeader, &'a [u8]);

impl Reader {
    /// Of the positions from `first`, the file's beginning, to `limit`.
    pub fn new(file: Arc<dyn File>, name: String, first: u64, limit: u64) -> Self {
        Self { file, name, first, limit, window: Vec::new(), window_at: 0, read_ahead: READ_AHEAD }
    }

    /// One that reads little ahead: for the header and a small record in one call.
    pub fn for_one_record(file: Arc<dyn File>, name: String, first: u64, limit: u64) -> Self {
        Self { read_ahead: READ_AHEAD_FOR_ONE, ..Self::new(file, name, first, limit) }
    }

    /// Whether it reads the segment that a position is in.
    pub fn covers(&self, position: u64) -> bool {
        (self.first..self.limit).contains(&position)
    }

    /// At most `length` bytes from a position; fewer only at the limit or the file's end.
    fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let length = length.min(usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX));
        let window_end = self.window_at + self.window.len() as u64;
        if position < self.window_at || position + length as u64 > window_end {
            let ahead = usize::try_from(self.limit.saturating_sub(position)).unwrap_or(usize::MAX);
            let wanted = length.max(self.read_ahead.min(ahead));
            self.window.resize(wanted, 0);
            let filled = read_full(&*self.file, &mut self.window, position - self.first)?;
            self.window.truncate(filled);
            self.window_at = position;
        }
        let from = (position - self.window_at) as usize;
        Ok(&self.window[from..self.window.len().min(from + length)])
    }

    /// The record at a position.
    ///
    /// # Errors
    /// The outer one is the disk's; the inner one says why there is no record.
    pub fn record(&mut self, position: u64) -> io::Result<Result<Found<'_>, Fault>> {
        let left = self.limit.saturating_sub(position);
        let length = match peek_length(self.bytes(position, RECORD_HEADER)?, position) {
            Ok(length) if (RECORD_HEADER + length) as u64 <= left => length,
            Ok(length) => {
                return Ok(Err(Fault::Short { needed: (RECORD_HEADER + length) as u64, left }));
            }
            Err(fault) => return Ok(Err(fault)),
        };
        Ok(decode_record(self.bytes(position, RECORD_HEADER + length)?, position))
    }

    /// Whether a batch after `position` says that `position` was durable.
    fn was_durable(&mut self, position: u64, epoch: u32) -> io::Result<bool> {
        let end = self.limit.min(position + BATCH_MOST + BATCH_HEADER as u64);
        let mut at = position;
        while at + BATCH_HEADER as u64 <= end {
            let bytes = self.bytes(at, BATCH_HEADER)?;
            if bytes.len() < BATCH_HEADER {
                break;
            }
            if peek_length(bytes, at) == Ok(BATCH_HEADER - RECORD_HEADER)
                && let Ok((header, payload)) = decode_record(bytes, at)
                && header.class == Class::Batch
                && header.epoch >= epoch
                && BatchState::decode(payload).is_some_and(|state| state.durable > position)
            {
                return Ok(true);
            }
            at += ALIGNMENT;
        }
        Ok(false)
    }

    fn io(&self) -> impl FnOnce(io::Error) -> ReadError + use<> {
        let file = self.name.clone();
        move |source| ReadError::Io { file, source }
    }

    fn corrupt(&self, position: u64, expected: String) -> ReadError {
        ReadError::Corrupt { file: self.name.clone(), offset: position - self.first, expected }
    }
}

/// What was learned on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Where the records end.
    pub end: u64,
    /// The last record's epoch.
    pub epoch: u32,
    /// Position of the last root record; 0 is none.
    pub root: u64,
}

/// Where a walk goes.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// To this position exactly: everything before it was durable.
    End(u64),
    /// To the last record that is whole.
    Torn,
}

/// Visit the records from a position on, batch headers included.
///
/// # Errors
/// Damage below what was durable, the disk's errors, and the visitor's.
pub fn walk(
    reader: &mut Reader,
    from: u64,
    epoch: Option<u32>,
    until: Until,
    mut visit: impl FnMut(&RecordHeader, &[u8]) -> Result<(), Error>,
) -> Result<Walked, Error> {
    let mut walked = Walked { end: from, epoch: epoch.unwrap_or_default(), root: 0 };
    let mut epoch = epoch;
    loop {
        let at = walked.end;
        if let Until::End(end) = until
            && at >= end
        {
            return Ok(walked);
        }
        let io = reader.io();
        let fault = match reader.record(at).map_err(io)? {
            Ok((header, payload)) => {
                let expected = epoch.unwrap_or(header.epoch);
                let raises = header.class == Class::Batch && header.epoch > expected;
                if header.epoch == expected || raises {
                    epoch = Some(header.epoch);
                    walked.epoch = header.epoch;
                    walked.end += header.space();
                    if header.class == Class::Root {
                        walked.root = at;
                    }
                    visit(&header, payload)?;
                    continue;
                }
                Fault::Epoch { expected, found: header.epoch }
            }
            Err(fault) => fault,
        };
        match until {
            Until::End(_) => return Err(reader.corrupt(at, fault.to_string()).into()),
            Until::Torn => {
                let io = reader.io();
                if reader.was_durable(at, walked.epoch).map_err(io)? {
                    return Err(reader.corrupt(at, fault.to_string()).into());
                }
                return Ok(walked);
            }
        }
    }
}

/// Whether a file without its header was a segment from `first` on whose first batch was durable.
///
/// # Errors
/// The disk's.
pub fn lost_its_header(file: Arc<dyn File>, name: &str, first: u64, epoch: u32) -> Result<bool, ReadError> {
    let mut reader = Reader::new(file, name.to_owned(), first, u64::MAX);
    let io = reader.io();
    reader.was_durable(first + SEGMENT_HEADER, epoch).map_err(io)
}
