//! A broker on a simulated disk: little room, none at all, and too much that waits.

use super::*;
use crate::counters::Counter;
use crate::report::Source;
use crate::{LOW_ON_DISK, Opened, Storage};
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::{Options, Space, Step};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const BODY: usize = 1000;

fn options() -> Options {
    Options {
        segment_size: 64 << 10,
        first_segment_size: 64 << 10,
        record_most: 32 << 10,
        batch_bytes: 16 << 10,
        spare_for: Duration::ZERO,
        keep_free: 0,
        low_below: 0,
        ..Options::default()
    }
}

fn open(disk: &Disk, options: Options) -> Opened {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let settings = Settings { authentication, journal_pending: 50 << 10, ..Settings::default() };
    let fatal = Box::new(|error: &fairlead_journal::Error| panic!("{error}"));
    let storage =
        Storage { backend: Arc::new(disk.clone()), options, clock: crate::Clock::from_machine(), fatal };
    Broker::open(settings, HeadReaders { amqp_0_9_1: &Pairs }, storage).unwrap()
}

impl Opened {
    /// Everything is written that can be; the last step says whether that is all.
    fn write(&mut self) -> Step {
        loop {
            match self.writer.step() {
                Step::Durable(_) => {}
                other => return other,
            }
        }
    }

    /// The keeper and the janitor have looked.
    fn look(&mut self) {
        self.keeper.step().unwrap();
        self.broker.run_due(self.broker.clock().now());
    }

    fn client(&mut self) -> Client {
        let mut client = Client::new(&self.broker);
        let settings = QueueSettings { durable: true, ..QueueSettings::default() };
        let request = Request::DeclareQueue { name: "q".to_owned(), settings: Some(Box::new(settings)) };
        assert_eq!(client.connection.execute(ONE, request, client.now), None, "it waits for the disk");
        self.write();
        assert!(matches!(client.receive().1[..], [Event::Reply { result: Ok(_), .. }]));
        client
    }
}

/// Publish so many persistent messages with confirms, numbered on from `from`.
fn publish_persistent(client: &mut Client, from: u64, count: u64) -> Vec<Event> {
    let bodies: Vec<String> = (from..from + count).map(|number| format!("{number:BODY$}")).collect();
    let publishes: Vec<_> = bodies
        .iter()
        .zip(from..)
        .map(|(body, number)| {
            let mut publish = publish("", "q", body);
            publish.message.persistent = true;
            publish.confirm = Some(number);
            publish
        })
        .collect();
    client.publish(&publishes)
}

/// How many publishes these events confirm.
fn confirmed(events: &[Event]) -> u64 {
    let counts = events.iter().map(|event| match event {
        Event::Confirmed { from, to, accepted: true, .. } => to - from + 1,
        Event::Blocked { .. } | Event::Unblocked => 0,
        other => panic!("{other:?}"),
    });
    counts.sum()
}

/// All deliveries: what is on disk only is read when there is room for more on their way.
fn receive_all(opened: &Opened, client: &mut Client) -> Vec<Delivered> {
    let mut all = Vec::new();
    loop {
        let some = client.receive().0;
        let fetched = opened.broker.fetch_next(client.now);
        if some.is_empty() && !fetched {
            return all;
        }
        all.extend(some);
    }
}

fn reasons(broker: &Broker) -> Vec<&'static str> {
    broker.not_ready().iter().map(|reason| reason.reason).collect()
}

#[test]
fn little_room_stops_publishers_and_consumers_go_on_until_there_is_more() {
    let disk = Disk::new(1, 2 << 20);
    let mut opened = open(&disk, Options { low_below: 1 << 20, ..options() });
    let mut client = opened.client();
    opened.look();
    assert_eq!(opened.broker.blocked(), None);
    let mut published = 0;
    while opened.broker.blocked().is_none() {
        assert_eq!(publish_persistent(&mut client, published, 20), []);
        published += 20;
        assert_eq!(opened.write(), Step::Idle);
        opened.look();
    }
    assert_eq!((opened.broker.blocked(), reasons(&opened.broker)), (Some(LOW_ON_DISK), vec!["disk_alarm"]));
    assert!(opened.broker.overview().disk_alarm);
    let (_, events) = client.receive();
    assert!(events.contains(&Event::Blocked { reason: LOW_ON_DISK }));
    assert_eq!(confirmed(&events), published, "there was room for all of them");
    let mut newcomer = Client::new_raw(&opened.broker);
    assert_eq!(newcomer.next_event(), Some(Event::Blocked { reason: LOW_ON_DISK }));

    client.consume("q", acknowledging(None));
    let deliveries = receive_all(&opened, &mut client);
    assert_eq!(deliveries.len() as u64, published);
    client.settle(Outcome::Accepted, &deliveries);
    assert_eq!(opened.write(), Step::Idle);
    opened.look();

    // A bit more than the mark is not enough, and well above it is.
    let journal = opened.broker.journal().unwrap();
    let more = journal.free_mark - journal.free_bytes;
    disk.set_capacity((2 << 20) + more + 1000);
    opened.look();
    assert_eq!(opened.broker.blocked(), Some(LOW_ON_DISK));
    disk.set_capacity((2 << 20) + more + (1 << 20) / 16);
    opened.look();
    assert_eq!((opened.broker.blocked(), reasons(&opened.broker)), (None, vec![]));
    assert_eq!(client.receive().1, [Event::Unblocked]);
    assert_eq!(opened.broker.counters().get(Counter::DiskAlarms), 1);
}

