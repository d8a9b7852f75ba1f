//! What a stopped journal's records are called, and where copies cannot go.

use super::*;
use crate::{Described, Describer, Detail, Opened, SnapshotError, Storage};
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::{Options, Step, Stopped};
use std::collections::BTreeMap;
use std::path::Path;

fn number(described: &Described, name: &str) -> Option<u64> {
    described.details.iter().find_map(|(found, detail)| match detail {
        Detail::Number(number) if *found == name => Some(*number),
        Detail::Number(_) | Detail::Text(_) => None,
    })
}

/// A broker whose queues leave nearly all to the disk.
fn open(disk: &Disk) -> Opened {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let settings = Settings { authentication, queue_memory: 2000, ..Settings::default() };
    let options = Options { keep_free: 0, low_below: 0, segment_size: 8 << 20, ..Options::default() };
    let fatal = Box::new(|error: &fairlead_journal::Error| panic!("{error}"));
    let storage =
        Storage { backend: Arc::new(disk.clone()), options, clock: crate::Clock::from_machine(), fatal };
    Broker::open(settings, HeadReaders { amqp_0_9_1: &Pairs }, storage).unwrap()
}

#[test]
fn every_record_is_told_in_words_with_its_queue() {
    let disk = Disk::new(3, 64 << 20);
    let mut opened = open(&disk);
    let mut client = Client::new(&opened.broker);
    let durable = || Some(Box::new(QueueSettings { durable: true, ..QueueSettings::default() }));
    for name in ["kept", "gone"] {
        let request = Request::DeclareQueue { name: name.to_owned(), settings: durable() };
        client.connection.execute(ONE, request, client.now);
    }
    client.connection.execute(ONE, Request::Bind(binding("amq.direct", "kept", "key")), client.now);
    let long = "x".repeat((1 << 20) + 5);
    for (queue, body, transacted) in
        [("kept", "one", false), ("kept", &*long, false), ("gone", "two", false), ("kept", "three", true)]
    {
        let mut publish = publish("", queue, body);
        publish.message.persistent = true;
        publish.transacted = transacted;
        client.publish(&[publish]);
    }
    client.connection.execute(ONE, Request::Commit { settlements: Vec::new() }, client.now);
    // So many that some are left to the disk.
    for _ in 0..200 {
        let mut publish = publish("", "kept", "short");
        publish.message.persistent = true;
        client.publish(&[publish]);
    }
    let delete = Request::DeleteQueue { name: "gone".to_owned(), if_unused: false, if_empty: false };
    client.connection.execute(ONE, delete, client.now);
    while matches!(opened.writer.step(), Step::Durable(_)) {}

    let stopped = Stopped::open(&disk.killed()).unwrap();
    let mut describer = Describer::default();
    let mut found: BTreeMap<(&str, String), Vec<Described>> = BTreeMap::new();
    let take = |record: fairlead_journal::Stored<'_>| {
        let described = describer.describe(&record);
        let queue = described.queue.as_ref().map_or(String::new(), |(host, name)| format!("{host} {name}"));
        found.entry((described.kind, queue)).or_default().push(described);
        ControlFlow::Continue(())
    };
    stopped.dump(take).unwrap();
    let of = |kind, queue: &str| found.get(&(kind, queue.to_owned())).map_or(&[][..], Vec::as_slice);
    assert!(found.keys().all(|(kind, _)| *kind != "unknown"), "{found:?}");
    assert_eq!(of("queue declared", "").len(), 2);
    assert_eq!((of("bound", "").len(), of("queue deleted", "").len()), (1, 1));
    let messages = of("message", "/ kept");
    assert_eq!(messages.len(), 203, "{found:?}");
    let page = &of("page of entries", "/ kept")[0];
    let (count, first, last) = (number(page, "messages"), number(page, "first"), number(page, "last"));
    assert!(
        count > Some(1) && first.zip(last).zip(count).is_some_and(|((a, z), n)| z - a + 1 == n),
        "{page:?}"
    );
    assert_eq!(number(&messages[0], "body_bytes"), Some(3));
    assert_eq!(number(&messages[1], "body_parts"), Some(2));
    assert_eq!(of("part of a body", "/ kept").len(), 2);
    assert!(number(&messages[2], "transaction").is_some());
    assert_eq!((of("message", "/ gone").len(), of("queue gone", "/ gone").len()), (1, 1));
    assert_eq!((of("transaction in force", "").len(), of("transaction committed", "/ kept").len()), (1, 1));

    assert!(opened.broker.checkpoint().unwrap());
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    let mut describer = Describer::default();
    let stopped = Stopped::open(&disk.killed()).unwrap();
    stopped.checkpoint(|stream, part| describer.learn(stream, &part)).unwrap();
    let stream = fairlead_journal::StreamId(number(&of("queue declared", "")[0], "number").unwrap());
    let (position, kind) = (fairlead_journal::Position(8), fairlead_journal::Kind(200));
    let foreign = fairlead_journal::Stored { position, stream, kind, live: false, payload: b"" };
    let described = describer.describe(&foreign);
    assert_eq!(described.queue, Some(("/".into(), "kept".into())), "its declaration was not read");
    assert_eq!((described.kind, number(&described, "number")), ("unknown", Some(200)));
}

#[test]
fn a_broker_that_keeps_nothing_has_nothing_to_copy() {
    let broker = broker();
    assert!(matches!(broker.snapshot_to(Path::new("nowhere")), Err(SnapshotError::NothingKept)));
    assert!(!Path::new("nowhere").exists());
}
