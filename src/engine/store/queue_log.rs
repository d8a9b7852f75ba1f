//! The log of a durable queue: its commands as records of its own stream in the journal.
//!
//! Only persistent messages are recorded, each in a record that is live until the queue says that it needs it no
//! more; commands that concern none of them are not recorded either. Limits are not: they come from the topology.

use super::message::{self, StoredMessage, WHOLE_BODY};
use super::{Store, kind};
use crate::memory::Memory;
use bytes::Bytes;
use fairlead_journal::{Kind, Part, StreamId};
use fairlead_kernel::command::{Apply, Command, CommandLog, NewEntry, SequenceRange};
use fairlead_kernel::message::Body;
use fairlead_kernel::queue::Queue;
use fairlead_kernel::{QueueId, Sequence};
use std::collections::HashMap;
use std::sync::Arc;

/// Buffers above so many bytes are given back.
const KEEP: usize = 16 * 1024;

/// Where a queue's commands go.
#[derive(Debug)]
pub(crate) enum Log {
    /// Nowhere: it lives in memory.
    Memory,
    /// Into the journal.
    Journal(Box<QueueLog>),
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct QueueLog {
    store: Arc<Store>,
    stream: StreamId,
    /// Where the entries of the last command are.
    positions: Vec<u64>,
    buffer: Vec<u8>,
    /// Entries of open transactions so far.
    given: HashMap<u64, u64>,
    pub(super) kept: Kept,
}

/// What a queue keeps in the journal, besides what its entries say themselves.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Messages that are live.
    pub(super) messages: u64,
    /// Parts of long bodies, by the position of their message.
    pub(super) parts: HashMap<u64, Box<[u64]>>,
    /// Pages that are used no more, once a checkpoint that does not name them is durable.
    pub(super) old_pages: Vec<u64>,
    /// Records in pages that were written anew, by a position in their segment: the same.
    pub(super) old_messages: Vec<(u64, u64)>,
    /// Something was recorded or released since the last checkpoint.
    pub(super) changed: bool,
}

impl CommandLog for Log {
    #[inline]
    fn records(&self) -> bool {
        matches!(self, Log::Journal(_))
    }

    #[inline]
    fn record(&mut self, _queue: QueueId, command: &Command<'_>) -> Apply {
        if let Log::Journal(log) = self {
            log.record(command);
        }
        Apply::Now
    }

    #[inline]
    fn positions(&self) -> &[u64] {
        match self {
            Log::Memory => &[],
            Log::Journal(log) => &log.positions,
        }
    }
}

impl Log {
    /// For a queue that is new.
    pub(crate) fn new(store: &Arc<Store>, queue: QueueId) -> Log {
        Log::Journal(Box::new(QueueLog::new(Arc::clone(store), queue, Kept::default())))
    }

    /// A step comes: what the queue may keep in memory of the messages that it brings.
    #[inline]
    pub(crate) fn before_step(&self, queue: &mut Queue, memory: &Memory) {
        if matches!(self, Log::Journal(_)) {
            queue.set_memory_budget(memory.queue_budget());
        }
    }

    /// A step has been done: say in the journal what it means for what is kept there.
    #[inline]
    pub(crate) fn after_step(&mut self, queue: &mut Queue) {
        if let Log::Journal(log) = self {
            log.release(queue);
            log.make_page(queue);
        }
    }

    /// What is kept of a durable queue.
    pub(super) fn kept_mut(&mut self) -> Option<&mut Kept> {
        match self {
            Log::Memory => None,
            Log::Journal(log) => Some(&mut log.kept),
        }
    }

    /// See [`QueueLog::relocate_message`].
    pub(super) fn relocate(
        &mut self,
        queue: &mut Queue,
        (sequence, from): (Sequence, u64),
        message: &StoredMessage<'_>,
        bodies: &[Bytes],
    ) {
        if let Log::Journal(log) = self {
            log.relocate_message(queue, (sequence, from), message, bodies);
        }
    }
}

impl QueueLog {
    pub(super) fn new(store: Arc<Store>, queue: QueueId, kept: Kept) -> QueueLog {
        QueueLog {
            store,
            stream: StreamId(queue.0),
            positions: Vec::new(),
            buffer: Vec::new(),
            given: HashMap::new(),
            kept,
        }
    }

    fn record(&mut self, command: &Command<'_>) {
        self.positions.clear();
        match *command {
            Command::Enqueue { first, entries } => self.entries(first, 0, entries),
            Command::TxPart { transaction, entries, accepted } => {
                // Their sequences are given at the commit: until then they count from the part's first.
                let given = self.given.entry(transaction).or_default();
                let first = Sequence(std::mem::replace(given, *given + entries.len() as u64));
                self.entries(first, transaction, entries);
                if !accepted.is_empty() {
                    self.write(kind::PART_ACCEPTED, &transaction.to_le_bytes(), accepted);
                }
            }
            Command::TxCommit { transaction, first } => {
                // What a start has found open has only its persistent entries.
                let kind =
                    if self.given.remove(&transaction).is_some() { kind::COMMIT } else { kind::COMMIT_FOUND };
                let first = SequenceRange::one(first);
                self.write(kind, &transaction.to_le_bytes(), &[first]);
            }
            Command::TxRollback { transaction } => {
                self.given.remove(&transaction);
                self.write(kind::ROLLBACK, &transaction.to_le_bytes(), &[]);
            }
            Command::Settle { ids, .. } | Command::Drop { ids, .. } if self.kept.messages > 0 => {
                self.write(kind::REMOVE, &[], ids);
            }
            Command::Requeue { ids, delivered: true } if self.kept.messages > 0 => {
                self.write(kind::REQUEUE, &[], ids);
            }
            Command::Delete => self.write(kind::DELETE, &[], &[]),
            // What is held by a consumer is ready after a start anyway.
            Command::Settle { .. }
            | Command::Drop { .. }
            | Command::Requeue { .. }
            | Command::Configure { .. } => {}
        }
        self.positions.shrink_to(KEEP);
        self.buffer.shrink_to(KEEP);
    }

