//! How much a queue takes, and what happens beyond.

use super::harness::*;
use crate::command::DropReason;
use crate::ids::Sequence;
use crate::message::DeathReason;
use crate::settings::{Limits, Overflow};

#[test]
fn the_oldest_make_room_unless_told_otherwise() {
    let mut bench = Bench::limited(Limits { max_messages: Some(2), ..Limits::default() });
    bench.publish_bodies(&["a", "b", "c", "d"]);
    assert_eq!(bench.queue.ready().messages, 2);
    bench.attach(1, &acking(10)).expect("nobody is there");
    assert_eq!(bench.bodies(), ["c", "d"]);
    assert_eq!(bench.queue.counters().displaced, 2);
}

#[test]
fn what_consumers_hold_does_not_count() {
    let mut bench = Bench::limited(Limits { max_messages: Some(1), ..Limits::default() });
    bench.attach(1, &acking(2)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c", "d"]);
    assert_eq!(bench.bodies(), ["a", "b"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (1, 2));
}

#[test]
fn bytes_are_those_of_bodies() {
    let mut bench = Bench::limited(Limits { max_bytes: Some(10), ..Limits::default() });
    bench.publish_bodies(&["aaaaa", "bbbbb", "c"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.ready().bytes), (2, 6));
}

#[test]
fn a_full_queue_refuses_by_index() {
    let mut bench = Bench::limited(Limits {
        max_messages: Some(2),
        overflow: Some(Overflow::Reject),
        ..Limits::default()
    });
    bench.publish_bodies(&["a", "b", "c", "d"]);
    assert_eq!(bench.effects.refused, [2, 3]);
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["e", "f"]);
    assert_eq!(bench.effects.refused, [1], "one place was free");
    assert_eq!(bench.queue.counters().refused, 3);
    assert!(bench.effects.dead_letters.is_empty());
}

#[test]
fn a_refusing_queue_takes_what_its_consumers_take() {
    let mut bench = Bench::limited(Limits {
        max_messages: Some(1),
        overflow: Some(Overflow::Reject),
        ..Limits::default()
    });
    bench.attach(1, &acking(3)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c", "d", "e"]);
    assert_eq!(bench.bodies(), ["a", "b", "c"]);
    assert_eq!((bench.queue.ready().messages, &bench.effects.refused[..]), (1, &[4][..]));
}

#[test]
fn refused_messages_may_be_dead_lettered() {
    let mut bench = Bench::limited(Limits {
        max_messages: Some(1),
        overflow: Some(Overflow::RejectDeadLetter),
        dead_letter_exchange: Some("dead".to_owned()),
        ..Limits::default()
    });
    bench.publish_bodies(&["a", "b"]);
    assert_eq!(bench.effects.refused, [1]);
    assert_eq!(bench.dead_letters(), [("b".to_owned(), DeathReason::Displaced, None)]);
}

#[test]
fn displaced_messages_stay_until_their_targets_hold_them() {
    let mut bench = Bench::limited(Limits {
        max_messages: Some(1),
        dead_letter_exchange: Some("dead".to_owned()),
        ..Limits::default()
    });
    bench.publish_bodies(&["a", "b"]);
    let expected = ("a".to_owned(), DeathReason::Displaced, Some(Sequence(1)));
    assert_eq!(bench.dead_letters(), [expected]);
    assert_eq!((bench.queue.ready().messages, bench.queue.leaving().messages), (1, 1));
    let kept = bench.queue.snapshot().entries.len();
    bench.step(|queue, turn| queue.departed(&[Sequence(1)], DropReason::Displaced, turn)).expect("it exists");
    assert_eq!((kept, bench.queue.snapshot().entries.len()), (2, 1));
    assert_eq!(bench.queue.leaving().messages, 0);
}

#[test]
fn a_policy_that_lowers_the_limit_works_at_once_and_in_short_steps() {
    let mut bench = Bench::plain();
    let bodies: Vec<String> = (0..3000).map(|n| n.to_string()).collect();
    bench.publish_bodies(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let limits = Limits { max_messages: Some(10), ..Limits::default() };
    bench.step(|queue, turn| queue.reconfigure(&limits, turn)).expect("it exists");
    assert_eq!(bench.queue.ready().messages, 3000 - 1024);
    let mut steps = 1;
    while std::mem::take(&mut bench.effects.more) {
        steps += 1;
        bench.tick();
    }
    assert_eq!((bench.queue.ready().messages, steps), (10, 3));
}

#[test]
fn the_higher_levels_make_room_first_since_they_are_the_head() {
    let mut settings = crate::settings::QueueSettings {
        order: crate::settings::Order::Priority { levels: 3 },
        ..Default::default()
    };
    settings.limits.max_messages = Some(2);
    let mut bench = Bench::new(&settings);
    let entries: Vec<_> = [("low", 0), ("high", 9), ("middle", 1)]
        .map(|(body, priority)| crate::command::NewEntry { priority, ..entry(body) })
        .to_vec();
    bench.publish(&entries);
    bench.attach(1, &acking(9)).expect("nobody is there");
    assert_eq!(bench.bodies(), ["middle", "low"]);
}
