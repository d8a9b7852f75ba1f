//! Opening: find the end of the log, give every stream its checkpoint and then its records, restore what keeps each
//! segment, and begin a new epoch at the end, so that nothing of the old tail can come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backend::Backend;
use crate::chain::Chain;
use crate::error::{Error, Rejected};
use crate::format::{Class, RecordHeader, SEGMENT_HEADER};
use crate::ids::{Kind, Position, SegmentId, StreamId};
use crate::intake::{Cursor, Intake};
use crate::journal::{Events, Journal, Shared};
use crate::keeper::{Keeper, Stock, UNFINISHED};
use crate::options::Options;
use crate::root::NewRoot;
use crate::segments::{Counts, LiveCounts, Segment, State, Table, file_name};
use crate::statistics::Measured;
use crate::writer::{Active, Writer};

/// A record as it is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Where it is.
    pub position: Position,
    /// Whose it is.
    pub stream: StreamId,
    /// What it is to its owner.
    pub kind: Kind,
    /// Whether it was live when it was appended.
    pub live: bool,
    /// What was appended.
    pub payload: &'a [u8],
}

impl<'a> Stored<'a> {
    pub(crate) fn of(header: &RecordHeader, payload: &'a [u8]) -> Self {
        Self {
            position: Position(header.position),
            stream: StreamId(header.stream),
            kind: Kind(header.kind),
            live: header.live,
            payload,
        }
    }
}

/// Who takes the streams back when a journal is opened. All parts of checkpoints come first, stream by stream in the
/// order they were given; then the records, in the order of their positions.
pub trait Replay {
    /// A part of a stream's checkpoint.
    ///
    /// # Errors
    /// When it is not understood: the journal is not opened.
    fn checkpoint(&mut self, stream: StreamId, part: Bytes) -> Result<(), Rejected>;

