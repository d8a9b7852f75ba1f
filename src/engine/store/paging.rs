//! Messages that are only in the journal come back when a queue wants them.
//!
//! Flow: a step asks for the next messages of its queue -> they line up here -> a thread that may block reads them and
//! gives them to the queue, whose consumers are served. What cannot be read is lost, and said so.

use super::message::StoredMessage;
use super::{Store, entries};
use crate::Broker;
use crate::counters::Counter;
use crate::queue_cell::{Entered, QueueCell};
use crate::scratch::Scratch;
use bytes::Bytes;
use fairlead_journal::{Position, ReadError};
use fairlead_kernel::effect::Fetch;
use fairlead_kernel::{MessageView, Sequence, Time};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a read is tried that the disk refuses, before what it should give is lost.
const TRIES: usize = 3;

/// What queues wait for.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    /// Rank: leaf.
    wanted: Mutex<Wanted>,
    come: Condvar,
    closing: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    line: VecDeque<(Arc<QueueCell>, Want)>,
    closed: bool,
}

/// What a queue wants.
#[derive(Debug)]
pub(crate) enum Want {
    /// These messages.
    Messages(Vec<Fetch>),
    /// The entries in that page.
    Page(u64),
}

impl Fetches {
    pub(crate) fn want(&self, cell: Arc<QueueCell>, want: Want) {
        self.wanted.lock().line.push_back((cell, want));
        self.come.notify_one();
    }

    pub(super) fn close(&self) {
        self.wanted.lock().closed = true;
        self.come.notify_all();
        self.closing.notify_all();
    }

    /// Whether it is closed, now or within that time.
    pub(super) fn closed_within(&self, time: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        let end = Instant::now() + time;
        while !wanted.closed {
            if self.closing.wait_until(&mut wanted, end).timed_out() {
                break;
            }
        }
        wanted.closed
    }

    fn next(&self) -> Option<(Arc<QueueCell>, Want)> {
        self.wanted.lock().line.pop_front()
    }

    /// The next, when there is one; `None` when there will be none any more.
    fn wait(&self) -> Option<(Arc<QueueCell>, Want)> {
        let mut wanted = self.wanted.lock();
        loop {
            if wanted.closed {
                return None;
            }
            if let Some(next) = wanted.line.pop_front() {
                return Some(next);
            }
            self.come.wait(&mut wanted);
        }
    }
}

impl Broker {
    /// Read what queues wait for, until the storage is closed. For a thread that may block.
    pub fn serve_fetches(&self) {
        let Some(store) = &self.store else { return };
        while let Some((cell, want)) = store.fetches.wait() {
            self.give(store, &cell, &want, self.clock.now());
        }
    }

    fn give(&self, store: &Store, cell: &Arc<QueueCell>, want: &Want, now: Time) {
        match want {
            Want::Messages(fetches) => self.fetch(store, cell, fetches, now),
            Want::Page(page) => self.fetch_page(store, cell, *page, now),
        }
    }

    /// Read a page of entries, and give it to its queue. Blocks.
    pub(crate) fn fetch_page(&self, store: &Store, cell: &Arc<QueueCell>, page: u64, now: Time) {
        let read = store.read_patiently(Position(page));
        let not_understood = || format!("expected a page of entries at position {page}");
        let entries = read.map_err(|error| error.to_string());
        let entries = entries.and_then(|payload| entries::decode_page(&payload).ok_or_else(not_understood));
        if let Err(error) = &entries {
            let (queue, vhost) = (&*cell.name, &**cell.host.name());
            // Unless somebody was quicker, which the queue knows.
            tracing::warn!(error, queue, vhost, "a page of entries cannot be read");
        }
        self.hand_in(cell, now, |q| {
            // Deleted meanwhile: nobody wants them any more.
            let _ = q.queue.page_loaded(page, entries.as_deref().ok(), &mut q.turn);
        });
    }

    /// A step that gives a queue what it waits for, or says that it is lost.
    fn hand_in(&self, cell: &Arc<QueueCell>, now: Time, step: impl FnOnce(&mut Entered<'_>)) {
        let unreadable = Scratch::with(|scratch| {
            let unreadable = cell.enter(self, scratch, now, |q| {
                let before = q.queue.counters().unreadable;
                step(q);
                q.queue.counters().unreadable - before
            });
            self.follow_up(scratch, now);
            unreadable
        });
        if unreadable > 0 {
            self.counters.add(Counter::MessagesUnreadable, unreadable);
            let (queue, vhost) = (&*cell.name, &**cell.host.name());
            tracing::error!(
                queue,
                vhost,
                messages = unreadable,
                "messages are lost: the disk does not give them back"
            );
        }
    }

    /// Read what a queue waits for; false if none does.
    pub fn fetch_next(&self, now: Time) -> bool {
        let Some(store) = &self.store else { return false };
        let Some((cell, want)) = store.fetches.next() else { return false };
        self.give(store, &cell, &want, now);
        true
    }

    /// Read these messages, and give them to their queue. Blocks.
    pub(crate) fn fetch(&self, store: &Store, cell: &Arc<QueueCell>, fetches: &[Fetch], now: Time) {
        let (mut read, mut lost) = (Vec::with_capacity(fetches.len()), Vec::new());
        let mut lose = |fetch: &Fetch, error: &dyn Display| {
            let (queue, vhost, sequence) = (&*cell.name, &**cell.host.name(), fetch.sequence.0);
            // Unless it was moved or has gone meanwhile, which the queue knows.
            tracing::warn!(%error, queue, vhost, sequence, "a message cannot be read where it was");
            lost.push(*fetch);
        };
        let mut wanted = fetches.iter();
        let positions = fetches.iter().map(|fetch| Position(fetch.position));
        store.journal.read_each(positions, |position, payload| {
            let Some(fetch) = wanted.next() else { return };
            let payload = match payload {
                Err(ReadError::Io { .. }) => store.read_patiently(position),
                payload => payload,
            };
            match payload {
                Ok(payload) => read.push((fetch, payload)),
                Err(error) => lose(fetch, &error),
            }
        });
        let mut decoded = Vec::with_capacity(read.len());
        for (fetch, payload) in &read {
            let Some(message) = StoredMessage::decode(payload) else {
                lose(fetch, &format_args!("expected a message at position {}", fetch.position));
                continue;
            };
            let parts = message.parts.iter().map(|part| store.read_patiently(Position(*part)));
            match parts.collect::<Result<Vec<_>, _>>() {
                Ok(parts) => decoded.push((fetch.sequence, message, parts)),
                Err(error) => lose(fetch, &error),
            }
        }
        let messages: Vec<(Sequence, MessageView<'_>)> =
            decoded.iter().map(|(sequence, it, parts)| (*sequence, it.entry(parts).message)).collect();
        self.hand_in(cell, now, |q| {
            // Deleted meanwhile: nobody wants them any more.
            let _ = q.queue.loaded(&messages, &mut q.turn);
            if !lost.is_empty() {
                let _ = q.queue.lost(&lost, &mut q.turn);
            }
        });
    }
}

impl Store {
    /// A disk that refuses once may give it the next time; what is damaged stays so.
    fn read_patiently(&self, position: Position) -> Result<Bytes, ReadError> {
        let mut read = self.journal.read(position);
        for _ in 1..TRIES {
            if !matches!(read, Err(ReadError::Io { .. })) {
                break;
            }
            read = self.journal.read(position);
        }
        read
    }
}
