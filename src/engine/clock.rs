//! The one place where time and randomness enter: everything below takes both as arguments.

use fairlead_kernel::Time;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the wall clock stood when this process looked first, and how far it is since: never backwards.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    epoch_nanos: u64,
    /// Where a simulated clock stands, in nanoseconds since the epoch.
    simulated: Option<Arc<AtomicU64>>,
    seed: AtomicU64,
}

/// Moves a simulated clock.
#[derive(Clone, Debug)]
pub struct ClockHand(Arc<AtomicU64>);

impl ClockHand {
    /// A hand at that time.
    #[must_use]
    pub fn at(time: Time) -> ClockHand {
        ClockHand(Arc::new(AtomicU64::new(time.0)))
    }

    /// Where it is.
    #[must_use]
    pub fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }

    /// Move it on, so many milliseconds.
    pub fn advance(&self, milliseconds: u64) {
        self.0.store(self.now().after_milliseconds(milliseconds).0, Ordering::Relaxed);
    }
}

impl Clock {
    /// A clock at the machine's time, with seeds that no other process gives.
    #[must_use]
    pub fn from_machine() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        // The standard library keys its hash maps from the system's randomness: the same source.
        let seed = RandomState::new().hash_one(nanos);
        Clock { started: Instant::now(), epoch_nanos: nanos, simulated: None, seed: AtomicU64::new(seed) }
    }

    /// A clock that stands still until its hand is moved, and gives the same seeds for the same start: the same
    /// calls do the same again. Whoever has it calls [`crate::Broker::run_due`] himself; its instants mean nothing.
    #[must_use]
    pub fn simulated(hand: &ClockHand, seed: u64) -> Clock {
        Clock {
            started: Instant::now(),
            epoch_nanos: hand.now().0,
            simulated: Some(Arc::clone(&hand.0)),
            seed: AtomicU64::new(seed),
        }
    }

    /// Now; read once a batch.
    #[must_use]
    pub fn now(&self) -> Time {
        match &self.simulated {
            Some(hand) => Time(hand.load(Ordering::Relaxed)),
            None => Time(self.epoch_nanos).after(self.started.elapsed()),
        }
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

    #[test]
    fn a_simulated_clock_moves_with_its_hand_and_repeats_its_seeds() {
        let hand = ClockHand::at(Time(5));
        let clocks = [Clock::simulated(&hand, 1), Clock::simulated(&hand, 1)];
        assert_eq!(clocks[0].now(), Time(5));
        hand.advance(2);
        assert_eq!((clocks[0].now(), clocks[1].now()), (Time(2_000_005), Time(2_000_005)));
        assert_eq!(clocks[0].seed(), clocks[1].seed());
    }
}
