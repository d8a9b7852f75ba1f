//! One fault at a time on a simulated disk: damage, a torn end, a full disk, failed writes, syncs and reads.

#![allow(clippy::expect_used, reason = "a test's helpers fail as its assertions do")]

mod world;

use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fairlead_journal::backend::simulated::{Disk, Faults, Random};
use fairlead_journal::{
    Backend, Error, Journal, Kind, Need, Part, Position, ReadError, Record, Refused, SegmentId, Space, Step,
    Stopped, StreamId,
};
use world::owner::{ITEM, Operation, Owner, SETTLED};
use world::{Heard, World, options};

/// A world with a log of a few segments, checkpoints in it, stopped cleanly.
fn stopped(seed: u64) -> World {
    let mut world = World::new(seed, 64 << 20);
    assert!(world.open().expect("an empty disk opens"));
    for _ in 0..200 {
        world.act().expect("the seed holds");
    }
    world.disk.set_faults(Faults::default());
    while world.settle_down() == Step::Failed {
        world.restart().expect("what was confirmed is there");
        world.disk.set_faults(Faults::default());
    }
    assert!(matches!(world.opened.as_mut().expect("open").writer.rest(), Step::Durable(_) | Step::Idle));
    world.opened = None;
    world
}

/// The names of its segments.
fn segments(disk: &Disk) -> Vec<String> {
    let names = disk.list().expect("listed").into_iter();
    names.filter(|name| name.ends_with(".segment")).collect()
}

#[test]
fn a_flipped_bit_is_reported_with_file_and_offset_and_never_cuts_the_log_short() {
    let (mut refused, mut unread) = (0, 0);
    for seed in 0..400 {
        let mut world = stopped(seed);
        let mut random = Random::new(seed);
        let names = segments(&world.disk);
        let name = &names[random.below(names.len() as u64) as usize];
        let length = world.disk.open(name).and_then(|file| file.length()).expect("it is there");
        let offset = random.below(length);
        world.disk.flip(name, offset, random.below(8) as u8);
        let kept = world.history.len();
        match Journal::open(
            Arc::new(world.disk.clone()),
            options(),
            Box::new(Heard::default()),
            &mut Owner::default(),
        ) {
            Err(Error::Corrupt { file, offset: at, .. }) => {
                assert_eq!(&file, name, "seed {seed}");
                assert!(at <= offset, "seed {seed}: damage at {offset} is reported at {at}");
                refused += 1;
            }
            Err(error) => panic!("seed {seed}: {error}"),
            Ok(opened) => {
                drop(opened);
                match world.open() {
                    Ok(opened) => assert!(opened),
                    Err(words) => assert!(words.contains("is damaged at offset"), "seed {seed}: {words}"),
                }
                assert_eq!(world.history.len(), kept, "seed {seed}: nothing is cut off");
                unread += 1;
            }
        }
    }
    assert!(refused > 50 && unread > 50, "{refused} refused, {unread} where replay does not read");
}

#[test]
fn a_segment_that_a_start_would_miss_is_missed_by_who_looks_at_the_stopped_folder() {
    let (mut refused, mut needless) = (0, 0);
    for seed in 0..100 {
        let world = stopped(seed);
        let names = segments(&world.disk);
        let name = &names[Random::new(seed).below(names.len() as u64) as usize];
        world.disk.remove(name).expect("it is there");
        let told: Vec<Error> = match Stopped::open(&world.disk) {
            Ok(stopped) => {
                let damaged = stopped.verify().faults;
                damaged.into_iter().chain(stopped.missing(&mut Owner::default())).collect()
            }
            Err(error) => vec![error],
        };
        match reopen(&world.disk) {
            Err(error) => {
                let kinds: Vec<_> = told.iter().map(discriminant).collect();
                assert!(kinds.contains(&discriminant(&error)), "seed {seed}: {told:?}, and {error}");
                refused += 1;
            }
            Ok(_) => {
                assert!(told.is_empty(), "seed {seed}, without {name}: {told:?}");
                needless += 1;
            }
        }
    }
    assert!(refused > 20 && needless > 20, "{refused} refused, {needless} without anything that is needed");
}

fn journal_with(disk: &Disk, count: u64) -> (fairlead_journal::Opened, Heard, Vec<Operation>) {
    let heard = Heard::default();
    let opened =
        Journal::open(Arc::new(disk.clone()), options(), Box::new(heard.clone()), &mut Owner::default());
    let mut opened = opened.expect("an empty disk opens");
    let mut appended = Vec::new();
    for number in 0..count {
        let payload = bytes::Bytes::from(vec![number as u8; 100]);
        let position = opened.journal.append(item(1), &[Part::Shared(&payload)]).expect("taken");
        appended.push(Operation { position: position.0, stream: 1, kind: ITEM, payload });
        assert!(matches!(opened.writer.step(), Step::Durable(_)));
    }
    (opened, heard, appended)
}

