//! Dead letters: where they go, in which rounds, and circles that end.

use super::*;
use crate::counters::Counter;
use crate::scratch::Scratch;
use fairlead_kernel::settings::{Limits, Overflow};
use std::time::Duration;

/// A queue whose dead letters go to another by the default exchange.
fn dying_to(key: &str, limits: Limits) -> QueueSettings {
    let limits =
        Limits { dead_letter_exchange: Some(String::new()), dead_letter_key: Some(key.to_owned()), ..limits };
    QueueSettings { limits, ..QueueSettings::default() }
}

#[test]
fn rejected_messages_are_moved() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("source", dying_to("morgue", Limits::default())).unwrap();
    client.declare("morgue", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "source", "a"), publish("", "source", "b")]);
    client.consume("source", acknowledging(None));
    let (deliveries, _) = client.receive();
    client.settle(Outcome::Rejected, &deliveries);
    assert_eq!((client.counts("source"), client.counts("morgue")), ((0, 1), (2, 0)));
    let now = client.now;
    let got =
        client.connection.execute(ONE, Request::Get { queue: "morgue".to_owned(), acknowledge: false }, now);
    assert_eq!(got, None);
    let delivery = client.connection.next_delivery().unwrap();
    let death = &delivery.message.overlay.unwrap().deaths[0];
    assert_eq!((&*death.queue, death.count), ("source", 1));
}

#[test]
fn many_expired_messages_are_moved_in_turns() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let limits = Limits { message_ttl: Some(1000), ..Limits::default() };
    client.declare("source", dying_to("morgue", limits)).unwrap();
    client.declare("morgue", QueueSettings::default()).unwrap();
    let batch: Vec<_> = (0..10_000).map(|_| publish("", "source", "x")).collect();
    client.publish(&batch);
    let end = client.now.after(Duration::from_millis(1001));
    client.now = end;
    let mut turns = 0;
    while broker.run_due(end).is_some_and(|next| next <= end) {
        turns += 1;
        assert!(turns < 1000);
    }
    assert_eq!((client.counts("source"), client.counts("morgue")), ((0, 0), (10_000, 0)));
    assert_eq!(broker.counters().get(Counter::DeadLettered), 10_000);
}

#[test]
fn a_circle_without_a_rejection_ends() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let limits = Limits { message_ttl: Some(0), ..Limits::default() };
    client.declare("a", dying_to("b", limits.clone())).unwrap();
    client.declare("b", dying_to("a", limits)).unwrap();
    client.publish(&[publish("", "a", "x")]);
    for _ in 0..10 {
        broker.run_due(client.now);
    }
    assert_eq!((client.counts("a"), client.counts("b")), ((0, 0), (0, 0)));
    assert_eq!(broker.counters().get(Counter::DeadLettersDropped), 1);
}

#[test]
fn a_chain_of_full_queues_passes_on_the_oldest() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for n in 0..20 {
        let limits = Limits { max_messages: Some(1), ..Limits::default() };
        client.declare(&format!("q{n}"), dying_to(&format!("q{}", n + 1), limits)).unwrap();
    }
    client.declare("q20", QueueSettings::default()).unwrap();
    let bodies: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    let batch: Vec<_> = bodies.iter().map(|body| publish("", "q0", body)).collect();
    client.publish(&batch);
    for _ in 0..100 {
        broker.run_due(client.now);
    }
    assert_eq!(client.get("q0").unwrap().body, "24");
    assert_eq!(client.get("q19").unwrap().body, "5");
    assert_eq!(client.counts("q20"), (5, 0));
}

#[test]
fn without_its_exchange_a_dead_letter_is_dropped() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let limits = Limits { dead_letter_exchange: Some("missing".to_owned()), ..Limits::default() };
    client.declare("q", QueueSettings { limits, ..QueueSettings::default() }).unwrap();
    client.publish(&[publish("", "q", "x")]);
    let got = client.get("q").unwrap();
    client.settle(Outcome::Rejected, &[got]);
    assert_eq!(client.counts_without_walking("q"), (0, 0));
    assert_eq!(broker.counters().get(Counter::DeadLettersDropped), 1);
}

#[test]
fn dead_letters_of_a_queue_keep_their_order_between_tasks() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("source", dying_to("morgue", Limits::default())).unwrap();
    client.declare("morgue", QueueSettings::default()).unwrap();
    let bodies = ["1", "2", "3", "4"];
    client.publish(&bodies.map(|body| publish("", "source", body)));
    let got = bodies.map(|_| client.get("source").unwrap());
    let cell = broker.queues.get(got[0].queue).unwrap();
    let reject = |scratch: &mut Scratch, which: &Delivered| {
        cell.enter(&broker, scratch, client.now, |q| {
            q.queue.settle(&[(which.sequence, None)], Outcome::Rejected, &mut q.turn)
        })
        .unwrap();
    };
    // A task is interrupted when its message has died, before it is sent; others come in between.
    Scratch::with(|first| {
        reject(first, &got[0]);
        Scratch::with(|second| {
            reject(second, &got[1]);
            broker.follow_up(second, client.now);
        });
        reject(first, &got[2]);
        broker.follow_up(first, client.now);
    });
    Scratch::with(|third| {
        reject(third, &got[3]);
        broker.follow_up(third, client.now);
    });
    let morgue = bodies.map(|_| client.get("morgue").map(|got| got.body));
    assert_eq!(morgue, bodies.map(|body| Some(body.to_owned())));
    assert_eq!(client.counts("source"), (0, 0));
}

#[test]
fn operators_see_how_messages_leave_that_nobody_took() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let none = Limits::default;
    let bounded = |overflow| Limits { max_messages: Some(1), overflow: Some(overflow), ..none() };
    client.declare("late", dying_to("morgue", Limits { message_ttl: Some(0), ..none() })).unwrap();
    client.declare("ring", dying_to("morgue", bounded(Overflow::DropHead))).unwrap();
    client.declare("full", dying_to("morgue", bounded(Overflow::Reject))).unwrap();
    client.declare("worn", dying_to("morgue", Limits { delivery_limit: Some(0), ..none() })).unwrap();
    for queue in ["late", "ring", "full", "worn"] {
        client.publish(&[publish("", queue, "1"), publish("", queue, "2")]);
    }
    let got = client.get("worn").unwrap();
    client.settle(Outcome::Released { delivered: true }, &[got]);
    let reports = crate::report::Source::queues(&*broker);
    let of = |queue: &str| {
        let report = reports.iter().find(|report| &*report.name == queue).unwrap();
        [report.refused, report.expired, report.displaced, report.exhausted, report.dead_lettered]
    };
    assert_eq!(of("late"), [0, 2, 0, 0, 2]);
    assert_eq!(of("ring"), [0, 0, 1, 0, 1]);
    assert_eq!(of("full"), [1, 0, 0, 0, 0]);
    assert_eq!(of("worn"), [0, 0, 0, 1, 1]);
}