    /// A record after the stream's checkpoint. If it says that an earlier record, or this one, is live no more, take
    /// that from `live`, which has this one already.
    ///
    /// # Errors
    /// When it is not understood: the journal is not opened.
    fn record(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<(), Rejected>;

    /// That was all: release what turned out to be needed by nobody.
    fn finished(&mut self, _live: &mut LiveCounts) {}
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the records ended, and this life began.
    pub end: Position,
    /// Which life of the folder this is, from 1.
    pub epoch: u32,
    /// Records given back, without checkpoints.
    pub records: u64,
    /// Bytes that were read for them.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// An open journal, and what works for it.
pub struct Opened {
    /// Its face.
    pub journal: Journal,
    /// To be run on a thread, or stepped.
    pub writer: Writer,
    /// To be run on another, or stepped.
    pub keeper: Keeper,
    /// What opening found.
    pub recovered: Recovered,
}

impl Journal {
    /// Open a folder, or begin one in an empty folder, and give everything back that was durable.
    ///
    /// # Errors
    /// When another process has it, when it is damaged or of a newer format, when a record is rejected, when the last
    /// segment is full to its end and the disk has no room for another, or the disk's.
    pub fn open(
        backend: Arc<dyn Backend>,
        options: Options,
        events: Box<dyn Events>,
        replay: &mut dyn Replay,
    ) -> Result<Opened, Error> {
        options.check()?;
        let lock = backend.lock()?;
        let began = backend.now();
        let chain = Chain::read(&*backend)?;
        make_durable(&*backend, &chain)?;
        let table = Arc::new(RwLock::new(table_of(&chain)));
        let (mut recovered, live) = give_back(&chain, &table, replay)?;
        restore(&mut table.write(), &live)?;
        let (cursor, active) = continue_at(&chain, &options, &table);
        recovered.end = Position(active.as_ref().map_or(0, |active| active.end));
        let stock = stock_of(&*backend, &chain, &options)?;
        let intake = Intake::new(cursor, recovered.epoch, &options);
        let shared = Arc::new(Shared {
            next: AtomicU64::new(intake.next()),
            intake: Mutex::new(intake),
            work: Condvar::new(),
            table,
            stock: Mutex::new(stock),
            upkeep: Condvar::new(),
            upkeep_wanted: Mutex::new(false),
            durable: AtomicU64::new(recovered.end.0),
            covered: AtomicU64::new(chain.root.replay_start()),
            root: Mutex::new(Arc::new(NewRoot { root: chain.root, superseded: Vec::new() })),
            superseded: Mutex::new(Vec::new()),
            checkpointing: AtomicBool::new(false),
            copies: AtomicU64::new(0),
            spare_files: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            space: AtomicU8::new(0),
            // Until the keeper has looked, nobody is to be told that there is none.
            free_bytes: AtomicU64::new(backend.free_bytes().unwrap_or(0)),
            read_errors: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            measured: Mutex::new(Measured::new()?),
            options,
            backend,
            events,
            _lock: lock,
        });
        let keeper = Keeper::new(Arc::clone(&shared));
        // The mark may need a new segment, and the disk may be full.
        keeper.recycle()?;
        let mut writer = Writer::new(Arc::clone(&shared), active);
        writer.begin_life()?;
        recovered.took = shared.backend.now().saturating_sub(began);
        {
            let mut measured = shared.measured.lock();
            (measured.recovery, measured.recovery_records) = (recovered.took, recovered.records);
        }
        Ok(Opened { journal: Journal { shared }, writer, keeper, recovered })
    }
}

/// What was found may be in the system's memory only, after a process was killed: have it on disk before anybody
/// relies on it.
fn make_durable(backend: &dyn Backend, chain: &Chain) -> Result<(), Error> {
    if let Some((_, last)) = chain.links.last_key_value() {
        last.file.sync_data().map_err(Error::io("syncing", &last.name))?;
    }
    backend.sync_folder().map_err(Error::io("syncing", "the folder"))
}

/// The segments there are, and those that went since the checkpoint, so that positions in them can be placed.
fn table_of(chain: &Chain) -> Table {
    let mut table = Table::default();
    let last = chain.links.last_key_value().map(|(sequence, _)| *sequence);
    for entry in &chain.root.segments {
        table.insert(Segment {
            id: SegmentId(entry.sequence),
            first: entry.first,
            size: entry.size,
            end: entry.end,
            state: State::Gone,
            file: None,
            counts: Arc::new(Counts {
                marked: AtomicU64::new(entry.marked),
                marked_bytes: AtomicU64::new(entry.marked_bytes),
                ..Counts::default()
            }),
        });
    }
    for (sequence, link) in &chain.links {
        let first = link.header.first;
        let counts = table.at_mut(first).map(|segment| Arc::clone(&segment.counts)).unwrap_or_default();
        table.insert(Segment {
            id: SegmentId(*sequence),
            first,
            size: link.header.size,
            end: chain.end(*sequence).unwrap_or(link.limit()),
            state: if last == Some(*sequence) { State::Active } else { State::Sealed },
            file: Some(Arc::clone(&link.file)),
            counts,
        });
    }
    chain.root.pins().for_each(|position| table.pin(position));
    table
}

fn rejected(position: u64) -> impl Fn(Rejected) -> Error {
    move |Rejected(reason)| Error::Rejected { position: Position(position), reason }
}

/// Checkpoints, then records; and the live records of each segment that come out of it.
fn give_back(
    chain: &Chain,
    table: &Arc<RwLock<Table>>,
    replay: &mut dyn Replay,
) -> Result<(Recovered, LiveCounts), Error> {
    let mut live = LiveCounts::new(Arc::clone(table));
    for (stream, checkpoint) in &chain.root.streams {
        checkpoint.live.iter().for_each(|(first, count)| live.add_to_segment(*first, *count));
        for part in &checkpoint.parts {
            let (_, payload) = chain.read_record(*part, Class::Part)?;
            replay.checkpoint(*stream, payload).map_err(rejected(*part))?;
        }
    }
    let epoch = chain.tail.map_or(1, |tail| tail.epoch + 1);
    let mut recovered = Recovered { end: Position(0), epoch, records: 0, bytes: 0, took: Duration::ZERO };
    let start = chain.root.replay_start();
    for link in chain.to_replay()? {
        let from = (start > link.header.first + SEGMENT_HEADER).then_some(start);
        let walked = chain.walk(link, from, |header, payload| {
            if header.class != Class::Owner {
                return Ok(());
            }
            if header.live && header.position > chain.root.position {
                note_mark(table, header);
            }
            if header.position < chain.root.replay_from(StreamId(header.stream)) {
                return Ok(());
            }
            if header.live {
                live.add(Position(header.position), 1);
            }
            recovered.records += 1;
            replay.record(Stored::of(header, payload), &mut live).map_err(rejected(header.position))
        })?;
        recovered.bytes += walked.end.saturating_sub(from.unwrap_or(link.header.first));
    }
    replay.finished(&mut live);
    Ok((recovered, live))
}

fn note_mark(table: &RwLock<Table>, header: &RecordHeader) {
    if let Some(segment) = table.read().find(header.position) {
        segment.counts.marked.fetch_add(1, Ordering::Relaxed);
        segment.counts.marked_bytes.fetch_add(header.space(), Ordering::Relaxed);
    }
}

/// Give everything back as an opening would, and begin no life: what is missed on the way. Damage of what is there is
/// not told, a walk through the segments tells all of it.
pub(crate) fn rehearse(chain: &Chain, replay: &mut dyn Replay) -> Vec<Error> {
    let table = Arc::new(RwLock::new(table_of(chain)));
    match give_back(chain, &table, replay) {
        Ok((_, live)) => missing(&mut table.write(), &live).collect(),
        Err(Error::Corrupt { .. } | Error::Io { .. }) => Vec::new(),
        Err(
            error @ (Error::Missing { .. }
            | Error::Rejected { .. }
            | Error::Locked { .. }
            | Error::Version { .. }
            | Error::Options(_)),
        ) => vec![error],
    }
}

/// Live records in a segment that is not there are lost.
fn missing(table: &mut Table, live: &LiveCounts) -> impl Iterator<Item = Error> {
    live.iter().filter_map(move |(first, count)| {
        let name = match table.at_mut(first) {
            Some(segment) if segment.state != State::Gone => return None,
            Some(segment) => segment.name(),
            None => "a segment".to_owned(),
        };
        Some(Error::Missing { file: name, why: format!("{count} live records are in it") })
    })
}

/// What keeps each segment; those that are gone are nobody's any more.
fn restore(table: &mut Table, live: &LiveCounts) -> Result<(), Error> {
    if let Some(error) = missing(table, live).next() {
        return Err(error);
    }
    for (first, count) in live.iter() {
        if let Some(segment) = table.at_mut(first) {
            segment.counts.live.store(count, Ordering::Release);
        }
    }
    let gone: Vec<u64> =
        table.iter().filter(|segment| segment.state == State::Gone).map(|segment| segment.first).collect();
    gone.into_iter().for_each(|first| {
        table.remove(first);
    });
    Ok(())
}

/// Where the next record goes: after the last one, or into the first segment of an empty folder.
fn continue_at(chain: &Chain, options: &Options, table: &RwLock<Table>) -> (Cursor, Option<Active>) {
    let mut table = table.write();
    if let (Some((sequence, last)), Some(tail)) = (chain.links.last_key_value(), chain.tail) {
        let header = &last.header;
        let counts =
            table.at_mut(header.first).map(|segment| Arc::clone(&segment.counts)).unwrap_or_default();
        let cursor =
            Cursor { first: header.first, size: header.size, sequence: *sequence, next: tail.end, counts };
        let active = Active {
            first: header.first,
            sequence: *sequence,
            end: tail.end,
            name: last.name.clone(),
            file: Arc::clone(&last.file),
        };
        return (cursor, Some(active));
    }
    let counts = Arc::new(Counts::default());
    table.insert(Segment {
        id: SegmentId(0),
        first: 0,
        size: options.first_segment_size,
        end: 0,
        state: State::Planned,
        file: None,
        counts: Arc::clone(&counts),
    });
    let size = options.first_segment_size;
    (Cursor { first: 0, size, sequence: 0, next: SEGMENT_HEADER, counts }, None)
}

/// A file that was prepared is used; what else is left over goes.
fn stock_of(backend: &dyn Backend, chain: &Chain, options: &Options) -> Result<Stock, Error> {
    let next = chain.links.last_key_value().map_or(0, |(sequence, _)| sequence + 1);
    let size = if next == 0 { options.first_segment_size } else { options.segment_size };
    let mut stock = Stock::new(next);
    // Last ones first: of those behind it, none is there without the next one.
    for (sequence, file) in chain.not_begun.iter().rev() {
        let name = file_name(*sequence);
        let length = file.length().map_err(Error::io("reading", &name))?;
        if *sequence == next && length == size {
            stock.put_back(next, size, Arc::clone(file));
        } else {
            backend.remove(&name).map_err(Error::io("removing", &name))?;
        }
    }
    let names = backend.list().map_err(Error::io("listing", "the folder"))?;
    if names.iter().any(|name| name == UNFINISHED) {
        backend.remove(UNFINISHED).map_err(Error::io("removing", UNFINISHED))?;
    }
    Ok(stock)
}
