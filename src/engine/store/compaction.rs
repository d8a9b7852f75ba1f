//! Copying what lives out of segments that are mostly dead, so that they go: one old message pins no more than about
//! twice itself.
//!
//! A message in memory, or known there, is copied under its queue's lock with a record that says from where. Messages
//! in pages are copied with their page: a start still reads the old ones, so that those are released when a checkpoint
//! has named the new.

use super::message::StoredMessage;
use super::queue_log::QueueLog;
use super::{Store, entries, kind};
use crate::Broker;
use crate::queue_cell::QueueCell;
use crate::scratch::Scratch;
use bytes::Bytes;
use fairlead_journal::{Part, Position, ReadError, SegmentId, StreamId};
use fairlead_kernel::queue::{Queue, Stretch};
use fairlead_kernel::{Sequence, Time};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A message that lives in a segment that is to go.
struct Living {
    cell: Arc<QueueCell>,
    sequence: Sequence,
}

impl Broker {
    /// Copy what lives in a segment to the journal's end, so that the segment goes.
    pub(super) fn compact(&self, store: &Store, segment: SegmentId, now: Time) -> Result<(), ReadError> {
        let Some(range) = store.journal.range_of(segment) else { return Ok(()) };
        let mut living: BTreeMap<u64, Living> = BTreeMap::new();
        let mut pages = Vec::new();
        for cell in &self.queues.in_order() {
            let _ = cell.with_log(|queue, log| {
                let kept = log.kept_mut()?;
                let within = |position: &u64| range.contains(position);
                let has_part =
                    |message: &u64| kept.parts.get(message).is_some_and(|parts| parts.iter().any(within));
                let touched =
                    |stretch: &&Stretch| stretch.stored.iter().any(|(position, _)| within(position));
                pages.extend(queue.stretches().filter(touched).map(|it| (Arc::clone(cell), it.page)));
                for (sequence, position) in queue.stored_within(1..u64::MAX) {
                    if within(&position) || has_part(&position) {
                        living.insert(position, Living { cell: Arc::clone(cell), sequence });
                    }
                }
                Some(())
            });
        }
        let messages = living.len();
        for (position, living) in living {
            // What is not there has been settled meanwhile.
            let Some(payload) = store.read_if_there(position)? else { continue };
            let Some(message) = StoredMessage::decode(&payload) else { continue };
            let parts = message.parts.iter().map(|part| store.read_if_there(*part));
            let Some(parts) = parts.collect::<Result<Option<Vec<_>>, _>>()? else { continue };
            Scratch::with(|scratch| {
                living.cell.enter(self, scratch, now, |q| {
                    q.turn.log.relocate(q.queue, (living.sequence, position), &message, &parts);
                });
            });
        }
        for (cell, page) in pages {
            self.copy_page(store, &cell, page, &range)?;
        }
        tracing::debug!(messages, "a segment's messages were copied");
        Ok(())
    }

    /// Write a page anew, with copies of its messages that are in that range.
    fn copy_page(
        &self,
        store: &Store,
        cell: &Arc<QueueCell>,
        page: u64,
        range: &Range<u64>,
    ) -> Result<(), ReadError> {
        // What is not there is in memory again, or has gone.
        let Some(payload) = store.read_if_there(page)? else { return Ok(()) };
        let Some(mut entries) = entries::decode_page(&payload) else { return Ok(()) };
        let stream = StreamId(cell.id().0);
        let mut copies = Vec::new();
        let mut failed = None;
        for entry in entries.iter_mut().filter(|entry| range.contains(&entry.position)) {
            match store.journal.read(Position(entry.position)) {
                Ok(message) => {
                    entry.position = store.append_live(stream, kind::COPY, &[Part::Shared(&message)]);
                    copies.push(entry.position);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            copies.into_iter().for_each(|position| store.release(position));
            // Of a page that is not cold any more it is no fault.
            return if matches!(error, ReadError::NotFound(_)) { Ok(()) } else { Err(error) };
        }
        let (to, stored) = store.append_page(stream, &entries);
        let taken = cell.with_log(|queue, log| {
            let kept = log.kept_mut()?;
            kept.changed = true;
            queue.page_moved(page, to, stored).then(|| {
                kept.old_pages.push(page);
                kept.old_messages.push((range.start, copies.len() as u64));
            })
        });
        if taken.is_none() {
            // It was read meanwhile, or its queue has gone: the copies are in vain.
            copies.into_iter().chain([to]).for_each(|position| store.release(position));
        }
        // Nothing is free before the next.
        store.checkpoint_at.fetch_min(store.journal.next().0, Ordering::Relaxed);
        Ok(())
    }
}

impl QueueLog {
    /// Append a copy of a message whose record is at `from`, unless it has gone, or was moved.
    pub(super) fn relocate_message(
        &mut self,
        queue: &mut Queue,
        (sequence, from): (Sequence, u64),
        message: &StoredMessage<'_>,
        bodies: &[Bytes],
    ) {
        if queue.position_of(sequence) != Some(from) {
            return;
        }
        self.kept.changed = true;
        let parts: Vec<u64> =
            bodies.iter().map(|body| self.append_live(kind::BODY, &[Part::Shared(body)])).collect();
        let payload = message.moved(sequence, from, &parts);
        let to = self.append_live(kind::MOVED, &[Part::Slice(&payload)]);
        if to == 0 {
            return;
        }
        self.kept.messages += 1;
        if !parts.is_empty() {
            self.kept.parts.insert(to, parts.into());
        }
        // It is there still: nobody has had the queue meanwhile.
        let _ = queue.relocated(&[(sequence, from, to)]);
    }
}
