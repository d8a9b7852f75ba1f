//! Routing in batches: groups, confirms, returns, refusals, queues that vanish on the way.

use super::*;
use crate::counters::Counter;
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::settings::{Limits, Overflow};

#[test]
fn a_batch_keeps_its_order_in_every_queue() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b"] {
        client.declare(queue, QueueSettings::default()).unwrap();
        client.ask(Request::Bind(binding("amq.fanout", queue, ""))).unwrap();
    }
    let bodies: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let exchange = |n: usize| if n.is_multiple_of(3) { "amq.fanout" } else { "" };
    let key = |n: usize| if n % 3 == 1 { "a" } else { "b" };
    let batch: Vec<_> =
        bodies.iter().enumerate().map(|(n, body)| publish(exchange(n), key(n), body)).collect();
    assert_eq!(client.publish(&batch), []);
    for (queue, skipped) in [("a", 2), ("b", 1)] {
        client.consume(queue, settled());
        let expected: Vec<_> = (0..1000).filter(|n| n % 3 != skipped).map(|n| n.to_string()).collect();
        assert_eq!(client.bodies(), expected);
    }
    assert_eq!(broker.counters().get(Counter::Published), 1000);
    assert_eq!(broker.counters().get(Counter::Enqueued), 1334);
    assert_eq!(broker.counters().get(Counter::DeliveredSettled), 1334);
}

#[test]
fn many_queues_in_one_batch() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let names: Vec<String> = (0..100).map(|n| format!("q{n}")).collect();
    for name in &names {
        client.declare(name, QueueSettings::default()).unwrap();
    }
    let batch: Vec<_> = (0..500).map(|n| publish("", &names[n % 100], &names[n % 100])).collect();
    client.publish(&batch);
    client.publish(&batch);
    for name in &names {
        assert_eq!(client.counts(name), (10, 0));
    }
}

#[test]
fn confirms_come_as_ranges_and_refusals_between_them() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let limits = Limits { max_messages: Some(2), overflow: Some(Overflow::Reject), ..Limits::default() };
    client.declare("short", QueueSettings { limits, ..QueueSettings::default() }).unwrap();
    client.declare("long", QueueSettings::default()).unwrap();
    let to = |key, number| Publish { confirm: Some(number), ..publish("", key, "x") };
    let events = client.publish(&[
        to("short", 1),
        to("long", 2),
        to("short", 3),
        to("short", 4),
        to("short", 5),
        to("long", 6),
        to("nowhere", 7),
    ]);
    let confirmed = |from, to, accepted| Event::Confirmed { session: ONE, from, to, accepted };
    assert_eq!(events, [confirmed(1, 3, true), confirmed(4, 5, false), confirmed(6, 7, true)]);
    assert_eq!((client.counts("short"), client.counts("long")), ((2, 0), (2, 0)));
}

#[test]
fn mandatory_messages_return_before_their_confirm() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let lost = Publish { mandatory: true, confirm: Some(1), ..publish("amq.direct", "k", "lost") };
    match client.publish(&[lost]).as_slice() {
        [Event::Returned { message, .. }, Event::Confirmed { from: 1, to: 1, accepted: true, .. }] => {
            assert_eq!((&*message.routing_key, &message.body.concat()[..]), ("k", &b"lost"[..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refused_publish_ends_its_session_and_no_other() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let on = |session, exchange, number| Publish {
        session: SessionId(session),
        confirm: Some(number),
        ..publish(exchange, "q", "x")
    };
    let events =
        client.publish(&[on(1, "", 1), on(1, "missing", 2), on(1, "", 3), on(2, "", 1), on(1, "", 4)]);
    let refusal = Refusal::NotFound(Resource::Exchange, "missing".to_owned());
    let confirmed = |session, from, to| Event::Confirmed { session, from, to, accepted: true };
    assert_eq!(
        events,
        [
            Event::PublishRefused { session: ONE, refusal },
            confirmed(ONE, 1, 1),
            confirmed(SessionId(2), 1, 1)
        ]
    );
    assert_eq!(client.counts("q"), (2, 0));
}

#[test]
fn the_user_id_must_be_the_users() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let by = |user| Publish { user_id: Some(user), ..publish("", "q", "x") };
    assert_eq!(client.publish(&[by("guest")]), []);
    let refusal = Refusal::UserId { claimed: "bob".to_owned(), user: "guest".to_owned() };
    assert_eq!(client.publish(&[by("bob")]), [Event::PublishRefused { session: ONE, refusal }]);
}

#[test]
fn extra_keys_go_each_to_its_queue_once() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b", "c"] {
        client.declare(queue, QueueSettings::default()).unwrap();
    }
    let mut copied = publish("", "a", "x");
    copied.extra_keys = true;
    copied.message.head = b"cc=b,bcc=c";
    client.publish(&[copied, copied]);
    assert_eq!((client.counts("a"), client.counts("b"), client.counts("c")), ((2, 0), (2, 0), (2, 0)));
}

#[test]
fn a_route_is_found_anew_when_the_topology_changes() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("a", QueueSettings::default()).unwrap();
    client.ask(Request::Bind(binding("amq.topic", "a", "k.*"))).unwrap();
    let batch = [publish("amq.topic", "k.1", "x")];
    client.publish(&batch);
    client.declare("b", QueueSettings::default()).unwrap();
    client.ask(Request::Bind(binding("amq.topic", "b", "#"))).unwrap();
    client.publish(&batch);
    client.ask(Request::Unbind(binding("amq.topic", "a", "k.*"))).unwrap();
    client.publish(&batch);
    assert_eq!((client.counts("a"), client.counts("b")), ((2, 0), (2, 0)));
    let delete =
        |name: &str| Request::DeleteQueue { name: name.to_owned(), if_unused: false, if_empty: false };
    assert_eq!(client.ask(delete("b")), Ok(Reply::Removed { messages: 2 }));
    let events = client.publish(&[Publish { mandatory: true, ..batch[0] }]);
    assert!(matches!(events[..], [Event::Returned { .. }]), "{events:?}");
}

