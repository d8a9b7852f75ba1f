//! What a seed chooses before it begins: how the journal is laid out, how large the disk and the messages are, and how
//! often what goes wrong.

use fairlead_journal::Options;
use fairlead_journal::backend::simulated::{Faults, Random};
use std::time::Duration;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The journal's layout: small segments, so that a short run fills many.
    pub options: Options,
    /// Bytes of the disk.
    pub capacity: u64,
    /// Bytes that somebody adds when it is full.
    pub more: u64,
    /// The longest body, in bytes.
    pub body_most: u64,
    /// Clients at a time.
    pub clients: u64,
    /// Things that happen.
    pub actions: u64,
    /// One write in so many is short; 0 is never.
    pub short_write_one_in: u64,
    /// One action in so many is a crash.
    pub crash_one_in: u64,
    /// One action in so many has a write, a sync or a read fail, or the power go in the middle of something.
    pub fault_one_in: u64,
}

/// One seed in so many has messages of megabytes.
const LARGE_ONE_IN: u64 = 50;
/// One seed in so many has a small disk.
const FULL_ONE_IN: u64 = 6;

impl Plan {
    /// What that seed chooses.
    pub fn of(random: &mut Random) -> Plan {
        let large = random.one_in(LARGE_ONE_IN);
        let segment_size: u64 = if large { 3 << 20 } else { 24 << 10 };
        let options = Options {
            segment_size,
            first_segment_size: if large { 1 << 20 } else { 4 << 10 },
            record_most: if large { (1 << 20) + (64 << 10) } else { 16 << 10 },
            batch_bytes: if large { 1 << 20 } else { [256, 1 << 10, 4 << 10][random.below(3) as usize] },
            share_from: 256,
            pending_most: 64 << 20,
            spares_most: 2,
            spare_for: Duration::ZERO,
            keep_free: 0,
            low_below: 0,
        };
        let full = random.one_in(FULL_ONE_IN);
        let capacity = if full { segment_size * (2 + random.below(4)) } else { segment_size * 4096 };
        Plan {
            options,
            capacity,
            more: segment_size * 2,
            body_most: if large { crate::message::BODY_MOST as u64 } else { 6 << 10 },
            clients: 1 + random.below(5),
            actions: if large { 120 } else { 100 + random.below(300) },
            short_write_one_in: [0, 0, 2, 5][random.below(4) as usize],
            crash_one_in: 20 + random.below(100),
            fault_one_in: 25 + random.below(100),
        }
    }

    /// The faults that are always there.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { short_write_one_in: self.short_write_one_in, ..Faults::default() }
    }
}
