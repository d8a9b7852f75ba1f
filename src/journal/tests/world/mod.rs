//! An owner of streams on a simulated disk, and the model it is held against. A seed decides what happens; every
//! check answers in words, so that a test can also demand that one fails.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod owner;
pub mod temporary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fairlead_journal::backend::simulated::{Disk, Faults, Random};
use fairlead_journal::{
    Error, Events, Journal, Kind, Need, Opened, Options, Part, Position, Record, Refused, Space, Step,
    StreamId,
};

use owner::{ITEM, MOVED, Operation, Owner, SETTLED};

pub const STREAMS: u64 = 4;

pub fn options() -> Options {
    Options {
        segment_size: 16 << 10,
        first_segment_size: 4 << 10,
        record_most: 3 << 10,
        batch_bytes: 2 << 10,
        share_from: 256,
        pending_most: 1 << 20,
        spares_most: 2,
        spare_for: Duration::ZERO,
        keep_free: 0,
        low_below: 0,
    }
}

#[derive(Clone, Default)]
pub struct Heard {
    pub durable: Arc<AtomicU64>,
    pub fatal: Arc<AtomicBool>,
    pub space_changes: Arc<AtomicU64>,
}

impl Events for Heard {
    fn durable(&self, before: Position) {
        assert!(!self.fatal.load(Ordering::SeqCst), "nothing completes after a failure");
        let last = self.durable.swap(before.0, Ordering::SeqCst);
        assert!(last <= before.0, "durable positions only grow: {last}, then {before}");
    }

    fn fatal(&self, _error: &Error) {
        self.fatal.store(true, Ordering::SeqCst);
    }

    fn space(&self, _space: Space) {
        self.space_changes.fetch_add(1, Ordering::SeqCst);
    }
}

pub struct World {
    pub disk: Disk,
    pub random: Random,
    pub heard: Heard,
    pub opened: Option<Opened>,
    /// Everything appended that can still be on disk, in order.
    pub history: Vec<Operation>,
    pub owner: Owner,
    /// Streams without a record or release since the last checkpoint.
    clean: BTreeSet<u64>,
    pub faults: Faults,
    pub recoveries: u64,
    pub lost_tails: u64,
    pub recycled: u64,
    pub refused: u64,
}

impl World {
    pub fn new(seed: u64, capacity: u64) -> Self {
        Self {
            disk: Disk::new(seed, capacity),
            random: Random::new(seed),
            heard: Heard::default(),
            opened: None,
            history: Vec::new(),
            owner: Owner::default(),
            clean: BTreeSet::new(),
            faults: Faults::default(),
            recoveries: 0,
            lost_tails: 0,
            recycled: 0,
            refused: 0,
        }
    }

    /// Open what is on the disk and compare it with the model. False when the disk did not let us.
    pub fn open(&mut self) -> Result<bool, String> {
        let confirmed = self.heard.durable.load(Ordering::SeqCst);
        self.heard = Heard::default();
        let mut owner = Owner::default();
        let opened =
            Journal::open(Arc::new(self.disk.clone()), options(), Box::new(self.heard.clone()), &mut owner);
        let opened = match opened {
            Ok(opened) => opened,
            Err(Error::Io { source, .. }) => {
                if source.kind() == std::io::ErrorKind::StorageFull {
                    // The last segment is full to its end and there is no room for another: somebody adds some.
                    self.disk.set_capacity(self.disk.used() + (32 << 10));
                }
                self.heard.durable.store(confirmed, Ordering::SeqCst);
                return Ok(false);
            }
            Err(error) => return Err(format!("does not open: {error}")),
        };
        let end = opened.recovered.end.0;
        if end < confirmed {
            return Err(format!("confirmed up to {confirmed}, recovered up to {end}"));
        }
        let before = self.history.len();
        self.history.retain(|operation| operation.position < end);
        // An attempt to open that the power ended may have cut the tail already, and put a mark in its place.
        let is_there = |operation: &Operation| {
            opened.journal.read(Position(operation.position)).is_ok_and(|read| read == operation.payload)
        };
        let unsure = self.history.partition_point(|operation| operation.position < confirmed);
        let kept = self.history[unsure..].iter().take_while(|operation| is_there(operation)).count();
        self.history.truncate(unsure + kept);
        self.lost_tails += u64::from(self.history.len() < before);
        owner.check_replayed(&self.history)?;
        let expected = Owner::of(&self.history)?;
        if owner.live != expected.live {
            return Err(format!("live after replay: {:?}\nexpected: {:?}", owner.live, expected.live));
        }
        let live: u64 = expected.live.values().map(|stream| stream.len() as u64).sum();
        let counted = opened.journal.statistics().live_records;
        if live != counted {
            return Err(format!("{live} live records, {counted} counted"));
        }
        self.owner = owner;
        self.clean.clear();
        self.opened = Some(opened);
        self.recoveries += 1;
        self.check_reads()?;
        Ok(true)
    }