#[test]
fn a_large_body_for_several_queues_is_held_once() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for n in 0..10 {
        client.declare(&format!("q{n}"), QueueSettings::default()).unwrap();
        client.ask(Request::Bind(binding("amq.fanout", &format!("q{n}"), ""))).unwrap();
    }
    let body = "x".repeat(100_000);
    client.publish(&[publish("amq.fanout", "", &body)]);
    let mut taken: Vec<_> = Vec::new();
    for n in 0..10 {
        client.consume(&format!("q{n}"), settled());
        let delivery = client.connection.next_delivery().unwrap();
        let shared = delivery.message.shared.expect("a shared message");
        taken.push(Arc::clone(shared));
    }
    assert!(taken.iter().all(|message| Arc::ptr_eq(message, &taken[0])));
}

#[test]
fn a_publisher_learns_that_it_outpaces_consumers() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "q", "for nobody")]);
    assert!(!client.connection.take_outpaces(), "there is no consumer to wait for");
    client.consume("q", acknowledging(Some(2)));
    client.publish(&[publish("", "q", "taken")]);
    assert!(!client.connection.take_outpaces(), "the consumer keeps up");
    client.publish(&[publish("", "q", "left")]);
    assert!(client.connection.take_outpaces() && !client.connection.take_outpaces(), "told once");
}

#[test]
fn a_message_whose_queues_have_all_gone_is_returned() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b", "c"] {
        client.declare(queue, QueueSettings::default()).unwrap();
        client.ask(Request::Bind(binding("amq.fanout", queue, ""))).unwrap();
    }
    let mandatory =
        |confirm| Publish { mandatory: true, confirm: Some(confirm), ..publish("amq.fanout", "", "x") };
    go_without_a_word(&mut client, "a");
    go_without_a_word(&mut client, "b");
    let confirmed = |n| Event::Confirmed { session: ONE, from: n, to: n, accepted: true };
    assert_eq!(client.publish(&[mandatory(1)]), [confirmed(1)], "there is one yet");
    go_without_a_word(&mut client, "c");
    let events = client.publish(&[mandatory(2)]);
    assert!(matches!(&events[..], [Event::Returned { .. }, last] if *last == confirmed(2)), "{events:?}");
}

#[test]
fn a_large_message_knows_its_publisher_in_every_queue_and_transaction() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b"] {
        client.declare(queue, QueueSettings::default()).unwrap();
        client.ask(Request::Bind(binding("amq.fanout", queue, ""))).unwrap();
    }
    let large = "x".repeat(100_000);
    for transacted in [false, true] {
        client.publish(&[Publish { transacted, ..publish("amq.fanout", "", &large) }]);
        client.ask(Request::Commit { settlements: vec![] }).unwrap();
        let publishers = ["a", "b"].map(|queue| client.get(queue).map(|got| got.publisher));
        assert_eq!(publishers, [Some(client.connection.id()); 2]);
    }
}
