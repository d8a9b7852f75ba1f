//! Messages that lie only in the store.

use super::harness::*;
use crate::effect::Fetch;
use crate::ids::{QueueId, Sequence, SessionId};
use crate::message::{DeathReason, MessageView};
use crate::queue::{Got, Queue, SavedMessage};
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, QueueSettings};

fn load(bench: &mut Bench, messages: &[(u64, &str)]) {
    let messages: Vec<(Sequence, MessageView<'_>)> =
        messages.iter().map(|(sequence, body)| (Sequence(*sequence), message("", body))).collect();
    bench.step(|queue, turn| queue.loaded(&messages, turn)).expect("it exists");
}

fn released(bench: &mut Bench) -> Vec<u64> {
    bench.queue.take_released().collect()
}

/// A queue whose log stores messages.
fn stored() -> Bench {
    let mut bench = Bench::plain();
    bench.log.stores = true;
    bench
}

#[test]
fn what_leaves_a_queue_is_released_in_the_store() {
    let mut bench = stored();
    bench.publish_bodies(&["a", "b", "c", "d", "e"]);
    bench.attach(1, &acking(2)).expect("nobody is there");
    assert_eq!(released(&mut bench), []);
    assert_eq!(bench.bodies(), ["a", "b"]);
    bench.settle(1, "a", Outcome::Accepted);
    assert_eq!(released(&mut bench), [1]);
    let mark = bench.queue.next_sequence();
    bench.step(|queue, turn| queue.purge(mark, turn)).expect("it exists");
    assert_eq!(released(&mut bench), [4, 5], "two are held");
    bench.step(|queue, turn| queue.delete(false, false, turn)).expect("nothing is against it");
    assert_eq!(released(&mut bench), [2, 3]);
}

#[test]
fn a_transactions_messages_are_in_the_store_from_its_preparation() {
    let mut bench = stored();
    for (transaction, bodies) in [(1, ["a", "b"]), (2, ["c", "d"]), (3, ["e", "f"])] {
        let mut entries = bodies.map(entry);
        bench
            .step(|queue, turn| queue.prepare_transaction(transaction, &mut entries, Vec::new(), turn))
            .expect("there is room");
    }
    bench.step(|queue, turn| queue.commit_transaction(2, turn)).expect("it exists");
    bench.step(|queue, turn| queue.roll_back_transaction(1, turn)).expect("it exists");
    assert_eq!(released(&mut bench), [1, 2], "what was rolled back");
    let positions: Vec<u64> = bench.queue.snapshot().entries.iter().map(|saved| saved.position).collect();
    assert_eq!(positions, [3, 4]);
    bench.step(|queue, turn| queue.delete(false, false, turn)).expect("nothing is against it");
    assert_eq!(released(&mut bench), [3, 4, 5, 6], "what was committed, and what waited for it");
}

#[test]
fn dispatch_asks_once_and_waits() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a", "bb", "c"]);
    bench.queue.page_out(&[(Sequence(2), 1000)]).expect("it exists");
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    assert_eq!(bench.bodies(), ["a"], "the order is kept");
    bench.publish_bodies(&["d"]);
    assert!(bench.bodies().is_empty());
    assert_eq!(bench.effects.fetches, [Fetch { sequence: Sequence(2), position: 1000, length: 2 }]);
    load(&mut bench, &[(2, "bb")]);
    assert_eq!(bench.bodies(), ["bb", "c", "d"]);
}

#[test]
fn get_waits_too() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a"]);
    bench.queue.page_out(&[(Sequence(1), 1)]).expect("it exists");
    let got = bench.step(|queue, turn| queue.get(SessionId(1), true, turn));
    assert_eq!((got, bench.effects.fetches.len()), (Ok(Got::Waiting), 1));
    load(&mut bench, &[(1, "a")]);
    assert!(bench.get(true).is_some());
}

#[test]
fn the_state_is_the_same_wherever_a_message_lies() {
    let settings = QueueSettings::default();
    let mut bench = Bench::new(&settings);
    let large = "x".repeat(5000);
    bench.publish_bodies(&["a", &large, "c"]);
    let (hash, memory) = (bench.queue.state_hash(), bench.queue.memory());
    bench.queue.page_out(&[(Sequence(1), 10), (Sequence(2), 20)]).expect("it exists");
    assert_eq!(bench.queue.state_hash(), hash);
    assert!(bench.queue.memory() + 5000 < memory, "memory was given back");
    bench.queue.relocated(&[(Sequence(1), 10, 99), (Sequence(2), 11, 98)]).expect("it exists");
    let snapshot = bench.queue.snapshot();
    let positions: Vec<_> = snapshot
        .entries
        .iter()
        .filter_map(|saved| matches!(saved.message, SavedMessage::Stored { .. }).then_some(saved.position))
        .collect();
    assert_eq!(positions, [99, 20], "only what was where it was said to be has moved");
    assert_eq!(released(&mut bench), [10, 98], "the old place, and the copy that was in vain");
    let restored = Queue::restore(QueueId(7), "q".into(), &settings, READERS, &snapshot, START);
    assert_eq!(restored.state_hash(), hash);
    assert_eq!(restored.ready(), bench.queue.ready());
    load(&mut bench, &[(1, "a"), (2, &large)]);
    assert_eq!(bench.queue.state_hash(), hash);
}

#[test]
fn what_is_held_stays_in_memory() {
    let mut bench = Bench::plain();
    bench.publish_bodies(&["a"]);
    bench.get(true);
    bench.queue.page_out(&[(Sequence(1), 1), (Sequence(9), 9)]).expect("it exists");
    let released = crate::session::Outcome::Released { delivered: true };
    bench.step(|queue, turn| queue.settle(&[(Sequence(1), None)], released, turn)).expect("it exists");
    assert!(bench.get(true).is_some());
}

#[test]
fn expired_stored_messages_go_unread_unless_they_are_to_be_dead_lettered() {
    for dead_letter in [false, true] {
        let mut bench = Bench::limited(Limits {
            message_ttl: Some(10),
            dead_letter_exchange: dead_letter.then(|| "dead".to_owned()),
            ..Limits::default()
        });
        bench.publish_bodies(&["a"]);
        bench.queue.page_out(&[(Sequence(1), 1)]).expect("it exists");
        bench.now = bench.now.after_milliseconds(20);
        bench.tick();
        assert_eq!(bench.queue.ready().messages, u64::from(dead_letter));
        assert_eq!(bench.effects.fetches.len(), usize::from(dead_letter));
        if dead_letter {
            load(&mut bench, &[(1, "a")]);
            assert_eq!(bench.dead_letters(), [("a".to_owned(), DeathReason::Expired, Some(Sequence(1)))]);
        }
    }
}