    fn entries(&mut self, first: Sequence, transaction: u64, entries: &[NewEntry<'_>]) {
        for (entry, number) in entries.iter().zip(0..) {
            let persistent = entry.message.persistent;
            let position =
                if persistent { self.entry(Sequence(first.0 + number), transaction, entry) } else { 0 };
            self.kept.messages += u64::from(position != 0);
            self.positions.push(position);
        }
    }

    fn entry(&mut self, sequence: Sequence, transaction: u64, entry: &NewEntry<'_>) -> u64 {
        let body = entry.message.body;
        let parts = match body {
            Body::Segments(segments) if body.len() > WHOLE_BODY => self.parts(segments),
            Body::Slice(slice) if slice.len() > WHOLE_BODY => {
                let parts = slice.chunks(WHOLE_BODY);
                parts.map(|part| self.append_live(kind::BODY, &[Part::Slice(part)])).collect()
            }
            Body::Segments(_) | Body::Slice(_) => Vec::new(),
        };
        self.buffer.clear();
        message::encode(&mut self.buffer, sequence, transaction, entry, &parts);
        let front = Part::Slice(&self.buffer);
        self.kept.changed = true;
        let append = |pieces: &[Part<'_>]| self.store.append_live(self.stream, kind::ENTRY, pieces);
        let position = match body {
            _ if !parts.is_empty() => append(&[front]),
            Body::Slice(slice) => append(&[front, Part::Slice(slice)]),
            Body::Segments([segment]) => append(&[front, Part::Shared(segment)]),
            Body::Segments(segments) => {
                let pieces: Vec<_> = [front].into_iter().chain(segments.iter().map(Part::Shared)).collect();
                append(&pieces)
            }
        };
        if !parts.is_empty() {
            self.kept.parts.insert(position, parts.into());
        }
        position
    }

    /// A long body in records of its own.
    fn parts(&mut self, segments: &[Bytes]) -> Vec<u64> {
        let mut positions = Vec::new();
        let mut part: Vec<Bytes> = Vec::new();
        let mut room = WHOLE_BODY;
        for segment in segments {
            let mut rest = segment.clone();
            while !rest.is_empty() {
                let piece = rest.split_to(room.min(rest.len()));
                room -= piece.len();
                part.push(piece);
                if room == 0 {
                    positions.push(self.part(&part));
                    part.clear();
                    room = WHOLE_BODY;
                }
            }
        }
        if !part.is_empty() {
            positions.push(self.part(&part));
        }
        positions
    }

    fn part(&self, pieces: &[Bytes]) -> u64 {
        let pieces: Vec<Part<'_>> = pieces.iter().map(Part::Shared).collect();
        self.append_live(kind::BODY, &pieces)
    }

    pub(super) fn append_live(&self, kind: Kind, pieces: &[Part<'_>]) -> u64 {
        self.store.append_live(self.stream, kind, pieces)
    }

    fn write(&mut self, kind: Kind, front: &[u8], ids: &[SequenceRange]) {
        self.buffer.clear();
        self.buffer.extend_from_slice(front);
        for range in ids {
            self.buffer.extend_from_slice(&range.first.0.to_le_bytes());
            self.buffer.extend_from_slice(&range.last.0.to_le_bytes());
        }
        self.kept.changed = true;
        self.store.append(self.stream, kind, &self.buffer);
    }

    /// Put the oldest entries of a long queue's tail onto the disk.
    fn make_page(&mut self, queue: &mut Queue) {
        let Some(entries) = queue.page_to_make() else { return };
        if entries.iter().any(|entry| self.kept.parts.contains_key(&entry.position)) {
            return;
        }
        let (page, stored) = self.store.append_page(self.stream, &entries);
        if page == 0 {
            return;
        }
        self.kept.changed = true;
        queue.page_made(&entries, page, stored);
    }

    fn release(&mut self, queue: &mut Queue) {
        if let Some(released) = queue.take_released_pages() {
            self.kept.changed = true;
            for (position, count) in released.messages {
                self.kept.messages -= count;
                self.store.release_some(position, count);
            }
            self.kept.old_pages.extend(released.pages);
        }
        if queue.is_gone() {
            let Kept { old_pages, old_messages, .. } = &mut self.kept;
            self.store.release_after_checkpoint(old_pages.drain(..), old_messages.drain(..));
        }
        for position in queue.take_released() {
            self.kept.changed = true;
            self.kept.messages -= 1;
            self.store.release(position);
            for part in self.kept.parts.remove(&position).into_iter().flatten() {
                self.store.release(part);
            }
        }
    }
}
