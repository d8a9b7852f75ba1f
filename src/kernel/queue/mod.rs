//! A queue: a state machine over a log of commands, and dispatch to consumers beside it.
//!
//! Flow of a step ([`Queue::publish`], [`Queue::settle`], ...): *decide* what happens from state and
//! dispatch (limits, expiry, who holds what) -> give the [`Command`] to the log -> *apply* it, now or when
//! the log says -> *dispatch* ready entries to consumers with credit, into
//! [`crate::effect::Effects`]. No step relies on
//! its commands being applied at once.
//!
//! - State, in the log and its hash: `state`, over the entries in `contents` (levels of `lane`s of blocks
//!   of `entry`s; small messages `packed` in `chunk`s), limits, open transactions. Plain data as a
//!   [`Snapshot`].
//! - Dispatch, never logged: `consumers`, who holds what, `groups`, counters, timers. It is lost with the
//!   process, and rebuilt as consumers attach again.
//!
//! What leaves a queue unwanted goes one way: its entry is `leaving` (neither ready nor held), a
//! [`crate::effect::DeadLetter`] is asked for, and [`Queue::departed`] drops it once the targets have it.

mod block;
mod choosy;
mod chunk;
mod consumers;
mod contents;
mod control;
mod death;
mod delivery_batch;
mod dispatch;
mod entry;
mod expiry;
mod get;
mod groups;
mod holding;
mod keys;
mod labels;
mod lane;
mod limits;
mod packed;
mod paging;
mod publish;
mod selection;
mod settle;
mod snapshot;
mod state;
mod stretch;
mod transaction;
mod turn;
mod volume;

#[cfg(test)]
mod tests;

pub use death::would_cycle;
pub use delivery_batch::{DeliveryBatch, DeliveryCursor, Run, Slot};
pub use selection::Moving;
pub use snapshot::{SavedEntry, SavedMessage, Snapshot};
pub use state::Part;
pub use stretch::{ReleasedPages, Stretch};
pub use turn::{Attachment, Delivered, Denial, Gone, Got, NoWindows, SharedWindows, Turn};
pub use volume::Volume;

pub(crate) use turn::Scratch;

use crate::command::{Apply, Command, CommandLog, SequenceRange};
use crate::ids::{QueueId, Sequence, Time};
use crate::message::HeadReaders;
use crate::settings::{Limits, Order, QueueKind, QueueSettings};
use consumers::Consumers;
use groups::Groups;
use keys::Keys;
use state::State;
use std::sync::Arc;

/// Entries that one step takes away at most, besides those it delivers.
const STEP: usize = 1024;

/// Memory that an empty queue may keep: about what its next few messages need.
const IDLE_MEMORY: usize = 6 * 1024;

/// Set in the sequence of a delivery that was only looked at: settling it moves credit and nothing else.
const BROWSED: u64 = 1 << 63;

/// What has happened in a queue since it was made, in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Let in.
    pub published: u64,
    /// Refused by the limit.
    pub refused: u64,
    /// Delivered to consumers that settle, redeliveries included.
    pub delivered: u64,
    /// Delivered to consumers that do not settle.
    pub delivered_no_ack: u64,
    /// Delivered by Get, to be settled.
    pub got: u64,
    /// Delivered by Get and settled at once.
    pub got_no_ack: u64,
    /// Gets that found nothing.
    pub got_empty: u64,
    /// Deliveries of messages that may have been delivered before.
    pub redelivered: u64,
    /// Settled as accepted.
    pub accepted: u64,
    /// Settled as rejected.
    pub rejected: u64,
    /// Returned by consumers.
    pub returned: u64,
    /// Gone by their time to live.
    pub expired: u64,
    /// Gone over the limit.
    pub displaced: u64,
    /// Gone after too many deliveries.
    pub exhausted: u64,
    /// Given to the dead-letter exchange.
    pub dead_lettered: u64,
    /// Purged.
    pub purged: u64,
    /// Gone because the store could not give them back.
    pub unreadable: u64,
}

/// What a queue's settings say that its steps ask for.
#[derive(Debug)]
struct Shape {
    /// Priority levels.
    levels: u16,
    tell_delivery_count: bool,
    browse_only: bool,
    single_active: bool,
    auto_delete: bool,
}

