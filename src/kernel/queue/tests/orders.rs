//! Priorities, last values, and looking without taking.

use super::harness::*;
use crate::command::NewEntry;
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Order, QueueSettings};

fn ordered(order: Order) -> Bench {
    Bench::new(&QueueSettings { order, ..QueueSettings::default() })
}

fn with_priority(body: &str, priority: u8) -> NewEntry<'_> {
    NewEntry { priority, ..entry(body) }
}

fn with_head<'a>(head: &'a str, body: &'a str) -> NewEntry<'a> {
    NewEntry { message: message(head, body), ..entry("") }
}

fn last_value() -> Bench {
    ordered(Order::LastValue { key: "key".to_owned() })
}

#[test]
fn higher_levels_leave_first_and_returned_ones_first_of_their_level() {
    let mut bench = ordered(Order::Priority { levels: 3 });
    bench.publish(&[
        with_priority("low", 0),
        with_priority("clamped", 200),
        with_priority("middle", 1),
        with_priority("high", 2),
        with_priority("low too", 0),
    ]);
    bench.attach(1, &acking(4)).expect("nobody is there");
    assert_eq!(bench.bodies(), ["clamped", "high", "middle", "low"]);
    for body in ["low", "clamped"] {
        bench.settle(1, body, Outcome::Released { delivered: true });
    }
    let slot = bench.slots[&1];
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    bench.deliveries();
    for body in ["low", "clamped"] {
        bench.settle(1, body, Outcome::Released { delivered: true });
    }
    bench.attach(2, &ConsumerSettings::default()).expect("nobody is there");
    assert_eq!(bench.bodies(), ["clamped", "low", "low too"]);
}

#[test]
fn two_hundred_fifty_six_levels() {
    let mut bench = ordered(Order::Priority { levels: 256 });
    let bodies: Vec<String> = (0..=255u8).map(|level| level.to_string()).collect();
    let entries: Vec<_> = (0..=255u8).map(|n| with_priority(&bodies[usize::from(n)], n)).collect();
    bench.publish(&entries);
    bench.attach(1, &acking(300)).expect("nobody is there");
    let mut expected = bodies.clone();
    expected.reverse();
    assert_eq!(bench.bodies(), expected);
    for body in ["0", "255", "17"] {
        bench.settle(1, body, Outcome::Accepted);
    }
    assert_eq!(bench.queue.unsettled().messages, 253);
}

#[test]
fn a_newer_value_replaces_the_older_and_goes_to_the_tail() {
    let mut bench = last_value();
    bench.publish(&[with_head("key=a", "a1"), with_head("key=b", "b1"), with_head("", "no key")]);
    bench.publish(&[with_head("key=a", "a2"), with_head("", "no key either")]);
    assert_eq!(bench.queue.ready().messages, 4);
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    assert_eq!(bench.bodies(), ["b1", "no key", "a2", "no key either"]);
}

#[test]
fn one_batch_may_replace_a_value_twice() {
    let mut bench = last_value();
    bench.publish(&[with_head("key=a", "a1"), with_head("key=a", "a2"), with_head("key=a", "a3")]);
    assert_eq!(bench.queue.ready().messages, 1);
    assert_eq!(bench.get(false).map(|got| got.1), Some("a3".to_owned()));
}

