//! What happened how often, counted without contention: a cache line a thread, summed by the reader.

use fairlead_kernel::session::Outcome;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:expr])* $name:ident),* $(,)?) => {
        /// What is counted, over the life of the process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])* $name),* }

        impl Counter {
            /// All, in order.
            pub const ALL: &'static [Counter] = &[$(Counter::$name),*];
        }
    };
}

counters! {
    /// Messages that came in.
    Published,
    /// Bytes of their bodies.
    PublishedBytes,
    /// Messages put into queues, one for each queue.
    Enqueued,
    /// Messages that reached no queue and were dropped.
    UnroutableDropped,
    /// Messages that reached no queue and were returned.
    UnroutableReturned,
    /// Publishes confirmed.
    Confirmed,
    /// Publishes refused by a queue's limit.
    Refused,
    /// Deliveries that wait to be settled.
    Delivered,
    /// Deliveries settled as they left.
    DeliveredSettled,
    /// Bytes of delivered bodies.
    DeliveredBytes,
    /// Deliveries that may have been made before.
    Redelivered,
    /// Messages fetched one by one.
    Got,
    /// Fetches that found nothing.
    GotEmpty,
    /// Deliveries settled as done.
    Acknowledged,
    /// Deliveries settled as not wanted.
    Rejected,
    /// Deliveries given back.
    Released,
    /// Dead letters sent on.
    DeadLettered,
    /// Dead letters that went nowhere: no exchange, no queue, or a cycle.
    DeadLettersDropped,
    /// Direct replies handed over.
    Replies,
    /// Messages lost because the disk did not give them back.
    MessagesUnreadable,
    /// Queues declared anew.
    QueuesCreated,
    /// Queues deleted.
    QueuesDeleted,
    /// Connections that came.
    ConnectionsOpened,
    /// Connections that went.
    ConnectionsClosed,
    /// Connections turned away: too many, or no time left.
    ConnectionsRefused,
    /// Logins refused.
    LoginsRefused,
    /// Sessions begun.
    SessionsOpened,
    /// Sessions ended.
    SessionsClosed,
    /// Errors that closed a session.
    SessionErrors,
    /// Errors that closed a connection.
    ConnectionErrors,
    /// Bytes read from sockets.
    BytesIn,
    /// Bytes written to sockets.
    BytesOut,
    /// Times that memory ran so low that publishers were stopped.
    MemoryAlarms,
    /// Times that the disk had so little room that publishers were stopped.
    DiskAlarms,
    /// Times that a connection was not read because too much waited for the disk.
    JournalWaits,
    /// Copies of the data folder that were made.
    SnapshotsMade,
    /// Copies of the data folder that failed.
    SnapshotsFailed,
}

impl Counter {
    /// What counts deliveries that were settled so.
    pub(crate) fn of_outcome(outcome: Outcome) -> Counter {
        match outcome {
            Outcome::Accepted => Counter::Acknowledged,
            Outcome::Rejected => Counter::Rejected,
            Outcome::Released { .. } => Counter::Released,
        }
    }
}

/// More shards than threads would waste memory, fewer would share lines; threads beyond share.
const SHARDS: usize = 16;

#[derive(Debug)]
#[repr(align(128))]
struct Shard([AtomicU64; Counter::ALL.len()]);

/// All counters of a broker.
#[derive(Debug)]
pub struct Counters(Box<[Shard; SHARDS]>);

impl Default for Counters {
    fn default() -> Self {
        Counters(Box::new(std::array::from_fn(|_| Shard(std::array::from_fn(|_| AtomicU64::new(0))))))
    }
}

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    SHARD.with(|shard| {
        if shard.get() == usize::MAX {
            shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
        }
        shard.get()
    })
}

impl Counters {
    /// Count; once a batch, not once a message.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        if count > 0 {
            self.0[shard()].0[counter as usize].fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The sum over all threads.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.iter().map(|shard| shard.0[counter as usize].load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| counters.add(Counter::Published, 5));
            }
        });
        assert_eq!(counters.get(Counter::Published), 100);
        assert_eq!(counters.get(Counter::Confirmed), 0);
    }
}