/// See the module's text.
pub struct Queue {
    id: QueueId,
    name: Arc<str>,
    shape: Shape,
    readers: HeadReaders,
    state: State,
    /// The sequence that the next entry gets when all that was proposed is applied.
    proposed: Sequence,
    consumers: Consumers,
    /// Where messages come in groups.
    groups: Option<Box<Groups>>,
    /// Where newer messages replace older ones.
    keys: Option<Box<Keys>>,
    /// Something has changed that may let parked entries go.
    stirred: bool,
    /// Settlements that wait for their transaction's end.
    held: transaction::Held,
    /// When it last had a consumer, a Get or a declaration.
    last_used: Time,
    /// When memory is to be given back if the queue is empty then; `Time(0)` is never.
    trim_at: Time,
    /// A deletion was decided; the tombstone follows when it is applied.
    deleting: bool,
    counters: Counters,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("ready", &self.ready())
            .field("unsettled", &self.unsettled())
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// An empty queue. `limits` are those in force, a policy's share included; `now` starts its idle time.
    #[must_use]
    pub fn new(
        id: QueueId,
        name: Arc<str>,
        settings: &QueueSettings,
        limits: &Limits,
        readers: HeadReaders,
        now: Time,
    ) -> Self {
        Queue {
            id,
            name,
            shape: Shape {
                levels: if let Order::Priority { levels } = settings.order { levels } else { 1 },
                tell_delivery_count: settings.kind == QueueKind::Quorum,
                browse_only: settings.browse_only,
                single_active: settings.single_active_consumer,
                auto_delete: settings.auto_delete,
            },
            readers,
            state: State::new(limits),
            proposed: Sequence(1),
            consumers: Consumers::default(),
            groups: settings.group_header.as_deref().map(|header| Box::new(Groups::new(header))),
            keys: match &settings.order {
                Order::LastValue { key } => Some(Box::new(Keys::new(key))),
                Order::Fifo | Order::Priority { .. } => None,
            },
            stirred: false,
            held: transaction::Held::default(),
            last_used: now,
            trim_at: Time(0),
            deleting: false,
            counters: Counters::default(),
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Messages that wait for a consumer.
    #[must_use]
    pub fn ready(&self) -> Volume {
        self.state.contents.ready
    }

    /// Messages that are delivered and not settled.
    #[must_use]
    pub fn unsettled(&self) -> Volume {
        self.state.contents.unsettled
    }

    /// Messages on their way to the dead-letter exchange.
    #[must_use]
    pub fn leaving(&self) -> Volume {
        self.state.contents.leaving
    }

    /// Attached consumers.
    #[must_use]
    pub fn consumers(&self) -> usize {
        self.consumers.len()
    }

    /// Whether that consumer is served when it has credit: it is attached, and where only one is active it is
    /// that one.
    #[must_use]
    pub fn is_active(&self, slot: Slot) -> bool {
        self.consumers.get(slot).is_some_and(|consumer| !consumer.suspended)
    }

    /// Where only one consumer is served at a time: the place of that one, if there is one. `None`: all are served.
    #[must_use]
    pub fn single_active(&self) -> Option<Option<Slot>> {
        let served = || self.consumers.iter().find(|(slot, _)| self.is_active(*slot)).map(|(slot, _)| slot);
        self.shape.single_active.then(served)
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.state.limits
    }

    /// The sequence that the next entry gets: a mark for [`Queue::purge`].
    #[must_use]
    pub fn next_sequence(&self) -> Sequence {
        self.proposed
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.deleting || self.state.deleted
    }

    /// Bytes held: the queue itself, blocks and chunks as allocated, and shared messages, each in full.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Queue>()
            + self.state.contents.memory()
            + self.consumers.memory()
            + self.groups.as_ref().map_or(0, |groups| groups.memory())
            + self.keys.as_ref().map_or(0, |keys| keys.memory())
    }

    /// Digest of all that the log has made: same log, same digest. Consumers and what they hold are not in it, and of
    /// messages only their lengths: their bytes are the log's, and need not be in memory.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.state.hash()
    }

    /// Apply a command of the log. Total and deterministic; what it names and the queue does not have is
    /// passed over. `positions` are where its entries are in the store, in order, or empty. A leader calls
    /// [`Queue::tick`] after it, so that what has become ready is dispatched.
    pub fn apply(&mut self, command: &Command<'_>, positions: &[u64]) {
        let before = self.state.next;
        match command {
            Command::Settle { ids, .. } | Command::Drop { ids, .. } => self.forget(ids),
            Command::TxCommit { transaction, .. } => {
                if let Some(part) = self.state.parts.get(*transaction) {
                    let accepted = part.accepted.clone();
                    self.forget(&accepted);
                }
            }
            Command::Requeue { ids, .. } => {
                if let Some(groups) = &mut self.groups {
                    groups.release(ids);
                }
            }
            Command::Delete => {
                self.groups = None;
                self.keys = None;
                self.held = transaction::Held::default();
            }
            Command::Enqueue { .. }
            | Command::Configure { .. }
            | Command::TxPart { .. }
            | Command::TxRollback { .. } => {}
        }
        self.state.apply(command, positions);
        self.proposed = self.proposed.max(self.state.next);
        self.index_keys((before.0..self.state.next.0).map(Sequence));
    }

    /// These entries go: nobody holds them, and their keys are free.
    #[inline]
    fn forget(&mut self, ids: &[SequenceRange]) {
        if let Some(groups) = &mut self.groups {
            groups.release(ids);
        }
        if let Some(keys) = &mut self.keys {
            keys.forget(ids);
        }
    }

    /// Give a command to the log, and apply it if the log says so.
    #[inline]
    fn commit<L: CommandLog, W>(&mut self, command: &Command<'_>, turn: &mut Turn<'_, L, W>) {
        if turn.log.record(self.id, command) == Apply::Now {
            self.apply(command, turn.log.positions());
        }
    }

    /// Where in the store messages are that nobody needs any more, since this was asked for last.
    pub fn take_released(&mut self) -> std::vec::Drain<'_, u64> {
        self.state.contents.released.drain(..)
    }

    fn alive(&self) -> Result<(), Gone> {
        if self.is_gone() { Err(Gone) } else { Ok(()) }
    }
}
