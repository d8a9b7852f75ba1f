//! What keeps a start short and the disk small: checkpoints of all streams, and copying what lives out of segments that
//! are mostly dead.
//!
//! A checkpoint takes the catalogue first and the queues after it, one by one, each under its own lock with the
//! position from which its records go on. The catalogue's changes may be read twice, which is the same as once; a
//! queue that nothing has happened to keeps the snapshot that it has.

use super::message::StoredMessage;
use super::queue_log::{Log, QueueLog};
use super::{CATALOGUE, Store, entries, kind};
use crate::Broker;
use crate::queue_cell::QueueCell;
use crate::scratch::Scratch;
use bytes::Bytes;
use fairlead_journal::{Checkpoint, CheckpointError, LiveCounts, Part, Position, ReadError, SegmentId};
use fairlead_journal::{Space, StreamId};
use fairlead_kernel::queue::Queue;
use fairlead_kernel::{Sequence, Time};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Records of so many bytes are replayed at a start, at most about, before a checkpoint is made.
pub(super) const EVERY: u64 = 64 << 20;
/// A checkpoint is made for at least so many times the bytes of the one before.
const TIMES: u64 = 4;
/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Names of virtual hosts and their things in one part.
const ITEMS_A_PART: usize = 1024;

/// A message that lives in a segment that is to go.
struct Living {
    cell: Arc<QueueCell>,
    sequence: Sequence,
}

/// What a checkpoint has of a queue.
enum Snapshot {
    /// Nothing: it is in memory only.
    OfNothing,
    /// Nothing yet: a transaction is being committed.
    Transacting,
    /// What it was at the last one; its records go on from that position.
    AsBefore(Position),
    /// This; its records go on from that position.
    Taken(Position, LiveCounts, Vec<Vec<u8>>),
}

fn snapshot(store: &Store, queue: &Queue, log: &mut Log) -> Snapshot {
    let Some(kept) = log.kept_mut() else { return Snapshot::OfNothing };
    if queue.has_open_transactions() {
        return Snapshot::Transacting;
    }
    let from = store.journal.next();
    if !std::mem::take(&mut kept.changed) {
        return Snapshot::AsBefore(from);
    }
    let mut live = store.journal.live_counts();
    for (_, position) in queue.stored_within(1..u64::MAX) {
        live.add(Position(position), 1);
        for part in kept.parts.get(&position).into_iter().flatten() {
            live.add(Position(*part), 1);
        }
    }
    let parts = entries::encode(queue.next_sequence(), kept.served, queue.stored_entries(), &kept.parts);
    Snapshot::Taken(from, live, parts)
}

impl Store {
    fn is_checkpoint_due(&self) -> bool {
        let (next, due) = (self.journal.next().0, self.checkpoint_at.load(Ordering::Relaxed));
        // A disk that fills up has the more to gain from one.
        let early = if self.journal.space() == Space::Enough { 0 } else { EVERY - EVERY / 64 };
        next + early >= due
    }
}

