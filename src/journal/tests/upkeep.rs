//! What keeps segments and what lets them go: live records, checkpoints, compaction, copies.

#![allow(clippy::expect_used, reason = "a test's helpers fail as its assertions do")]

mod world;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fairlead_journal::backend::simulated::{Disk, Happened};
use fairlead_journal::{
    Backend, Error, Journal, LiveCounts, Need, Opened, Options, Part, Position, Record, Rejected, Replay,
    SegmentId, Step, Stopped, Stored, StreamId,
};
use world::owner::{ITEM, MOVED, Owner, SETTLED};
use world::{Heard, options};

fn item(stream: u64) -> Record {
    Record { stream: StreamId(stream), kind: ITEM, live: true, need: Need::Refusable }
}

fn settled(stream: u64) -> Record {
    Record { stream: StreamId(stream), kind: SETTLED, live: false, need: Need::Essential }
}

fn open(disk: &Disk, replay: &mut dyn Replay) -> Opened {
    open_with(disk, options(), replay)
}

fn open_with(disk: &Disk, options: Options, replay: &mut dyn Replay) -> Opened {
    Journal::open(Arc::new(disk.clone()), options, Box::new(Heard::default()), replay).expect("it opens")
}

fn write_all(opened: &mut Opened) {
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    opened.keeper.step().expect("the disk works");
}

/// Items of 400 bytes, all durable.
fn append_items(opened: &mut Opened, stream: u64, count: u64) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in 0..count {
        let payload = vec![number as u8; 400];
        positions.push(opened.journal.append(item(stream), &[Part::Slice(&payload)]).expect("taken"));
    }
    write_all(opened);
    positions
}

fn settle(opened: &mut Opened, stream: u64, items: &[Position]) {
    for position in items {
        let payload = position.0.to_le_bytes();
        opened.journal.append(settled(stream), &[Part::Slice(&payload)]).expect("taken");
        assert!(opened.journal.release(*position, 1));
    }
    write_all(opened);
}

/// The segment that a position is in, of those that are there from `from` on.
fn segment_of(journal: &Journal, from: SegmentId, position: Position) -> SegmentId {
    let holds = |segment: &SegmentId| {
        journal.range_of(*segment).is_some_and(|positions| positions.contains(&position.0))
    };
    (from.0..from.0 + 1000).map(SegmentId).find(holds).expect("it is in one")
}

/// A checkpoint of streams with what lives in them.
fn checkpoint(opened: &mut Opened, streams: &[(u64, &[Position])]) {
    let mut checkpoint = opened.journal.checkpoint().expect("none is being made");
    for (stream, items) in streams {
        let mut live = opened.journal.live_counts();
        items.iter().for_each(|position| live.add(*position, 1));
        let parts = items.iter().map(|position| position.0.to_le_bytes());
        checkpoint.stream(StreamId(*stream), opened.journal.next(), &live, parts).expect("taken");
    }
    checkpoint.finish().expect("taken");
    assert!(opened.journal.checkpoint().is_none(), "its root is not on disk yet");
    write_all(opened);
}

#[test]
fn a_segment_goes_when_nothing_in_it_lives_and_a_checkpoint_covers_it_and_not_before() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let items = append_items(&mut opened, 1, 400);
    let full = opened.journal.statistics();
    assert!(full.sealed_segments > 8, "{} sealed segments", full.sealed_segments);
    checkpoint(&mut opened, &[(1, &items)]);
    assert!(opened.journal.statistics().sealed_segments >= full.sealed_segments, "all of it lives");
    settle(&mut opened, 1, &items);
    assert_eq!(opened.journal.statistics().live_records, 0);
    checkpoint(&mut opened, &[(1, &[])]);
    let statistics = opened.journal.statistics();
    assert!(statistics.sealed_segments <= 1, "{} sealed segments", statistics.sealed_segments);
    opened.keeper.step().expect("the disk works");
    let spares = opened.journal.statistics().spare_segments;
    assert_eq!(spares, options().spares_most as u64 + 1, "the rest is unlinked");
    let files = disk.list().expect("listed").len() as u64;
    assert_eq!(files, spares + statistics.sealed_segments + statistics.active_segments);
    append_items(&mut opened, 1, 60);
    assert!(disk.list().expect("listed").len() as u64 <= files, "spares are used again");
}

