//! A message in a queue, and what has become of it.

use super::{Model, Queue, QueueKey};
use crate::message::Message;
use fairlead_kernel::Time;
use fairlead_kernel::settings::Overflow;

/// How a message left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Acknowledged.
    Accepted,
    /// Rejected.
    Rejected,
    /// Delivered to somebody who does not acknowledge.
    Taken,
    /// Purged.
    Purged,
}

/// That a message left.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// By which operation, at the latest.
    pub op: u64,
    /// How.
    pub how: How,
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The operation that put it there; 0 if a restart found it.
    pub op: u64,
    /// It is there, unless it has left: its queue cannot have refused it.
    pub sure: bool,
    /// It was confirmed.
    pub durable: bool,
    /// To be kept.
    pub persistent: bool,
    /// It left.
    pub left: Option<Left>,
    /// It may have left without a trace.
    pub may_be_gone: bool,
    /// It may have been dead-lettered, or dropped where there is no dead-letter exchange.
    pub may_be_dead: bool,
    /// When its time to live ends.
    pub expires: Option<Time>,
    /// The client that holds it, by number.
    pub holder: Option<u64>,
    /// The operation at which a client was seen to have it.
    pub delivered: Option<u64>,
    /// It has come back from a client: the next delivery says so.
    pub returned: bool,
    /// The transaction that published it.
    pub transaction: Option<usize>,
}

impl Copy {
    /// One that a restart has found.
    #[must_use]
    pub fn found(expires: Option<Time>, flagged: bool) -> Copy {
        Copy {
            op: 0,
            sure: true,
            durable: true,
            persistent: true,
            left: None,
            may_be_gone: false,
            may_be_dead: false,
            expires,
            holder: None,
            delivered: flagged.then_some(0),
            returned: flagged,
            transaction: None,
        }
    }

    /// Whether it may be dead at that time.
    #[must_use]
    pub fn may_be_dead_at(&self, now: Time) -> bool {
        self.may_be_dead || self.expires.is_some_and(|expires| expires <= now)
    }
}

impl Queue {
    /// A message has been put in.
    pub fn enqueue(&mut self, message: &Message, op: u64, now: Time, transaction: Option<usize>) {
        let limits = &self.settings.limits;
        let time = message.time_to_live.into_iter().chain(limits.message_ttl).min();
        let refuses = limits.max_messages.is_some() && limits.overflow == Some(Overflow::Reject);
        let copy = Copy {
            op,
            sure: !refuses,
            durable: false,
            persistent: message.persistent,
            left: None,
            may_be_gone: self.drained,
            may_be_dead: false,
            expires: time.map(|time| now.after_milliseconds(time)),
            holder: None,
            delivered: None,
            returned: false,
            transaction,
        };
        self.copies.insert(message.id, copy);
        self.check_limit();
    }

    /// Over the limit, any message may have been displaced.
    pub fn check_limit(&mut self) {
        self.check_limit_after_crash(u64::MAX);
    }

    /// The same when operations behind `durable` may be undone: what they settled counts again.
    pub fn check_limit_after_crash(&mut self, durable: u64) {
        let limits = &self.settings.limits;
        let Some(most) = limits.max_messages.filter(|_| limits.overflow != Some(Overflow::Reject)) else {
            return;
        };
        let there =
            self.copies.values().filter(|copy| copy.left.is_none_or(|left| left.op > durable)).count() as u64;
        if there > most {
            self.copies.values_mut().for_each(|copy| copy.may_be_dead = true);
        }
    }

    /// A consumer that does not acknowledge is there.
    pub fn drain(&mut self) {
        self.drained = true;
        self.copies.values_mut().for_each(|copy| copy.may_be_gone = true);
    }

    /// Deliveries have come back, those that nobody has seen included.
    pub fn came_back(&mut self) {
        if self.settings.limits.delivery_limit.is_some() {
            self.copies.values_mut().for_each(|copy| copy.may_be_dead = true);
        }
    }

    /// All that nobody holds has been purged; what lies in a letter box is held and cannot be seen, so that only
    /// a queue that nobody uses is surely empty.
    pub fn purge(&mut self, op: u64, unused: bool) {
        for copy in self.copies.values_mut().filter(|copy| copy.left.is_none() && copy.holder.is_none()) {
            if unused {
                copy.left = Some(Left { op, how: How::Purged });
            } else {
                copy.may_be_gone = true;
            }
        }
    }
}

impl Model {
    /// The copy of a message in a queue.
    pub fn copy_mut(&mut self, queue: QueueKey, message: u64) -> Option<&mut Copy> {
        self.queues.get_mut(&queue)?.copies.get_mut(&message)
    }

    /// A message left a queue, by this operation.
    pub fn leave(&mut self, queue: QueueKey, message: u64, how: How) {
        let op = self.op;
        if let Some(copy) = self.copy_mut(queue, message) {
            copy.left = Some(Left { op, how });
            copy.holder = None;
        }
    }

    /// A client gives a message back.
    pub fn give_back(&mut self, queue: QueueKey, message: u64) {
        let Some(queue) = self.queues.get_mut(&queue) else { return };
        if let Some(copy) = queue.copies.get_mut(&message) {
            copy.holder = None;
            copy.returned = true;
            copy.may_be_gone |= queue.drained;
        }
        queue.came_back();
        queue.check_limit();
    }
}
