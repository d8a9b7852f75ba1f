//! What a queue's log holds: the commands that make its state, and the log they are given to.
//!
//! Flow: a queue decides (which entries are over the limit, expired, held by whom), gives the resulting
//! [`Command`] to its [`CommandLog`], and applies it: at once when the log says [`Apply::Now`], or when
//! the log's owner calls [`crate::queue::Queue::apply`] (a Raft group, after its commit). A command
//! names everything by sequence and absolute time, so that applying needs no clock and no dispatch state.

use crate::ids::{QueueId, Sequence, Time};
use crate::message::{Message, MessageView};
use crate::settings::Limits;
use std::sync::Arc;

/// Entries from `first` to `last`, both included; those in between that do not exist are not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceRange {
    /// The lowest.
    pub first: Sequence,
    /// The highest.
    pub last: Sequence,
}

impl SequenceRange {
    /// One entry.
    #[must_use]
    pub fn one(sequence: Sequence) -> Self {
        SequenceRange { first: sequence, last: sequence }
    }
}

/// Put `sequence` behind the others: the last range grows when it ends just before.
#[inline]
pub(crate) fn push_sequence(ranges: &mut Vec<SequenceRange>, sequence: Sequence) {
    match ranges.last_mut() {
        Some(range) if range.last.0.checked_add(1) == Some(sequence.0) => range.last = sequence,
        _ => ranges.push(SequenceRange::one(sequence)),
    }
}

/// A message on its way into a queue.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The message. A body that goes to several queues should be shared by the caller
    /// ([`MessageView::shared`]); small ones are copied by each queue all the same. Names that repeat those
    /// of the entry before should be the same slices, so that the queue need not compare them.
    pub message: MessageView<'a>,
    /// When it expires; `Time(0)` is never. The publisher's time to live counted from now: the queue
    /// lowers it to its own.
    pub expires: Time,
    /// As the publisher gave it; the queue clamps it to its levels.
    pub priority: u8,
}

impl NewEntry<'_> {
    /// Its time ran out before `now`.
    #[inline]
    pub(crate) fn expired_before(&self, now: Time) -> bool {
        self.expires.0 != 0 && self.expires < now
    }
}

/// How entries are settled for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// A consumer has taken the message over.
    Accepted,
    /// A consumer did not want it, and there is no dead-letter exchange.
    Rejected,
}

/// Why entries go without a consumer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Time to live ran out.
    Expired,
    /// Rejected, and its dead-letter targets hold it.
    Rejected,
    /// Over the queue's limit.
    Displaced,
    /// Delivered too often.
    DeliveryLimit,
    /// A newer message has the same key (last-value queues).
    Replaced,
    /// Purged.
    Purged,
    /// Another queue holds it.
    Moved,
    /// The store cannot give it any more.
    Unreadable,
}

/// One step of a queue's state, borrowed. Same commands in the same order, same state.
#[derive(Clone, Copy, Debug)]
pub enum Command<'a> {
    /// Entries join, the first under sequence `first`, the others counting up from it.
    Enqueue {
        /// Sequence of the first entry; raised if it was given before.
        first: Sequence,
        /// In order.
        entries: &'a [NewEntry<'a>],
    },
    /// Entries were settled.
    Settle {
        /// Which.
        ids: &'a [SequenceRange],
        /// How.
        outcome: Settled,
    },
    /// Entries came back from consumers.
    Requeue {
        /// Which.
        ids: &'a [SequenceRange],
        /// They count as failed deliveries and are flagged redelivered.
        delivered: bool,
    },
    /// Entries go.
    Drop {
        /// Which.
        ids: &'a [SequenceRange],
        /// Why.
        reason: DropReason,
    },
    /// The limits in force change.
    Configure {
        /// The new ones, the policy's share included.
        limits: &'a Limits,
    },
    /// The queue ends.
    Delete,
    /// A transaction's share of this queue, to be held until its end.
    TxPart {
        /// Which transaction.
        transaction: u64,
        /// To be enqueued.
        entries: &'a [NewEntry<'a>],
        /// To be settled as accepted.
        accepted: &'a [SequenceRange],
    },
    /// A transaction's parts come into force.
    TxCommit {
        /// Which transaction.
        transaction: u64,
        /// Sequence of its first entry.
        first: Sequence,
    },
    /// A transaction's parts are forgotten.
    TxRollback {
        /// Which transaction.
        transaction: u64,
    },
}

/// When a recorded command is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// At once, by the queue itself.
    Now,
    /// By the log's owner, with [`crate::queue::Queue::apply`], once it is agreed on.
    Later,
}

/// Where commands go before they are applied.
pub trait CommandLog {
    /// Whether commands are kept at all. When not, a message that goes straight through a queue needs
    /// no command.
    #[inline]
    fn records(&self) -> bool {
        true
    }

