//! The journal's face: append, ask what is durable, read, release. Everything here may be called from any thread; the
//! disk is met only by `read`, and by the writer and the keeper, which have files of their own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backend::Backend;
use crate::batch::Part;
use crate::error::{Error, ReadError, Refused};
use crate::format::{Class, RecordHeader};
use crate::ids::{Kind, Position, StreamId};
use crate::intake::Intake;
use crate::keeper::Stock;
use crate::options::Options;
use crate::root::NewRoot;
use crate::scan::Reader;
use crate::segments::{LiveCounts, State, Table};
use crate::statistics::{Measured, Statistics};

/// What the journal tells whoever opened it. The calls come from the writer's and the keeper's threads and must be
/// short; the journal holds no lock meanwhile.
pub trait Events: Send + Sync {
    /// Every record before this position is on disk. The positions only grow. It is told once while the journal is
    /// opened, too.
    fn durable(&self, before: Position);

    /// A write or a sync failed. Nothing becomes durable after this; the process should end with a clear line.
    fn fatal(&self, error: &Error);

    /// Room on the disk changed.
    fn space(&self, _space: Space) {}

    /// The keeper could not prepare or remove a file, for another reason than space. It tries again.
    fn trouble(&self, _error: &Error) {}
}

/// Room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Enough,
    /// Less than [`Options::low_below`] is free.
    Low,
    /// The next segment cannot be had: what can be refused is.
    Full,
}

/// Whether a record must be taken when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It adds to what is kept: refused when there is no room.
    Refusable,
    /// It is small, and frees or preserves what is kept already: taken out of the reserve.
    Essential,
}

/// What a record is, besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub stream: StreamId,
    /// What it is to its owner.
    pub kind: Kind,
    /// Whether it keeps its segment until it is released.
    pub live: bool,
    /// Whether it may be refused.
    pub need: Need,
}

/// An open journal. Clones are the same one.
#[derive(Clone)]
pub struct Journal {
    pub(crate) shared: Arc<Shared>,
}

/// What the face, the writer and the keeper share.
pub(crate) struct Shared {
    pub options: Options,
    pub backend: Arc<dyn Backend>,
    pub events: Box<dyn Events>,
    pub intake: Mutex<Intake>,
    /// The writer waits here for something to write.
    pub work: Condvar,
    pub table: Arc<RwLock<Table>>,
    pub stock: Mutex<Stock>,
    /// The keeper waits here for something to do.
    pub upkeep: Condvar,
    pub upkeep_wanted: Mutex<bool>,
    /// Everything before it is on disk.
    pub durable: AtomicU64,
    /// What the intake will give out next, for readers without its lock.
    pub next: AtomicU64,
    /// No record before it needs to be replayed.
    pub covered: AtomicU64,
    /// The newest durable root.
    pub root: Mutex<Arc<NewRoot>>,
    /// Positions that are pinned no more, for the keeper.
    pub superseded: Mutex<Vec<u64>>,
    /// Whether a checkpoint is being made or its root on the way to the disk.
    pub checkpointing: AtomicBool,
    /// Copies that are being made: no segment goes meanwhile.
    pub copies: AtomicU64,
    /// Files that are no segments now, as the keeper counted them last.
    pub spare_files: AtomicU64,
    /// Whether the writer waits for room.
    pub blocked: AtomicBool,
    pub space: AtomicU8,
    /// Bytes that the disk could still give when the keeper looked last.
    pub free_bytes: AtomicU64,
    /// Reads that failed.
    pub read_errors: AtomicU64,
    pub failed: AtomicBool,
    pub closed: AtomicBool,
    pub measured: Mutex<Measured>,
    pub _lock: Box<dyn Send + Sync>,
}

impl Shared {
    pub fn space(&self) -> Space {
        match self.space.load(Ordering::Acquire) {
            0 => Space::Enough,
            1 => Space::Low,
            _ => Space::Full,
        }
    }

    pub fn set_space(&self, space: Space) {
        let code = match space {
            Space::Enough => 0,
            Space::Low => 1,
            Space::Full => 2,
        };
        if self.space.swap(code, Ordering::AcqRel) != code {
            self.events.space(space);
        }
    }

    pub fn fail(&self, error: &Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            self.events.fatal(error);
        }
    }

    pub fn want_upkeep(&self) {
        *self.upkeep_wanted.lock() = true;
        self.upkeep.notify_one();
    }

    /// Append a record of any class.
    pub fn append(
        &self,
        class: Class,
        record: Record,
        parts: &[Part<'_>],
        root: Option<NewRoot>,
    ) -> Result<Position, Refused> {
        let length = parts.iter().map(|part| part.bytes().len()).sum();
        let limit = self.options.record_most;
        let payload_length = u32::try_from(length)
            .ok()
            .filter(|_| length <= limit)
            .ok_or(Refused::TooLarge { length, limit })?;
        let checksum = parts.iter().fold(0, |checksum, part| crc32c::crc32c_append(checksum, part.bytes()));
        if self.failed.load(Ordering::Relaxed) {
            return Err(Refused::Failed);
        }
        let header = RecordHeader {
            length: payload_length,
            position: 0,
            stream: record.stream.0,
            epoch: 0,
            kind: record.kind.0,
            live: record.live,
            class,
        };
        let mut intake = self.intake.lock();
        intake.check_open()?;
        if record.need == Need::Refusable {
            if self.space() == Space::Full {
                return Err(Refused::Full);
            }
            let (pending, limit) = (intake.pending(), self.options.pending_most);
            if pending > limit {
                return Err(Refused::Busy { pending, limit });
            }
        }
        let position = intake.push(header, checksum, parts, &self.table);
        if class != Class::Owner {
            self.table.read().pin(position.0);
        }
        if let Some(mut new) = root {
            new.root.position = position.0;
            intake.set_root(Arc::new(new));
        }
        self.next.store(intake.next(), Ordering::Release);
        if std::mem::take(&mut intake.writer_sleeps) {
            self.work.notify_one();
        }
        Ok(position)
    }
}

