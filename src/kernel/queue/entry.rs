//! One message in a queue: 48 bytes, whatever the message.

use crate::ids::{Sequence, Time};
use crate::message::Message;
use std::sync::Arc;

/// Where an entry's message lies.
#[derive(Clone, Debug)]
pub(super) enum Handle {
    /// Packed, in one of the queue's chunks.
    Inline {
        /// Number of the chunk.
        chunk: u32,
        /// Where in the chunk.
        offset: u32,
    },
    /// On its own, perhaps shared with other queues.
    Shared(Arc<Message>),
    /// Only in the store.
    Stored,
    /// The entry is dead.
    Gone,
}

/// It may have been delivered before. Part of the log's state; the other flags are dispatch's own.
pub(super) const REDELIVERED: u8 = 1;
/// Delivered, and not settled.
pub(super) const ACQUIRED: u8 = 2;
/// On its way out: the dead-letter targets do not hold it yet, or its command has not been applied.
pub(super) const LEAVING: u8 = 4;
/// Asked for from the store.
pub(super) const FETCHING: u8 = 8;

/// What makes an entry not ready.
const HELD: u8 = ACQUIRED | LEAVING;

/// An entry of a queue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) handle: Handle,
    pub(super) sequence: Sequence,
    /// `Time(0)` is never.
    pub(super) expires: Time,
    /// Where its message is in the store; 0 is nowhere.
    pub(super) position: u64,
    /// Length of the message's body.
    pub(super) body_length: u32,
    /// Failed deliveries.
    pub(super) delivery_count: u16,
    pub(super) priority: u8,
    pub(super) flags: u8,
}

impl Entry {
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.handle, Handle::Gone)
    }

    /// Alive and not held by anybody.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.flags & HELD == 0 && self.is_live()
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Its time ran out before `now`: no consumer may have it any more.
    #[inline]
    pub(super) fn expired_before(&self, now: Time) -> bool {
        self.expires.0 != 0 && self.expires < now
    }

    /// Its time has run out by `now`.
    #[inline]
    pub(super) fn expired_at(&self, now: Time) -> bool {
        self.expires.0 != 0 && self.expires <= now
    }
}
