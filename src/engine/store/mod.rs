//! What a broker keeps on disk: durable exchanges, queues and bindings, and persistent messages, in one journal.
//!
//! Flow: a queue's step or a change of a topology appends its records while it holds the lock that orders them ->
//! what its client is to hear waits in [`gates`] -> the journal's writer has them on disk, and opens the gates. At a
//! start `recovery` makes the same queues and topologies of the records.

mod catalogue;
mod compaction;
mod describe;
mod entries;
mod fields;
mod figures;
mod gates;
mod message;
mod paging;
mod queue_log;
mod recorded;
mod recovered_queue;
mod recovery;
mod snapshot;
mod start;
mod upkeep;

pub(crate) use catalogue::is_kept;
pub use describe::{Described, Describer, Detail};
pub(crate) use gates::Line;
pub(crate) use paging::Want;
pub(crate) use queue_log::Log;
pub(crate) use recorded::during;
pub use recovery::missing;
pub(crate) use recovery::{Recovered, recover};
pub use snapshot::{Snapshot, SnapshotError};
pub use start::{OpenError, Opened, Storage};

use crate::connections::Entry;
use bytes::Bytes;
use fairlead_journal::{Events, Journal, Need, Part, Position, ReadError, Record, Space, StreamId};
use fairlead_kernel::ConnectionId;
use fairlead_kernel::queue::{ReleasedPages, SavedEntry};
use fairlead_kernel::session::Event;
use fairlead_kernel::topology::{Topology, TopologyCommand};
use gates::Gates;
use paging::Fetches;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use tokio::sync::{Notify, oneshot};

/// The folder of the journal, in the data folder.
pub const JOURNAL_FOLDER: &str = "journal";

/// The stream of the catalogue, and of transactions' ends; a queue's stream has the queue's number.
const CATALOGUE: StreamId = StreamId(0);

/// What records are, by stream. Numbers are never given another meaning.
mod kind {
    use fairlead_journal::Kind;

    /// Of the catalogue: a virtual host's name and what comes or goes in it, MessagePack.
    pub(super) const CHANGES: Kind = Kind(1);
    /// Of the catalogue: a transaction's number; its parts are in force whatever comes after.
    pub(super) const COMMITTED: Kind = Kind(2);
    /// Of the catalogue: the life of that epoch has ended, and nobody held a delivery then.
    pub(super) const ENDED: Kind = Kind(3);
    /// Of the catalogue: a life has ended otherwise; all messages that are there may have been delivered.
    pub(super) const FLAGGED: Kind = Kind(4);

    /// Of a queue: a message. Live.
    pub(super) const ENTRY: Kind = Kind(1);
    /// Of a queue: a part of the body of a message that follows. Live.
    pub(super) const BODY: Kind = Kind(2);
    /// Of a queue: ranges of sequences, first and last; these entries went.
    pub(super) const REMOVE: Kind = Kind(3);
    /// Of a queue: ranges of sequences; these deliveries failed.
    pub(super) const REQUEUE: Kind = Kind(4);
    /// Of a queue: a transaction's number, and ranges that it settles.
    pub(super) const PART_ACCEPTED: Kind = Kind(5);
    /// Of a queue: a transaction's number, and its first entry's sequence, twice. Entries that are not persistent
    /// have sequences too.
    pub(super) const COMMIT: Kind = Kind(6);
    /// Of a queue: a transaction's number; its part is forgotten.
    pub(super) const ROLLBACK: Kind = Kind(7);
    /// Of a queue: it was deleted.
    pub(super) const DELETE: Kind = Kind(9);
    /// Of a queue: a copy of a message, whose record was where its transaction's number says. Live.
    pub(super) const MOVED: Kind = Kind(10);
    /// Of a queue: entries that are in memory no more, as in its checkpoint. Live. A start has no use for it, unless
    /// a checkpoint names it.
    pub(super) const PAGE: Kind = Kind(11);
    /// Of a queue: a copy of a message that is in a page. Live. A start has no use for it, unless a checkpoint does.
    pub(super) const COPY: Kind = Kind(12);
    /// Of a queue: as [`COMMIT`], of a transaction that a start has found: its persistent entries are numbered alone.
    pub(super) const COMMIT_FOUND: Kind = Kind(13);
}