#[test]
fn more_spares_than_are_kept_lie_for_a_while_unless_room_is_low() {
    let disk = Disk::new(1, 64 << 20);
    // The disk's clock goes a microsecond with each look at it.
    let patient = Options { spare_for: Duration::from_micros(400), ..options() };
    let mut opened = open_with(&disk, patient, &mut Owner::default());
    let items = append_items(&mut opened, 1, 400);
    settle(&mut opened, 1, &items);
    checkpoint(&mut opened, &[(1, &[])]);
    opened.keeper.step().expect("the disk works");
    let lying = opened.journal.statistics().spare_segments;
    assert!(lying > options().spares_most as u64 + 2, "{lying} spares");
    let mut steps = 0;
    while opened.journal.statistics().spare_segments > options().spares_most as u64 + 1 {
        opened.keeper.step().expect("the disk works");
        steps += 1;
        assert!(steps < 1000, "they never go");
    }
    assert!(steps > 10, "they went after {steps} looks");
}

#[test]
fn what_a_recycled_segment_held_is_not_replayed() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let mut previous = SegmentId(0);
    let mut used_again = false;
    let mut last = Vec::new();
    // Records of one size, one a batch: the old ones begin exactly where the new ones end.
    for _ in 0..1200 {
        last = append_items(&mut opened, 1, 1);
        settle(&mut opened, 1, &last);
        let segment = segment_of(&opened.journal, previous, last[0]);
        if segment != previous {
            checkpoint(&mut opened, &[(1, &[])]);
            let files = disk.list().expect("listed").len();
            used_again |= files <= 4 && segment.0 > 8;
            previous = segment;
        }
    }
    assert!(used_again, "segments are recycled");
    let end = opened.journal.durable();
    drop(opened);
    let mut owner = Owner::default();
    let opened = open(&disk, &mut owner);
    assert_eq!(opened.recovered.end, end);
    assert!(owner.replayed.iter().all(|operation| operation.position < end.0));
    assert!(owner.replayed.iter().any(|operation| operation.position == last[0].0));
    assert!(owner.live.is_empty());
}

#[test]
fn one_old_live_record_does_not_pin_its_segment() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let items = append_items(&mut opened, 1, 400);
    // One in twenty stays: at least one in every segment.
    let (old, settled): (Vec<_>, Vec<_>) = items.iter().enumerate().partition(|(index, _)| index % 20 == 0);
    let mut old: Vec<Position> = old.into_iter().map(|(_, position)| *position).collect();
    let settled: Vec<Position> = settled.into_iter().map(|(_, position)| *position).collect();
    settle(&mut opened, 1, &settled);
    checkpoint(&mut opened, &[(1, &old)]);
    let before = opened.journal.statistics();
    let journal = opened.journal.clone();
    while let Some(victim) = journal.victims().first() {
        let range = journal.range_of(*victim).expect("it is there");
        for live in old.iter_mut().filter(|live| range.contains(&live.0)) {
            let payload = journal.read(*live).expect("readable");
            let moved = [&live.0.to_le_bytes()[..], &payload].concat();
            let record = Record { kind: MOVED, need: Need::Essential, ..item(1) };
            let from =
                std::mem::replace(live, journal.append(record, &[Part::Slice(&moved)]).expect("taken"));
            assert!(journal.release(from, 1));
        }
        let sealed = journal.statistics().sealed_segments;
        opened.keeper.step().expect("the disk works");
        assert_eq!(journal.statistics().sealed_segments, sealed, "not before the copies are durable");
        write_all(&mut opened);
    }
    let after = journal.statistics();
    assert_eq!(after.live_records, before.live_records);
    assert!(after.used_bytes * 2 < before.used_bytes, "{} of {} bytes", after.used_bytes, before.used_bytes);
    drop((opened, journal));
    let mut owner = Owner::default();
    let opened = open(&disk, &mut owner);
    let found: Vec<u64> = owner.live.into_values().flatten().collect();
    old.sort_unstable();
    assert_eq!(found, old.iter().map(|position| position.0).collect::<Vec<_>>());
    assert_eq!(opened.journal.statistics().live_records, old.len() as u64);
}

