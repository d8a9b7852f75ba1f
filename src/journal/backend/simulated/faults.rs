//! What decides what happens to a simulated disk, and what did: random numbers, faults, a record of calls.

/// SplitMix64: the same numbers for the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True once in `times` on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What goes wrong, and when. All counts are of calls from now on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// One write in so many writes only a part; 0 is never.
    pub short_write_one_in: u64,
    /// The write, that many writes from now, fails with EIO.
    pub failing_write: Option<u64>,
    /// The same for reads.
    pub failing_read: Option<u64>,
    /// The same for syncs.
    pub failing_sync: Option<u64>,
    /// After so many writes, syncs and changes of names the power is off: nothing happens any more.
    pub power_off_after: Option<u64>,
    /// A sync says yes and does nothing: a fault no journal survives, for testing the tests.
    pub lying_sync: bool,
}

/// What happened to the disk, in order, for tests of what comes before what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Bytes were written to a file, by the number of the file.
    Written {
        /// Which file.
        file: u64,
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// A file was synced.
    Synced {
        /// Which file.
        file: u64,
    },
    /// The names were synced.
    FolderSynced,
}
