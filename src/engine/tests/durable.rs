//! What clients are told, and how far the journal has come by then. The writer is stepped by hand.

use super::*;
use crate::report::{NotOnDisk, Source};
use crate::{Opened, Storage};
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::{Options, Step, Writer};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

fn broker_on_disk() -> (Arc<Broker>, Writer) {
    broker_on(Arc::new(Disk::new(1, 1 << 30)))
}

fn broker_on(backend: Arc<Disk>) -> (Arc<Broker>, Writer) {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let settings = Settings { authentication, ..Settings::default() };
    let options = Options { segment_size: 8 << 20, keep_free: 0, low_below: 0, ..Options::default() };
    let fatal = Box::new(|error: &fairlead_journal::Error| panic!("{error}"));
    let clock = crate::Clock::from_machine();
    let storage = Storage { backend, options, clock, fatal };
    let Opened { broker, writer, .. } =
        Broker::open(settings, HeadReaders { amqp_0_9_1: &Pairs }, storage).unwrap();
    (broker, writer)
}

fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..QueueSettings::default() }
}

fn declare_request(queue: &str) -> Request {
    Request::DeclareQueue { name: queue.to_owned(), settings: Some(Box::new(durable())) }
}

fn step(writer: &mut Writer) {
    assert!(matches!(writer.step(), Step::Durable(_)));
}

/// A client with durable queues that are on disk.
fn client_with(broker: &Arc<Broker>, writer: &mut Writer, queues: &[&str]) -> Client {
    let mut client = Client::new(broker);
    for queue in queues {
        assert_eq!(client.connection.execute(ONE, declare_request(queue), client.now), None, "it waits");
        step(writer);
        assert!(matches!(client.receive().1[..], [Event::Reply { result: Ok(_), .. }]));
    }
    client
}

fn persistent(queue: &str, confirm: u64) -> Publish<'_> {
    let mut publish = publish("", queue, "body");
    publish.message.persistent = true;
    publish.confirm = Some(confirm);
    publish
}

fn confirmed(to: u64) -> Event {
    Event::Confirmed { session: ONE, from: to, to, accepted: true }
}

#[test]
fn a_confirm_waits_for_its_sync() {
    let (broker, mut writer) = broker_on_disk();
    let mut client = client_with(&broker, &mut writer, &["queue"]);
    assert_eq!(client.publish(&[persistent("queue", 1)]), []);
    assert_eq!(client.receive().1, []);
    step(&mut writer);
    assert_eq!(client.receive().1, [confirmed(1)]);
}

#[test]
fn a_confirm_covers_the_settlements_that_came_before_its_publish() {
    let (broker, mut writer) = broker_on_disk();
    let mut client = client_with(&broker, &mut writer, &["source", "target"]);
    client.publish(&[persistent("source", 1)]);
    step(&mut writer);
    client.receive();
    let got = client.get("source").unwrap();
    // Read together, the publish goes first, and a sync may come between it and the settlement.
    let mut publish = persistent("target", 2);
    publish.message.publisher = client.connection.id();
    let mut events = Vec::new();
    client.connection.publish_batch(&[publish], client.now, &mut events);
    step(&mut writer);
    client.settle(Outcome::Accepted, &[got]);
    client.connection.tell_confirms(&mut events);
    assert_eq!((events, client.receive().1), (vec![], vec![]));
    step(&mut writer);
    assert_eq!(client.receive().1, [confirmed(2)]);
}

#[test]
fn an_answer_waits_for_what_another_client_has_just_declared() {
    let (broker, mut writer) = broker_on_disk();
    let (mut one, mut two) = (Client::new(&broker), Client::new(&broker));
    for client in [&mut one, &mut two] {
        assert_eq!(client.connection.execute(ONE, declare_request("queue"), client.now), None);
        assert_eq!(client.receive().1, []);
    }
    // What is not kept waits for nothing.
    two.declare("transient", QueueSettings::default()).unwrap();
    step(&mut writer);
    for client in [&mut one, &mut two] {
        assert!(matches!(client.receive().1[..], [Event::Reply { result: Ok(_), .. }]));
    }
    two.declare("queue", durable()).unwrap();
}

#[test]
fn operators_see_what_came_back_at_once() {
    let disk = Arc::new(Disk::new(1, 1 << 30));
    let (broker, mut writer) = broker_on(Arc::clone(&disk));
    let mut client = client_with(&broker, &mut writer, &["queue"]);
    client.publish(&[persistent("queue", 1)]);
    step(&mut writer);
    let (broker, _writer) = broker_on(Arc::new(disk.killed()));
    let reports = crate::report::Source::queues(&*broker);
    assert_eq!(reports.iter().map(|queue| (queue.ready, queue.bytes)).collect::<Vec<_>>(), [(1, 4)]);
}

/// What a purge comes to, if that can be told now.
pub(super) fn on_disk(
    purge: &mut Pin<&mut impl Future<Output = Result<u64, NotOnDisk>>>,
) -> Option<Result<u64, NotOnDisk>> {
    match purge.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn removed(messages: u64) -> Event {
    Event::Reply { session: ONE, result: Ok(Reply::Removed { messages }) }
}

#[test]
fn a_purge_is_told_when_its_record_is_on_disk_and_so_is_one_that_found_all_gone() {
    let (broker, mut writer) = broker_on_disk();
    let mut one = client_with(&broker, &mut writer, &["queue"]);
    let mut two = Client::new(&broker);
    let purge = Request::PurgeQueue { name: "queue".to_owned() };
    one.publish(&[persistent("queue", 1)]);
    step(&mut writer);
    one.receive();
    for client in [&mut one, &mut two] {
        assert_eq!(client.connection.execute(ONE, purge.clone(), client.now), None);
        assert_eq!(client.receive().1, []);
    }
    step(&mut writer);
    assert_eq!((one.receive().1, two.receive().1), (vec![removed(1)], vec![removed(0)]));
    assert_eq!(two.connection.execute(ONE, purge.clone(), two.now), Some(removed(0)), "all is on disk");
    one.publish(&[persistent("queue", 2)]);
    one.declare("transient", QueueSettings::default()).unwrap();
    let purge = Request::PurgeQueue { name: "transient".to_owned() };
    assert_eq!(two.connection.execute(ONE, purge, two.now), Some(removed(0)), "no disk has it");
}

#[test]
fn management_is_told_of_a_purge_when_its_record_is_on_disk() {
    let (broker, mut writer) = broker_on_disk();
    let mut client = client_with(&broker, &mut writer, &["queue"]);
    client.publish(&[persistent("queue", 1)]);
    step(&mut writer);
    let mut purge = pin!(Source::purge(&*broker, "/", "queue").unwrap().on_disk());
    assert_eq!(on_disk(&mut purge), None, "a restart would bring it back");
    step(&mut writer);
    assert_eq!(on_disk(&mut purge), Some(Ok(1)));

    client.publish(&[persistent("queue", 2)]);
    step(&mut writer);
    let mut purge = pin!(Source::purge(&*broker, "/", "queue").unwrap().on_disk());
    assert_eq!(on_disk(&mut purge), None);
    drop((client, writer, broker));
    assert_eq!(on_disk(&mut purge), Some(Err(NotOnDisk)), "nobody will ever know");
}
