//! What clients are told only when the journal has come so far: confirms, and answers to what was declared; and who is
//! not read until it has come further.
//!
//! Each connection has its own line. The journal's writer opens it after each sync, as far as it has come, and wakes
//! the connection; nothing is told out of the line's order.

use crate::connections::Entry;
use fairlead_journal::Position;
use fairlead_kernel::ConnectionId;
use fairlead_kernel::session::Event;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use tokio::sync::{Notify, oneshot};

/// The connections that wait.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// Rank: leaf.
    waiting: Mutex<Vec<Arc<Entry>>>,
    /// Tasks of connections that are not read until the journal has come further. Rank: leaf.
    held: Mutex<BTreeMap<ConnectionId, Waker>>,
    /// What was done for somebody who has no connection, such as management. Rank: leaf.
    others: Mutex<Vec<(Position, oneshot::Sender<()>)>>,
    /// Notified when room on the disk has changed.
    pub(super) changed: Arc<Notify>,
}

/// What waits for one connection.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Positions only grow.
    events: VecDeque<(Position, Event)>,
    /// The connection is among those that wait, or will be.
    listed: bool,
}

impl Gates {
    /// Tell a connection when the record at `position` is on disk.
    pub(super) fn hold(&self, entry: &Arc<Entry>, position: Position, event: Event) {
        let listed = {
            let mut line = entry.line.lock();
            // What waits for something older is told in its turn.
            let position = line.events.back().map_or(position, |(last, _)| position.max(*last));
            line.events.push_back((position, event));
            std::mem::replace(&mut line.listed, true)
        };
        if !listed {
            self.waiting.lock().push(Arc::clone(entry));
        }
    }

    /// Comes when the record at `position` is on disk, for somebody who has no connection.
    pub(super) fn hold_other(&self, position: Position) -> oneshot::Receiver<()> {
        let (teller, told) = oneshot::channel();
        self.others.lock().push((position, teller));
        told
    }

    /// Wake the connection's task when the journal has come further.
    pub(super) fn hold_reader(&self, connection: ConnectionId, waker: &Waker) {
        self.held.lock().insert(connection, waker.clone());
    }

    /// The connection does not wait any more.
    pub(super) fn forget_reader(&self, connection: ConnectionId) {
        self.held.lock().remove(&connection);
    }

    /// Connections that are not read.
    pub(super) fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Everything before `durable` is on disk.
    pub(super) fn open(&self, durable: Position) {
        self.tell(durable);
        for (_, teller) in self.others.lock().extract_if(.., |(position, _)| *position < durable) {
            // Who has gone needs to know nothing.
            let _ = teller.send(());
        }
        let held = std::mem::take(&mut *self.held.lock());
        held.into_values().for_each(Waker::wake);
    }

    fn tell(&self, durable: Position) {
        let entries = std::mem::take(&mut *self.waiting.lock());
        let mut still = Vec::new();
        for entry in entries {
            let (ready, more) = {
                let mut line = entry.line.lock();
                let count = line.events.partition_point(|(position, _)| *position < durable);
                let ready: Vec<Event> = line.events.drain(..count).map(|(_, event)| event).collect();
                line.listed = !line.events.is_empty();
                if !line.listed {
                    line.events.shrink_to(0);
                }
                (ready, line.listed)
            };
            let mut waker = None;
            for event in ready {
                // A connection that has gone needs to know nothing.
                waker = entry.outbox.tell(event).ok().flatten().or(waker);
            }
            if let Some(waker) = waker {
                waker.wake();
            }
            if more {
                still.push(entry);
            }
        }
        if !still.is_empty() {
            self.waiting.lock().append(&mut still);
        }
    }
}
