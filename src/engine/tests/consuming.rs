//! Consumers: credit, settlement, cancellation, ends of sessions and connections.

use super::*;

fn bodies(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("m{n}")).collect()
}

fn fill(client: &mut Client, queue: &str, count: usize) {
    let bodies = bodies(count);
    let batch: Vec<_> = bodies.iter().map(|body| publish("", queue, body)).collect();
    client.publish(&batch);
}

#[test]
fn a_window_moves_with_settlements() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 5);
    client.consume("q", acknowledging(Some(2)));
    let (first, _) = client.receive();
    assert_eq!(first.len(), 2);
    client.settle(Outcome::Accepted, &first[..1]);
    assert_eq!(client.bodies(), ["m2"]);
    client.settle(Outcome::Released { delivered: true }, &first[1..]);
    let (again, _) = client.receive();
    assert_eq!((again[0].body.as_str(), again[0].redelivered), ("m1", true));
}

#[test]
fn a_session_window_spans_queues() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b"] {
        client.declare(queue, QueueSettings::default()).unwrap();
        fill(&mut client, queue, 3);
    }
    client.tell(Request::SetSessionWindow { window: Some(2) });
    client.consume("a", acknowledging(None));
    client.consume("b", acknowledging(None));
    let (first, _) = client.receive();
    assert_eq!(first.len(), 2);
    client.settle(Outcome::Accepted, &first);
    assert_eq!(client.receive().0.len(), 2);
    client.tell(Request::SetSessionWindow { window: None });
    assert_eq!(client.receive().0.len(), 2);
}

#[test]
fn a_session_window_counts_what_is_under_way_when_it_is_set() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 10);
    client.consume("q", acknowledging(None));
    let walked = client.connection.next_delivery().map(|delivery| Unsettled {
        queue: delivery.queue,
        sequence: delivery.sequence,
        consumer: delivery.consumer,
    });
    // One is walked and not counted yet, nine were taken out of the outbox with it, four come behind.
    fill(&mut client, "q", 4);
    client.tell(Request::SetSessionWindow { window: Some(3) });
    let (mut held, _) = client.receive();
    assert_eq!(held.len(), 13);
    fill(&mut client, "q", 20);
    assert_eq!(client.receive().0.len(), 0, "14 of 3 places are taken");
    client.tell(Request::Settle { outcome: Outcome::Accepted, deliveries: walked.into_iter().collect() });
    let last = held.split_off(2);
    client.settle(Outcome::Accepted, &last);
    assert_eq!(client.receive().0.len(), 1, "2 of 3 were taken");
    client.settle(Outcome::Accepted, &held);
    assert_eq!(client.receive().0.len(), 2);
}

#[test]
fn replies_that_wait_expire_in_their_time_and_leave_no_memory() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let subscribe = Request::SubscribeReplies {
        consumer: ConsumerId(1),
        token: "token".to_owned(),
        tag: "tag".to_owned(),
    };
    client.ask(subscribe).unwrap();
    let cell = broker.replies.get("token").unwrap();
    let ready = || cell.figures.ready.load(std::sync::atomic::Ordering::Relaxed);
    let memory = || cell.figures.memory.load(std::sync::atomic::Ordering::Relaxed);
    let idle = memory();
    let body = "x".repeat(1000);
    let reply = Publish { time_to_live: Some(500), ..publish("", "amq.rabbitmq.reply-to.token", &body) };
    client.publish(&vec![reply; 1000]);
    assert!(ready() > 500, "{} wait for the client", ready());
    let mut later = client.now.after_milliseconds(501);
    while broker.run_due(later).is_some_and(|next| next <= later) {}
    assert_eq!(ready(), 0);
    for _ in 0..3 {
        later = later.after_milliseconds(1001);
        broker.run_due(later);
    }
    assert!(memory() <= idle + 8 * 1024, "{} bytes, {idle} at first", memory());
    client.ask(Request::CloseSession { unsettled: vec![] }).unwrap();
    assert_eq!(broker.janitor.next(), None);
}

