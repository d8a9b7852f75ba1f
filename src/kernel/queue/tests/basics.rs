//! First in, first out; settling; returning; getting.

use super::harness::*;
use crate::ids::Sequence;
use crate::session::Outcome;
use crate::settings::ConsumerSettings;

const RETURNED: Outcome = Outcome::Released { delivered: true };

#[test]
fn messages_leave_in_the_order_they_came() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a", "b"]);
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    bench.publish_bodies(&["c"]);
    assert_eq!(bench.bodies(), ["a", "b", "c"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (0, 0));
    assert_eq!(bench.queue.counters().delivered_no_ack, 3);
}

#[test]
fn a_window_bounds_what_is_unsettled() {
    let mut bench = Bench::plain();
    bench.attach(1, &acking(2)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c"]);
    assert_eq!(bench.bodies(), ["a", "b"]);
    bench.settle(1, "b", Outcome::Accepted);
    assert_eq!(bench.bodies(), ["c"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (0, 2));
}

#[test]
fn a_returned_message_comes_first_and_is_flagged() {
    let mut bench = Bench::plain();
    bench.attach(1, &acking(2)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c"]);
    bench.deliveries();
    bench.settle(1, "a", RETURNED);
    assert_eq!(bench.deliveries(), [(1, "a".to_owned(), true)]);
    bench.settle(1, "b", Outcome::Released { delivered: false });
    assert_eq!(bench.deliveries(), [(1, "b".to_owned(), false)]);
}

#[test]
fn consumers_take_turns() {
    let mut bench = Bench::plain();
    for consumer in 1..=3 {
        bench.attach(consumer, &acking(10)).expect("nobody demands to be alone");
    }
    bench.publish_bodies(&["a", "b", "c", "d"]);
    let seen: Vec<_> = bench.deliveries().into_iter().map(|(c, body, _)| (c, body)).collect();
    let expected = [(1, "a"), (1, "d"), (2, "b"), (3, "c")];
    assert_eq!(seen, expected.map(|(c, body)| (c, body.to_owned())));
}

#[test]
fn get_takes_the_head() {
    let mut bench = Bench::plain();
    assert_eq!(bench.get(true), None);
    bench.publish_bodies(&["a", "b"]);
    assert_eq!(bench.get(true), Some((Sequence(1), "a".to_owned(), false, 1)));
    assert_eq!(bench.get(false), Some((Sequence(2), "b".to_owned(), false, 0)));
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (0, 1));
    bench.step(|queue, turn| queue.settle(&[(Sequence(1), None)], RETURNED, turn)).expect("it exists");
    assert_eq!(bench.get(true), Some((Sequence(1), "a".to_owned(), true, 0)));
}
