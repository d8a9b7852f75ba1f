//! The connection machine, driven by encoded client frames and a scripted engine.
//!
//! One test a line of the traps that clients' authors know; then messages in pieces, timers, and sequences
//! of anything at all.

mod anything;
mod content;
mod engine;
mod talk;
mod timers;
mod traps_01_to_06;
mod traps_07_to_10;
mod traps_11_to_13;
mod traps_14_to_16;
mod traps_17_to_18;
mod traps_19_to_25;

use talk::Talk;

/// Let a client with an open channel 1 say `input`; `expect` is all that it hears, one line a frame.
#[track_caller]
fn check(input: impl FnOnce(&mut Talk), expect: &[&str]) {
    check_in(Talk::open(), input, expect);
}

/// As [`check`], in a conversation that has got somewhere already.
#[track_caller]
fn check_in(mut talk: Talk, input: impl FnOnce(&mut Talk), expect: &[&str]) {
    input(&mut talk);
    assert_eq!(talk.heard(), expect);
}
