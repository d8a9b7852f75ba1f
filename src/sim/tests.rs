//! The simulation itself: it repeats itself, goes through what it is for, and finds the bugs that it is given.

use super::*;

/// Seeds for each test here: `cargo xtask sim` runs them by the thousand.
const SEEDS: u64 = 150;
/// Seeds within which every bug is found.
const FOUND_WITHIN: u64 = 200;

#[test]
fn seeds_hold_and_go_through_what_they_are_for() {
    let mut all = Summary::default();
    for number in 0..SEEDS {
        match run(Seed { number, bug: Bug::None }, false).result {
            Ok(summary) => all.add(&summary),
            Err(violation) => panic!("seed {number}: {violation}; fairlead-sim --seed {number} --trace"),
        }
    }
    let Summary { published, transactions, restarts, failures, blocked: _, flips, corruptions } = all;
    let counts = [published / 10, transactions, restarts, failures, flips, corruptions];
    assert!(counts.iter().all(|count| *count > SEEDS / 10), "{all:?}");
}

#[test]
fn a_small_disk_makes_the_writer_wait() {
    let blocked =
        |number| run(Seed { number, bug: Bug::None }, false).result.is_ok_and(|all| all.blocked > 0);
    assert!((0..4000).any(blocked));
}

#[test]
fn the_same_seed_does_the_same_again_and_another_one_does_not() {
    let hash = |number| run(Seed { number, bug: Bug::None }, false).hash;
    for number in 0..20 {
        assert_eq!(hash(number), hash(number), "seed {number}");
    }
    assert_ne!(hash(0), hash(1));
}

#[test]
fn a_trace_tells_what_happened() {
    let seed = Seed { number: 3, bug: Bug::None };
    let (told, silent) = (run(seed, true), run(seed, false));
    assert_eq!(told.hash, silent.hash);
    assert!(silent.lines.is_empty());
    for word in ["publishes", "asks", "the writer: Durable", "the power goes", "found"] {
        assert!(told.lines.iter().any(|line| line.contains(word)), "no line has '{word}'");
    }
}

/// The first seed in which that invariant finds a bug.
fn find(bug: Bug, invariant: &str) -> Option<u64> {
    let finds = |number: &u64| {
        run(Seed { number: *number, bug }, false).result.is_err_and(|found| found.invariant == invariant)
    };
    (0..FOUND_WITHIN).find(finds)
}

#[test]
fn every_bug_is_found() {
    for (bug, invariant) in [
        (Bug::SyncLies, "kept"),
        (Bug::FolderSyncLies, "kept"),
        (Bug::ConfirmsEarly, "synced"),
        (Bug::AcksForgotten, "settled"),
        (Bug::TransactionInPieces, "whole"),
        (Bug::RollbackCommits, "phantom"),
        (Bug::BatchReversed, "order"),
        (Bug::QueueNotKept, "declared"),
        (Bug::DeletionForgotten, "declared"),
        (Bug::DeadLetterLost, "kept"),
    ] {
        let found = find(bug, invariant);
        assert!(found.is_some(), "{bug:?} is not found by {invariant} in {FOUND_WITHIN} seeds");
        println!("{bug:?} is found by {invariant} in seed {found:?}");
    }
}
