//! The journal on a real folder, with its threads.

#![allow(clippy::expect_used, reason = "a test's helpers fail as its assertions do")]

mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use fairlead_journal::{
    Error, Events, Folder, Journal, Need, Opened, Options, Part, Position, Record, Replay, Stopped, StreamId,
};
use parking_lot::{Condvar, Mutex};
use world::owner::{ITEM, Owner};
use world::temporary::Temporary;

/// Wakes whoever waits for a position.
#[derive(Clone, Default)]
struct Reached(Arc<(Mutex<u64>, Condvar)>);

impl Reached {
    fn wait(&self, position: Position) {
        let mut durable = self.0.0.lock();
        while *durable <= position.0 {
            self.0.1.wait(&mut durable);
        }
    }
}

impl Events for Reached {
    fn durable(&self, before: Position) {
        *self.0.0.lock() = before.0;
        self.0.1.notify_all();
    }

    fn fatal(&self, error: &Error) {
        panic!("{error}");
    }
}

fn small() -> Options {
    Options {
        segment_size: 1 << 20,
        first_segment_size: 64 << 10,
        record_most: 64 << 10,
        ..Options::default()
    }
}

fn open(folder: Folder, reached: &Reached, replay: &mut dyn Replay) -> Opened {
    Journal::open(Arc::new(folder), small(), Box::new(reached.clone()), replay).expect("it opens")
}

const ITEM_OF_ONE: Record = Record { stream: StreamId(1), kind: ITEM, live: true, need: Need::Refusable };

#[test]
fn many_threads_append_and_wait_and_everything_is_there_after_a_restart() {
    let temporary = Temporary::new();
    let reached = Reached::default();
    let Opened { journal, writer, keeper, .. } = open(temporary.folder(), &reached, &mut Owner::default());
    let workers = [thread::spawn(move || writer.run()), thread::spawn(move || keeper.run())];
    let appenders: Vec<_> = (0..4_u64)
        .map(|stream| {
            let (journal, reached) = (journal.clone(), reached.clone());
            thread::spawn(move || {
                let mut appended = Vec::new();
                for number in 0..300_usize {
                    let payload = vec![stream as u8; 1 + number * 53 % 20_000];
                    let shared = bytes::Bytes::from(payload.clone());
                    let record = Record { stream: StreamId(stream), ..ITEM_OF_ONE };
                    let position = journal.append(record, &[Part::Shared(&shared)]).expect("taken");
                    assert_eq!(journal.read(position).expect("waiting, in flight or on disk"), payload);
                    if number % 3 == 0 {
                        reached.wait(position);
                        assert!(journal.durable() > position);
                    }
                    appended.push((position, payload));
                }
                appended
            })
        })
        .collect();
    let appended: Vec<_> = appenders.into_iter().map(|appender| appender.join().expect("no panic")).collect();
    journal.close();
    workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
    assert!(journal.statistics().sealed_segments > 5);
    drop(journal);
    let report = Stopped::open(&temporary.folder()).expect("nobody has it").verify();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let mut owner = Owner::default();
    let opened = open(temporary.folder(), &reached, &mut owner);
    for (stream, appended) in appended.iter().enumerate() {
        let replayed = owner.replayed.iter().filter(|operation| operation.stream == stream as u64);
        let replayed: Vec<_> =
            replayed.map(|operation| (Position(operation.position), operation.payload.to_vec())).collect();
        assert_eq!(&replayed, appended, "of stream {stream}, in order");
    }
    for (position, payload) in appended.iter().flatten() {
        assert_eq!(&opened.journal.read(*position).expect("on disk"), payload);
    }
}

#[test]
fn a_second_broker_is_kept_out_and_told_by_whom() {
    let temporary = Temporary::new();
    let first = open(temporary.folder(), &Reached::default(), &mut Owner::default());
    let second = Journal::open(
        Arc::new(temporary.folder()),
        small(),
        Box::new(Reached::default()),
        &mut Owner::default(),
    );
    let error = second.err().expect("it is locked");
    let words = format!("the data folder is in use by process {}", std::process::id());
    assert_eq!(error.to_string(), words);
    drop(first);
    drop(open(temporary.folder(), &Reached::default(), &mut Owner::default()));
}

/// Where the data folders of released formats are.
fn fixture(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

#[test]
fn a_data_folder_of_format_1_opens() {
    let temporary = Temporary::new();
    drop(temporary.folder());
    for entry in std::fs::read_dir(fixture(1)).expect("the fixture is committed") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), temporary.0.join(entry.file_name())).expect("copied");
    }
    let mut owner = Owner::default();
    let opened = Journal::open(
        Arc::new(temporary.folder()),
        world::options(),
        Box::new(Reached::default()),
        &mut owner,
    );
    let opened = opened.expect("it opens");
    assert_eq!((opened.recovered.epoch, opened.recovered.records), (3, 10));
    let items: Vec<u64> = owner.live.into_values().flatten().collect();
    assert_eq!(items.len(), 40);
    for (number, position) in items.into_iter().enumerate() {
        assert_eq!(opened.journal.read(Position(position)).expect("readable"), vec![number as u8; 150]);
    }
}