/// See the module's text.
pub(crate) struct Store {
    journal: Journal,
    /// Which life of the folder this is.
    epoch: u32,
    /// Where the catalogue's last record is.
    changed: AtomicU64,
    gates: Arc<Gates>,
    pub(crate) fetches: Fetches,
    /// When the journal has come so far, a checkpoint is due.
    checkpoint_at: AtomicU64,
    /// What queues that have gone had in pages: the newest checkpoint names them still. Rank: leaf.
    left: Mutex<ReleasedPages>,
    /// Segments from which everything was copied since the last checkpoint. Rank: leaf.
    copied: Mutex<BTreeSet<u64>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("durable", &self.journal.durable()).finish_non_exhaustive()
    }
}

impl Store {
    fn new(journal: Journal, epoch: u32, gates: Arc<Gates>, checkpoint_at: u64) -> Store {
        Store {
            journal,
            epoch,
            changed: AtomicU64::new(0),
            gates,
            fetches: Fetches::default(),
            checkpoint_at: AtomicU64::new(checkpoint_at),
            left: Mutex::default(),
            copied: Mutex::default(),
        }
    }

    fn append(&self, stream: StreamId, kind: fairlead_journal::Kind, payload: &[u8]) {
        let record = Record { stream, kind, live: false, need: Need::Essential };
        self.put(record, &[Part::Slice(payload)]);
    }

