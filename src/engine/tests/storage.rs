//! A broker on a simulated disk: what is told, and what is there after a crash.

use super::{Client, ONE, Pairs, binding, publish};
use crate::auth::Authentication;
use crate::counters::Counter;
use crate::{Broker, OpenError, Opened, Settings, Storage, missing};
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::format::{RECORD_HEADER, decode_record, space};
use fairlead_journal::{Backend, Options, Step, Stopped};
use fairlead_kernel::MessageView;
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::session::{Event, Outcome, Publish, Reply, Request};
use fairlead_kernel::settings::{ConsumerSettings, ExchangeKind, ExchangeSettings, QueueSettings};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

/// Memory of a queue: next to nothing, so that most messages are on the disk only.
const QUEUE_MEMORY: u64 = 2000;
const READERS: HeadReaders = HeadReaders { amqp_0_9_1: &Pairs };

fn open(disk: &Disk) -> Opened {
    try_open(disk).unwrap()
}

fn try_open(disk: &Disk) -> Result<Opened, OpenError> {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let settings = Settings { authentication, queue_memory: QUEUE_MEMORY, ..Settings::default() };
    let options = Options {
        segment_size: 2 << 20,
        first_segment_size: 64 << 10,
        record_most: (1 << 20) + 1024,
        batch_bytes: 64 << 10,
        spares_most: 1,
        spare_for: Duration::ZERO,
        keep_free: 0,
        low_below: 0,
        ..Options::default()
    };
    let fatal = Box::new(|error: &fairlead_journal::Error| panic!("{error}"));
    let storage =
        Storage { backend: Arc::new(disk.clone()), options, clock: crate::Clock::from_machine(), fatal };
    Broker::open(settings, READERS, storage)
}

/// Everything that was appended is on the disk.
fn sync(opened: &mut Opened) {
    loop {
        match opened.writer.step() {
            Step::Idle => break,
            Step::Durable(_) => {}
            other => panic!("{other:?}"),
        }
        opened.keeper.step().unwrap();
    }
    while opened.broker.fetch_next(opened.broker.clock().now()) {}
}

/// A client's request whose answer waits for the disk.
fn ask(opened: &mut Opened, client: &mut Client, request: Request) -> Reply {
    let now = client.now;
    let told = client.connection.execute(ONE, request, now);
    assert_eq!(told, None, "nothing is told before it is on the disk");
    assert_eq!(client.connection.next_event(), None);
    sync(opened);
    match client.connection.next_event() {
        Some(Event::Reply { result, .. }) => result.unwrap(),
        other => panic!("not an answer: {other:?}"),
    }
}

fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..QueueSettings::default() }
}

fn declare(opened: &mut Opened, client: &mut Client, name: &str) {
    let settings = Some(Box::new(durable()));
    ask(opened, client, Request::DeclareQueue { name: name.to_owned(), settings });
}

fn persistent<'a>(exchange: &'a str, key: &'a str, body: &'a str) -> Publish<'a> {
    let publish = publish(exchange, key, body);
    Publish { message: MessageView { persistent: true, ..publish.message }, ..publish }
}

/// All that a queue gives, settled.
fn drain(opened: &mut Opened, queue: &str) -> Vec<String> {
    let mut client = Client::new(&opened.broker);
    client.consume(queue, ConsumerSettings::default());
    let mut bodies = Vec::new();
    loop {
        let (delivered, _) = client.receive();
        client.connection.delivered(client.now);
        let fetched = opened.broker.fetch_next(client.now);
        if delivered.is_empty() && !fetched {
            return bodies;
        }
        bodies.extend(delivered.into_iter().map(|delivered| delivered.body));
    }
}