impl Broker {
    /// Look to the storage until it is closed. For a thread that may block.
    pub fn serve_upkeep(&self) {
        let Some(store) = &self.store else { return };
        while !store.fetches.closed_within(LOOK_EVERY) {
            loop {
                match self.maintain_storage(self.clock.now()) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::error!(%error, "the journal cannot be tidied up");
                        break;
                    }
                }
            }
        }
    }

    /// Do what is due: a checkpoint, or the copying of one segment. For a thread that may block. False if nothing was.
    ///
    /// # Errors
    /// A segment cannot be read; it stays.
    pub fn maintain_storage(&self, now: Time) -> Result<bool, ReadError> {
        let Some(store) = &self.store else { return Ok(false) };
        if store.is_checkpoint_due() {
            return match self.checkpoint() {
                Ok(made) => Ok(made),
                Err(CheckpointError::Read(error)) => Err(error),
                // It has failed, or is closed.
                Err(CheckpointError::Refused(_)) => Ok(false),
            };
        }
        match store.journal.victim() {
            Some(segment) => self.compact(store, segment, now),
            None => Ok(false),
        }
    }

    /// Make a checkpoint now; false if one is being made.
    ///
    /// # Errors
    /// The journal takes none, or a part of the one before cannot be read.
    pub fn checkpoint(&self) -> Result<bool, CheckpointError> {
        let Some(store) = &self.store else { return Ok(false) };
        let from = store.journal.next();
        let Some(checkpoint) = store.journal.checkpoint() else { return Ok(false) };
        let end = self.fill(store, checkpoint, from).inspect_err(|_| self.forget_snapshots())?;
        let size = end.0 - from.0;
        store.checkpoint_at.store(end.0 + EVERY.max(size * TIMES), Ordering::Relaxed);
        tracing::debug!(bytes = size, "checkpoint made");
        Ok(true)
    }

    /// No queue has a snapshot that it may keep.
    fn forget_snapshots(&self) {
        for cell in self.queues.load().values() {
            cell.with_log(|_, log| log.kept_mut().map(|kept| kept.changed = true));
        }
    }

    fn fill(
        &self,
        store: &Store,
        mut checkpoint: Checkpoint,
        from: Position,
    ) -> Result<Position, CheckpointError> {
        // What changes from here on is read behind the snapshot, whether or not that has it already.
        let none = store.journal.live_counts();
        let catalogue = self.catalogue();
        checkpoint.stream(CATALOGUE, from, &none, catalogue)?;
        for cell in self.queues.load().values() {
            let stream = StreamId(cell.id().0);
            let snapshot = loop {
                match cell.with_log(|queue, log| snapshot(store, queue, log)) {
                    // Its end comes at once: other queues' parts are being prepared.
                    Snapshot::Transacting => std::thread::yield_now(),
                    snapshot => break snapshot,
                }
            };
            match snapshot {
                Snapshot::Transacting | Snapshot::OfNothing => {}
                Snapshot::Taken(from, live, parts) => checkpoint.stream(stream, from, &live, parts)?,
                // One that has no snapshot has had no record either.
                Snapshot::AsBefore(from) => drop(checkpoint.unchanged(stream, from)?),
            }
        }
        Ok(checkpoint.finish()?)
    }

    fn catalogue(&self) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let head = (self.queues.next_id().0, self.next_transaction());
        for (name, host) in self.hosts.load().iter() {
            let items = super::catalogue::items_of(&host.topology());
            for some in items.chunks(ITEMS_A_PART) {
                // Plain data of known types: it always encodes.
                parts.extend(rmp_serde::to_vec_named(&(head, name, some)));
            }
            if items.is_empty() {
                parts.extend(rmp_serde::to_vec_named(&(head, name, &items)));
            }
        }
        parts
    }

    /// Copy what lives in a segment to the journal's end, so that the segment goes; false if nothing does.
    fn compact(&self, store: &Store, segment: SegmentId, now: Time) -> Result<bool, ReadError> {
        let Some(range) = store.journal.range_of(segment) else { return Ok(false) };
        let mut living: HashMap<u64, Living> = HashMap::new();
        for cell in self.queues.load().values() {
            let _ = cell.with_log(|queue, log| {
                let kept = log.kept_mut()?;
                let within = |position: &u64| range.contains(position);
                let with_parts: Vec<u64> = kept
                    .parts
                    .iter()
                    .filter(|(_, parts)| parts.iter().any(within))
                    .map(|(position, _)| *position)
                    .collect();
                for (sequence, position) in queue.stored_within(1..u64::MAX) {
                    if within(&position) || with_parts.contains(&position) {
                        living.insert(position, Living { cell: Arc::clone(cell), sequence });
                    }
                }
                Some(())
            });
        }
        let (messages, mut copied) = (living.len(), false);
        for (position, living) in living {
            let payload = match store.journal.read(Position(position)) {
                Ok(payload) => payload,
                // Settled meanwhile.
                Err(ReadError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            let Some(message) = StoredMessage::decode(&payload) else { continue };
            let parts: Result<Vec<_>, _> =
                message.parts.iter().map(|part| store.journal.read(Position(*part))).collect();
            let parts = match parts {
                Ok(parts) => parts,
                Err(ReadError::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            copied |= Scratch::with(|scratch| {
                living.cell.enter(self, scratch, now, |q| {
                    q.turn.log.relocate(q.queue, (living.sequence, position), &message, &parts)
                })
            });
        }
        tracing::debug!(messages, "a segment's messages were copied");
        Ok(copied)
    }
}

impl QueueLog {
    /// Append a copy of a message whose record is at `from`; false if it has gone, or was moved.
    pub(super) fn relocate_message(
        &mut self,
        queue: &mut Queue,
        (sequence, from): (Sequence, u64),
        message: &StoredMessage<'_>,
        bodies: &[Bytes],
    ) -> bool {
        if queue.position_of(sequence) != Some(from) {
            return false;
        }
        self.kept.changed = true;
        let parts: Vec<u64> =
            bodies.iter().map(|body| self.append_live(kind::BODY, &[Part::Shared(body)])).collect();
        let payload = message.moved(sequence, from, &parts);
        let to = self.append_live(kind::MOVED, &[Part::Slice(&payload)]);
        if to == 0 {
            return false;
        }
        self.kept.messages += 1;
        if !parts.is_empty() {
            self.kept.parts.insert(to, parts.into());
        }
        // It is there still: nobody has had the queue meanwhile.
        let _ = queue.relocated(&[(sequence, from, to)]);
        true
    }
}