#[test]
fn the_transfer_window_holds_what_is_not_taken_and_opens_when_it_is() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let body = "x".repeat(1000);
    let batch: Vec<_> = (0..10_000).map(|_| publish("", "q", &body)).collect();
    client.publish(&batch);
    client.consume("q", settled());
    let (left, _) = client.counts_without_walking("q");
    assert!(left > 8_000, "{left} of 10000 stay in the queue");
    let mut received = 0;
    loop {
        match client.receive().0.len() {
            0 => break,
            some => received += some,
        }
    }
    assert_eq!(received, 10_000);
}

#[test]
fn what_a_cancelled_consumer_got_is_still_delivered_and_before_the_reply() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 3);
    let consumer = client.consume("q", acknowledging(None));
    let now = client.now;
    assert_eq!(client.connection.execute(ONE, Request::Unsubscribe { consumer }, now), None);
    assert_eq!(client.connection.next_event(), None, "deliveries come first");
    let (deliveries, events) = client.receive();
    assert_eq!(deliveries.len(), 3);
    assert_eq!(events, [Event::Reply { session: ONE, result: Ok(Reply::Done) }]);
    fill(&mut client, "q", 1);
    assert_eq!(client.receive(), (vec![], vec![]));
    client.settle(Outcome::Accepted, &deliveries);
    assert_eq!(client.counts("q"), (1, 0));
}

#[test]
fn a_closed_session_gives_back_what_it_had_and_what_was_on_its_way() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 4);
    client.consume("q", acknowledging(None));
    let first = client.connection.next_delivery().map(|delivery| Unsettled {
        queue: delivery.queue,
        sequence: delivery.sequence,
        consumer: delivery.consumer,
    });
    let unsettled = vec![first.unwrap()];
    client.ask(Request::CloseSession { unsettled }).unwrap();
    assert_eq!(client.receive(), (vec![], vec![]), "its deliveries are passed over");
    assert_eq!(client.counts("q"), (4, 0));
    client.consume("q", settled());
    assert_eq!(client.bodies(), bodies(4));
}

#[test]
fn a_vanished_connection_gives_back_everything_and_frees_its_names() {
    let broker = broker();
    let mut other = Client::new(&broker);
    other.declare("q", QueueSettings::default()).unwrap();
    let mut client = Client::new(&broker);
    let exclusive = QueueSettings { exclusive: Some(client.connection.id()), ..QueueSettings::default() };
    client.declare("mine", exclusive.clone()).unwrap();
    assert_eq!(other.declare("mine", QueueSettings::default()), Err(Refusal::Locked("mine".to_owned())));
    fill(&mut client, "q", 10);
    client.consume("q", acknowledging(None));
    let held: Vec<_> = client.receive().0.iter().map(Delivered::unsettled).collect();
    assert_eq!(held.len(), 10);
    fill(&mut client, "q", 5);
    let now = client.now;
    client.connection.end(&held, now);
    assert_eq!(other.counts("q"), (15, 0));
    other.declare("mine", QueueSettings::default()).unwrap();
    assert_eq!(broker.connection_count(), 1);
    // Those that were never delivered come as new.
    other.consume("q", settled());
    assert_eq!(other.bodies().len(), 15);
}

#[test]
fn a_dropped_connection_ends_too() {
    let broker = broker();
    let mut other = Client::new(&broker);
    other.declare("q", QueueSettings::default()).unwrap();
    let mut client = Client::new(&broker);
    client.consume("q", acknowledging(None));
    fill(&mut client, "q", 3);
    drop(client);
    assert_eq!(other.counts("q"), (3, 0));
}

#[test]
fn deliveries_to_a_connection_that_is_going_find_another_consumer() {
    let broker = broker();
    let mut other = Client::new(&broker);
    other.declare("q", QueueSettings::default()).unwrap();
    let mut going = Client::new(&broker);
    going.consume("q", acknowledging(None));
    going.connection.outbox().close();
    fill(&mut other, "q", 3);
    assert_eq!(other.counts("q"), (3, 0), "the consumer is detached");
    other.consume("q", settled());
    assert_eq!(other.bodies(), bodies(3));
}

