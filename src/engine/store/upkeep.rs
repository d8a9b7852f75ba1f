//! What keeps a start short: checkpoints of all streams. What keeps the disk small is in `compaction`.
//!
//! A checkpoint takes the catalogue first and the queues after it, one by one, each under its own lock with the
//! position from which its records go on. The catalogue's changes may be read twice, which is the same as once; a
//! queue that nothing has happened to keeps the snapshot that it has.

use super::queue_log::Log;
use super::{CATALOGUE, Store, entries};
use crate::Broker;
use fairlead_journal::{Checkpoint, CheckpointError, LiveCounts, Position, ReadError};
use fairlead_journal::{Space, StreamId};
use fairlead_kernel::Time;
use fairlead_kernel::queue::{Queue, ReleasedPages};
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

/// What a checkpoint has of a queue.
enum Snapshot {
    /// Nothing: it is in memory only.
    OfNothing,
    /// Nothing yet: a transaction is being committed.
    Transacting,
    /// What it was at the last one; its records go on from that position.
    AsBefore(Position),
    /// This; its records go on from that position. Behind it, what it does not need any more.
    Taken(Position, LiveCounts, Vec<Vec<u8>>, ReleasedPages),
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
    for stretch in queue.stretches() {
        live.add(Position(stretch.page), 1);
        stretch.stored.iter().for_each(|(position, count)| live.add(Position(*position), *count));
    }
    let entries = queue.stored_entries().inspect(|entry| {
        live.add(Position(entry.position), 1);
        for part in kept.parts.get(&entry.position).into_iter().flatten() {
            live.add(Position(*part), 1);
        }
    });
    let parts = entries::encode(queue.next_sequence(), queue.stretches(), entries, &kept.parts);
    let (pages, messages) = (std::mem::take(&mut kept.old_pages), std::mem::take(&mut kept.old_messages));
    Snapshot::Taken(from, live, parts, ReleasedPages { pages, messages })
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
        let victims = store.journal.victims();
        match victims.into_iter().find(|segment| store.copied.lock().insert(segment.0)) {
            Some(segment) => self.compact(store, segment, now).map(|()| true),
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
        // Of queues that have gone by now, this checkpoint has nothing.
        let mut old = std::mem::take(&mut *store.left.lock());
        let end = match self.fill(store, checkpoint, from, &mut old) {
            Ok(end) => end,
            Err(error) => {
                self.forget_snapshots();
                store.release_after_checkpoint(old.pages, old.messages);
                return Err(error);
            }
        };
        // Their segments go when the checkpoint is durable, and not before.
        old.pages.into_iter().for_each(|page| store.release(page));
        old.messages.into_iter().for_each(|(position, count)| store.release_some(position, count));
        store.copied.lock().clear();
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
        old: &mut ReleasedPages,
    ) -> Result<Position, CheckpointError> {
        // What changes from here on is read behind the snapshot, whether or not that has it already.
        let none = store.journal.live_counts();
        let catalogue = self.catalogue();
        checkpoint.stream(CATALOGUE, from, &none, catalogue)?;
        for cell in self.queues.in_order() {
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
                Snapshot::Taken(from, live, parts, of_queue) => {
                    old.pages.extend(of_queue.pages);
                    old.messages.extend(of_queue.messages);
                    checkpoint.stream(stream, from, &live, parts)?;
                }
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
}
