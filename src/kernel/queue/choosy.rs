//! Dispatch where consumers do not simply take what comes next: message groups, and consumers that do not
//! want what their own connection published.
//!
//! Ready entries are tried in order, each with the consumers in the order of their turns. What nobody may
//! take now is parked and stays ready. What waits for the owner of its group is woken, one entry at a time, when
//! the owner can take more or the group has none; with consumers that do not want their own connection's
//! messages, all is woken whenever something changes.

use super::contents::Spot;
use super::groups::Standing;
use super::keys::identity;
use super::{Queue, STEP, SharedWindows, Slot, Turn};
use crate::command::CommandLog;
use std::cmp::Reverse;

/// Entries that groups may list although they have gone.
const STALE: usize = 64;

impl Queue {
    /// Whether consumers do not simply take what comes next.
    pub(super) fn is_choosy(&self) -> bool {
        self.groups.is_some() || self.consumers.no_local > 0
    }

    pub(super) fn dispatch_choosy<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) {
        self.wake();
        let mut examined = 0;
        let mut lane = 0;
        while lane < self.state.contents.open_lanes() {
            while self.consumers.front().is_some() {
                let Some(place) = self.state.contents.lanes[lane].next_to_try() else { break };
                if examined == STEP {
                    turn.effects.more = true;
                    return;
                }
                examined += 1;
                match self.try_deliver(Spot { lane, place }, turn) {
                    Tried::Wait => return,
                    Tried::Parked => {}
                    // What was woken may be of a higher level.
                    Tried::Delivered => lane = 0,
                    Tried::Expired => {
                        // It may have been woken for somebody who can still take another.
                        self.wake();
                        lane = 0;
                    }
                }
            }
            lane += 1;
        }
    }

    /// What may go since something has changed is worth a try.
    fn wake(&mut self) {
        if self.consumers.front().is_none() {
            return;
        }
        let stirred = std::mem::take(&mut self.stirred);
        let parked: usize = self.state.contents.lanes.iter().map(super::lane::Lane::parked).sum();
        if parked == 0 {
            return;
        }
        let listed = self.groups.as_ref().map_or(0, |groups| groups.parked_count());
        if (stirred && self.consumers.no_local > 0) || listed > 2 * parked + STALE {
            return self.wake_all();
        }
        let Some(groups) = &self.groups else { return };
        let (freed, waited_for) = (groups.freed(), groups.waited_for());
        freed.iter().for_each(|group| self.wake_group(group));
        waited_for.into_iter().for_each(|slot| self.wake_for(slot));
    }

    /// Everything that is parked is worth a try.
    pub(super) fn wake_all(&mut self) {
        self.state.contents.lanes.iter_mut().for_each(super::lane::Lane::wake_all);
        if let Some(groups) = &mut self.groups {
            groups.forget_parked();
        }
    }

    /// The next entry for the owner of its group, if it can take one.
    fn wake_for(&mut self, slot: Slot) {
        if self.consumers.get(slot).is_some_and(super::consumers::Consumer::can_take) {
            self.wake_first(|groups| groups.take_first(slot));
        }
    }

    /// The next entry of a group that nobody owns.
    fn wake_group(&mut self, group: &[u8]) {
        self.wake_first(|groups| groups.take_first_of(group));
    }

    /// The first of these that has not gone is worth a try.
    fn wake_first(&mut self, mut next: impl FnMut(&mut super::Groups) -> Option<Standing>) {
        while let Some((Reverse(level), sequence)) = self.groups.as_mut().and_then(|groups| next(groups)) {
            let lane = self.state.contents.lanes.iter_mut().find(|lane| lane.level == level);
            if lane.is_some_and(|lane| lane.wake(sequence)) {
                return;
            }
        }
    }

    /// Deliver an entry to the first in turn that may have it, else park it.
    fn try_deliver<L: CommandLog, W: SharedWindows>(
        &mut self,
        spot: Spot,
        turn: &mut Turn<'_, L, W>,
    ) -> Tried {
        let entry = self.state.contents.at(spot);
        if entry.expired_before(turn.now) {
            return if self.expire(spot, turn) { Tried::Expired } else { Tried::Wait };
        }
        let sequence = entry.sequence;
        let Some(message) = self.state.contents.message(spot) else {
            self.want(spot, turn.effects);
            return Tried::Wait;
        };
        let publisher = message.publisher;
        let group = self.groups.as_ref().and_then(|groups| {
            let value = self.readers.of(message.origin).header(message.head, &groups.header)?;
            identity(&value).map(Vec::into_boxed_slice)
        });
        let owner =
            group.as_deref().zip(self.groups.as_ref()).and_then(|(group, groups)| groups.owner(group));
        let mut at = 0;
        while let Some(index) = self.consumers.turn(at) {
            let slot = self.consumers.slot(index);
            let Some(consumer) = self.consumers.at_mut(index) else { break };
            let local = consumer.no_local && consumer.connection == publisher;
            if local || owner.is_some_and(|owner| owner != slot) {
                at += 1;
                continue;
            }
            let acknowledge = consumer.acknowledge;
            // With its window closed it leaves its ring, and the next one is at the same place.
            if self.window_open(index, turn) {
                self.deliver(index, spot, turn);
                if let (Some(groups), Some(group)) = (&mut self.groups, group) {
                    if acknowledge {
                        groups.claim(group, slot, sequence);
                        self.wake_for(slot);
                    } else {
                        self.wake_group(&group);
                    }
                }
                return Tried::Delivered;
            }
        }
        if self.consumers.front().is_none() {
            // Nobody was left to ask: the next who can take something may have it.
            return Tried::Wait;
        }
        let lane = &mut self.state.contents.lanes[spot.lane];
        lane.park(spot.place);
        if let (Some(groups), Some(group), Some(_)) = (&mut self.groups, group, owner) {
            groups.park(&group, (Reverse(lane.level), sequence));
        }
        Tried::Parked
    }
}

/// What came of trying to deliver an entry.
enum Tried {
    /// A consumer has it.
    Delivered,
    /// Its time had run out.
    Expired,
    /// It is parked.
    Parked,
    /// Dispatch has to wait.
    Wait,
}