impl Journal {
    /// Append a record, and have its position at once. It is durable when [`Journal::durable`] is beyond that. Never
    /// waits for the disk. Call it while holding what orders the records of the stream: it takes a short lock that
    /// takes no other of yours.
    ///
    /// # Errors
    /// When the record is too large, when there is no room for what can be refused, or when the journal has failed or
    /// is closed. Nothing was appended then.
    pub fn append(&self, record: Record, parts: &[Part<'_>]) -> Result<Position, Refused> {
        self.shared.append(Class::Owner, record, parts, None)
    }

    /// Every record before this position is on disk.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position(self.shared.durable.load(Ordering::Acquire))
    }

    /// Every record appended from now on is at or after this position.
    #[must_use]
    pub fn next(&self) -> Position {
        Position(self.shared.next.load(Ordering::Acquire))
    }

    /// Bytes that are appended and not durable.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.intake.lock().pending()
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Bytes of the disk that can still be allocated, as the keeper saw last.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.shared.free_bytes.load(Ordering::Relaxed)
    }

    /// Room on the disk.
    #[must_use]
    pub fn space(&self) -> Space {
        self.shared.space()
    }

    /// The payload of a record, its checksum verified. What is not on disk yet comes out of memory; the rest is a
    /// blocking read, for a thread that may block. The position must be one of a record that was appended in this life
    /// or given back at its start; one that was released may be found damaged, since its segment is used again.
    ///
    /// # Errors
    /// When the disk fails, the record is damaged, or the position is none of a record. Only this read has failed.
    pub fn read(&self, position: Position) -> Result<Bytes, ReadError> {
        self.find_and_read(position).inspect_err(|error| match error {
            ReadError::Io { .. } | ReadError::Corrupt { .. } => {
                self.shared.read_errors.fetch_add(1, Ordering::Relaxed);
            }
            // It was released meanwhile, or its copy was.
            ReadError::NotFound(_) => {}
        })
    }

    fn find_and_read(&self, position: Position) -> Result<Bytes, ReadError> {
        let at = position.0;
        if at >= self.shared.durable.load(Ordering::Acquire)
            && let Some(payload) = self.read_waiting(at)
        {
            return Ok(payload);
        }
        let segment = self.shared.table.read().find(at).cloned().ok_or(ReadError::NotFound(position))?;
        segment.read(at)
    }

    /// The payloads of many records, to `each` in the order of their positions as they are given: as [`Journal::read`]
    /// does, but what lies close together on the disk is read in one piece.
    pub fn read_each(
        &self,
        positions: impl IntoIterator<Item = Position>,
        mut each: impl FnMut(Position, Result<Bytes, ReadError>),
    ) {
        let mut reader: Option<Reader> = None;
        for position in positions {
            let at = position.0;
            let payload = if at < self.shared.durable.load(Ordering::Acquire) {
                if !reader.as_ref().is_some_and(|reader| reader.covers(at)) {
                    reader = self.reader_of(at);
                }
                reader.as_mut().and_then(|reader| match reader.record(at) {
                    Ok(Ok((_, payload))) => Some(Bytes::copy_from_slice(payload)),
                    // It may have been written since its surroundings were read.
                    Ok(Err(_)) | Err(_) => None,
                })
            } else {
                None
            };
            each(position, payload.map_or_else(|| self.read(position), Ok));
        }
    }

    fn reader_of(&self, position: u64) -> Option<Reader> {
        let segment = self.shared.table.read().find(position).cloned()?;
        let file = segment.file.clone()?;
        Some(Reader::new(file, segment.name(), segment.first, segment.first + segment.size))
    }

    fn read_waiting(&self, position: u64) -> Option<Bytes> {
        let in_flight = {
            let intake = self.shared.intake.lock();
            if let Some(payload) = intake.read(position) {
                return Some(payload);
            }
            intake.in_flight()?
        };
        in_flight.read(position)
    }

    /// So many records that were appended as live, of the segment that a position is in, are live no more. Call it
    /// when the record that says so (a settlement, a copy elsewhere) has been appended: the segment goes only when
    /// that is durable.
    ///
    /// False when the segment has not so many live records, which is a fault of the caller's counting.
    pub fn release(&self, position: Position, records: u64) -> bool {
        let table = self.shared.table.read();
        let Some(segment) = table.find(position.0) else { return false };
        let counts = &segment.counts;
        counts.released_at.fetch_max(self.shared.next.load(Ordering::Acquire), Ordering::AcqRel);
        let fewer = |live: u64| live.checked_sub(records);
        let before = counts.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer);
        let last = before == Ok(records) && segment.state == State::Sealed;
        drop(table);
        if last {
            self.shared.want_upkeep();
        }
        before.is_ok()
    }

    /// Empty counts, for a stream's part in a checkpoint.
    #[must_use]
    pub fn live_counts(&self) -> LiveCounts {
        LiveCounts::new(Arc::clone(&self.shared.table))
    }

    /// Take no more appends; the writer writes what is there, a last mark, and ends, the keeper too.
    pub fn close(&self) {
        self.shared.intake.lock().closing = true;
        self.shared.closed.store(true, Ordering::Release);
        self.shared.work.notify_all();
        self.shared.want_upkeep();
    }

    /// What can be measured, now.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.shared)
    }
}

/// Of a failed write: whether room on the disk would mend it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
