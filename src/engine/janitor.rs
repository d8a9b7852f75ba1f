//! What time asks for: heads of queues that expire, queues that nobody uses, and work too long for one turn.
//!
//! Each queue has at most one deadline here, the earliest that it has told; one that has moved to later is
//! found out when it comes (the queue's tick does nothing and tells the next). One task sleeps until the
//! first.

use fairlead_kernel::{QueueId, Time};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// No deadline.
pub(crate) const NEVER: Time = Time(u64::MAX);

/// A queue's place in the janitor's list.
#[derive(Debug)]
pub(crate) struct Deadline(AtomicU64);

impl Default for Deadline {
    fn default() -> Self {
        Deadline(AtomicU64::new(NEVER.0))
    }
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Janitor {
    /// Rank: leaf.
    list: Mutex<BTreeSet<(Time, QueueId)>>,
    changed: Arc<Notify>,
}

impl Janitor {
    /// An empty one, which others can poke, too.
    pub(crate) fn woken_by(changed: Arc<Notify>) -> Janitor {
        Janitor { changed, ..Janitor::default() }
    }

    /// Tick the queue at `time`, if nothing earlier is noted for it.
    #[inline]
    pub(crate) fn note(&self, queue: QueueId, deadline: &Deadline, time: Time) {
        if time.0 < deadline.0.load(Ordering::Relaxed) {
            self.insert(queue, deadline, time);
        }
    }

    #[cold]
    fn insert(&self, queue: QueueId, deadline: &Deadline, time: Time) {
        let mut list = self.list.lock();
        let before = Time(deadline.0.load(Ordering::Relaxed));
        if time >= before {
            return;
        }
        list.remove(&(before, queue));
        list.insert((time, queue));
        deadline.0.store(time.0, Ordering::Relaxed);
        let first = list.first().is_some_and(|(first, _)| *first == time);
        drop(list);
        if first {
            self.changed.notify_one();
        }
    }

    /// The next queue whose time has come. Its deadline is to be [cleared](Janitor::cleared) before its tick.
    pub(crate) fn due(&self, now: Time) -> Option<QueueId> {
        let mut list = self.list.lock();
        let (time, queue) = *list.first()?;
        (time <= now && list.remove(&(time, queue))).then_some(queue)
    }

    /// The queue's deadline has come out of the list.
    pub(crate) fn cleared(deadline: &Deadline) {
        deadline.0.store(NEVER.0, Ordering::Relaxed);
    }

    /// A queue is gone.
    pub(crate) fn forget(&self, queue: QueueId, deadline: &Deadline) {
        let time = Time(deadline.0.load(Ordering::Relaxed));
        if time != NEVER {
            self.list.lock().remove(&(time, queue));
        }
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.list.lock().first().map(|(time, _)| *time)
    }

    /// Look at the list, at the memory and at the disk again.
    pub(crate) fn poke(&self) {
        self.changed.notify_one();
    }

    /// Wait for a [`Janitor::poke`] or an earlier deadline.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_listed_once_at_its_earliest_time() {
        let janitor = Janitor::default();
        let (one, two) = (Deadline::default(), Deadline::default());
        for time in [50, 30, 40] {
            janitor.note(QueueId(1), &one, Time(time));
        }
        janitor.note(QueueId(2), &two, Time(20));
        assert_eq!(janitor.next(), Some(Time(20)));
        assert_eq!(janitor.due(Time(19)), None);
        assert_eq!(janitor.due(Time(35)), Some(QueueId(2)));
        assert_eq!(janitor.due(Time(35)), Some(QueueId(1)));
        assert_eq!(janitor.due(Time(99)), None);
        Janitor::cleared(&one);
        janitor.note(QueueId(1), &one, Time(60));
        assert_eq!(janitor.next(), Some(Time(60)));
        janitor.forget(QueueId(1), &one);
        assert_eq!(janitor.next(), None);
    }
}