    /// Every live record is read as it was appended.
    pub fn check_reads(&mut self) -> Result<(), String> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let payloads: BTreeMap<u64, &Operation> =
            self.history.iter().map(|operation| (operation.position, operation)).collect();
        for position in self.owner.live.values().flatten() {
            let expected = payloads.get(position).ok_or(format!("{position} was never appended"))?;
            let read =
                opened.journal.read(Position(*position)).map_err(|error| format!("{position}: {error}"))?;
            if read != expected.payload {
                return Err(format!("at {position} another payload is read"));
            }
        }
        Ok(())
    }

    pub fn append(&mut self, stream: u64, kind: Kind, payload: Vec<u8>, need: Need) -> Option<u64> {
        let journal = self.opened.as_ref()?.journal.clone();
        let live = kind != SETTLED;
        let record = Record { stream: StreamId(stream), kind, live, need };
        let shared = Bytes::from(payload.clone());
        let middle = payload.len() / 3;
        let (first, second) = (&payload[..middle], shared.slice(middle..));
        match journal.append(record, &[Part::Slice(first), Part::Shared(&second)]) {
            Ok(position) => {
                let operation = Operation { position: position.0, stream, kind, payload: shared };
                self.owner.apply(&operation).expect("only what lives is released");
                self.clean.remove(&stream);
                self.history.push(operation);
                Some(position.0)
            }
            Err(Refused::Full) => {
                self.refused += 1;
                None
            }
            Err(Refused::Busy { .. } | Refused::Failed) => None,
            Err(refused) => panic!("not expected: {refused}"),
        }
    }

    /// Two busy streams, and two that are often unchanged between checkpoints.
    fn pick_stream(&mut self) -> u64 {
        match self.random.below(60) {
            0 => 3,
            1..=3 => 2,
            other => other % 2,
        }
    }

    pub fn append_item(&mut self) -> Option<u64> {
        let stream = self.pick_stream();
        let length = match self.random.below(10) {
            0 => 0,
            1 => self.random.below(3 << 10),
            _ => self.random.below(300),
        };
        let fill = self.random.below(256) as u8;
        let payload = (0..length).map(|index| (index as u8).wrapping_mul(31) ^ fill).collect();
        self.append(stream, ITEM, payload, Need::Refusable)
    }

    /// Settle a live item, oldest or any.
    pub fn settle(&mut self) {
        let stream = self.pick_stream();
        let count = self.owner.live.get(&stream).map_or(0, BTreeSet::len) as u64;
        if count == 0 {
            return;
        }
        let nth = if self.random.one_in(4) { self.random.below(count) } else { 0 };
        let item = self.owner.live.get(&stream).and_then(|live| live.iter().nth(nth as usize).copied());
        let Some(item) = item else { return };
        if self.append(stream, SETTLED, item.to_le_bytes().to_vec(), Need::Essential).is_some() {
            self.release(item);
        }
    }

    fn release(&self, item: u64) {
        let Some(opened) = &self.opened else { return };
        assert!(opened.journal.release(Position(item), 1), "item {item} is counted");
    }

    /// One step of the writer.
    pub fn step(&mut self) -> Step {
        self.opened.as_mut().map_or(Step::Idle, |opened| opened.writer.step())
    }

    /// Steps until there is nothing to write, or it cannot be.
    pub fn settle_down(&mut self) -> Step {
        loop {
            match self.step() {
                Step::Durable(_) => {}
                other => return other,
            }
        }
    }

    pub fn keep(&mut self) {
        if let Some(opened) = &mut self.opened {
            let sealed = opened.journal.statistics().sealed_segments;
            // The disk's errors are what the seed asked for; space is seen by its effects.
            let _ = opened.keeper.step();
            self.recycled += sealed.saturating_sub(opened.journal.statistics().sealed_segments);
        }
    }

    /// A checkpoint of all streams; those that are clean are not written again.
    pub fn checkpoint(&mut self) -> Result<(), String> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let journal = opened.journal.clone();
        let Some(mut checkpoint) = journal.checkpoint() else { return Ok(()) };
        let mut written = Vec::new();
        for stream in 0..STREAMS {
            let from = journal.next();
            let clean = self.clean.contains(&stream);
            match clean.then(|| checkpoint.unchanged(StreamId(stream), from)).transpose() {
                Ok(Some(true)) => continue,
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
            let items = self.owner.live.get(&stream).cloned().unwrap_or_default();
            let mut live = journal.live_counts();
            items.iter().for_each(|item| live.add(Position(*item), 1));
            let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
            if checkpoint.stream(StreamId(stream), from, &live, bytes.chunks(64)).is_err() {
                return Ok(());
            }
            written.push((stream, from.0));
            if self.random.one_in(6) {
                // Records between the snapshots of two streams.
                self.append_item();
                self.settle();
            }
        }
        if self.random.one_in(8) || checkpoint.finish().is_err() {
            self.clean.clear();
            return Ok(());
        }
        let clean = written.into_iter().filter(|(stream, from)| !self.touched_since(*stream, *from));
        let clean: Vec<u64> = clean.map(|(stream, _)| stream).collect();
        self.clean.extend(clean);
        Ok(())
    }

    fn touched_since(&self, stream: u64, position: u64) -> bool {
        self.history
            .iter()
            .rev()
            .take_while(|operation| operation.position >= position)
            .any(|operation| operation.stream == stream)
    }

    /// Move what lives in the sparsest segment.
    pub fn compact(&mut self) -> Result<(), String> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let journal = opened.journal.clone();
        let Some(range) = journal.victims().first().and_then(|victim| journal.range_of(*victim)) else {
            return Ok(());
        };
        let streams = self.owner.live.iter();
        let lives: Vec<(u64, u64)> =
            streams.flat_map(|(stream, live)| live.range(range.clone()).map(|at| (*stream, *at))).collect();
        let kinds: BTreeMap<u64, Kind> =
            self.history.iter().map(|operation| (operation.position, operation.kind)).collect();
        for (stream, position) in lives {
            let payload = match journal.read(Position(position)) {
                Ok(payload) => payload,
                Err(_) if self.faults.failing_read.is_some() => return Ok(()),
                Err(error) => return Err(format!("compaction at {position}: {error}")),
            };
            let content = if kinds.get(&position) == Some(&MOVED) { &payload[8..] } else { &payload[..] };
            let moved = [&position.to_le_bytes()[..], content].concat();
            if moved.len() > options().record_most {
                continue;
            }
            if self.append(stream, MOVED, moved, Need::Essential).is_some() {
                self.release(position);
            }
        }
        Ok(())
    }

    /// The power goes, or only the process; what was found afterwards is the disk from now on.
    pub fn crash(&mut self) {
        self.opened = None;
        self.disk = if self.random.one_in(4) {
            self.disk.killed()
        } else {
            self.disk.crash(self.random.below(u64::MAX))
        };
    }

    /// Crash, and open until it succeeds; power may go again meanwhile.
    pub fn restart(&mut self) -> Result<(), String> {
        loop {
            self.crash();
            let mut faults = self.faults.clone();
            if self.random.one_in(4) {
                faults.power_off_after = Some(self.random.below(12));
            }
            self.disk.set_faults(faults);
            if self.open()? {
                self.disk.set_faults(self.faults.clone());
                return Ok(());
            }
        }
    }

    /// One random thing.
    pub fn act(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=39 => {
                self.append_item();
            }
            40..=64 => self.settle(),
            65..=81 => {
                self.step();
            }
            82..=85 => self.keep(),
            86..=88 => self.checkpoint()?,
            89..=91 => self.compact()?,
            92 => {
                if let Some(opened) = &mut self.opened {
                    opened.writer.rest();
                }
            }
            93 => self.check_reads()?,
            94 => self.restart()?,
            95 => {
                let mut faults = self.faults.clone();
                faults.power_off_after = Some(self.random.below(30));
                self.disk.set_faults(faults);
            }
            96 => {
                self.settle_down();
            }
            97..=98 => (0..60).for_each(|_| self.settle()),
            _ => {
                self.settle_down();
                self.keep();
            }
        }
        if self.heard.fatal.load(Ordering::SeqCst) {
            self.restart()?;
        }
        Ok(())
    }
}
