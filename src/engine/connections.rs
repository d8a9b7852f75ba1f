//! The open connections, as others see them: their letter boxes, and what they last said of themselves.
//!
//! A connection's own task publishes a [`Description`]; management reads the last one and never waits.

use crate::outbox::Outbox;
use crate::queue_cell::QueueCell;
use crate::store::Line;
use arc_swap::ArcSwapOption;
use fairlead_kernel::effect::Slot;
use fairlead_kernel::session::{CloseReason, Event, Properties};
use fairlead_kernel::settings::ConsumerSettings;
use fairlead_kernel::{ConnectionId, Refusal, Time, refusal::Bound};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a connection comes from and came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client's address; behind a proxy, as the proxy told it.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// The client is on this machine, and no proxy is between.
    pub loopback: bool,
}

/// A connection, shared between its task and those who look at it.
#[derive(Debug)]
pub struct Entry {
    pub(crate) id: ConnectionId,
    pub(crate) endpoints: Endpoints,
    pub(crate) connected_at: Time,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) description: ArcSwapOption<Description>,
    /// What it is told when the journal has come so far. Rank: leaf.
    pub(crate) line: Mutex<Line>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What a connection says of itself.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Who it is.
    pub user: String,
    /// Where it works.
    pub vhost: String,
    /// Protocol, for example `AMQP 0-9-1`.
    pub protocol: &'static str,
    /// `running`, `blocked` or `closing`.
    pub state: &'static str,
    /// Largest frame, in bytes.
    pub frame_max: u32,
    /// Heartbeat interval, in seconds; 0 is none.
    pub heartbeat: u16,
    /// What the client says of itself.
    pub client_properties: Properties,
    /// Its sessions, by number.
    pub sessions: Vec<SessionDescription>,
    /// Its consumers; the engine fills them in.
    pub consumers: Vec<ConsumerDescription>,
}

/// What a session says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionDescription {
    /// Its number.
    pub number: u16,
    /// Deliveries that wait to be settled.
    pub unsettled: u64,
    /// Window of new consumers; 0 is without bound.
    pub prefetch: u32,
    /// Window of the session; 0 is without bound.
    pub global_prefetch: u32,
    /// Publishes are confirmed.
    pub confirm: bool,
    /// Publishes and settlements are transacted.
    pub transactional: bool,
}

/// A consumer as its connection knows it.
#[derive(Clone, Debug)]
pub struct ConsumerDescription {
    /// Its session's number.
    pub session: u16,
    /// Its queue's virtual host.
    pub vhost: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// As asked for.
    pub settings: Arc<ConsumerSettings>,
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) slot: Slot,
}

impl ConsumerDescription {
    /// Whether it is served now: not if it waits behind a single active one.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.cell.figures.serves(self.slot)
    }
}

impl Entry {
    /// `PEER:PORT -> HOST:PORT`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.endpoints.peer, self.endpoints.local)
    }

    /// Bytes were read.
    pub fn read(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes were written.
    pub fn written(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes read and written so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Rank: leaf.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// No more are let in.
    closing: bool,
    next: u64,
    entries: BTreeMap<ConnectionId, Arc<Entry>>,
    of_users: HashMap<Arc<str>, u64>,
}

impl Connections {
    /// Let one more in, if there are fewer than `limit` and they are not being closed.
    pub(crate) fn open(&self, endpoints: Endpoints, now: Time, limit: u64) -> Result<Arc<Entry>, Refusal> {
        let mut open = self.open.lock();
        if open.closing {
            return Err(Refusal::ShuttingDown);
        }
        if open.entries.len() as u64 >= limit {
            return Err(Refusal::TooMany { bound: Bound::Connections, limit });
        }
        open.next += 1;
        let entry = Arc::new(Entry {
            id: ConnectionId(open.next),
            endpoints,
            connected_at: now,
            outbox: Arc::default(),
            description: ArcSwapOption::empty(),
            line: Mutex::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        });
        open.entries.insert(entry.id, Arc::clone(&entry));
        Ok(entry)
    }

    /// A connection of this user has logged in, if there are fewer than `limit`.
    pub(crate) fn log_in(&self, user: &Arc<str>, limit: u64) -> Result<(), Refusal> {
        let mut open = self.open.lock();
        let count = open.of_users.entry(Arc::clone(user)).or_default();
        if *count >= limit {
            return Err(Refusal::TooMany { bound: Bound::UserConnections, limit });
        }
        *count += 1;
        Ok(())
    }

    /// It has gone.
    pub(crate) fn close(&self, id: ConnectionId, user: Option<&Arc<str>>) {
        let mut open = self.open.lock();
        open.entries.remove(&id);
        if let Some(user) = user
            && let Some(count) = open.of_users.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                open.of_users.remove(user);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().entries.len()
    }

    /// One, if it is open.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.open.lock().entries.get(&id).cloned()
    }

    /// All, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.open.lock().entries.values().cloned().collect()
    }

    /// Tell all of them.
    pub(crate) fn tell(&self, event: &Event) {
        for entry in self.all() {
            if let Ok(Some(waker)) = entry.outbox.tell(event.clone()) {
                waker.wake();
            }
        }
    }

    /// Have all closed, before anything else they wait for, and let no more in.
    pub(crate) fn close_all(&self, reason: &CloseReason) {
        self.open.lock().closing = true;
        for entry in self.all() {
            entry.outbox.tell_urgently(Event::Close { reason: reason.clone() });
        }
    }
}
