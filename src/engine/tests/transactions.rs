//! Transactions: nothing before the commit, all of it after, nothing after a rollback.

use super::*;
use crate::counters::Counter;
use fairlead_kernel::refusal::{Bound, Resource};
use fairlead_kernel::settings::{ExchangeKind, ExchangeSettings, Limits, Overflow};

fn transacted<'a>(key: &'a str, body: &'a str) -> Publish<'a> {
    Publish { transacted: true, ..publish("", key, body) }
}

#[test]
fn publishes_and_settlements_come_into_force_together() {
    let broker = broker();
    let mut client = Client::new(&broker);
    for queue in ["a", "b"] {
        client.declare(queue, QueueSettings::default()).unwrap();
    }
    client.publish(&[publish("", "a", "old")]);
    let old = client.get("a").unwrap();
    client.publish(&[transacted("a", "1"), transacted("b", "2"), transacted("a", "3")]);
    assert_eq!((client.counts("a"), client.counts("b")), ((0, 0), (0, 0)));
    client.ask(Request::Commit { settlements: vec![(Outcome::Accepted, vec![old.unsettled()])] }).unwrap();
    assert_eq!((client.counts("a"), client.counts("b")), ((2, 0), (1, 0)));
    assert_eq!(client.get("a").unwrap().body, "1");
    assert_eq!(client.get("a").unwrap().body, "3");
}

#[test]
fn a_rollback_forgets_publishes() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[transacted("q", "x")]);
    client.ask(Request::Rollback).unwrap();
    client.ask(Request::Commit { settlements: vec![] }).unwrap();
    assert_eq!(client.counts("q"), (0, 0));
    client.publish(&[transacted("q", "y")]);
    client.ask(Request::CloseSession { unsettled: vec![] }).unwrap();
    assert_eq!(client.counts("q"), (0, 0));
    assert_eq!(broker.memory.used(), crate::report::Source::queues(&*broker)[0].memory);
}

#[test]
fn a_commit_settles_in_every_way() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "q", "a"), publish("", "q", "b"), publish("", "q", "c")]);
    let got: Vec<_> = (0..3).map(|_| client.get("q").unwrap().unsettled()).collect();
    let settlements = vec![
        (Outcome::Accepted, vec![got[0]]),
        (Outcome::Released { delivered: true }, vec![got[1]]),
        (Outcome::Rejected, vec![got[2]]),
    ];
    client.ask(Request::Commit { settlements }).unwrap();
    let back = client.get("q").unwrap();
    assert_eq!((back.body.as_str(), back.redelivered), ("b", true));
    assert_eq!(client.get("q"), None);
}

#[test]
fn mandatory_publishes_return_at_the_commit() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.publish(&[Publish { mandatory: true, ..transacted("nowhere", "x") }]);
    assert_eq!(client.receive(), (vec![], vec![]));
    let now = client.now;
    client.connection.execute(ONE, Request::Commit { settlements: vec![] }, now);
    let (_, events) = client.receive();
    // In this order: a client may read no further than the answer to its commit.
    assert!(matches!(events[..], [Event::Returned { .. }, Event::Reply { .. }]), "{events:?}");
}

#[test]
fn an_open_transaction_has_a_bound() {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let broker = broker_with(Settings { authentication, transaction_bytes: 1000, ..Settings::default() });
    let mut client = Client::new(&broker);
    client.declare("q", QueueSettings::default()).unwrap();
    let body = "x".repeat(600);
    assert_eq!(client.publish(&[transacted("q", &body)]), []);
    let refusal = Refusal::TooMany { bound: Bound::Transaction, limit: 1000 };
    assert_eq!(client.publish(&[transacted("q", &body)]), [Event::PublishRefused { session: ONE, refusal }]);
}

#[test]
fn a_publish_to_no_exchange_is_refused_when_it_comes() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let refusal = Refusal::NotFound(Resource::Exchange, "nosuch".to_owned());
    let refused = client.publish(&[Publish { transacted: true, ..publish("nosuch", "k", "x") }]);
    assert_eq!(refused, [Event::PublishRefused { session: ONE, refusal }]);
}

