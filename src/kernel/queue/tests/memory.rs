//! What queues cost.

use super::harness::*;
use crate::command::{NewEntry, NoLog};
use crate::effect::DeliveryCursor;
use crate::ids::{QueueId, Sequence};
use crate::message::{Message, MessageView};
use crate::queue::Queue;
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, QueueSettings};

#[test]
fn a_queue_never_used_is_small() {
    let settings = QueueSettings::default();
    let queue = Queue::new(QueueId(1), "q".into(), &settings, &Limits::default(), READERS, START);
    assert!(queue.memory() < 900, "{} bytes", queue.memory());
}

#[test]
fn a_queued_message_of_16_bytes_costs_less_than_100() {
    let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
    let small = NewEntry { message: message("hd", "sixteen bytes ok"), ..entry("") };
    bench.publish(&vec![small; 100_000]);
    let each = (bench.queue.memory() - size_of::<Queue>()) / 100_000;
    assert!(each < 90, "{each} bytes each");
}

#[test]
fn keys_that_all_differ_cost_their_bytes_and_a_label() {
    let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
    let keys: Vec<String> = (0..20_000).map(|n| format!("key-{n:06}")).collect();
    let entries: Vec<_> = keys
        .iter()
        .map(|key| NewEntry {
            message: MessageView { routing_key: key, ..message("", "sixteen bytes ok") },
            ..entry("")
        })
        .collect();
    bench.publish(&entries);
    let each = (bench.queue.memory() - size_of::<Queue>()) / 20_000;
    assert!(each < 160, "{each} bytes each");
}

#[test]
fn one_unsettled_head_pins_little() {
    let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
    bench.publish(&vec![entry("sixteen bytes ok"); 100_000]);
    let full = bench.queue.memory();
    assert!(bench.get(true).is_some());
    bench.attach(1, &acking(u32::MAX - 1)).expect("nobody is there");
    while bench.queue.ready().messages > 0 {
        let mut costs = Vec::new();
        let mut settled = Vec::new();
        bench.effects.drain_deliveries(|slot, batch| {
            costs.push((slot, batch.runs()[0].cost));
            let mut cursor = DeliveryCursor::default();
            while let Some(delivery) = batch.next(&mut cursor) {
                settled.push((delivery.sequence, Some(slot)));
            }
        });
        bench.step(|queue, turn| queue.settle(&settled, Outcome::Accepted, turn)).expect("it exists");
        for (slot, bytes) in costs {
            bench.step(|queue, turn| queue.grant(slot, 0, bytes, turn)).expect("it exists");
        }
    }
    let left: Vec<_> = std::mem::take(&mut bench.held).into_values().flatten().collect();
    assert!(left.is_empty());
    assert!(bench.queue.memory() < full / 4, "{} of {full}", bench.queue.memory());
    assert_eq!(bench.queue.snapshot().entries[0].sequence, Sequence(1));
}

#[test]
fn a_drained_queue_gives_its_memory_back_when_it_has_been_quiet() {
    let mut bench = Bench::plain();
    let empty = bench.queue.memory();
    bench.publish(&vec![entry("sixteen bytes ok"); 50_000]);
    let slot = bench.attach_with(1, &ConsumerSettings::default(), u32::MAX, false).expect("nobody");
    assert_eq!(bench.bodies().len(), 50_000);
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    let deadline = bench.effects.deadline.expect("it wants to trim");
    bench.now = deadline;
    bench.tick();
    assert_eq!(bench.queue.memory(), empty);
    assert_eq!(bench.effects.deadline, None);
    bench.publish_bodies(&["works", "on"]);
    assert_eq!(bench.get(false).map(|got| got.1), Some("works".to_owned()));
    assert!(bench.queue.memory() < empty + 6000);
}

#[test]
fn a_large_body_is_held_once_however_many_queues_have_it() {
    let large = Message::view(&message("", "").to_shared()).to_shared();
    let mut owned = Message::clone(&large);
    owned.body = vec![bytes::Bytes::from(vec![7; 1 << 20]), bytes::Bytes::from(vec![8; 1 << 20])];
    let shared = std::sync::Arc::new(owned);
    let mut benches: Vec<_> = (0..10).map(|_| Bench::with_log(&QueueSettings::default(), NoLog)).collect();
    for bench in &mut benches {
        bench.publish(&[NewEntry { message: Message::view(&shared), ..entry("") }]);
        assert_eq!(bench.queue.ready().bytes, 2 << 20);
    }
    assert_eq!(std::sync::Arc::strong_count(&shared), 11);
    benches[0].attach(1, &ConsumerSettings::default()).expect("nobody is there");
    benches[0].effects.drain_deliveries(|_, batch| {
        let delivery = batch.next(&mut DeliveryCursor::default()).expect("there is one");
        assert!(delivery.message.shared.is_some_and(|out| std::sync::Arc::ptr_eq(out, &shared)));
    });
}
