//! The deliveries of a session that wait to be settled, across queues, in the order of their tags.
//!
//! Tags rise by one, so the list is a window that slides: settled places inside it are holes until the
//! front moves past them. `multiple`, sequence sets and disposition ranges are one walk.

use crate::ids::{ConsumerId, QueueId, Sequence, Time};
use std::collections::VecDeque;

/// One delivery that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// From which queue.
    pub queue: QueueId,
    /// Its place there.
    pub sequence: Sequence,
    /// By which consumer; `None` for a Get.
    pub consumer: Option<ConsumerId>,
}

/// The window of a session's deliveries; tags start at 1.
#[derive(Debug, Default)]
pub struct UnsettledDeliveries {
    /// Deliveries with the time they left, from tag `first` on; `None` is settled.
    window: VecDeque<Option<(Unsettled, Time)>>,
    /// Tag of the window's front, less one.
    before_first: u64,
    /// How many of the window are not holes.
    count: usize,
}

impl UnsettledDeliveries {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Give the next tag to a delivery that waits.
    pub fn push(&mut self, delivery: Unsettled, now: Time) -> u64 {
        self.window.push_back(Some((delivery, now)));
        self.count += 1;
        self.before_first + self.window.len() as u64
    }

    /// Give the next tag to a delivery that nobody waits for.
    pub fn push_settled(&mut self) -> u64 {
        if self.window.is_empty() {
            self.before_first += 1;
            return self.before_first;
        }
        self.window.push_back(None);
        self.before_first + self.window.len() as u64
    }

    /// Take one delivery out; `None` if that tag was never given or is settled.
    pub fn take(&mut self, tag: u64) -> Option<Unsettled> {
        self.take_with_time(tag).map(|(delivery, _)| delivery)
    }

    /// Take all up to and including `tag` into `into`; false if there was none at that tag or before.
    pub fn take_up_to(&mut self, tag: u64, into: &mut Vec<Unsettled>) -> bool {
        let given = self.before_first + self.window.len() as u64;
        if tag > given {
            return false;
        }
        let before = into.len();
        let places = usize::try_from(tag.saturating_sub(self.before_first)).unwrap_or(usize::MAX);
        into.extend(self.window.drain(..places).flatten().map(|(delivery, _)| delivery));
        self.before_first += places as u64;
        self.count -= into.len() - before;
        self.drop_front_holes();
        into.len() > before
    }

    /// Take one delivery out together with the time it left, so that [`Self::put_back`] can undo it.
    pub fn take_with_time(&mut self, tag: u64) -> Option<(Unsettled, Time)> {
        let index = usize::try_from(tag.checked_sub(self.before_first + 1)?).ok()?;
        let taken = self.window.get_mut(index)?.take()?;
        self.count -= 1;
        self.drop_front_holes();
        Some(taken)
    }

    /// Tags that wait, up to and including `tag`, in order.
    pub fn tags_up_to(&self, tag: u64) -> impl Iterator<Item = u64> {
        let places = usize::try_from(tag.saturating_sub(self.before_first)).unwrap_or(usize::MAX);
        let tags = self.before_first + 1..;
        self.window.iter().take(places).zip(tags).filter(|(place, _)| place.is_some()).map(|(_, tag)| tag)
    }

    /// The last tag that was given; 0 before the first.
    #[must_use]
    pub fn last_tag(&self) -> u64 {
        self.before_first + self.window.len() as u64
    }

    /// Undo [`Self::take_with_time`]: the delivery waits again under its tag.
    pub fn put_back(&mut self, tag: u64, delivery: Unsettled, time: Time) {
        debug_assert!(tag >= 1 && tag <= self.last_tag(), "a tag that was never given");
        while self.before_first >= tag {
            self.window.push_front(None);
            self.before_first -= 1;
        }
        let index = usize::try_from(tag - self.before_first - 1).unwrap_or(usize::MAX);
        if let Some(place @ None) = self.window.get_mut(index) {
            *place = Some((delivery, time));
            self.count += 1;
        }
    }

    /// Take all.
    pub fn take_all(&mut self) -> Vec<Unsettled> {
        let mut all = Vec::with_capacity(self.count);
        let last = self.before_first + self.window.len() as u64;
        self.take_up_to(last, &mut all);
        all
    }

    /// When the oldest that waits was delivered.
    #[must_use]
    pub fn oldest(&self) -> Option<Time> {
        self.window.front().and_then(|place| place.map(|(_, time)| time))
    }

    fn drop_front_holes(&mut self) {
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.before_first += 1;
        }
        if self.window.is_empty() {
            self.window.shrink_to(64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(n: u64) -> Unsettled {
        Unsettled { queue: QueueId(1), sequence: Sequence(n), consumer: None }
    }

    #[test]
    fn tags_rise_and_each_is_taken_once() {
        let mut list = UnsettledDeliveries::default();
        for n in 1..=5 {
            assert_eq!(list.push(delivery(n), Time(n)), n);
        }
        assert_eq!(list.take(3), Some(delivery(3)));
        assert_eq!(list.take(3), None);
        assert_eq!(list.take(0), None);
        assert_eq!(list.take(6), None);
        let mut taken = Vec::new();
        assert!(list.take_up_to(4, &mut taken));
        assert_eq!(taken, vec![delivery(1), delivery(2), delivery(4)]);
        assert!(!list.take_up_to(4, &mut taken), "a tag that was settled");
        assert!(!list.take_up_to(9, &mut taken), "a tag never given");
        assert_eq!((list.len(), list.oldest()), (1, Some(Time(5))));
        assert_eq!(list.push_settled(), 6);
        assert_eq!(list.push(delivery(7), Time(7)), 7);
        assert_eq!(list.take_all(), vec![delivery(5), delivery(7)]);
        assert!(list.is_empty());
        assert_eq!(list.push_settled(), 8);
        assert_eq!(list.last_tag(), 8);
        assert_eq!(list.push(delivery(9), Time(9)), 9);
    }
    #[test]
    fn what_was_taken_can_be_put_back_in_its_place() {
        let mut list = UnsettledDeliveries::default();
        for n in 1..=4 {
            list.push(delivery(n), Time(n));
        }
        assert_eq!(list.take(2), Some(delivery(2)));
        let tags: Vec<u64> = list.tags_up_to(3).collect();
        assert_eq!(tags, [1, 3]);
        let taken: Vec<_> = tags.iter().map(|&tag| (tag, list.take_with_time(tag).unwrap())).collect();
        assert_eq!((list.len(), list.oldest()), (1, Some(Time(4))));
        for (tag, (delivery, time)) in taken {
            list.put_back(tag, delivery, time);
        }
        assert_eq!((list.len(), list.oldest(), list.last_tag()), (3, Some(Time(1)), 4));
        assert_eq!(list.take_all(), vec![delivery(1), delivery(3), delivery(4)]);
    }
}