fn item(stream: u64) -> Record {
    Record { stream: StreamId(stream), kind: ITEM, live: true, need: Need::Refusable }
}

fn settled() -> Record {
    Record { stream: StreamId(1), kind: SETTLED, live: false, need: Need::Essential }
}

fn reopen(disk: &Disk) -> Result<Vec<Operation>, Error> {
    let mut owner = Owner::default();
    Journal::open(Arc::new(disk.clone()), options(), Box::new(Heard::default()), &mut owner)?;
    Ok(owner.replayed)
}

#[test]
fn damage_to_the_last_batch_is_a_torn_end_until_a_mark_says_that_it_was_durable() {
    for marked in [false, true] {
        let disk = Disk::new(1, 1 << 20);
        let (mut opened, _, appended) = journal_with(&disk, 3);
        if marked {
            assert!(matches!(opened.writer.rest(), Step::Durable(_)));
            assert_eq!(opened.writer.rest(), Step::Idle, "one mark is enough");
        }
        drop(opened);
        let last = appended[2].position;
        disk.flip("0000000000000000.segment", last + 40, 3);
        match reopen(&disk) {
            Ok(replayed) => {
                assert!(!marked);
                assert_eq!(replayed, appended[..2]);
            }
            Err(Error::Corrupt { file, offset, expected }) => {
                assert!(marked);
                assert_eq!((file.as_str(), offset), ("0000000000000000.segment", last));
                assert!(expected.contains("checksum"), "{expected}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_header_of_a_segment_that_was_used_is_missed() {
    let disk = Disk::new(1, 1 << 20);
    let (opened, ..) = journal_with(&disk, 40);
    drop(opened);
    disk.flip("0000000000000001.segment", 20, 1);
    match reopen(&disk) {
        Err(Error::Corrupt { file, offset: 0, expected }) => {
            assert_eq!((file.as_str(), expected.as_str()), ("0000000000000001.segment", "a segment header"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_segment_that_the_checkpoint_is_in_is_named_whether_its_header_is_damaged_or_it_is_gone() {
    let disk = Disk::new(1, 1 << 20);
    let (mut opened, _, before) = journal_with(&disk, 100);
    let journal = opened.journal.clone();
    let mut checkpoint = journal.checkpoint().expect("none is being made");
    let mut live = journal.live_counts();
    before.iter().for_each(|operation| live.add(Position(operation.position), 1));
    let parts = before.iter().map(|operation| operation.position.to_le_bytes());
    checkpoint.stream(StreamId(1), journal.next(), &live, parts).expect("taken");
    let root = checkpoint.finish().expect("taken");
    for number in 0..400_usize {
        journal.append(item(1), &[Part::Slice(&vec![7; 100 + number % 50])]).expect("taken");
        assert!(matches!(opened.writer.step(), Step::Durable(_)));
    }
    let segment = (0..)
        .map(SegmentId)
        .find(|segment| journal.range_of(*segment).is_some_and(|positions| positions.contains(&root.0)));
    let name = format!("{:016x}.segment", segment.expect("it is kept").0);
    drop((opened, journal));
    reopen(&disk.killed()).expect("nothing is damaged");

    let damaged = disk.killed();
    damaged.flip(&name, 20, 1);
    match reopen(&damaged) {
        Err(Error::Corrupt { file, offset: 0, expected }) => {
            assert_eq!((file, expected.as_str()), (name.clone(), "a segment header"));
        }
        other => panic!("{other:?}"),
    }
    let gone = disk.killed();
    gone.remove(&name).expect("removed");
    match reopen(&gone) {
        Err(Error::Missing { file, why }) => {
            assert_eq!(file, name);
            assert!(why.contains("the newest checkpoint needs"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let disk = Disk::new(1, 1 << 20);
    drop(journal_with(&disk, 1));
    let name = "0000000000000000.segment";
    let mut header = vec![0; 64];
    let file = disk.open(name).expect("there");
    file.read_at(&mut header, 0).expect("read");
    header[8] = 2;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..]);
    header[12..16].copy_from_slice(&checksum.to_le_bytes());
    file.write_at(&[std::io::IoSlice::new(&header)], 0).expect("written");
    match reopen(&disk) {
        Err(Error::Version { file, found: 2, known: 1 }) => assert_eq!(file, name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_segment_is_named() {
    let disk = Disk::new(1, 1 << 20);
    drop(journal_with(&disk, 200));
    disk.remove("0000000000000001.segment").expect("removed");
    match reopen(&disk) {
        Err(Error::Missing { file, .. }) => assert_eq!(file, "0000000000000001.segment"),
        other => panic!("{other:?}"),
    }
}

/// Some segments with records, and the next one's file.
fn with_a_prepared_file(disk: &Disk) -> fairlead_journal::Opened {
    let (mut opened, ..) = journal_with(disk, 200);
    let files = disk.list().expect("listed").len();
    opened.keeper.step().expect("there is room");
    assert_eq!(disk.list().expect("listed").len(), files + 1, "it is prepared");
    opened
}

#[test]
fn a_lost_last_segment_is_told_from_one_that_was_not_begun() {
    let disk = Disk::new(1, 1 << 20);
    drop(with_a_prepared_file(&disk));
    let mut names = disk.list().expect("listed");
    names.sort();
    let [.., last, _prepared] = names.as_slice() else { panic!("two files at least: {names:?}") };
    disk.remove(last).expect("removed");
    match reopen(&disk) {
        Err(Error::Missing { file, .. }) => assert_eq!(&file, last),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_last_segment_that_was_emptied_or_renamed_is_no_prepared_file() {
    for renamed in [false, true] {
        let disk = Disk::new(1, 1 << 20);
        drop(with_a_prepared_file(&disk));
        let mut names = disk.list().expect("listed");
        names.sort();
        let [.., last, prepared] = names.as_slice() else { panic!("two files at least: {names:?}") };
        let damaged = if renamed {
            for (from, to) in [(prepared.as_str(), "aside"), (last.as_str(), prepared), ("aside", last)] {
                disk.rename(from, to).expect("renamed");
            }
            prepared
        } else {
            disk.create(last).expect("emptied");
            last
        };
        match reopen(&disk) {
            Err(Error::Corrupt { file, offset: 0, .. }) => assert_eq!(&file, damaged),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_last_segment_that_was_cut_is_told_from_a_torn_end() {
    let disk = Disk::new(1, 1 << 20);
    let (opened, _, appended) = journal_with(&disk, 3);
    drop(opened);
    let name = "0000000000000000.segment";
    let file = disk.open(name).expect("it is there");
    let mut kept = vec![0; appended[2].position as usize];
    file.read_at(&mut kept, 0).expect("read");
    let cut = disk.create(name).expect("emptied");
    cut.write_at(&[std::io::IoSlice::new(&kept)], 0).expect("written");
    match reopen(&disk) {
        Err(Error::Corrupt { file, offset, .. }) => {
            assert_eq!((file.as_str(), offset), (name, appended[2].position));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_refuses_what_can_be_refused_takes_the_rest_and_recovers() {
    let disk = Disk::new(1, 100 << 10);
    let (mut opened, heard, mut live) = journal_with(&disk, 1);
    let journal = opened.journal.clone();
    let refused = loop {
        match journal.append(item(1), &[Part::Slice(&[7; 500])]) {
            Ok(position) => {
                let payload = bytes::Bytes::from(vec![7; 500]);
                live.push(Operation { position: position.0, stream: 1, kind: ITEM, payload });
            }
            Err(refused) => break refused,
        }
        assert!(matches!(opened.writer.step(), Step::Durable(_)));
        opened.keeper.step().expect("only space is short");
    };
    assert_eq!((refused, journal.space()), (Refused::Full, Space::Full));
    assert!(heard.space_changes.load(Ordering::SeqCst) > 0);
    for operation in &live {
        let read = journal.read(Position(operation.position)).expect("readers go on");
        assert_eq!(read, operation.payload);
    }
    for operation in &live {
        journal
            .append(settled(), &[Part::Slice(&operation.position.to_le_bytes())])
            .expect("room is reserved");
        assert!(journal.release(Position(operation.position), 1));
        assert!(matches!(opened.writer.step(), Step::Durable(_)));
    }
    let mut checkpoint = journal.checkpoint().expect("none is being made");
    let none: [&[u8]; 0] = [];
    checkpoint.stream(StreamId(1), journal.next(), &journal.live_counts(), none).expect("room is reserved");
    checkpoint.finish().expect("room is reserved");
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    assert_eq!(opened.keeper.step().expect("the disk works"), Space::Enough, "space is back");
    journal.append(item(1), &[Part::Slice(b"again")]).expect("taken again");
    assert!(matches!(opened.writer.step(), Step::Durable(_)));
    drop((opened, journal));
    let replayed = reopen(&disk).expect("nothing is corrupted");
    assert_eq!(replayed.last().expect("the last one").payload, "again");
}

#[test]
fn a_batch_that_finds_no_room_waits_for_it_and_is_not_lost() {
    let disk = Disk::new(1, 64 << 10);
    let (mut opened, heard, _) = journal_with(&disk, 1);
    // More than the disk has, before anybody could know.
    let mut last = Position(0);
    for _ in 0..40 {
        last = opened.journal.append(item(1), &[Part::Slice(&[7; 2000])]).expect("space is not known yet");
    }
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    assert_eq!(opened.writer.step(), Step::Blocked);
    assert_eq!(opened.journal.append(item(1), &[]), Err(Refused::Full));
    assert!(opened.journal.durable() < last);
    assert_eq!(opened.journal.read(last).expect("it is in memory").len(), 2000);
    disk.set_capacity(1 << 20);
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    assert!(opened.journal.durable() > last);
    assert!(!heard.fatal.load(Ordering::SeqCst));
    opened.keeper.step().expect("the disk works");
    opened.journal.append(item(1), &[]).expect("space is back");
}

#[test]
fn after_a_failed_write_or_sync_nothing_completes_and_nothing_is_taken() {
    let failing_sync = Faults { failing_sync: Some(0), ..Faults::default() };
    for faults in [failing_sync, Faults { failing_write: Some(0), ..Faults::default() }] {
        let disk = Disk::new(1, 1 << 20);
        let (mut opened, heard, _) = journal_with(&disk, 1);
        let before = heard.durable.load(Ordering::SeqCst);
        opened.journal.append(item(1), &[Part::Slice(b"lost")]).expect("taken");
        disk.set_faults(faults);
        assert_eq!(opened.writer.step(), Step::Failed);
        assert!(heard.fatal.load(Ordering::SeqCst));
        assert_eq!(opened.journal.append(item(1), &[]), Err(Refused::Failed));
        assert_eq!(opened.writer.step(), Step::Failed, "it is never tried again");
        assert_eq!(opened.writer.rest(), Step::Failed);
        assert_eq!(heard.durable.load(Ordering::SeqCst), before);
        assert_eq!(opened.journal.durable().0, before);
    }
}

#[test]
fn a_failed_read_fails_only_itself() {
    let disk = Disk::new(1, 1 << 20);
    let (opened, _, appended) = journal_with(&disk, 2);
    disk.set_faults(Faults { failing_read: Some(0), ..Faults::default() });
    let position = Position(appended[0].position);
    assert!(matches!(opened.journal.read(position), Err(ReadError::Io { .. })));
    assert_eq!(opened.journal.read(position).expect("the disk is well again"), appended[0].payload);
    opened.journal.append(item(1), &[]).expect("appends go on");
    assert!(matches!(opened.journal.read(Position(1 << 40)), Err(ReadError::NotFound(_))));
    assert!(matches!(opened.journal.read(Position(position.0 + 8)), Err(ReadError::Corrupt { .. })));
    assert_eq!(opened.journal.statistics().read_errors, 2, "what is not there is no fault of the disk");
}

#[test]
fn a_record_has_a_bound_and_says_so() {
    let disk = Disk::new(1, 1 << 20);
    let (opened, ..) = journal_with(&disk, 0);
    let refused = opened.journal.append(item(1), &[Part::Slice(&[0; 3073])]);
    assert_eq!(refused, Err(Refused::TooLarge { length: 3073, limit: 3072 }));
    opened.journal.append(item(1), &[Part::Slice(&[0; 3072])]).expect("as long as a record may be");
}

#[test]
fn what_waits_for_the_disk_has_a_bound() {
    let disk = Disk::new(1, 64 << 20);
    let (mut opened, ..) = journal_with(&disk, 0);
    let busy = loop {
        if let Err(refused) = opened.journal.append(item(1), &[Part::Slice(&[0; 3000])]) {
            break refused;
        }
    };
    assert!(matches!(busy, Refused::Busy { pending, limit } if pending > limit), "{busy}");
    let essential = Record { need: Need::Essential, kind: Kind(9), ..item(1) };
    opened.journal.append(essential, &[]).expect("taken whatever waits");
    while matches!(opened.writer.step(), Step::Durable(_)) {}
    opened.journal.append(item(1), &[]).expect("there is room again");
}
