//! Batches of deliveries: joined, and walked in pieces.

use super::harness::*;
use crate::command::{NewEntry, NoLog};
use crate::effect::{DeliveryBatch, DeliveryCursor};
use crate::ids::ConnectionId;
use crate::message::MessageView;
use crate::settings::{ConsumerSettings, QueueSettings};
use std::ops::ControlFlow;

type Told = (u64, String, String, u64);

fn walk(batch: &DeliveryBatch, cursor: &mut DeliveryCursor, most: usize) -> Vec<Told> {
    let mut told = Vec::new();
    while told.len() < most
        && let Some(delivery) = batch.next(cursor)
    {
        let message = delivery.message;
        told.push((
            delivery.sequence.0,
            message.routing_key.to_owned(),
            text_of(&message),
            message.publisher.0,
        ));
    }
    told
}

fn publish(bench: &mut Bench<NoLog>, key: &str, publisher: u64, bodies: &[&str]) {
    let entries: Vec<_> = bodies
        .iter()
        .map(|body| NewEntry {
            message: MessageView {
                routing_key: key,
                publisher: ConnectionId(publisher),
                ..message("", body)
            },
            ..entry("")
        })
        .collect();
    bench.publish(&entries);
}

#[test]
fn batches_are_joined_in_order_and_walked_in_pieces() {
    let large = "L".repeat(3000);
    // One passes messages straight through, the other has held them for a while.
    for waits in [false, true] {
        let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
        if !waits {
            bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
        }
        let mut outbox = DeliveryBatch::default();
        let mut expected = Vec::new();
        for (round, key) in ["a", "a", "bb", "a", "c"].into_iter().enumerate() {
            let publisher = 7 + round as u64 / 3;
            publish(&mut bench, key, publisher, &["one", &large, ""]);
            for body in ["one", &large, ""] {
                let sequence = expected.len() as u64 + 1;
                expected.push((sequence, key.to_owned(), body.to_owned(), publisher));
            }
            bench.effects.drain_deliveries(|_, batch| outbox.append(batch));
        }
        if waits {
            bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
            bench.effects.drain_deliveries(|_, batch| outbox.append(batch));
        }
        assert_eq!((outbox.len(), outbox.runs().len()), (15, 1), "runs that continue are one");
        let mut cursor = DeliveryCursor::default();
        let mut told = Vec::new();
        let mut costs = Vec::new();
        while !outbox.is_walked(&cursor) {
            told.extend(walk(&outbox, &mut cursor, 4));
            costs.push(cursor.cost);
        }
        assert_eq!(told, expected);
        assert!(costs.is_sorted());
        assert_eq!(costs.last().copied(), Some(outbox.runs()[0].cost));
        assert!(outbox.memory() > 15_000);
        outbox.clear(0);
        assert_eq!((outbox.len(), outbox.memory()), (0, 0));
    }
}

#[test]
fn runs_tell_consumers_apart() {
    let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
    bench.attach(1, &acking(9)).expect("nobody is alone");
    bench.attach(2, &ConsumerSettings::default()).expect("nobody is alone");
    let mut outbox = DeliveryBatch::default();
    for _ in 0..2 {
        publish(&mut bench, "k", 1, &["x", "y", "z"]);
        bench.effects.drain_deliveries(|_, batch| outbox.append(batch));
    }
    let runs: Vec<_> = outbox
        .runs()
        .iter()
        .map(|run| (run.consumer.expect("they are consumers'").0, run.acknowledge, run.count))
        .collect();
    assert_eq!(runs, [(1, true, 2), (2, false, 3), (1, true, 1)]);
    let mut cursor = DeliveryCursor::default();
    let sequences: Vec<u64> = walk(&outbox, &mut cursor, 9).into_iter().map(|told| told.0).collect();
    assert_eq!(sequences, [1, 3, 2, 4, 6, 5]);
    assert_eq!((cursor.run, cursor.taken), (2, 1));
}

#[test]
fn deliveries_like_the_one_before_are_told_apart_from_others() {
    let mut bench = Bench::with_log(&QueueSettings::default(), NoLog);
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    let large = "L".repeat(3000);
    publish(&mut bench, "a", 1, &["one", "two", &large, "three", "four"]);
    publish(&mut bench, "b", 1, &["five", "six"]);
    let mut outbox = DeliveryBatch::default();
    bench.effects.drain_deliveries(|_, batch| outbox.append(batch));
    let walk = |most: usize| {
        let (mut cursor, mut told) = (DeliveryCursor::default(), Vec::new());
        while outbox.enter_run(&mut cursor) {
            outbox.walk_run(&mut cursor, most, |delivery| {
                let message = &delivery.message;
                told.push((message.routing_key.to_owned(), text_of(message).len(), delivery.alike));
                ControlFlow::Continue(())
            });
        }
        told
    };
    let told = |alike: [bool; 7]| {
        let lengths = [3, 3, 3000, 5, 4, 4, 3];
        let keys = ["a", "a", "a", "a", "a", "b", "b"].map(str::to_owned);
        keys.into_iter().zip(lengths).zip(alike).map(|((key, length), alike)| (key, length, alike)).collect()
    };
    let whole: Vec<_> = told([false, true, false, false, true, false, true]);
    assert_eq!(walk(usize::MAX), whole);
    let in_pieces: Vec<_> = told([false, true, false, false, false, false, true]);
    assert_eq!(walk(4), in_pieces, "nothing is said of a walk before");
}
