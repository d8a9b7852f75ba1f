//! Where appended records wait for the writer: a short leaf lock gives each its position and puts it into the batch
//! that is open. Positions are given out segment by segment; a new segment is planned here and begun by the writer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Part};
use crate::error::Refused;
use crate::format::{BATCH_HEADER, RecordHeader, SEGMENT_HEADER, space};
use crate::ids::{Position, SegmentId};
use crate::root::NewRoot;
use crate::segments::{Counts, Segment, State, Table};

/// Emptied buffers that are kept.
const BUFFERS_MOST: usize = 2;

/// Where the next record goes.
pub struct Cursor {
    /// The segment that records go to, by its first position.
    pub first: u64,
    /// Bytes of that segment's file.
    pub size: u64,
    /// Its number.
    pub sequence: u64,
    /// The next free position in it.
    pub next: u64,
    /// What keeps it.
    pub counts: Arc<Counts>,
}

/// What waits for the disk, and how the next record is placed.
pub struct Intake {
    cursor: Cursor,
    epoch: u32,
    segment_size: u64,
    batch_bytes: usize,
    share_from: usize,
    open: Option<Batch>,
    closed: VecDeque<Batch>,
    in_flight: Option<Arc<Batch>>,
    buffers: Vec<Vec<u8>>,
    /// Bytes that are appended and not durable.
    pending: u64,
    /// Whether nothing more is taken.
    pub closing: bool,
    /// Whether the writer waits to be woken.
    pub writer_sleeps: bool,
}

impl Intake {
    /// One that goes on at the cursor.
    pub fn new(cursor: Cursor, epoch: u32, options: &crate::Options) -> Self {
        Self {
            cursor,
            epoch,
            segment_size: options.segment_size,
            batch_bytes: options.batch_bytes,
            share_from: options.share_from,
            open: None,
            closed: VecDeque::new(),
            in_flight: None,
            buffers: Vec::new(),
            pending: 0,
            closing: false,
            writer_sleeps: false,
        }
    }

    /// The next free position: every record yet to come is at or after it.
    pub fn next(&self) -> u64 {
        self.cursor.next
    }

    /// Bytes that are appended and not durable.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// The epoch that is written.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Take a record. Its header gets position and epoch here.
    pub fn push(
        &mut self,
        mut header: RecordHeader,
        payload_checksum: u32,
        parts: &[Part<'_>],
        table: &parking_lot::RwLock<Table>,
    ) -> Position {
        let needed = space(header.length as usize);
        self.make_room(needed, table);
        header.epoch = self.epoch;
        let share_from = self.share_from;
        let batch = self.open_batch();
        header.position = batch.end();
        batch.push(&header.encode(payload_checksum), parts, share_from);
        if header.live {
            self.cursor.counts.mark(needed);
        }
        self.cursor.next += needed;
        self.pending += needed;
        Position(header.position)
    }

    /// The batch that was just pushed to ends a checkpoint.
    pub fn set_root(&mut self, root: Arc<NewRoot>) {
        self.open_batch().root = Some(root);
    }

    /// Have an open batch, if only to say what is durable.
    pub fn open_mark(&mut self, table: &parking_lot::RwLock<Table>) {
        self.make_room(0, table);
        self.open_batch();
    }

    fn open_batch(&mut self) -> &mut Batch {
        let cursor = &mut self.cursor;
        let pending = &mut self.pending;
        let buffers = &mut self.buffers;
        self.open.get_or_insert_with(|| {
            let batch = Batch::new(cursor.first, cursor.next, buffers.pop().unwrap_or_default());
            cursor.next += BATCH_HEADER as u64;
            *pending += BATCH_HEADER as u64;
            batch
        })
    }

    /// Close the batch when it is full, and plan a new segment when this one is.
    fn make_room(&mut self, needed: u64, table: &parking_lot::RwLock<Table>) {
        if self.open.as_ref().is_some_and(|open| open.length() >= self.batch_bytes as u64) {
            self.closed.extend(self.open.take());
        }
        let header = if self.open.is_some() { 0 } else { BATCH_HEADER as u64 };
        if self.cursor.next + header + needed <= self.cursor.first + self.cursor.size {
            return;
        }
        self.closed.extend(self.open.take());
        let first = self.cursor.first + self.cursor.size;
        let counts = Arc::new(Counts::default());
        self.cursor = Cursor {
            first,
            size: self.segment_size,
            sequence: self.cursor.sequence + 1,
            next: first + SEGMENT_HEADER,
            counts: Arc::clone(&counts),
        };
        table.write().insert(Segment {
            id: SegmentId(self.cursor.sequence),
            first,
            size: self.segment_size,
            end: first,
            state: State::Planned,
            file: None,
            counts,
        });
    }

    /// The next batch to write, when there is one.
    pub fn take(&mut self) -> Option<Batch> {
        self.closed.pop_front().or_else(|| self.open.take())
    }

    /// Whether nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    /// Readers find records in it until it is done.
    pub fn set_in_flight(&mut self, batch: Arc<Batch>) {
        self.in_flight = Some(batch);
    }

    /// The batch in flight is on disk.
    pub fn done(&mut self, batch: Arc<Batch>) {
        self.in_flight = None;
        self.pending -= batch.length();
        if self.buffers.len() < BUFFERS_MOST
            && let Ok(batch) = Arc::try_unwrap(batch)
        {
            self.buffers.push(batch.into_memory());
        }
    }

    /// Give the memory of idle buffers back.
    pub fn shrink(&mut self) {
        self.buffers.clear();
    }

    /// The payload of a record that waits to be written.
    pub fn read(&self, position: u64) -> Option<Bytes> {
        let mut batches = self.closed.iter().chain(&self.open);
        batches.find(|batch| (batch.start..batch.end()).contains(&position))?.read(position)
    }

    /// The batch that is being written, for a reader that need not hold the intake up.
    pub fn in_flight(&self) -> Option<Arc<Batch>> {
        self.in_flight.clone()
    }

    /// Whether something can be taken at all.
    pub fn check_open(&self) -> Result<(), Refused> {
        if self.closing { Err(Refused::Closed) } else { Ok(()) }
    }
}
