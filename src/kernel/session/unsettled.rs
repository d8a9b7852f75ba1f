//! The deliveries of a session that wait to be settled, across queues, in the order of their tags.
//!
//! A settled delivery leaves a hole; holes go when they are at the front, or when there are more of them than of
//! deliveries that wait, so that one that waits for ever costs no more than itself. `multiple`, sequence sets and
//! disposition ranges are one walk.

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

/// Holes that are left alone, however few deliveries wait.
const HOLES: usize = 64;

/// A delivery under its tag, with the time it left.
#[derive(Clone, Copy, Debug)]
struct Place {
    tag: u64,
    time: Time,
    /// `None` is settled: a hole.
    delivery: Option<Unsettled>,
}

/// A session's deliveries that wait; tags start at 1.
#[derive(Debug, Default)]
pub struct UnsettledDeliveries {
    /// By tag; the first one waits.
    places: VecDeque<Place>,
    last_tag: u64,
    /// How many places are not holes.
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
    #[inline]
    pub fn push(&mut self, delivery: Unsettled, now: Time) -> u64 {
        self.last_tag += 1;
        self.places.push_back(Place { tag: self.last_tag, time: now, delivery: Some(delivery) });
        self.count += 1;
        self.last_tag
    }

    /// Give the next tag to a delivery that nobody waits for.
    #[inline]
    pub fn push_settled(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Take one delivery out; `None` if that tag was never given or is settled.
    pub fn take(&mut self, tag: u64) -> Option<Unsettled> {
        self.take_with_time(tag).map(|(delivery, _)| delivery)
    }

    /// Take all up to and including `tag` into `into`; false if there was none at that tag or before.
    pub fn take_up_to(&mut self, tag: u64, into: &mut Vec<Unsettled>) -> bool {
        if tag > self.last_tag {
            return false;
        }
        let before = into.len();
        let end = self.behind(tag);
        into.extend(self.places.drain(..end).filter_map(|place| place.delivery));
        self.count -= into.len() - before;
        self.drop_holes();
        into.len() > before
    }

    /// Take one delivery out together with the time it left, so that [`Self::put_back`] can undo it.
    pub fn take_with_time(&mut self, tag: u64) -> Option<(Unsettled, Time)> {
        let index = self.behind(tag).checked_sub(1)?;
        let place = self.places.get_mut(index).filter(|place| place.tag == tag)?;
        let taken = (place.delivery.take()?, place.time);
        self.count -= 1;
        self.drop_holes();
        Some(taken)
    }

    /// Tags that wait, up to and including `tag`, in order.
    pub fn tags_up_to(&self, tag: u64) -> impl Iterator<Item = u64> {
        let waiting = self.places.iter().take(self.behind(tag)).filter(|place| place.delivery.is_some());
        waiting.map(|place| place.tag)
    }

    /// The last tag that was given; 0 before the first.
    #[must_use]
    pub fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Undo [`Self::take_with_time`]: the delivery waits again under its tag.
    pub fn put_back(&mut self, tag: u64, delivery: Unsettled, time: Time) {
        debug_assert!(tag >= 1 && tag <= self.last_tag, "a tag that was never given");
        let place = Place { tag, time, delivery: Some(delivery) };
        let behind = self.behind(tag);
        match behind.checked_sub(1).and_then(|index| self.places.get_mut(index)) {
            Some(found) if found.tag == tag => {
                self.count += usize::from(found.delivery.is_none());
                *found = place;
            }
            _ => {
                self.places.insert(behind, place);
                self.count += 1;
            }
        }
    }

    /// Take all.
    pub fn take_all(&mut self) -> Vec<Unsettled> {
        let mut all = Vec::with_capacity(self.count);
        self.take_up_to(self.last_tag, &mut all);
        all
    }

    /// When the oldest that waits was delivered.
    #[must_use]
    pub fn oldest(&self) -> Option<Time> {
        self.places.front().map(|place| place.time)
    }

    /// Index behind the last place with a tag up to `tag`; at once where tags have no gaps.
    #[inline]
    fn behind(&self, tag: u64) -> usize {
        let Some(first) = self.places.front() else { return 0 };
        let guess = usize::try_from(tag.saturating_sub(first.tag)).unwrap_or(usize::MAX);
        match self.places.get(guess) {
            Some(place) if place.tag == tag => guess + 1,
            _ => self.places.partition_point(|place| place.tag <= tag),
        }
    }

    fn drop_holes(&mut self) {
        while self.places.front().is_some_and(|place| place.delivery.is_none()) {
            self.places.pop_front();
        }
        if self.places.len() > 2 * self.count + HOLES {
            self.places.retain(|place| place.delivery.is_some());
        }
        if self.places.is_empty() {
            self.places.shrink_to(64);
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

    #[test]
    fn one_that_waits_for_ever_costs_no_more_than_itself() {
        let mut list = UnsettledDeliveries::default();
        list.push(delivery(1), Time(1));
        for n in 2..=10_000 {
            let tag = if n % 3 == 0 { list.push_settled() } else { list.push(delivery(n), Time(n)) };
            assert_eq!(tag, n);
            assert_eq!(list.take(tag).is_some(), n % 3 != 0);
        }
        assert!(list.places.len() <= HOLES + 2, "{}", list.places.len());
        list.push(delivery(10_001), Time(0));
        assert_eq!(list.take(9_999), None);
        assert_eq!(list.tags_up_to(u64::MAX).collect::<Vec<_>>(), [1, 10_001]);
        list.put_back(5_000, delivery(5_000), Time(5));
        assert_eq!(list.take_all(), vec![delivery(1), delivery(5_000), delivery(10_001)]);
    }
}
