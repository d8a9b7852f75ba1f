//! Dispatch where consumers do not simply take what comes next: message groups, and consumers that do not
//! want what their own connection published.
//!
//! Ready entries are tried in order, each with the consumers in the order of their turns. What nobody may
//! take now is passed over and stays ready; `scan` keeps how far passed entries have been tried since
//! anything changed, so that a bounded step can go on where the last one stopped.

use super::contents::Spot;
use super::keys::identity;
use super::{Queue, STEP, SharedWindows, Turn};
use crate::command::CommandLog;
use crate::ids::Sequence;

impl Queue {
    /// Whether consumers do not simply take what comes next.
    pub(super) fn is_choosy(&self) -> bool {
        self.groups.is_some() || self.consumers.no_local > 0
    }

    pub(super) fn dispatch_choosy<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) {
        let mut examined = 0;
        let mut lane = 0;
        while lane < self.state.contents.lanes.len() {
            let level = self.state.contents.lanes[lane].level;
            while self.consumers.front().is_some() {
                let Some(spot) = self.next_to_try(lane) else { break };
                if examined == STEP {
                    turn.effects.more = true;
                    return;
                }
                examined += 1;
                self.scan = Some((level, Sequence(self.state.contents.at(spot).sequence.0 + 1)));
                if !self.try_deliver(spot, turn) {
                    return;
                }
            }
            lane += 1;
        }
    }

    /// The next ready entry of that level that has not been tried since the last change.
    fn next_to_try(&mut self, lane: usize) -> Option<Spot> {
        let entries = &mut self.state.contents.lanes[lane];
        let from = match self.scan {
            Some((level, _)) if level < entries.level => None,
            Some((level, sequence)) if level == entries.level => Some(sequence),
            _ => Some(Sequence(0)),
        };
        let passed = from.and_then(|from| entries.passed.range(from..).next().copied());
        let place = match passed {
            Some(sequence) => entries.find(sequence),
            None => entries.ready_at_cursor(),
        }?;
        Some(Spot { lane, place })
    }

    /// Deliver an entry to the first in turn that may have it, else leave it behind; false if dispatch has
    /// to wait.
    fn try_deliver<L: CommandLog, W: SharedWindows>(
        &mut self,
        spot: Spot,
        turn: &mut Turn<'_, L, W>,
    ) -> bool {
        let entry = self.state.contents.at(spot);
        if entry.expired_before(turn.now) {
            return self.expire(spot, turn);
        }
        let sequence = entry.sequence;
        let Some(message) = self.state.contents.message(spot) else {
            self.want(spot, turn.effects);
            return false;
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
                if let (Some(groups), Some(group), true) = (&mut self.groups, group, acknowledge) {
                    groups.claim(group, slot, sequence);
                }
                return true;
            }
        }
        self.state.contents.lanes[spot.lane].pass(spot.place);
        true
    }
}
