//! The engine on a simulated clock and disk, driven by a seed.
//!
//! A seed is a [`world::World`]: clients of the engine, the journal's writer and keeper, time and the disk take turns on
//! one thread, in an order that follows from the seed's number; the disk loses power, the process is killed, writes
//! are short or fail, bits flip. What clients are told, and what each restart finds, is held against the [`oracle`].
//! The same seed does the same again, byte by byte: [`Ran::hash`] says so. docs/simulation.md has more.

mod actions;
pub mod bug;
pub mod client;
pub mod disk;
mod inspect;
pub mod message;
pub mod model;
pub mod oracle;
pub mod plan;
pub mod trace;
pub mod world;

#[cfg(test)]
mod tests;

pub use bug::Bug;
pub use oracle::Violation;

use trace::Trace;
use world::World;

/// What a simulation follows from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seed {
    /// The number.
    pub number: u64,
    /// The bug that is put in.
    pub bug: Bug,
}

/// What a seed went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Messages published.
    pub published: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Restarts that were checked.
    pub restarts: u64,
    /// Lives that a failed write or sync has ended.
    pub failures: u64,
    /// Times that a batch waited for room.
    pub blocked: u64,
    /// Bits that flipped.
    pub flips: u64,
    /// Starts that named the damage.
    pub corruptions: u64,
}

impl Summary {
    /// Add another one.
    pub fn add(&mut self, other: &Summary) {
        self.published += other.published;
        self.transactions += other.transactions;
        self.restarts += other.restarts;
        self.failures += other.failures;
        self.blocked += other.blocked;
        self.flips += other.flips;
        self.corruptions += other.corruptions;
    }
}

/// How a seed ended.
#[derive(Debug)]
pub struct Ran {
    /// All it went through, or what does not hold.
    pub result: Result<Summary, Violation>,
    /// The hash of all that happened, every byte written included.
    pub hash: u64,
    /// What happened, line by line, if it was asked for.
    pub lines: Vec<String>,
}

/// Run a seed; `keep` its trace, or only the trace's hash.
#[must_use]
pub fn run(seed: Seed, keep: bool) -> Ran {
    let trace = Trace::new(keep);
    let mut world = World::new(seed, trace.clone());
    let result = world.run().map(|()| world.summary);
    drop(world);
    Ran { result, hash: trace.hash(), lines: trace.take_lines() }
}
