//! What operators see of the journal.

use super::Store;
use crate::report::{Distribution, JournalReport};
use fairlead_journal::Statistics;

/// Upper bounds that the durations of syncs are counted by, in microseconds.
const SYNC_BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];
/// Microseconds of a second.
const SECOND: f64 = 1e6;
/// Upper bounds that the sizes of batches are counted by, in bytes.
const BATCH_BOUNDS: [u64; 8] = [512, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

impl Store {
    /// The journal's figures, now.
    pub(crate) fn report(&self) -> JournalReport {
        let statistics = self.journal.statistics();
        JournalReport {
            written_bytes: statistics.bytes,
            syncs: statistics.syncs,
            sync_seconds: sync_seconds(&statistics),
            batch_bytes: batch_bytes(&statistics),
            pending_bytes: statistics.pending,
            waiting_connections: self.gates.held() as u64,
            durable_position: statistics.durable.0,
            active_segments: statistics.active_segments,
            sealed_segments: statistics.sealed_segments,
            spare_segments: statistics.spare_segments,
            live_records: statistics.live_records,
            live_bytes: statistics.live_bytes,
            used_bytes: statistics.used_bytes,
            recovery_seconds: statistics.recovery.as_secs_f64(),
            recovery_records: statistics.recovery_records,
            read_errors: statistics.read_errors,
            free_bytes: statistics.free_bytes,
            free_mark: self.journal.options().low_below,
        }
    }
}

fn sync_seconds(statistics: &Statistics) -> Distribution {
    let below = |bound: u64| statistics.sync_microseconds.count_between(0, bound);
    Distribution {
        below: SYNC_BOUNDS.iter().map(|bound| (*bound as f64 / SECOND, below(*bound))).collect(),
        count: statistics.syncs,
        sum: statistics.sync_time.as_secs_f64(),
    }
}

fn batch_bytes(statistics: &Statistics) -> Distribution {
    let below = |bound: u64| statistics.batch_bytes.count_between(0, bound);
    Distribution {
        below: BATCH_BOUNDS.iter().map(|bound| (*bound as f64, below(*bound))).collect(),
        count: statistics.syncs,
        sum: statistics.bytes as f64,
    }
}