#[test]
fn a_commit_that_cannot_be_whole_does_nothing() {
    let broker = broker();
    let mut client = Client::new(&broker);
    let settings = ExchangeSettings {
        kind: ExchangeKind::Fanout,
        durable: false,
        auto_delete: false,
        internal: false,
        alternate: None,
        hash_header: None,
        arguments: vec![],
    };
    client.ask(Request::DeclareExchange { name: "x".to_owned(), settings: Some(settings) }).unwrap();
    client.declare("q", QueueSettings::default()).unwrap();
    client.publish(&[publish("", "q", "old")]);
    let old = client.get("q").unwrap();
    client.publish(&[transacted("q", "1"), Publish { transacted: true, ..publish("x", "k", "2") }]);
    client.ask(Request::DeleteExchange { name: "x".to_owned(), if_unused: false }).unwrap();
    let settlements = vec![(Outcome::Accepted, vec![old.unsettled()])];
    let refusal = Refusal::NotFound(Resource::Exchange, "x".to_owned());
    assert_eq!(client.ask(Request::Commit { settlements }), Err(refusal));
    assert_eq!(client.get("q").unwrap().body, "old", "it is back");
    assert_eq!(client.get("q"), None);
}

fn bounded(messages: u64, overflow: Overflow) -> QueueSettings {
    let limits = Limits {
        max_messages: Some(messages),
        overflow: Some(overflow),
        dead_letter_exchange: Some(String::new()),
        dead_letter_key: Some("morgue".to_owned()),
        ..Limits::default()
    };
    QueueSettings { limits, ..QueueSettings::default() }
}

#[test]
fn a_commit_that_a_full_queue_refuses_does_nothing_anywhere() {
    for overflow in [Overflow::Reject, Overflow::RejectDeadLetter] {
        let broker = broker();
        let mut client = Client::new(&broker);
        for queue in ["first", "last", "morgue"] {
            client.declare(queue, QueueSettings::default()).unwrap();
        }
        client.declare("full", bounded(1, overflow)).unwrap();
        client.publish(&[publish("", "first", "old")]);
        let old = client.get("first").unwrap();
        let returned = Publish { mandatory: true, ..transacted("nowhere", "x") };
        let publishes = [
            transacted("first", "1"),
            transacted("full", "2"),
            transacted("full", "3"),
            transacted("last", "4"),
        ];
        client.publish(&[&publishes[..], &[returned]].concat());
        let settlements = vec![(Outcome::Accepted, vec![old.unsettled()])];
        let refused = client.ask(Request::Commit { settlements });
        assert_eq!(refused, Err(Refusal::QueueFull("full".to_owned())));
        assert_eq!(client.receive(), (vec![], vec![]));
        assert_eq!(
            client.get("first").map(|got| (got.body, got.redelivered)),
            Some(("old".to_owned(), true))
        );
        for queue in ["first", "full", "last", "morgue"] {
            assert_eq!(client.counts(queue), (0, 0), "{queue}");
        }
        let counted = |counter| broker.counters().get(counter);
        assert_eq!((counted(Counter::Refused), counted(Counter::Enqueued)), (1, 1));
        assert_eq!((counted(Counter::Published), counted(Counter::Acknowledged)), (1, 0));
        // The next one is not the worse for it.
        client.publish(&[transacted("full", "5")]);
        client.ask(Request::Commit { settlements: vec![] }).unwrap();
        assert_eq!(client.counts("full"), (1, 0));
    }
}

#[test]
fn a_queue_that_goes_before_the_commit_leaves_the_rest_whole() {
    let broker = broker();
    let mut client = Client::new(&broker);
    client.declare("stays", QueueSettings::default()).unwrap();
    client.declare("goes", QueueSettings::default()).unwrap();
    let mandatory = Publish { mandatory: true, ..transacted("goes", "1") };
    client.publish(&[mandatory, transacted("stays", "2")]);
    go_without_a_word(&mut client, "goes");
    let now = client.now;
    client.connection.execute(ONE, Request::Commit { settlements: vec![] }, now);
    let (_, events) = client.receive();
    assert!(matches!(events[..], [Event::Returned { .. }, Event::Reply { result: Ok(_), .. }]), "{events:?}");
    assert_eq!(client.counts("stays"), (1, 0));
}