#[test]
fn a_start_reads_what_came_after_the_checkpoint_and_no_unchanged_stream_is_written_again() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let busy = append_items(&mut opened, 1, 300);
    let quiet = append_items(&mut opened, 2, 100);
    checkpoint(&mut opened, &[(1, &busy), (2, &quiet)]);
    settle(&mut opened, 1, &busy);
    let written = opened.journal.statistics().bytes;
    let mut second = opened.journal.checkpoint().expect("the first is durable");
    let nothing: [&[u8]; 0] = [];
    let next = opened.journal.next();
    second.stream(StreamId(1), next, &opened.journal.live_counts(), nothing).expect("taken");
    assert!(second.unchanged(StreamId(2), next).expect("taken"));
    assert!(!second.unchanged(StreamId(3), next).expect("no such stream"));
    second.finish().expect("taken");
    write_all(&mut opened);
    let written = opened.journal.statistics().bytes - written;
    assert!(written < 8 * 100 + 2500, "{written} bytes for a checkpoint without its 100 snapshot parts");
    append_items(&mut opened, 1, 3);
    drop(opened);
    let mut owner = Owner::default();
    let opened = open(&disk, &mut owner);
    assert_eq!(opened.recovered.records, 3);
    assert!(opened.recovered.bytes < 6000, "{} bytes", opened.recovered.bytes);
    assert_eq!(owner.live[&2], quiet.iter().map(|position| position.0).collect());
    assert_eq!(owner.live[&1].len(), 3);
}

#[test]
fn a_checkpoint_that_is_not_finished_was_never_there() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let items = append_items(&mut opened, 1, 100);
    checkpoint(&mut opened, &[(1, &items)]);
    let mut abandoned = opened.journal.checkpoint().expect("none is being made");
    let nothing = opened.journal.live_counts();
    abandoned.stream(StreamId(1), opened.journal.next(), &nothing, [[1_u8; 8]]).expect("taken");
    drop(abandoned);
    write_all(&mut opened);
    drop(opened);
    let mut owner = Owner::default();
    drop(open(&disk, &mut owner));
    assert_eq!(owner.live[&1], items.iter().map(|position| position.0).collect());
}

#[test]
fn a_record_is_read_wherever_it_is_on_its_way() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let large = Bytes::from((0..3000).map(|index| index as u8).collect::<Vec<_>>());
    let parts = [Part::Slice(b"head"), Part::Shared(&large), Part::Slice(b"tail")];
    let expected = [b"head", &large[..], b"tail"].concat();
    let first = opened.journal.append(item(1), &parts).expect("taken");
    let second = opened.journal.append(item(1), &[Part::Slice(b"small")]).expect("taken");
    assert_eq!(opened.journal.read(first).expect("waiting"), expected);
    assert_eq!(opened.journal.read(second).expect("waiting"), "small");
    write_all(&mut opened);
    assert_eq!(opened.journal.read(first).expect("on disk"), expected);
    assert_eq!(opened.journal.read(second).expect("on disk"), "small");
    let segment = segment_of(&opened.journal, SegmentId(0), first);
    assert_eq!(segment_of(&opened.journal, segment, second), segment);
    assert_eq!(opened.journal.pending(), 0);
}

#[test]
fn every_confirmation_follows_the_sync_of_what_it_confirms() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    for number in 0..200_usize {
        let _ = disk.take_happened();
        for _ in 0..=number % 7 {
            opened.journal.append(item(1), &[Part::Slice(&vec![0; number * 3])]).expect("taken");
        }
        assert!(matches!(opened.writer.step(), Step::Durable(_)));
        let happened = disk.take_happened();
        let written = |of: u64| {
            happened.iter().rposition(|what| matches!(what, Happened::Written { file, .. } if *file == of))
        };
        let Some(Happened::Synced { file }) = happened.last() else { panic!("{happened:?}") };
        assert_eq!(
            written(*file),
            Some(happened.len() - 2),
            "the batch, then its sync, then the confirmation"
        );
        let syncs = happened
            .iter()
            .filter(|what| matches!(what, Happened::Synced { file: of } if of == file))
            .count();
        assert_eq!(syncs - usize::from(happened.contains(&Happened::FolderSynced)), 1, "one sync a batch");
    }
}