    /// Append a record that is live until it is released; 0 if the journal takes none any more.
    fn append_live(&self, stream: StreamId, kind: fairlead_journal::Kind, parts: &[Part<'_>]) -> u64 {
        let record = Record { stream, kind, live: true, need: Need::Essential };
        self.put(record, parts).map_or(0, |position| position.0)
    }

    /// Append a page of these entries; gives where it is, 0 if the journal takes none any more, and how many of their
    /// messages are in which segment, by a position in it.
    fn append_page(&self, stream: StreamId, entries: &[SavedEntry]) -> (u64, Vec<(u64, u64)>) {
        let page = self.append_live(stream, kind::PAGE, &[Part::Slice(&entries::encode_page(entries))]);
        let mut stored = self.journal.live_counts();
        entries.iter().for_each(|entry| stored.add(Position(entry.position), 1));
        (page, stored.segments().map(|(at, count)| (at.0, count)).collect())
    }

    /// A record that may have gone meanwhile: then there is none.
    fn read_if_there(&self, position: u64) -> Result<Option<Bytes>, ReadError> {
        match self.journal.read(Position(position)) {
            Ok(payload) => Ok(Some(payload)),
            Err(ReadError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&self, record: Record, parts: &[Part<'_>]) -> Option<Position> {
        match self.journal.append(record, parts) {
            Ok(position) => {
                recorded::note(position);
                Some(position)
            }
            // The journal has failed, or is closed: nobody is to be told that anything was kept.
            Err(_) => {
                recorded::note(Position(u64::MAX));
                None
            }
        }
    }

    /// Keep what a start may read until a checkpoint has been made that does not name it.
    fn release_after_checkpoint(
        &self,
        pages: impl IntoIterator<Item = u64>,
        messages: impl IntoIterator<Item = (u64, u64)>,
    ) {
        let mut left = self.left.lock();
        left.pages.extend(pages);
        left.messages.extend(messages);
    }

    fn release(&self, position: u64) {
        self.release_some(position, 1);
    }

    fn release_some(&self, position: u64, records: u64) {
        let counted = self.journal.release(Position(position), records);
        debug_assert!(counted, "position {position} was released before");
    }

    /// A topology is about to change.
    pub(crate) fn record_topology(
        &self,
        host: &Arc<str>,
        before: &Topology,
        after: &Topology,
        commands: &[TopologyCommand],
    ) {
        for item in catalogue::changes(before, after, commands) {
            // Plain data of known types: it always encodes.
            let Ok(payload) = rmp_serde::to_vec_named(&(host, item)) else { continue };
            let record =
                Record { stream: CATALOGUE, kind: kind::CHANGES, live: false, need: Need::Essential };
            let position = self.put(record, &[Part::Slice(&payload)]);
            self.changed.fetch_max(position.map_or(u64::MAX, |position| position.0), Ordering::Release);
        }
    }

    /// A transaction is in force, in all its queues.
    pub(crate) fn record_commit(&self, transaction: u64) {
        self.append(CATALOGUE, kind::COMMITTED, &transaction.to_le_bytes());
    }

    /// Where the last change of a topology was recorded: what finds it done already is not to be told before it is
    /// on disk either.
    pub(crate) fn last_change(&self) -> Position {
        Position(self.changed.load(Ordering::Acquire))
    }

    /// Whether the record at that position is on disk.
    pub(crate) fn is_durable(&self, position: Position) -> bool {
        position < self.journal.durable()
    }

    /// Room on the disk.
    pub(crate) fn space(&self) -> Space {
        self.journal.space()
    }

    /// Free bytes of the disk, and the mark below which publishers are stopped.
    pub(crate) fn room(&self) -> (u64, u64) {
        (self.journal.free_bytes(), self.journal.options().low_below)
    }

    /// Notified when room on the disk has changed.
    pub(crate) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.gates.changed)
    }

    /// Whether more than so many bytes wait for the disk.
    pub(crate) fn is_behind(&self, bytes: u64) -> bool {
        // The distance is at least what waits, and needs no lock.
        self.journal.next().0.saturating_sub(self.journal.durable().0) > bytes
            && self.journal.pending() > bytes
    }

    /// Wake a connection's task when the disk has come further.
    pub(crate) fn wake_when_further(&self, connection: ConnectionId, waker: &Waker) {
        self.gates.hold_reader(connection, waker);
    }

    /// The connection waits no more.
    pub(crate) fn wake_no_more(&self, connection: ConnectionId) {
        self.gates.forget_reader(connection);
    }

    /// Tell a connection when the record at that position is on disk.
    pub(crate) fn tell_when_durable(&self, entry: &Arc<Entry>, position: Position, event: Event) {
        self.gates.hold(entry, position, event);
        if self.is_durable(position) {
            self.gates.open(self.journal.durable());
        }
    }

    /// Comes when the record at that position is on disk, for somebody who has no connection.
    pub(crate) fn when_durable(&self, position: Position) -> oneshot::Receiver<()> {
        let told = self.gates.hold_other(position);
        if self.is_durable(position) {
            self.gates.open(self.journal.durable());
        }
        told
    }

    /// What has been appended so far belongs to what this thread does: it has found something gone, and that is to be
    /// told when it is so on disk, too.
    pub(crate) fn rest_on_what_was_appended(&self) {
        recorded::note(Position(self.journal.next().0.saturating_sub(1)));
    }

    /// Take nothing more: the writer ends when all is on disk. `in_peace`: nobody holds a delivery, and what was
    /// delivered before is flagged.
    pub(crate) fn close(&self, in_peace: bool) {
        self.fetches.close();
        if in_peace {
            self.append(CATALOGUE, kind::ENDED, &self.epoch.to_le_bytes());
        }
        self.journal.close();
    }
}

/// What becomes of a journal that cannot write any more.
pub type Fatal = Box<dyn Fn(&fairlead_journal::Error) + Send + Sync>;

/// Takes the journal's word.
struct Ears {
    gates: Arc<Gates>,
    fatal: Fatal,
}

impl Events for Ears {
    fn durable(&self, before: Position) {
        self.gates.open(before);
    }

    fn fatal(&self, error: &fairlead_journal::Error) {
        (self.fatal)(error);
    }

    fn space(&self, _space: Space) {
        // The janitor asks for it, and announces it.
        self.gates.changed.notify_one();
    }

    fn trouble(&self, error: &fairlead_journal::Error) {
        tracing::warn!(%error, "a file of the journal cannot be prepared or removed: it is tried again");
    }
}
