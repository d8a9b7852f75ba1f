//! Direct reply-to: addresses that live as long as their consumer, each a queue that no topology knows.
//!
//! The queue makes a reply wait its consumer's turn like any message, within a bound, so that a client that
//! does not read its replies cannot fill memory.

use crate::queue_cell::QueueCell;
use arc_swap::ArcSwap;
use fairlead_kernel::QueueId;
use parking_lot::Mutex;
use rpds::HashTrieMapSync;
use std::collections::HashMap;
use std::sync::Arc;

/// What a reply address begins with; the token follows.
pub const REPLY_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Bytes of replies that may wait for a client; the oldest go first.
pub(crate) const REPLY_BYTES: u64 = 16 << 20;

/// The living addresses.
#[derive(Debug)]
pub(crate) struct Replies {
    queues: ArcSwap<HashTrieMapSync<Box<str>, Arc<QueueCell>>>,
    /// The same queues by id, for the janitor; whoever changes one changes both. Rank: leaf.
    by_id: Mutex<HashMap<QueueId, Arc<QueueCell>>>,
}

impl Default for Replies {
    fn default() -> Self {
        Replies { queues: ArcSwap::from_pointee(HashTrieMapSync::new_sync()), by_id: Mutex::default() }
    }
}

impl Replies {
    /// The queue behind a routing key, if that is a living reply address.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<Arc<QueueCell>> {
        let token = key.strip_prefix(REPLY_PREFIX)?;
        self.get(token)
    }

    /// The queue behind a token.
    pub(crate) fn get(&self, token: &str) -> Option<Arc<QueueCell>> {
        self.queues.load().get(token).cloned()
    }

    /// The queue of that number.
    pub(crate) fn of_id(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.by_id.lock().get(&id).cloned()
    }

    pub(crate) fn insert(&self, token: &str, cell: Arc<QueueCell>) {
        let mut by_id = self.by_id.lock();
        by_id.insert(cell.id(), Arc::clone(&cell));
        let next = self.queues.load().insert(token.into(), cell);
        self.queues.store(Arc::new(next));
    }

    /// Take an address away; its queue is to be deleted.
    pub(crate) fn remove(&self, token: &str) -> Option<Arc<QueueCell>> {
        let mut by_id = self.by_id.lock();
        let before = self.queues.load();
        let cell = before.get(token).cloned()?;
        by_id.remove(&cell.id());
        self.queues.store(Arc::new(before.remove(token)));
        Some(cell)
    }
}
