//! The one place where time and randomness enter: everything below takes both as arguments.

use fairlead_kernel::Time;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the wall clock stood when this process looked first, and how far it is since: never backwards.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    epoch_nanos: u64,
    seed: AtomicU64,
}

impl Clock {
    /// A clock at the machine's time, with seeds that no other process gives.
    #[must_use]
    pub fn from_machine() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        // The standard library keys its hash maps from the system's randomness: the same source.
        let seed = RandomState::new().hash_one(nanos);
        Clock { started: Instant::now(), epoch_nanos: nanos, seed: AtomicU64::new(seed) }
    }

    /// Now; read once a batch.
    #[must_use]
    pub fn now(&self) -> Time {
        Time(self.epoch_nanos).after(self.started.elapsed())
    }

    /// When the clock was made.
    #[must_use]
    pub fn started(&self) -> Time {
        Time(self.epoch_nanos)
    }

    /// The instant at which [`Clock::now`] will give `time`.
    #[must_use]
    pub fn instant(&self, time: Time) -> Instant {
        self.started + time.since(Time(self.epoch_nanos))
    }

    /// A number that is not given twice, for hashing (`splitmix64` over a random start). It can be told from
    /// others: not for secrets.
    pub fn seed(&self) -> u64 {
        let state = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_its_instant_are_inverse() {
        let clock = Clock::from_machine();
        let now = clock.now();
        assert_eq!(clock.instant(now) - clock.started, now.since(clock.started()));
        assert!(clock.now() >= now);
        assert_ne!(clock.seed(), clock.seed());
    }
}
