//! What operators see: plain values gathered from published state, never under a queue's lock.
//!
//! [`Source`] is what the HTTP API, the metrics and the command line read, and the few things an operator
//! may do. The broker is its one implementation; management depends on this room alone.

use fairlead_kernel::Refusal;
use fairlead_kernel::settings::{Binding, ConsumerSettings, ExchangeSettings, QueueSettings};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::counters::Counter;
use crate::store::{Snapshot, SnapshotError};
use tokio::sync::oneshot;

/// Sums over the whole broker.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Every counter, with its value.
    pub counters: Vec<(Counter, u64)>,
    /// Open connections.
    pub connections: u64,
    /// Open sessions.
    pub channels: u64,
    /// Consumers.
    pub consumers: u64,
    /// Queues.
    pub queues: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Messages ready for delivery.
    pub messages_ready: u64,
    /// Messages delivered and not settled.
    pub messages_unacknowledged: u64,
    /// Bytes held for messages, chunk by chunk.
    pub memory_used: u64,
    /// Above so many bytes publishers are stopped.
    pub memory_limit: u64,
    /// Publishers are stopped for memory now.
    pub memory_alarm: bool,
    /// Publishers are stopped for the disk now.
    pub disk_alarm: bool,
}

/// How often something was how large.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// Upper bounds, in order, each with how often it was not exceeded.
    pub below: Vec<(f64, u64)>,
    /// How often it was measured.
    pub count: u64,
    /// The sum of all that was measured.
    pub sum: f64,
}

