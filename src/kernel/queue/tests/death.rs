//! Dead letters: their histories and their circles.

use super::harness::*;
use crate::ids::Time;
use crate::message::{Death, DeathReason, Message, Overlay};
use crate::queue::death::{DeathCertificate, bury};
use crate::queue::would_cycle;
use crate::session::Outcome;
use crate::settings::{Limits, QueueKind, QueueSettings};

fn certificate(queue: &str, reason: DeathReason, time: u64) -> DeathCertificate<'_> {
    DeathCertificate { queue, reason, time: Time(time), exchange: "dead", key: None }
}

#[test]
fn the_first_death_is_told_in_full() {
    let source = message("ttl=500;cc=other", "body");
    let dead = bury(&source, &READER, &certificate("q1", DeathReason::Expired, 7));
    let expected = Death {
        count: 1,
        reason: DeathReason::Expired,
        queue: "q1".into(),
        time: Time(7),
        exchange: "from".into(),
        routing_keys: vec!["key".into(), "other".into()],
        original_expiry: Some(500),
    };
    let overlay = dead.overlay.as_deref().expect("it died");
    assert_eq!(overlay.deaths, [expected]);
    assert_eq!(overlay.first_death, Some(("q1".into(), DeathReason::Expired, "from".into())));
    assert!(overlay.expiry_removed && !overlay.extra_keys_removed);
    assert_eq!((&*dead.exchange, &*dead.routing_key), ("dead", "key"));
    assert_eq!(dead.head, "ttl=500;cc=other".as_bytes());
}

#[test]
fn later_deaths_come_first_and_repeated_ones_are_counted() {
    let dead = bury(&message("ttl=500", "body"), &READER, &certificate("q1", DeathReason::Expired, 1));
    let dead = bury(&Message::view(&dead), &READER, &certificate("q2", DeathReason::Rejected, 2));
    let dead = bury(&Message::view(&dead), &READER, &certificate("q1", DeathReason::Rejected, 3));
    let dead = bury(&Message::view(&dead), &READER, &certificate("q1", DeathReason::Expired, 4));
    let overlay = dead.overlay.as_deref().expect("it died");
    let told: Vec<_> = overlay.deaths.iter().map(|d| (&*d.queue, d.reason, d.count, d.time.0)).collect();
    assert_eq!(
        told,
        [
            ("q1", DeathReason::Expired, 2, 1),
            ("q1", DeathReason::Rejected, 1, 3),
            ("q2", DeathReason::Rejected, 1, 2),
        ]
    );
    let expiries: Vec<_> = overlay.deaths.iter().map(|death| death.original_expiry).collect();
    assert_eq!(expiries, [Some(500), None, None], "its expiry was removed by the first death");
    assert_eq!(overlay.deaths[1].exchange, "dead".into());
    assert_eq!(overlay.first_death, Some(("q1".into(), DeathReason::Expired, "from".into())));
}

#[test]
fn a_new_key_voids_the_extra_ones() {
    let to = DeathCertificate { key: Some("new"), ..certificate("q1", DeathReason::Displaced, 1) };
    let dead = bury(&message("cc=other", "body"), &READER, &to);
    assert_eq!(&*dead.routing_key, "new");
    assert!(dead.overlay.as_deref().expect("it died").extra_keys_removed);
    let again = bury(&Message::view(&dead), &READER, &certificate("q2", DeathReason::Displaced, 2));
    let overlay = again.overlay.as_deref().expect("it died");
    assert!(overlay.extra_keys_removed);
    assert_eq!(overlay.deaths[0].routing_keys, ["new".into()]);
}

#[test]
fn a_circle_without_a_rejection_is_cut() {
    let overlay = |deaths: &[(&str, DeathReason)]| Overlay {
        deaths: deaths
            .iter()
            .map(|(queue, reason)| Death {
                count: 1,
                reason: *reason,
                queue: (*queue).into(),
                time: Time(0),
                exchange: "".into(),
                routing_keys: Vec::new(),
                original_expiry: None,
            })
            .collect(),
        ..Overlay::default()
    };
    use DeathReason::{DeliveryLimit, Displaced, Expired, Rejected};
    type Case<'a> = (&'a [(&'a str, DeathReason)], &'a str, bool);
    let cases: [Case<'_>; 7] = [
        (&[], "a", false),
        (&[("b", Expired)], "a", false),
        (&[("a", Expired)], "a", true),
        (&[("a", Rejected)], "a", false),
        (&[("b", Displaced), ("a", Expired)], "a", true),
        (&[("b", Rejected), ("a", Expired)], "a", false),
        (&[("b", DeliveryLimit), ("a", Expired), ("c", Rejected)], "a", true),
    ];
    for (deaths, queue, cycles) in cases {
        assert_eq!(would_cycle(&overlay(deaths), queue), cycles, "{deaths:?} into {queue}");
    }
}

#[test]
fn rejected_messages_are_dead_lettered_where_there_is_an_exchange() {
    let mut bench = Bench::limited(Limits {
        dead_letter_exchange: Some("dead".to_owned()),
        dead_letter_key: Some("letters".to_owned()),
        ..Limits::default()
    });
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a", "b"]);
    bench.deliveries();
    bench.settle(1, "a", Outcome::Rejected);
    let letter = &bench.effects.dead_letters[0];
    assert_eq!((&*letter.message.exchange, &*letter.message.routing_key), ("dead", "letters"));
    assert_eq!(letter.reason, DeathReason::Rejected);
    assert_eq!(bench.bodies(), ["b"], "its consumer has its credit back");
    let mut plain = Bench::plain();
    plain.attach(1, &acking(1)).expect("nobody is there");
    plain.publish_bodies(&["a"]);
    plain.deliveries();
    plain.settle(1, "a", Outcome::Rejected);
    assert!(plain.effects.dead_letters.is_empty());
    assert!(plain.queue.snapshot().entries.is_empty());
}

#[test]
fn a_delivery_limit_lets_one_more_delivery_than_returns() {
    let mut bench = Bench::new(&QueueSettings {
        kind: QueueKind::Quorum,
        limits: Limits { delivery_limit: Some(2), ..Limits::default() },
        ..QueueSettings::default()
    });
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a"]);
    let mut deliveries = 0;
    while bench.deliveries().len() == 1 {
        deliveries += 1;
        bench.settle(1, "a", Outcome::Released { delivered: true });
    }
    assert_eq!((deliveries, bench.queue.counters().exhausted), (3, 1));
    assert!(bench.queue.snapshot().entries.is_empty());
}

#[test]
fn delivery_counts_are_told_by_quorum_queues() {
    let mut bench = Bench::new(&QueueSettings { kind: QueueKind::Quorum, ..QueueSettings::default() });
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a"]);
    let mut told = Vec::new();
    for _ in 0..3 {
        bench.effects.drain_deliveries(|_, batch| {
            let mut cursor = crate::effect::DeliveryCursor::default();
            let delivery = batch.next(&mut cursor).expect("there is one");
            told.push((delivery.tell_delivery_count, delivery.delivery_count));
        });
        let slot = bench.slots[&1];
        let released = Outcome::Released { delivered: true };
        bench
            .step(|queue, turn| queue.settle(&[(crate::ids::Sequence(1), Some(slot))], released, turn))
            .expect("it exists");
    }
    assert_eq!(told, [(true, 0), (true, 1), (true, 2)]);
}