#[test]
fn a_replaced_value_that_is_held_goes_when_it_comes_back() {
    let mut bench = last_value();
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish(&[with_head("key=a", "a1")]);
    bench.publish(&[with_head("key=a", "a2")]);
    assert_eq!(bench.bodies(), ["a1"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (1, 1));
    bench.settle(1, "a1", Outcome::Released { delivered: true });
    assert_eq!(bench.bodies(), ["a2"], "a1 is history");
    bench.settle(1, "a2", Outcome::Released { delivered: true });
    assert_eq!(bench.bodies(), ["a2"], "a2 is not");
    bench.settle(1, "a2", Outcome::Accepted);
    bench.publish(&[with_head("key=a", "a3")]);
    assert_eq!(bench.bodies(), ["a3"], "keys of what has gone replace nothing");
}

#[test]
fn browsers_see_all_and_take_nothing() {
    let mut bench = Bench::new(&QueueSettings { browse_only: true, ..QueueSettings::default() });
    bench.publish_bodies(&["a", "b"]);
    bench.attach(1, &acking(2)).expect("nobody is alone");
    bench.attach(2, &ConsumerSettings::default()).expect("nobody is alone");
    bench.publish_bodies(&["c"]);
    let mut seen: Vec<_> = bench.deliveries().into_iter().map(|(c, body, _)| (c, body)).collect();
    seen.sort();
    let expected = [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (2, "c")];
    assert_eq!(seen, expected.map(|(consumer, body)| (consumer, body.to_owned())));
    bench.settle(1, "a", Outcome::Accepted);
    assert_eq!(bench.bodies(), ["c"], "settling gives credit back, and no more");
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (3, 0));
    assert_eq!(bench.get(true).map(|got| (got.1, got.3)), Some(("a".to_owned(), 2)));
    assert_eq!(bench.get(true).map(|got| got.1), Some("a".to_owned()));
}

#[test]
fn a_browser_beside_consumers_settles_nothing_of_theirs() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a"]);
    bench.attach(1, &ConsumerSettings { browse: true, ..acking(9) }).expect("nobody is alone");
    bench.attach(2, &acking(9)).expect("nobody is alone");
    assert_eq!(bench.deliveries().len(), 2);
    bench.settle(1, "a", Outcome::Accepted);
    assert_eq!(bench.queue.unsettled().messages, 1);
}

#[test]
fn a_browser_sees_what_comes_late_at_a_higher_level() {
    let mut bench = ordered(Order::Priority { levels: 2 });
    bench.attach(1, &ConsumerSettings { browse: true, ..ConsumerSettings::default() }).expect("nobody");
    bench.publish(&[with_priority("low", 0)]);
    bench.publish(&[with_priority("high", 1), with_priority("low too", 0)]);
    assert_eq!(bench.bodies(), ["low", "high", "low too"]);
}

#[test]
fn a_looker_may_take_what_is_still_there() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a", "b"]);
    bench.attach(1, &ConsumerSettings { browse: true, ..acking(9) }).expect("nobody is alone");
    bench.deliveries();
    let looked: Vec<_> = bench.held[&1].iter().map(|(sequence, _)| *sequence).collect();
    assert!(bench.get(true).is_some_and(|got| got.1 == "a"));
    let acquired = bench.queue.acquire(&looked).expect("it exists");
    assert_eq!((acquired.len(), bench.queue.unsettled().messages), (1, 2));
    bench
        .step(|queue, turn| queue.settle(&[(acquired[0], None)], Outcome::Accepted, turn))
        .expect("it exists");
    assert_eq!(bench.queue.unsettled().messages, 1);
}

#[test]
fn a_browser_finds_what_is_ready_between_what_is_held() {
    let mut bench = Bench::plain();
    let bodies: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    bench.publish_bodies(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let get = |bench: &mut Bench| bench.get(true).expect("it is there").0;
    let held: Vec<_> = (0..40).map(|_| get(&mut bench)).collect();
    let browsing = |window| ConsumerSettings { browse: true, ..acking(window) };
    bench.attach(1, &browsing(1)).expect("nobody is alone");
    assert_eq!(bench.bodies(), ["40"]);
    let returned = [(held[5], None), (held[17], None)];
    bench
        .step(|queue, turn| queue.settle(&returned, Outcome::Released { delivered: false }, turn))
        .expect("it exists");
    bench.attach(2, &browsing(4)).expect("nobody is alone");
    assert_eq!(bench.bodies(), ["5", "17", "40", "41"]);
    // The next ones are held when the first looks again.
    for _ in 0..7 {
        get(&mut bench);
    }
    bench.settle(1, "40", Outcome::Accepted);
    assert_eq!(bench.bodies(), ["45"]);
}