/// The journal and its disk.
#[derive(Clone, Debug, Default)]
pub struct JournalReport {
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// How long they took.
    pub sync_seconds: Distribution,
    /// Bytes that were written before each.
    pub batch_bytes: Distribution,
    /// Bytes that wait for the disk.
    pub pending_bytes: u64,
    /// Connections that are not read until less waits.
    pub waiting_connections: u64,
    /// Everything before this position is on disk.
    pub durable_position: u64,
    /// Segments that are written to.
    pub active_segments: u64,
    /// Segments that are full and needed.
    pub sealed_segments: u64,
    /// Segment files that are kept for reuse.
    pub spare_segments: u64,
    /// Records that are needed.
    pub live_records: u64,
    /// About how many bytes they are.
    pub live_bytes: u64,
    /// Bytes of all records in the segments, needed or not.
    pub used_bytes: u64,
    /// How long the start took to read it.
    pub recovery_seconds: f64,
    /// How many records the start has read.
    pub recovery_records: u64,
    /// Reads of messages that failed, or found damage, since the start.
    pub read_errors: u64,
    /// Free bytes of the disk.
    pub free_bytes: u64,
    /// Below so many free bytes publishers are stopped.
    pub free_mark: u64,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueReport {
    /// Its virtual host.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// As declared.
    pub settings: Arc<QueueSettings>,
    /// The policy that applies, by name.
    pub policy: Option<Arc<str>>,
    /// The connection it is exclusive to, by name.
    pub owner: Option<String>,
    /// Ready messages.
    pub ready: u64,
    /// Delivered and not settled.
    pub unacknowledged: u64,
    /// Bytes of bodies, ready and unacknowledged.
    pub bytes: u64,
    /// Bytes of memory it takes.
    pub memory: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages put in, ever.
    pub published: u64,
    /// Deliveries, ever, settled as they left or not.
    pub delivered: u64,
    /// Settled as done, ever.
    pub acknowledged: u64,
    /// Deliveries that may have been made before, ever.
    pub redelivered: u64,
    /// Messages that its limit refused, ever.
    pub refused: u64,
    /// Messages whose time to live ran out, ever.
    pub expired: u64,
    /// Messages that went to make room, ever.
    pub displaced: u64,
    /// Messages that went after too many deliveries, ever.
    pub exhausted: u64,
    /// Messages given to the dead-letter exchange, ever, for whatever reason.
    pub dead_lettered: u64,
}

/// An exchange.
#[derive(Clone, Debug)]
pub struct ExchangeReport {
    /// Its virtual host.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// As declared.
    pub settings: Arc<ExchangeSettings>,
    /// The policy that applies, by name.
    pub policy: Option<Arc<str>>,
}

/// A binding.
#[derive(Clone, Debug)]
pub struct BindingReport {
    /// Its virtual host.
    pub vhost: Arc<str>,
    /// As made.
    pub binding: Binding,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// `PEER:PORT -> HOST:PORT`, unique while it lives.
    pub name: String,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: SocketAddr,
    /// Its virtual host.
    pub vhost: String,
    /// Who it is.
    pub user: String,
    /// Protocol, for example `AMQP 0-9-1`.
    pub protocol: &'static str,
    /// `running`, `blocked` or `closing`.
    pub state: &'static str,
    /// When it came, in milliseconds since the Unix epoch.
    pub connected_at: u64,
    /// Largest frame, in bytes.
    pub frame_max: u32,
    /// Heartbeat interval, in seconds; 0 is none.
    pub heartbeat: u16,
    /// What the client says of itself.
    pub client_properties: Vec<(String, fairlead_kernel::Value)>,
    /// Open sessions.
    pub channels: u64,
    /// Bytes read from it.
    pub bytes_in: u64,
    /// Bytes written to it.
    pub bytes_out: u64,
}

/// A session.
#[derive(Clone, Debug)]
pub struct ChannelReport {
    /// Its connection's name.
    pub connection: String,
    /// Its number there.
    pub number: u16,
    /// Virtual host.
    pub vhost: String,
    /// User.
    pub user: String,
    /// Consumers.
    pub consumers: u64,
    /// Deliveries that wait to be settled.
    pub unacknowledged: u64,
    /// Window of new consumers; 0 is without bound.
    pub prefetch: u32,
    /// Window of the session; 0 is without bound.
    pub global_prefetch: u32,
    /// Publishes are confirmed.
    pub confirm: bool,
    /// Publishes and settlements are transacted.
    pub transactional: bool,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct ConsumerReport {
    /// Virtual host of its queue.
    pub vhost: Arc<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// Its connection's name.
    pub connection: String,
    /// Its session's number.
    pub channel: u16,
    /// As asked for, its tag included.
    pub settings: Arc<ConsumerSettings>,
    /// It is served: false for those that wait behind a single active one.
    pub active: bool,
}

/// What stands in the way of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// New clients should go elsewhere. Not for memory or disk: consumers must come in to make room.
    pub keep_away: bool,
    /// Short and stable, for machines: `draining`, `memory_alarm`, `disk_alarm`.
    pub reason: &'static str,
    /// For people.
    pub detail: String,
}

/// A queue was purged.
#[derive(Debug)]
pub struct Purged {
    pub(crate) messages: u64,
    /// Comes when that is so on disk; none where it need not be.
    pub(crate) on_disk: Option<oneshot::Receiver<()>>,
}

impl Purged {
    /// How many messages went, once a restart would not bring them back.
    ///
    /// # Errors
    /// The broker has ended before that was on disk.
    pub async fn on_disk(self) -> Result<u64, NotOnDisk> {
        match self.on_disk {
            Some(told) => told.await.map(|()| self.messages).map_err(|_| NotOnDisk),
            None => Ok(self.messages),
        }
    }
}

/// The broker has ended before something was on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker has ended before this was on disk: it may or may not have been done")]
pub struct NotOnDisk;

/// What management reads and does.
pub trait Source: Send + Sync + 'static {
    /// Sums.
    fn overview(&self) -> Overview;
    /// The journal; none for a broker that keeps nothing.
    fn journal(&self) -> Option<JournalReport>;
    /// The names of all virtual hosts, in order.
    fn vhosts(&self) -> Vec<Arc<str>>;
    /// All queues, by virtual host and name.
    fn queues(&self) -> Vec<QueueReport>;
    /// All exchanges, by virtual host and name.
    fn exchanges(&self) -> Vec<ExchangeReport>;
    /// All bindings, without the default exchange's implicit ones.
    fn bindings(&self) -> Vec<BindingReport>;
    /// All connections, oldest first.
    fn connections(&self) -> Vec<ConnectionReport>;
    /// All sessions.
    fn channels(&self) -> Vec<ChannelReport>;
    /// All consumers.
    fn consumers(&self) -> Vec<ConsumerReport>;
    /// Why work cannot be taken, or not all of it; empty when it can.
    fn not_ready(&self) -> Vec<NotReady>;
    /// Drop a queue's ready messages.
    ///
    /// # Errors
    /// No such queue or virtual host.
    fn purge(&self, vhost: &str, queue: &str) -> Result<Purged, Refusal>;
    /// Copy what is kept to an empty folder, on which another broker can start. Blocks as long as that takes.
    ///
    /// # Errors
    /// The folder is not empty, or the disk's.
    fn snapshot(&self, folder: &Path) -> Result<Snapshot, SnapshotError>;
    /// Close a connection by name, telling its client why; false if there is none.
    fn close_connection(&self, name: &str, reason: &str) -> bool;
}
