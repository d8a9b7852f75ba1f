//! All living queues by id, as a snapshot that readers load without a lock.

use crate::queue_cell::QueueCell;
use arc_swap::ArcSwap;
use fairlead_kernel::QueueId;
use parking_lot::Mutex;
use rpds::HashTrieMapSync;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A moment's queues.
pub(crate) type Queues = HashTrieMapSync<QueueId, Arc<QueueCell>>;

/// The queues of a broker.
#[derive(Debug)]
pub(crate) struct Registry {
    queues: ArcSwap<Queues>,
    writer: Mutex<()>,
    next: AtomicU64,
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            queues: ArcSwap::from_pointee(Queues::new_sync()),
            writer: Mutex::new(()),
            next: AtomicU64::new(1),
        }
    }
}

impl Registry {
    /// An id that no queue has had.
    pub(crate) fn next_id(&self) -> QueueId {
        QueueId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Ids before that number are another life's.
    pub(crate) fn continue_at(&self, number: u64) {
        self.next.fetch_max(number, Ordering::Relaxed);
    }

    /// The queues of this moment, for a batch.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Queues>> {
        self.queues.load()
    }

    /// One queue.
    pub(crate) fn get(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.queues.load().get(&id).cloned()
    }

    /// The queues of this moment by their ids, for what is recorded of each.
    pub(crate) fn in_order(&self) -> Vec<Arc<QueueCell>> {
        let mut cells: Vec<_> = self.queues.load().values().cloned().collect();
        cells.sort_unstable_by_key(|cell| cell.id());
        cells
    }

    pub(crate) fn insert(&self, cell: Arc<QueueCell>) {
        let _writer = self.writer.lock();
        let next = self.queues.load().insert(cell.id(), cell);
        self.queues.store(Arc::new(next));
    }

    pub(crate) fn remove(&self, id: QueueId) {
        let _writer = self.writer.lock();
        let next = self.queues.load().remove(&id);
        self.queues.store(Arc::new(next));
    }
}
