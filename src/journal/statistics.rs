//! What can be measured: counters and histograms that the writer keeps once a batch, and a count of the segments.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::error::Error;
use crate::ids::Position;
use crate::journal::{Shared, Space};
use crate::segments::State;

/// What the writer keeps.
#[derive(Clone)]
pub(crate) struct Measured {
    bytes: u64,
    syncs: u64,
    sync_time: Duration,
    sync_microseconds: Histogram<u64>,
    batch_bytes: Histogram<u64>,
    pub recovery: Duration,
    pub recovery_records: u64,
}

/// The longest sync that is told from longer ones, in microseconds.
const SYNC_MOST: u64 = 600_000_000;
/// The largest batch that is told from larger ones, in bytes.
const BATCH_MOST: u64 = 64 << 20;

fn histogram(most: u64) -> Result<Histogram<u64>, Error> {
    Histogram::new_with_max(most, 2)
        .map_err(|error| Error::Options(format!("a histogram up to {most}: {error:?}")))
}

impl Measured {
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            bytes: 0,
            syncs: 0,
            sync_time: Duration::ZERO,
            sync_microseconds: histogram(SYNC_MOST)?,
            batch_bytes: histogram(BATCH_MOST)?,
            recovery: Duration::ZERO,
            recovery_records: 0,
        })
    }

    /// A batch of so many bytes was synced in so long.
    pub fn batch(&mut self, bytes: u64, took: Duration) {
        self.bytes += bytes;
        self.syncs += 1;
        self.sync_time += took;
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(SYNC_MOST);
        self.sync_microseconds.saturating_record(microseconds);
        self.batch_bytes.saturating_record(bytes);
    }
}

/// What can be measured of a journal, at one moment.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Bytes written by batches since it was opened.
    pub bytes: u64,
    /// Syncs of batches since it was opened.
    pub syncs: u64,
    /// How long they took together.
    pub sync_time: Duration,
    /// How long each took, in microseconds.
    pub sync_microseconds: Histogram<u64>,
    /// How large the batches were, in bytes.
    pub batch_bytes: Histogram<u64>,
    /// Bytes that are appended and not durable.
    pub pending: u64,
    /// Every record before this position is on disk.
    pub durable: Position,
    /// Segments that are written to, or planned.
    pub active_segments: u64,
    /// Segments that are full and still needed.
    pub sealed_segments: u64,
    /// Files kept for reuse, the next segment's included.
    pub spare_segments: u64,
    /// Live records.
    pub live_records: u64,
    /// Bytes of them, by each segment's average.
    pub live_bytes: u64,
    /// Bytes of records in all segments.
    pub used_bytes: u64,
    /// Room on the disk.
    pub space: Space,
    /// Bytes of the disk that can still be allocated, as the keeper saw last.
    pub free_bytes: u64,
    /// Reads that failed, or found damage, since it was opened.
    pub read_errors: u64,
    /// How long opening took.
    pub recovery: Duration,
    /// Records that opening gave back, without checkpoints.
    pub recovery_records: u64,
}

impl Statistics {
    pub(crate) fn of(shared: &Shared) -> Self {
        let measured = shared.measured.lock().clone();
        let mut statistics = Self {
            bytes: measured.bytes,
            syncs: measured.syncs,
            sync_time: measured.sync_time,
            sync_microseconds: measured.sync_microseconds,
            batch_bytes: measured.batch_bytes,
            pending: shared.intake.lock().pending(),
            durable: Position(shared.durable.load(Ordering::Acquire)),
            active_segments: 0,
            sealed_segments: 0,
            spare_segments: shared.spare_files.load(Ordering::Relaxed),
            live_records: 0,
            live_bytes: 0,
            used_bytes: 0,
            space: shared.space(),
            free_bytes: shared.free_bytes.load(Ordering::Relaxed),
            read_errors: shared.read_errors.load(Ordering::Relaxed),
            recovery: measured.recovery,
            recovery_records: measured.recovery_records,
        };
        for segment in shared.table.read().iter() {
            match segment.state {
                State::Planned | State::Active => statistics.active_segments += 1,
                State::Sealed => statistics.sealed_segments += 1,
                State::Gone => {}
            }
            statistics.live_records += segment.counts.live.load(Ordering::Relaxed);
            statistics.live_bytes += segment.counts.live_bytes();
            statistics.used_bytes += segment.end - segment.first;
        }
        statistics
    }
}
