//! Whose turn it is, and who has to wait.

use super::harness::*;
use crate::command::NewEntry;
use crate::ids::{ConnectionId, SessionId};
use crate::message::MessageView;
use crate::queue::Denial;
use crate::refusal::Refusal;
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, QueueSettings};

fn in_use() -> Denial {
    Denial::Refused(Refusal::InExclusiveUse("q".to_owned()))
}

fn by_consumer(bench: &mut Bench) -> Vec<(u32, String)> {
    bench.deliveries().into_iter().map(|(consumer, body, _)| (consumer, body)).collect()
}

fn pairs<const N: usize>(pairs: [(u32, &str); N]) -> Vec<(u32, String)> {
    pairs.map(|(consumer, body)| (consumer, body.to_owned())).to_vec()
}

#[test]
fn higher_priorities_come_first_while_they_have_credit() {
    let mut bench = Bench::plain();
    bench.attach(1, &acking(9)).expect("nobody is alone");
    bench.attach(2, &ConsumerSettings { priority: 5, ..acking(2) }).expect("nobody is alone");
    bench.publish_bodies(&["a", "b", "c"]);
    assert_eq!(by_consumer(&mut bench), pairs([(2, "a"), (2, "b"), (1, "c")]));
    bench.settle(2, "a", Outcome::Accepted);
    bench.publish_bodies(&["d", "e"]);
    assert_eq!(by_consumer(&mut bench), pairs([(2, "d"), (1, "e")]));
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut bench = Bench::plain();
    let exclusive = ConsumerSettings { exclusive: true, ..acking(1) };
    let slot = bench.attach(1, &exclusive).expect("nobody is there");
    assert_eq!(bench.attach(2, &acking(1)), Err(in_use()));
    assert_eq!(bench.attach(3, &exclusive), Err(in_use()));
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    bench.attach(2, &acking(1)).expect("nobody is there");
    assert_eq!(bench.attach(3, &exclusive), Err(in_use()));
}

#[test]
fn one_is_active_and_the_next_in_line_follows() {
    let mut bench = Bench::new(&QueueSettings { single_active_consumer: true, ..Default::default() });
    let first = bench.attach(1, &acking(1)).expect("nobody is alone");
    let second = bench.attach(2, &acking(9)).expect("nobody is alone");
    let third = bench.attach(3, &ConsumerSettings { priority: 1, ..acking(9) }).expect("nobody is alone");
    bench.publish_bodies(&["a", "b"]);
    assert_eq!(by_consumer(&mut bench), pairs([(1, "a")]), "others wait though they have credit");
    let active = [first, second, third].map(|slot| bench.queue.is_active(slot));
    assert_eq!(active, [true, false, false]);
    assert_eq!(bench.queue.single_active(), Some(Some(first)));
    bench.step(|queue, turn| queue.detach(first, turn)).expect("it exists");
    assert_eq!(by_consumer(&mut bench), pairs([(3, "b")]), "the highest priority is next");
    bench.step(|queue, turn| queue.detach(third, turn)).expect("it exists");
    bench.publish_bodies(&["c"]);
    assert_eq!(by_consumer(&mut bench), pairs([(2, "c")]));
}

#[test]
fn bytes_not_yet_written_hold_a_consumer_back() {
    let mut bench = Bench::plain();
    let slot = bench.attach_with(1, &ConsumerSettings::default(), 1, false).expect("nobody is there");
    bench.publish_bodies(&["a", "b"]);
    let mut cost = 0;
    bench.effects.drain_deliveries(|_, batch| {
        assert_eq!(batch.len(), 1, "one message may overdraw the window");
        cost = batch.runs()[0].cost;
    });
    bench.step(|queue, turn| queue.grant(slot, 0, cost - 1, turn)).expect("it exists");
    assert!(!bench.effects.has_deliveries(), "the window is not open yet");
    bench.step(|queue, turn| queue.grant(slot, 0, 1, turn)).expect("it exists");
    assert_eq!(bench.bodies(), ["b"]);
}