#[test]
fn a_copy_of_a_running_journal_opens_with_what_was_durable() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let items = append_items(&mut opened, 1, 200);
    settle(&mut opened, 1, &items[..150]);
    checkpoint(&mut opened, &[(1, &items[150..])]);
    let more = append_items(&mut opened, 1, 5);
    opened.journal.append(item(1), &[Part::Slice(b"not durable")]).expect("taken");
    let copy = Disk::new(2, 64 << 20);
    let end = opened.journal.copy_to(&copy).expect("copied");
    assert_eq!(end, opened.journal.durable());
    let again = opened.journal.copy_to(&copy);
    assert!(matches!(again, Err(Error::Options(words)) if words.contains("must be empty")));
    append_items(&mut opened, 1, 100);
    let mut owner = Owner::default();
    let copied = open(&copy, &mut owner);
    assert_eq!(copied.recovered.end, end);
    let expected = items[150..].iter().chain(&more).map(|position| position.0).collect();
    assert_eq!(owner.live[&1], expected);
    for position in &items[150..] {
        assert_eq!(copied.journal.read(*position).expect("copied").len(), 400);
    }
}

#[test]
fn a_stopped_folder_can_be_verified_and_dumped() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    assert!(matches!(Stopped::open(&disk), Err(Error::Locked { .. })), "not while it runs");
    let items = append_items(&mut opened, 1, 100);
    checkpoint(&mut opened, &[(1, &items)]);
    append_items(&mut opened, 2, 20);
    drop(opened);
    let stopped = Stopped::open(&disk).expect("nobody has it");
    let report = stopped.verify();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert_eq!(report.segments.iter().map(|segment| segment.records).sum::<u64>(), 120);
    assert_eq!((report.streams, report.epoch, report.checkpoint.is_some()), (1, 1, true));
    let mut found = Vec::new();
    let push = |record: Stored<'_>| {
        found.push(record.position);
        ControlFlow::Continue(())
    };
    stopped.dump(push).expect("readable");
    assert_eq!(found[..100], items);
    assert_eq!(found.len(), 120);
    let mut one = 0;
    let count = |_: Stored<'_>| {
        one += 1;
        ControlFlow::Break(())
    };
    stopped.dump(count).expect("readable");
    assert_eq!(one, 1, "whoever has seen enough is asked no more");
    let mut parts = Vec::new();
    stopped.checkpoint(|stream, part| parts.push((stream, part))).expect("readable");
    assert_eq!(parts.len(), 100);
    assert_eq!(parts[7], (StreamId(1), Bytes::copy_from_slice(&items[7].0.to_le_bytes())));
    let second = &report.segments[1];
    let place = stopped.place_of(Position(second.first.0 + 64));
    assert_eq!(place, Some((second.file.as_str(), 64)));
    drop(stopped);
    disk.flip(&report.segments[1].file, 300, 1);
    let damaged = Stopped::open(&disk).expect("the end is well").verify();
    assert!(matches!(&damaged.faults[..], [Error::Corrupt { file, .. }] if *file == report.segments[1].file));
    assert_eq!(damaged.segments.len() + 1, report.segments.len());
}

struct Picky;

impl Replay for Picky {
    fn checkpoint(&mut self, _stream: StreamId, _part: Bytes) -> Result<(), Rejected> {
        Ok(())
    }

    fn record(&mut self, record: Stored<'_>, _live: &mut LiveCounts) -> Result<(), Rejected> {
        Err(Rejected(format!("kind {} is of no version that is known", record.kind.0)))
    }
}

#[test]
fn an_owner_that_does_not_understand_a_record_stops_the_start_and_says_which() {
    let disk = Disk::new(1, 64 << 20);
    let mut opened = open(&disk, &mut Owner::default());
    let items = append_items(&mut opened, 1, 1);
    drop(opened);
    let opened = Journal::open(Arc::new(disk.clone()), options(), Box::new(Heard::default()), &mut Picky);
    match opened.err() {
        Some(Error::Rejected { position, reason }) => {
            assert_eq!((position, reason.as_str()), (items[0], "kind 1 is of no version that is known"));
        }
        other => panic!("{other:?}"),
    }
}