#[test]
fn confirms_wait_for_the_disk_and_what_is_confirmed_survives() {
    let disk = Disk::new(1, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    declare(&mut opened, &mut client, "q");
    let kind = ExchangeKind::Topic;
    let settings = ExchangeSettings {
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        alternate: None,
        hash_header: None,
        arguments: Vec::new(),
    };
    let request = Request::DeclareExchange { name: "x".to_owned(), settings: Some(settings) };
    ask(&mut opened, &mut client, request);
    ask(&mut opened, &mut client, Request::Bind(binding("x", "q", "a.*")));
    let confirmed = Publish { confirm: Some(1), ..persistent("x", "a.b", "kept") };
    assert_eq!(client.publish(&[confirmed]), [], "not yet");
    assert_eq!(client.connection.next_event(), None);
    let before = disk.crash(7);
    sync(&mut opened);
    let told = client.connection.next_event();
    assert_eq!(told, Some(Event::Confirmed { session: ONE, from: 1, to: 1, accepted: true }));
    let transient = Publish { confirm: Some(2), ..publish("x", "a.c", "not kept") };
    let at_once = Event::Confirmed { session: ONE, from: 2, to: 2, accepted: true };
    assert_eq!(client.publish(&[transient]), [at_once], "nothing is promised");
    let mut opened = open(&disk.crash(8));
    assert_eq!(drain(&mut opened, "q"), ["kept"]);
    let mut client = Client::new(&opened.broker);
    assert_eq!(client.publish(&[persistent("x", "a.d", "again")]), []);
    assert_eq!(drain(&mut opened, "q"), ["again"], "exchange and binding are there");
    let mut opened = open(&before);
    assert!(drain(&mut opened, "q").len() <= 1, "it may be there or not: nobody was told");
}

#[test]
fn a_queue_longer_than_its_memory_keeps_its_order_and_its_place_after_a_crash() {
    let disk = Disk::new(2, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    declare(&mut opened, &mut client, "q");
    let mut expected: Vec<String> = (0..2000).map(|n| format!("{n:0>200}")).collect();
    expected.push("L".repeat(3_000_000));
    for body in &expected {
        client.publish(&[persistent("", "q", body)]);
    }
    sync(&mut opened);
    assert!(opened.broker.memory.used() < 120_000, "{}", opened.broker.memory.used());
    assert!(opened.broker.checkpoint().unwrap());
    sync(&mut opened);
    for body in ["behind", "the checkpoint"] {
        client.publish(&[persistent("", "q", body)]);
        expected.push(body.to_owned());
    }
    sync(&mut opened);
    for seed in 0..3 {
        let mut opened = open(&disk.crash(seed));
        assert_eq!(Client::new(&opened.broker).counts("q").0, expected.len() as u64);
        assert!(drain(&mut opened, "q") == expected);
    }
}

#[test]
fn a_segment_that_a_start_would_miss_is_missed_without_a_start() {
    let disk = Disk::new(4, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    filled(&mut opened, &mut client, 20_000);
    maintain(&mut opened, client.now);
    let whole = disk.killed();
    drop(opened);
    assert!(missing(&Stopped::open(&whole.killed()).unwrap(), READERS).is_empty(), "nothing is");
    let mut names = whole.list().unwrap();
    names.retain(|name| name.ends_with(".segment"));
    names.sort();
    // What the newest checkpoint and what came behind it are in is looked for before anything else.
    let (mut before_replay, mut at_once) = (0, 0);
    for name in &names[..names.len() - 2] {
        let damaged = whole.killed();
        damaged.remove(name).unwrap();
        let told = match Stopped::open(&damaged) {
            Ok(stopped) => {
                before_replay += 1;
                missing(&stopped, READERS).iter().map(ToString::to_string).collect()
            }
            Err(error) => {
                at_once += 1;
                vec![error.to_string()]
            }
        };
        let refused = try_open(&damaged).err().map(|error| error.to_string());
        assert_eq!(told.first(), refused.as_ref(), "{name}");
        assert!(refused.is_some_and(|words| words.contains("is missing")), "{name} is needed");
    }
    assert!(before_replay > 0, "{before_replay} and {at_once} of {names:?}");
}

#[test]
fn segments_go_when_their_messages_have_and_what_lives_in_them_is_copied() {
    let disk = Disk::new(3, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    declare(&mut opened, &mut client, "q");
    declare(&mut opened, &mut client, "old");
    let large = "L".repeat(1_500_000);
    client.publish(&[persistent("", "old", "one"), persistent("", "old", &large)]);
    client.consume("q", ConsumerSettings { acknowledge: true, ..ConsumerSettings::default() });
    let body = "x".repeat(10_000);
    let (mut most, mut settled) = (0, 0);
    for round in 0..40 {
        client.publish(&[persistent("", "q", &body); 50]);
        sync(&mut opened);
        let (delivered, _) = client.receive();
        client.connection.delivered(client.now);
        settled += delivered.len();
        let deliveries = delivered.iter().map(super::Delivered::unsettled).collect();
        client.tell(Request::Settle { outcome: Outcome::Accepted, deliveries });
        opened.broker.checkpoint().unwrap();
        sync(&mut opened);
        while opened.broker.maintain_storage(client.now).unwrap() {
            sync(&mut opened);
        }
        sync(&mut opened);
        if round > 10 {
            most = most.max(disk.used());
        }
    }
    assert!(most < 16 << 20, "20 MB went through; {most} bytes are on the disk");
    let moved = open(&disk.crash(4));
    drop(opened);
    let mut opened = moved;
    assert!(drain(&mut opened, "old") == ["one".to_owned(), large]);
    assert_eq!(drain(&mut opened, "q").len(), 2000 - settled);
    opened.broker.checkpoint().unwrap();
    sync(&mut opened);
}

/// Upkeep until nothing is left to do.
fn maintain(opened: &mut Opened, now: fairlead_kernel::Time) {
    opened.broker.checkpoint().unwrap();
    sync(opened);
    while opened.broker.maintain_storage(now).unwrap() {
        sync(opened);
    }
    sync(opened);
}

/// A queue with so many messages, most of them in pages.
fn filled(opened: &mut Opened, client: &mut Client, messages: usize) -> Vec<String> {
    declare(opened, client, "q");
    let bodies: Vec<String> = (0..messages).map(|n| format!("{n:0>100}")).collect();
    for body in &bodies {
        client.publish(&[persistent("", "q", body)]);
    }
    sync(opened);
    bodies
}

#[test]
fn a_queue_in_pages_is_drained_across_crashes_without_loss_or_doubles() {
    let mut disk = Disk::new(5, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let bodies = filled(&mut opened, &mut client, 3000);
    let held = opened.broker.memory.used();
    assert!(held < 60_000, "{held} bytes for what would be 144,000 of entries alone");
    let mut seen = 0;
    let window = ConsumerSettings { acknowledge: true, window: Some(40), ..ConsumerSettings::default() };
    for round in 0..12 {
        if round % 3 == 0 {
            opened.broker.checkpoint().unwrap();
            sync(&mut opened);
        }
        let mut client = Client::new(&opened.broker);
        assert_eq!(client.counts("q").0 as usize, 3000 - seen, "round {round}");
        client.consume("q", window.clone());
        let mut taken = 0;
        while taken < 230 {
            let (delivered, _) = client.receive();
            client.connection.delivered(client.now);
            for delivery in &delivered {
                assert_eq!(delivery.body, bodies[seen], "round {round}");
                seen += 1;
            }
            taken += delivered.len();
            let deliveries = delivered.iter().map(super::Delivered::unsettled).collect();
            client.tell(Request::Settle { outcome: Outcome::Accepted, deliveries });
            sync(&mut opened);
        }
        let (open_again, _) = client.receive();
        assert!(open_again.len() <= 40, "what is held is delivered again");
        disk = if round % 2 == 0 { disk.crash(round) } else { disk.killed() };
        opened = open(&disk);
    }
    assert!(drain(&mut opened, "q") == bodies[seen..]);
    sync(&mut opened);
    let mut opened = open(&disk.crash(99));
    assert!(drain(&mut opened, "q").is_empty());
}

#[test]
fn get_purge_and_delete_reach_what_is_in_pages() {
    let disk = Disk::new(6, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let bodies = filled(&mut opened, &mut client, 1000);
    for body in &bodies[..300] {
        let get = Request::Get { queue: "q".to_owned(), acknowledge: false };
        assert_eq!(client.connection.execute(ONE, get, client.now), None);
        let (delivered, _) = client.receive();
        assert_eq!(delivered[0].body, *body);
    }
    client.consume("q", ConsumerSettings { browse: true, acknowledge: true, ..ConsumerSettings::default() });
    let mut browsed = Vec::new();
    loop {
        let (delivered, _) = client.receive();
        client.connection.delivered(client.now);
        if delivered.is_empty() && !opened.broker.fetch_next(client.now) {
            break;
        }
        browsed.extend(delivered.into_iter().map(|delivered| delivered.body));
    }
    assert!(browsed == bodies[300..], "{} of 700 were shown", browsed.len());
    drop(client);
    let disk = disk.killed();
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let purged = ask(&mut opened, &mut client, Request::PurgeQueue { name: "q".to_owned() });
    assert!(matches!(purged, Reply::Removed { messages } if messages >= 700), "{purged:?}");
    assert_eq!(client.counts("q").0, 0);
    for body in &bodies[..500] {
        client.publish(&[persistent("", "q", body)]);
    }
    sync(&mut opened);
    let disk = disk.crash(1);
    let mut opened = open(&disk);
    let left = drain(&mut opened, "q");
    assert!(left == bodies[..500], "{} from {:?}", left.len(), left.first());
    let mut client = Client::new(&opened.broker);
    for body in &bodies {
        client.publish(&[persistent("", "q", body)]);
    }
    let request = Request::DeleteQueue { name: "q".to_owned(), if_unused: false, if_empty: false };
    ask(&mut opened, &mut client, request);
    maintain(&mut opened, client.now);
    let opened = open(&disk.crash(2));
    assert_eq!(opened.broker.queues.load().size(), 0);
}

#[test]
fn messages_in_pages_are_copied_out_of_segments_that_are_mostly_dead() {
    let disk = Disk::new(7, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let mut expected = filled(&mut opened, &mut client, 10);
    declare(&mut opened, &mut client, "traffic");
    client.consume("traffic", ConsumerSettings::default());
    let body = "x".repeat(500);
    for n in 0..3000 {
        let kept = format!("{n:0>100}");
        client.publish(&[persistent("", "traffic", &body); 10]);
        client.publish(&[persistent("", "q", &kept)]);
        expected.push(kept);
        if n % 10 == 0 {
            sync(&mut opened);
            client.receive();
            client.connection.delivered(client.now);
        }
        if n % 500 == 0 {
            maintain(&mut opened, client.now);
        }
    }
    for _ in 0..4 {
        maintain(&mut opened, client.now);
    }
    let used = disk.used();
    assert!(used < 10 << 20, "19 MB of traffic went through beside 0.3 MB; {used} bytes are on the disk");
    let mut reopened = open(&disk.crash(3));
    drop(opened);
    assert!(drain(&mut reopened, "q") == expected);
}

#[test]
fn a_page_that_a_checkpoint_names_outlives_its_queue_until_the_next_checkpoint() {
    let mut disk = Disk::new(8, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    declare(&mut opened, &mut client, "q");
    let body = "x".repeat(1000);
    for _ in 0..6000 {
        client.publish(&[persistent("", "q", &body)]);
    }
    sync(&mut opened);
    assert!(opened.broker.checkpoint().unwrap());
    sync(&mut opened);
    // A part of a page goes, and then the queue: a start reads that page to do the first.
    for _ in 0..30 {
        let get = Request::Get { queue: "q".to_owned(), acknowledge: false };
        client.connection.execute(ONE, get, client.now);
        client.receive();
    }
    let request = Request::DeleteQueue { name: "q".to_owned(), if_unused: false, if_empty: false };
    ask(&mut opened, &mut client, request);
    for _ in 0..3 {
        sync(&mut opened);
        opened.keeper.step().unwrap();
    }
    for seed in 0..2 {
        disk = disk.crash(seed);
        opened = open(&disk);
        assert_eq!(opened.broker.queues.load().size(), 0);
        sync(&mut opened);
        opened.keeper.step().unwrap();
    }
    // Three files stay: the segment that is written to, the next one, and a spare.
    let three = 3 * (2 << 20);
    assert!(disk.used() > three, "the pages' segments are there");
    opened.broker.checkpoint().unwrap();
    sync(&mut opened);
    opened.keeper.step().unwrap();
    assert!(disk.used() <= three, "{} bytes are on the disk", disk.used());
    open(&disk.crash(2));
}

/// Make another record, with a good checksum, of the first one in the first segment that `is` the one: `change` has its
/// payload.
fn rewrite(disk: &Disk, mut is: impl FnMut(u8, &[u8]) -> bool, change: impl Fn(&mut [u8])) {
    let file = disk.open("0000000000000000.segment").unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let mut at = 64;
    loop {
        let (header, payload) = decode_record(&bytes[at..], at as u64).unwrap();
        if is(header.kind, payload) {
            let mut payload = payload.to_vec();
            change(&mut payload);
            let header = header.encode(crc32c::crc32c(&payload));
            file.write_at(&[IoSlice::new(&header), IoSlice::new(&payload)], at as u64).unwrap();
            return;
        }
        at += space(payload.len()) as usize;
        assert!(at + RECORD_HEADER < bytes.len(), "no such record");
    }
}

#[test]
fn a_message_that_cannot_be_understood_is_lost_and_counted_and_those_behind_it_come() {
    let disk = Disk::new(8, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let mut bodies = filled(&mut opened, &mut client, 20);
    let lost = bodies.remove(18);
    // The byte behind the priority is the origin, of which there are three.
    rewrite(&disk, |_, payload| payload.ends_with(lost.as_bytes()), |payload| payload[33] = 9);
    assert_eq!(drain(&mut opened, "q"), bodies);
    assert_eq!(opened.broker.counters().get(Counter::MessagesUnreadable), 1);
    let get = Request::Get { queue: "q".to_owned(), acknowledge: false };
    let empty = Event::Reply { session: ONE, result: Ok(Reply::Empty) };
    assert_eq!(client.connection.execute(ONE, get, client.now), Some(empty));
}

#[test]
fn a_page_that_cannot_be_understood_is_lost_and_counted_and_what_is_behind_it_comes() {
    let disk = Disk::new(9, 1 << 30);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let bodies = filled(&mut opened, &mut client, 100);
    const PAGE: u8 = 11;
    // The first ones may have been read already.
    let mut pages = 0;
    let is_third_page = |kind, _: &[u8]| {
        pages += u32::from(kind == PAGE);
        pages == 3
    };
    rewrite(&disk, is_third_page, |payload| payload.fill(0xff));
    let left = drain(&mut opened, "q");
    let lost = opened.broker.counters().get(Counter::MessagesUnreadable);
    assert!((1..100).contains(&lost), "{lost} messages");
    assert_eq!(left.len() as u64, 100 - lost);
    assert_eq!((&left[0], left.last()), (&bodies[0], bodies.last()));
}
