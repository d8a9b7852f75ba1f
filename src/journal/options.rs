//! What can be chosen, in bytes and counts.

use std::time::Duration;

use crate::error::Error;
use crate::format::{BATCH_HEADER, BATCH_MOST, SEGMENT_HEADER, space};

/// How a journal is laid out and bounded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a segment file. Existing ones keep theirs.
    pub segment_size: u64,
    /// Bytes of the very first segment of a folder: small, so that a new broker need not wait for zeros.
    pub first_segment_size: u64,
    /// Most bytes of payload in a record.
    pub record_most: usize,
    /// A batch is closed when it has so many bytes.
    pub batch_bytes: usize,
    /// Parts of at least this many bytes that are shared are kept by reference until they are written.
    pub share_from: usize,
    /// Most bytes that may wait for the disk; above, what can be refused is.
    pub pending_most: u64,
    /// Freed segments kept for reuse; more are unlinked when they have lain for `spare_for`, or at once where room is low.
    pub spares_most: usize,
    /// How long more of them may lie: a backlog that was emptied may come again soon, and a new file is written twice.
    pub spare_for: Duration,
    /// Bytes of the disk that pre-writing leaves free: the writer's reserve, when it must have another segment. Without
    /// it nothing can be written that makes room.
    pub keep_free: u64,
    /// Below so many free bytes the space is [`crate::Space::Low`], until a sixteenth more is free.
    pub low_below: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size: 128 << 20,
            first_segment_size: 1 << 20,
            record_most: 4 << 20,
            batch_bytes: 2 << 20,
            share_from: 4 << 10,
            pending_most: 256 << 20,
            spares_most: 4,
            spare_for: Duration::from_secs(60),
            keep_free: 256 << 20,
            low_below: 1 << 30,
        }
    }
}

impl Options {
    /// Whether a journal can be opened with them; [`crate::Journal::open`] asks, too.
    ///
    /// # Errors
    /// When a record would not fit into a segment, or a batch be longer than the format allows.
    pub fn check(&self) -> Result<(), Error> {
        let record = BATCH_HEADER as u64 + space(self.record_most);
        if SEGMENT_HEADER + record > self.segment_size {
            return Err(Error::Options(format!(
                "a segment of {} bytes has no room for a record of {}",
                self.segment_size, self.record_most
            )));
        }
        if self.batch_bytes as u64 + record > BATCH_MOST {
            return Err(Error::Options(format!(
                "a batch of {} bytes and a record of {} are more than {BATCH_MOST}",
                self.batch_bytes, self.record_most
            )));
        }
        if self.first_segment_size < SEGMENT_HEADER + BATCH_HEADER as u64 {
            return Err(Error::Options(format!(
                "a first segment of {} bytes has no room for a batch",
                self.first_segment_size
            )));
        }
        if !self.segment_size.is_multiple_of(8) || !self.first_segment_size.is_multiple_of(8) {
            return Err(Error::Options("the size of a segment must be a multiple of 8".to_owned()));
        }
        Ok(())
    }
}
