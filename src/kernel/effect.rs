//! What a queue wants done: values in a buffer that the caller owns and uses again.
//!
//! Flow: each step of a queue fills an [`Effects`]; before the queue unlocks, the caller drains the
//! deliveries into outboxes; after, it acts on the rest and calls [`Effects::clear`].

pub use crate::queue::{DeliveryBatch, DeliveryCursor, Run, Slot};

use crate::ids::{ConnectionId, ConsumerId, QueueId, Sequence, SessionId, Time};
use crate::message::{DeathReason, Message};
use std::sync::Arc;

/// A message to be published to a dead-letter exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it leaves.
    pub queue: QueueId,
    /// Its place there, which is kept until the caller says with [`crate::queue::Queue::departed`] that
    /// the targets hold the message; `None` if it was never let in.
    pub sequence: Option<Sequence>,
    /// Why it leaves.
    pub reason: DeathReason,
    /// The message with its history brought up to date; its exchange and routing key are where it goes.
    /// Extra keys of its head count unless its overlay says that they are removed.
    pub message: Arc<Message>,
}

/// A consumer that is gone with its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Its place.
    pub slot: Slot,
    /// Of which connection.
    pub connection: ConnectionId,
    /// Of which session.
    pub session: SessionId,
    /// Its number there.
    pub consumer: ConsumerId,
}

/// A stored message that is wanted: to be answered by [`crate::queue::Queue::loaded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which entry.
    pub sequence: Sequence,
    /// Where the store has it.
    pub position: u64,
    /// Length of its body.
    pub length: u32,
}

/// Memory that a bucket may keep, in bytes: what one exchange with an outbox needs.
const BUCKET_KEEP: usize = 640 * 1024;
/// Buckets that are kept; a queue with more consumers makes the others anew.
const BUCKETS_KEPT: usize = 64;

/// Everything one or more steps of one queue asked for.
#[derive(Debug, Default)]
pub struct Effects {
    /// Deliveries by consumer slot; only those of `touched` are not empty.
    buckets: Vec<DeliveryBatch>,
    touched: Vec<Slot>,
    /// Rises with each pass of dispatch: chunks may have changed in between.
    pub(crate) pass: u64,
    pub(crate) scratch: crate::queue::Scratch,
    /// The answer to a Get that found a message.
    pub got: DeliveryBatch,
    /// Of the entries given to the last publish or transaction part: indices of those refused by the
    /// queue's limit, rising.
    pub refused: Vec<u32>,
    /// To be published, at most about 1,024 a step.
    pub dead_letters: Vec<DeadLetter>,
    /// Consumers that are gone, to be told.
    pub cancelled: Vec<Cancelled>,
    /// Stored messages that are wanted.
    pub fetches: Vec<Fetch>,
    /// The page of the store that is wanted: see [`crate::queue::Queue::page_loaded`].
    pub page: Option<u64>,
    /// The queue is to be deleted: its last consumer has gone, or it was unused for too long.
    pub delete_me: bool,
    /// There is more to do than one step may: call [`crate::queue::Queue::tick`] soon (or go on purging).
    pub more: bool,
    /// When [`crate::queue::Queue::tick`] is wanted next, as of the last step; never if `None`.
    pub deadline: Option<Time>,
}

impl Effects {
    /// Hand out each consumer's deliveries once, in the order in which consumers were first served. What
    /// `take` leaves in a batch is dropped.
    pub fn drain_deliveries(&mut self, mut take: impl FnMut(Slot, &mut DeliveryBatch)) {
        for slot in self.touched.drain(..) {
            let bucket = &mut self.buckets[slot.index()];
            if !bucket.is_empty() {
                take(slot, bucket);
            }
            bucket.clear(BUCKET_KEEP);
        }
        self.buckets.truncate(BUCKETS_KEPT);
    }

    /// Whether any consumer has been served.
    #[must_use]
    pub fn has_deliveries(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Make ready for the next queue: everything is forgotten, buffers are kept up to `keep` bytes each.
    pub fn clear(&mut self, keep: usize) {
        self.drain_deliveries(|_, batch| batch.clear(keep));
        self.got.clear(keep);
        self.refused.clear();
        self.dead_letters.clear();
        self.cancelled.clear();
        self.fetches.clear();
        self.page = None;
        self.delete_me = false;
        self.more = false;
        self.deadline = None;
    }

    /// The bucket of a consumer; `run` describes its deliveries, if this is the first.
    #[inline]
    pub(crate) fn bucket(&mut self, slot: Slot, run: impl FnOnce() -> Run) -> &mut DeliveryBatch {
        if self.buckets.len() <= slot.index() {
            self.buckets.resize_with(slot.index() + 1, DeliveryBatch::default);
        }
        let bucket = &mut self.buckets[slot.index()];
        if bucket.is_unused() {
            bucket.begin(run());
            self.touched.push(slot);
        }
        bucket
    }
}