#[test]
fn credit_can_be_granted_by_the_message() {
    let mut bench = Bench::plain();
    let slot = bench.attach(1, &acking(0)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c"]);
    assert!(bench.bodies().is_empty());
    bench.step(|queue, turn| queue.grant(slot, 2, 0, turn)).expect("it exists");
    assert_eq!(bench.bodies(), ["a", "b"]);
}

#[test]
fn a_session_window_spans_its_consumers() {
    let mut bench = Bench::plain();
    bench.windows.0.insert(SessionId(1), 2);
    for consumer in [1, 2] {
        bench.attach_with(consumer, &acking(9), 1 << 20, true).expect("nobody is alone");
    }
    bench.attach_with(3, &ConsumerSettings { priority: -1, ..acking(9) }, 1 << 20, false).expect("same");
    bench.publish_bodies(&["a", "b", "c"]);
    assert_eq!(by_consumer(&mut bench), pairs([(1, "a"), (2, "b"), (3, "c")]));
    bench.windows.0.insert(SessionId(1), 1);
    bench.publish_bodies(&["d"]);
    assert_eq!(by_consumer(&mut bench), pairs([(3, "d")]), "they wait to be told");
    let session = SessionId(1);
    bench.step(|queue, turn| queue.window_opened(ConnectionId(1), session, turn)).expect("it exists");
    bench.publish_bodies(&["e", "f"]);
    assert_eq!(by_consumer(&mut bench), pairs([(1, "e"), (3, "f")]));
    let slot = bench.slots[&2];
    bench.step(|queue, turn| queue.set_shared_window(slot, false, turn)).expect("it exists");
    bench.publish_bodies(&["g"]);
    assert_eq!(by_consumer(&mut bench), pairs([(2, "g")]), "it has left the session's window");
}

#[test]
fn a_place_taken_over_is_not_mistaken_for_its_former_holder() {
    let mut bench = Bench::plain();
    let first = bench.attach(1, &acking(1)).expect("nobody is alone");
    bench.publish_bodies(&["a", "b", "c"]);
    bench.deliveries();
    bench.step(|queue, turn| queue.detach(first, turn)).expect("it exists");
    let second = bench.attach(2, &acking(1)).expect("nobody is alone");
    assert_eq!((first.index(), first != second), (second.index(), true));
    assert_eq!(by_consumer(&mut bench), pairs([(2, "b")]));
    bench.settle(1, "a", Outcome::Accepted);
    assert!(bench.bodies().is_empty(), "the second got no credit for the first's message");
}

#[test]
fn what_a_detached_consumer_holds_stays_unsettled() {
    let mut bench = Bench::plain();
    let slot = bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a"]);
    bench.deliveries();
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    assert_eq!((bench.queue.unsettled().messages, bench.queue.consumers()), (1, 0));
    bench.settle(1, "a", Outcome::Released { delivered: true });
    assert_eq!(
        bench.get(false).map(|(_, body, redelivered, _)| (body, redelivered)),
        Some(("a".to_owned(), true))
    );
}

#[test]
fn no_local_leaves_a_connections_own_messages_to_others() {
    let mut bench = Bench::plain();
    // Consumers' connections have their numbers.
    let from = |connection, body| NewEntry {
        message: MessageView { publisher: ConnectionId(connection), ..message("", body) },
        ..entry("")
    };
    bench.attach(1, &ConsumerSettings { no_local: true, ..acking(9) }).expect("nobody is alone");
    bench.publish(&[from(1, "own"), from(2, "other")]);
    assert_eq!(by_consumer(&mut bench), pairs([(1, "other")]));
    assert_eq!(bench.queue.ready().messages, 1);
    bench.attach(2, &acking(9)).expect("nobody is alone");
    assert_eq!(by_consumer(&mut bench), pairs([(2, "own")]));
}

#[test]
fn a_group_sticks_to_who_holds_messages_of_it() {
    let settings = QueueSettings { group_header: Some("group".to_owned()), ..Default::default() };
    let mut bench = Bench::new(&settings);
    let of = |head, body| NewEntry { message: message(head, body), ..entry("") };
    bench.attach(1, &acking(2)).expect("nobody is alone");
    bench.attach(2, &acking(9)).expect("nobody is alone");
    bench.publish(&[
        of("group=x", "x1"),
        of("group=y", "y1"),
        of("group=x", "x2"),
        of("group=x", "x3"),
        of("group=y", "y2"),
        of("", "loose"),
    ]);
    let mut seen = by_consumer(&mut bench);
    seen.sort();
    assert_eq!(seen, pairs([(1, "x1"), (1, "x2"), (2, "loose"), (2, "y1"), (2, "y2")]));
    assert_eq!(bench.queue.ready().messages, 1, "x3 waits for the holder of its group");
    bench.settle(1, "x1", Outcome::Accepted);
    assert_eq!(by_consumer(&mut bench), pairs([(1, "x3")]));
    bench.settle(1, "x3", Outcome::Released { delivered: false });
    assert_eq!(by_consumer(&mut bench), pairs([(1, "x3")]), "it still holds x2");
    let slot = bench.slots[&1];
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    bench.settle(1, "x2", Outcome::Accepted);
    bench.settle(1, "x3", Outcome::Released { delivered: true });
    assert_eq!(by_consumer(&mut bench), pairs([(2, "x3")]), "nobody held the group any more");
}

#[test]
fn long_stretches_for_a_busy_group_are_passed_in_short_steps() {
    let settings = QueueSettings { group_header: Some("group".to_owned()), ..Default::default() };
    let mut bench = Bench::new(&settings);
    let of = |head, body| NewEntry { message: message(head, body), ..entry("") };
    bench.attach(1, &acking(1)).expect("nobody is alone");
    bench.publish(&[of("group=x", "first")]);
    bench.publish(&vec![of("group=x", "more"); 3000]);
    bench.publish(&[of("group=y", "other")]);
    bench.deliveries();
    bench.attach(2, &acking(1)).expect("nobody is alone");
    let mut steps = 0;
    while std::mem::take(&mut bench.effects.more) {
        steps += 1;
        bench.tick();
    }
    assert_eq!(by_consumer(&mut bench), pairs([(2, "other")]));
    assert!((2..=4).contains(&steps), "{steps} steps");
}

#[test]
fn who_waits_for_its_group_costs_others_nothing() {
    let settings = QueueSettings { group_header: Some("group".to_owned()), ..Default::default() };
    let mut bench = Bench::new(&settings);
    let of = |head, body| NewEntry { message: message(head, body), ..entry("") };
    bench.attach(1, &acking(1)).expect("nobody is alone");
    bench.publish(&[of("group=x", "held")]);
    bench.publish(&vec![of("group=x", "waits"); 3000]);
    bench.publish(&[of("group=y", "other")]);
    bench.deliveries();
    bench.attach(2, &acking(3)).expect("nobody is alone");
    while std::mem::take(&mut bench.effects.more) {
        bench.tick();
    }
    bench.deliveries();
    // All that waits for the first one has been read once. From now on each step is one turn.
    for _ in 0..5 {
        bench.publish(&[of("group=z", "fresh")]);
        assert_eq!(by_consumer(&mut bench), pairs([(2, "fresh")]));
        bench.settle(2, "fresh", Outcome::Accepted);
        assert!(!bench.effects.more, "nothing is left to be looked at");
    }
    bench.settle(2, "other", Outcome::Accepted);
    bench.settle(1, "held", Outcome::Accepted);
    assert!(!bench.effects.more);
    let got = by_consumer(&mut bench);
    assert!(got.iter().all(|(_, body)| body == "waits") && (1..=3).contains(&got.len()), "{got:?}");
}