#[test]
fn a_full_disk_confirms_nothing_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = Disk::new(1, 512 << 10);
    let mut opened = open(&disk, options());
    let mut client = opened.client();
    let mut published = 0;
    let mut told = 0;
    loop {
        told += confirmed(&publish_persistent(&mut client, published, 20));
        published += 20;
        if opened.write() == Step::Blocked {
            break;
        }
        opened.look();
    }
    opened.look();
    assert_eq!((opened.broker.blocked(), reasons(&opened.broker)), (Some(LOW_ON_DISK), vec!["disk_alarm"]));
    told += confirmed(&client.receive().1);
    assert!(told < published, "what is not on disk is not confirmed");
    assert!(opened.broker.journal().unwrap().pending_bytes > 0);

    // Consumers are served what is in memory, and what they settle is taken.
    let mut consumer = Client::new(&opened.broker);
    consumer.consume("q", acknowledging(Some(5)));
    let (first, _) = consumer.receive();
    assert_eq!(first.len(), 5);
    consumer.settle(Outcome::Accepted, &first);

    disk.set_capacity(4 << 20);
    assert_eq!(opened.write(), Step::Idle);
    opened.look();
    assert_eq!(opened.broker.blocked(), None);
    told += confirmed(&client.receive().1);
    assert_eq!(told, published);
    drop((client, consumer));
    opened.write();

    let mut again = open(&disk.crash(7), options());
    let mut client = Client::new(&again.broker);
    assert_eq!(client.counts("q").0, published - 5);
    let journal = again.broker.journal().unwrap();
    assert!(journal.recovery_records >= published && journal.durable_position > 0, "{journal:?}");
    assert_eq!(journal.live_records, published - 5);
    let (fewer, syncs) = (journal.sync_seconds.below[0].1, journal.sync_seconds.count);
    assert!(fewer <= syncs && syncs == journal.syncs, "{journal:?}");
    client.consume("q", acknowledging(None));
    let numbers: Vec<u64> = receive_all(&again, &mut client)
        .iter()
        .map(|delivery| delivery.body.trim().parse().unwrap())
        .collect();
    assert_eq!(numbers, (5..published).collect::<Vec<_>>());
    again.look();
}

#[test]
fn the_reserve_is_for_what_makes_room_and_consumers_end_the_alarm() {
    let disk = Disk::new(1, 2 << 20);
    let mut opened = open(&disk, Options { keep_free: 1 << 20, ..options() });
    let mut client = opened.client();
    let mut published = 0;
    while opened.broker.blocked().is_none() {
        publish_persistent(&mut client, published, 20);
        published += 20;
        assert_eq!(opened.write(), Step::Idle);
        opened.look();
    }
    assert_eq!(opened.broker.pressure.disk(), Space::Full);
    client.consume("q", acknowledging(None));
    // What waits in the sockets of those that are not read is the most that comes still.
    publish_persistent(&mut client, published, 200);
    assert_eq!(opened.write(), Step::Idle, "it is written into the reserve");
    let deliveries = receive_all(&opened, &mut client);
    assert_eq!(deliveries.len() as u64, published + 200);
    client.settle(Outcome::Accepted, &deliveries);
    assert_eq!(opened.write(), Step::Idle);
    assert!(opened.broker.checkpoint().unwrap());
    assert_eq!(opened.write(), Step::Idle);
    opened.look();
    opened.look();
    assert_eq!(opened.broker.blocked(), None);
    assert!(disk.used() < 1 << 20, "{} bytes are used", disk.used());
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn who_makes_too_much_wait_for_the_disk_is_not_read_until_it_has_caught_up() {
    let disk = Disk::new(1, 8 << 20);
    let mut opened = open(&disk, options());
    let mut client = opened.client();
    let mut other = Client::new(&opened.broker);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);

    publish_persistent(&mut client, 0, 20);
    assert_eq!(client.connection.poll_caught_up(&mut context), Poll::Ready(()), "not too much yet");
    publish_persistent(&mut client, 20, 40);
    assert_eq!(client.connection.poll_caught_up(&mut context), Poll::Pending);
    assert_eq!(client.connection.poll_caught_up(&mut context), Poll::Pending);
    assert_eq!(other.connection.poll_caught_up(&mut context), Poll::Ready(()), "it makes nobody wait");
    other.publish(&[publish("", "q", "transient")]);
    assert_eq!(other.connection.poll_caught_up(&mut context), Poll::Ready(()), "nor does this");
    assert_eq!(opened.broker.journal().unwrap().waiting_connections, 1);
    assert_eq!(opened.broker.blocked(), None, "no client is told");

    assert!(matches!(opened.writer.step(), Step::Durable(_)));
    assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
    opened.write();
    assert_eq!(client.connection.poll_caught_up(&mut context), Poll::Ready(()));
    assert_eq!(opened.broker.journal().unwrap().waiting_connections, 0);
    assert_eq!(opened.broker.counters().get(Counter::JournalWaits), 1);

    publish_persistent(&mut client, 60, 60);
    assert_eq!(client.connection.poll_caught_up(&mut context), Poll::Pending);
    drop(client);
    assert_eq!(opened.broker.journal().unwrap().waiting_connections, 0, "who has gone waits no more");
}