#[test]
fn consumers_of_a_deleted_queue_are_told() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let consumer = client.consume("q", acknowledging(None));
    fill(&mut client, "q", 1);
    let now = client.now;
    let delete = Request::DeleteQueue { name: "q".to_owned(), if_unused: false, if_empty: false };
    let reply = client.connection.execute(ONE, delete, now);
    assert_eq!(reply, Some(Event::Reply { session: ONE, result: Ok(Reply::Removed { messages: 0 }) }));
    let (deliveries, events) = client.receive();
    assert_eq!(deliveries.len(), 1, "what was on its way arrives");
    assert_eq!(events, [Event::ConsumerCancelled { session: ONE, consumer }]);
    client.settle(Outcome::Accepted, &deliveries);
}

#[test]
fn get_takes_one_and_says_when_there_is_none() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 1);
    let got = client.get("q").unwrap();
    assert_eq!((got.body.as_str(), got.consumer), ("m0", None));
    assert_eq!(client.get("q"), None);
    client.settle(Outcome::Released { delivered: true }, std::slice::from_ref(&got));
    assert!(client.get("q").unwrap().redelivered);
}

#[test]
fn purge_takes_ready_messages_however_many() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    fill(&mut client, "q", 5000);
    assert_eq!(
        client.ask(Request::PurgeQueue { name: "q".to_owned() }),
        Ok(Reply::Removed { messages: 5000 })
    );
    assert_eq!(client.counts("q"), (0, 0));
}

#[test]
fn direct_replies_reach_the_address_while_it_lives() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let mut server = Client::new(&broker);
    let consumer = ConsumerId(77);
    let subscribe = Request::SubscribeReplies { consumer, token: "abc".to_owned(), tag: "t".to_owned() };
    client.ask(subscribe).unwrap();
    let check = Request::CheckReplyAddress { token: "abc".to_owned() };
    assert!(server.ask(check.clone()).is_ok());
    let key = "amq.rabbitmq.reply-to.abc";
    let reply = Publish { mandatory: true, ..publish("", key, "pong") };
    assert_eq!(server.publish(&[reply]), []);
    let (deliveries, _) = client.receive();
    assert_eq!((deliveries[0].body.as_str(), deliveries[0].consumer), ("pong", Some(consumer)));
    client.ask(Request::CloseSession { unsettled: vec![] }).unwrap();
    assert!(server.ask(check).is_err());
    assert!(matches!(server.publish(&[reply])[..], [Event::Returned { .. }]));
}

#[test]
fn the_end_of_a_cancelled_consumer_leaves_its_successor_alone() {
    let broker = broker();
    let mut first = Client::new(&broker);
    first.declare("q", QueueSettings::default()).unwrap();
    let consumer = first.consume("q", acknowledging(None));
    let now = first.now;
    // Carried out, and its answer not walked yet.
    assert_eq!(first.connection.execute(ONE, Request::Unsubscribe { consumer }, now), None);
    let mut second = Client::new(&broker);
    second.consume("q", acknowledging(None));
    first.connection.end(&[], now);
    second.publish(&[publish("", "q", "x")]);
    assert_eq!(second.bodies(), ["x"]);
}

#[test]
fn a_reply_address_takes_its_memory_with_it() {
    let broker = broker();
    for _ in 0..3 {
        let mut client = Client::new(&broker);
        let request = Request::SubscribeReplies {
            consumer: ConsumerId(1),
            token: "token".to_owned(),
            tag: "t".to_owned(),
        };
        client.ask(request).unwrap();
        let key = format!("{}token", crate::REPLY_PREFIX);
        let body = "x".repeat(1000);
        let replies: Vec<_> = (0..2000).map(|_| publish("", &key, &body)).collect();
        let now = client.now;
        Client::new(&broker).publish(&replies);
        assert!(broker.memory.used() > 500_000, "more wait than the outbox takes");
        client.connection.end(&[], now);
        assert_eq!(broker.memory.used(), 0);
    }
}

#[test]
fn exclusive_queues_that_went_by_themselves_are_forgotten() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let id = client.connection.id();
    for number in 0..100 {
        let name = format!("q{number}");
        let settings = QueueSettings { exclusive: Some(id), auto_delete: true, ..Default::default() };
        client.declare(&name, settings).unwrap();
        let consumer = client.consume(&name, settled());
        client.ask(Request::Unsubscribe { consumer }).unwrap();
    }
    assert!(client.connection.exclusive.len() < 20, "{}", client.connection.exclusive.len());
}
