//! Seeds of appends, settlements, checkpoints, compactions, crashes and restarts against a model. A failing seed is
//! printed; `FAIRLEAD_JOURNAL_SEED=N` runs only that one, `FAIRLEAD_JOURNAL_SEEDS=N` runs so many.

#![allow(clippy::expect_used, reason = "a test's helpers fail as its assertions do")]

mod world;

use fairlead_journal::Step;
use fairlead_journal::backend::simulated::Faults;
use world::World;

const SEEDS: u64 = 100;
const ACTIONS: u64 = 700;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

fn seeds() -> std::ops::Range<u64> {
    match number("FAIRLEAD_JOURNAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAIRLEAD_JOURNAL_SEEDS").unwrap_or(SEEDS),
    }
}

/// What a seed went through.
#[derive(Default)]
struct Seen {
    recoveries: u64,
    lost_tails: u64,
    recycled: u64,
    refused: u64,
}

fn run(seed: u64, capacity: u64, faults: Faults) -> Result<Seen, String> {
    let mut world = World::new(seed, capacity);
    world.faults = faults.clone();
    world.disk.set_faults(faults);
    if !world.open()? {
        world.restart()?;
    }
    for _ in 0..ACTIONS {
        world.act()?;
    }
    world.restart()?;
    Ok(Seen {
        recoveries: world.recoveries,
        lost_tails: world.lost_tails,
        recycled: world.recycled,
        refused: world.refused,
    })
}

fn run_all(capacity: u64, faults: impl Fn(u64) -> Faults) -> Seen {
    let mut all = Seen::default();
    for seed in seeds() {
        match run(seed, capacity, faults(seed)) {
            Ok(seen) => {
                all.recoveries += seen.recoveries;
                all.lost_tails += seen.lost_tails;
                all.recycled += seen.recycled;
                all.refused += seen.refused;
            }
            Err(words) => panic!("seed {seed} (FAIRLEAD_JOURNAL_SEED={seed}): {words}"),
        }
    }
    all
}

#[test]
fn what_was_confirmed_is_there_after_any_crash_and_nothing_else() {
    let seen = run_all(64 << 20, |seed| Faults { short_write_one_in: seed % 4, ..Faults::default() });
    if number("FAIRLEAD_JOURNAL_SEED").is_none() {
        assert!(seen.lost_tails > 0, "tails are lost");
        assert!(seen.recycled > 0, "segments are recycled");
        assert!(seen.recoveries > SEEDS, "crashes within seeds");
    }
}

#[test]
fn a_small_disk_fills_up_and_nothing_is_lost() {
    let seen = run_all(72 << 10, |_| Faults::default());
    if number("FAIRLEAD_JOURNAL_SEED").is_none() {
        assert!(seen.refused > 0, "the disk is full at times");
    }
}

#[test]
fn a_failed_write_or_sync_ends_the_journal_and_what_was_confirmed_is_there() {
    run_all(64 << 20, |seed| Faults {
        failing_write: seed.is_multiple_of(2).then_some(20 + seed % 50),
        failing_sync: (seed % 2 == 1).then_some(10 + seed % 30),
        ..Faults::default()
    });
}

#[test]
fn a_disk_that_lies_about_a_sync_is_found_out() {
    let found = (0..40)
        .filter(|seed| run(*seed, 64 << 20, Faults { lying_sync: true, ..Faults::default() }).is_err());
    let found = found.count();
    assert!(found > 30, "only {found} of 40 seeds saw that confirmed records were not on disk");
}

#[test]
fn the_same_seed_does_the_same() {
    let trace = |seed| {
        let mut world = World::new(seed, 64 << 20);
        assert!(world.open().expect("an empty disk opens"));
        for _ in 0..120 {
            world.act().expect("the seed holds");
        }
        while matches!(world.step(), Step::Durable(_)) {}
        (world.disk.take_happened(), world.history)
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7).1, trace(8).1);
}