    /// Take a command; it is borrowed, so a log encodes or copies it.
    fn record(&mut self, queue: QueueId, command: &Command<'_>) -> Apply;

    /// Where in the store the messages of the command recorded last are, one for each of its entries in order, 0
    /// for one that is not there; or nothing, if none is. Asked for when that command is applied at once.
    #[inline]
    fn positions(&self) -> &[u64] {
        &[]
    }
}

/// The log of a queue that lives in memory only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl CommandLog for NoLog {
    #[inline]
    fn records(&self) -> bool {
        false
    }

    #[inline]
    fn record(&mut self, _queue: QueueId, _command: &Command<'_>) -> Apply {
        Apply::Now
    }
}

/// A [`NewEntry`] that owns its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEntry {
    /// See [`NewEntry::message`].
    pub message: Arc<Message>,
    /// See [`NewEntry::expires`].
    pub expires: Time,
    /// See [`NewEntry::priority`].
    pub priority: u8,
}

impl RecordedEntry {
    /// Borrow it.
    #[must_use]
    pub fn view(&self) -> NewEntry<'_> {
        NewEntry { message: Message::view(&self.message), expires: self.expires, priority: self.priority }
    }
}

impl From<&NewEntry<'_>> for RecordedEntry {
    fn from(entry: &NewEntry<'_>) -> Self {
        RecordedEntry { message: entry.message.to_shared(), expires: entry.expires, priority: entry.priority }
    }
}

/// A [`Command`] that owns what it names, for logs in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "field for field the same as Command")]
pub enum RecordedCommand {
    /// See [`Command::Enqueue`].
    Enqueue { first: Sequence, entries: Vec<RecordedEntry> },
    /// See [`Command::Settle`].
    Settle { ids: Vec<SequenceRange>, outcome: Settled },
    /// See [`Command::Requeue`].
    Requeue { ids: Vec<SequenceRange>, delivered: bool },
    /// See [`Command::Drop`].
    Drop { ids: Vec<SequenceRange>, reason: DropReason },
    /// See [`Command::Configure`].
    Configure { limits: Box<Limits> },
    /// See [`Command::Delete`].
    Delete,
    /// See [`Command::TxPart`].
    TxPart { transaction: u64, entries: Vec<RecordedEntry>, accepted: Vec<SequenceRange> },
    /// See [`Command::TxCommit`].
    TxCommit { transaction: u64, first: Sequence },
    /// See [`Command::TxRollback`].
    TxRollback { transaction: u64 },
}

impl From<&Command<'_>> for RecordedCommand {
    fn from(command: &Command<'_>) -> Self {
        let own = |entries: &[NewEntry<'_>]| entries.iter().map(RecordedEntry::from).collect();
        match *command {
            Command::Enqueue { first, entries } => RecordedCommand::Enqueue { first, entries: own(entries) },
            Command::Settle { ids, outcome } => RecordedCommand::Settle { ids: ids.to_vec(), outcome },
            Command::Requeue { ids, delivered } => RecordedCommand::Requeue { ids: ids.to_vec(), delivered },
            Command::Drop { ids, reason } => RecordedCommand::Drop { ids: ids.to_vec(), reason },
            Command::Configure { limits } => RecordedCommand::Configure { limits: Box::new(limits.clone()) },
            Command::Delete => RecordedCommand::Delete,
            Command::TxPart { transaction, entries, accepted } => {
                RecordedCommand::TxPart { transaction, entries: own(entries), accepted: accepted.to_vec() }
            }
            Command::TxCommit { transaction, first } => RecordedCommand::TxCommit { transaction, first },
            Command::TxRollback { transaction } => RecordedCommand::TxRollback { transaction },
        }
    }
}

impl RecordedCommand {
    /// Call `f` with this command borrowed.
    pub fn with<R>(&self, f: impl FnOnce(&Command<'_>) -> R) -> R {
        match self {
            RecordedCommand::Enqueue { first, entries } => {
                let entries: Vec<_> = entries.iter().map(RecordedEntry::view).collect();
                f(&Command::Enqueue { first: *first, entries: &entries })
            }
            RecordedCommand::Settle { ids, outcome } => f(&Command::Settle { ids, outcome: *outcome }),
            RecordedCommand::Requeue { ids, delivered } => {
                f(&Command::Requeue { ids, delivered: *delivered })
            }
            RecordedCommand::Drop { ids, reason } => f(&Command::Drop { ids, reason: *reason }),
            RecordedCommand::Configure { limits } => f(&Command::Configure { limits }),
            RecordedCommand::Delete => f(&Command::Delete),
            RecordedCommand::TxPart { transaction, entries, accepted } => {
                let entries: Vec<_> = entries.iter().map(RecordedEntry::view).collect();
                f(&Command::TxPart { transaction: *transaction, entries: &entries, accepted })
            }
            RecordedCommand::TxCommit { transaction, first } => {
                f(&Command::TxCommit { transaction: *transaction, first: *first })
            }
            RecordedCommand::TxRollback { transaction } => {
                f(&Command::TxRollback { transaction: *transaction })
            }
        }
    }
}
