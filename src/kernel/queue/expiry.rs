//! Messages whose time has run out, queues that nobody uses, and when to look again.
//!
//! As in RabbitMQ only the head of each level is looked at: what has expired behind a longer-lived message
//! goes when it comes to the head, and is never delivered.

use super::contents::Spot;
use super::entry::{FETCHING, Handle};
use super::state::earlier;
use super::{Gone, Queue, STEP, SharedWindows, Turn};
use crate::command::{Command, CommandLog, DropReason, push_sequence};
use crate::ids::Time;
use crate::message::DeathReason;

/// How long a drained queue keeps its memory, in milliseconds.
const TRIM_AFTER: u64 = 1000;

impl Queue {
    /// Go on with whatever time or the bounds of earlier steps have left to do; also after a command was
    /// applied by the log's owner.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn tick<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) -> Result<(), Gone> {
        self.alive()?;
        if self.trim_at.0 != 0 && self.trim_at <= turn.now {
            self.trim_at = Time(0);
            self.state.contents.trim();
        }
        if self.unused_since().is_some_and(|end| end <= turn.now) {
            turn.effects.delete_me = true;
        }
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// The queue was declared again: its idle time begins anew.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn touch(&mut self, now: Time) -> Result<(), Gone> {
        self.alive()?;
        self.last_used = now;
        Ok(())
    }

    /// When the queue goes for lack of use.
    fn unused_since(&self) -> Option<Time> {
        let expires = self.state.limits.expires?;
        (self.consumers.len() == 0).then(|| self.last_used.after_milliseconds(expires))
    }

    /// What every step ends with: heads that have expired, limits, commands that were collected, and when
    /// to come again.
    pub(super) fn finish<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        self.drop_replaced(turn);
        self.sweep(turn);
        if self.enforce_limits(turn) > 0 {
            // What has come to the head may have expired behind what went.
            self.sweep(turn);
        }
        self.flush_drops(turn);
        if self.state.contents.split {
            self.want_page(turn.effects);
        }
        if self.state.contents.is_empty()
            && let Some(groups) = &mut self.groups
        {
            groups.forget_parked();
        }
        if self.state.contents.is_empty()
            && self.trim_at.0 == 0
            && self.state.contents.memory() > super::IDLE_MEMORY
        {
            self.trim_at = turn.now.after_milliseconds(TRIM_AFTER);
        }
        turn.effects.deadline = self.deadline();
    }

    /// When [`Queue::tick`] is wanted next.
    #[must_use]
    pub fn deadline(&mut self) -> Option<Time> {
        let mut next = self.trim_at;
        if self.state.contents.expiring > 0 {
            for lane in &mut self.state.contents.lanes {
                // One that is being fetched is seen to when it has come.
                if let Some(place) = lane.next_ready()
                    && !lane.at(place).has(FETCHING)
                {
                    next = earlier(next, lane.at(place).expires);
                }
            }
        }
        if let Some(end) = self.unused_since() {
            next = earlier(next, end);
        }
        (next.0 != 0).then_some(next)
    }

    /// Take expired heads away.
    fn sweep<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        if self.state.contents.expiring == 0 {
            return;
        }
        let mut swept = 0;
        for lane in 0..self.state.contents.lanes.len() {
            while let Some(place) = self.state.contents.lanes[lane].next_ready() {
                let spot = Spot { lane, place };
                if !self.state.contents.at(spot).expired_at(turn.now) {
                    break;
                }
                if swept == STEP {
                    turn.effects.more = true;
                    return;
                }
                swept += 1;
                if !self.expire(spot, turn) {
                    break;
                }
            }
        }
    }

    /// A ready entry's time has run out; false if its message has to be fetched first.
    pub(super) fn expire<L, W>(&mut self, spot: Spot, turn: &mut Turn<'_, L, W>) -> bool {
        if self.state.limits.dead_letter_exchange.is_some() {
            if matches!(self.state.contents.at(spot).handle, Handle::Stored) {
                self.want(spot, turn.effects);
                return false;
            }
            self.bury(spot, DeathReason::Expired, turn);
        } else {
            push_sequence(&mut turn.effects.scratch.expired, self.state.contents.at(spot).sequence);
            self.state.contents.leave(spot);
        }
        self.counters.expired += 1;
        true
    }

    /// Record what the step has decided to drop.
    pub(super) fn flush_drops<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        let scratch = &mut turn.effects.scratch;
        if scratch.expired.is_empty()
            && scratch.displaced.is_empty()
            && scratch.exhausted.is_empty()
            && scratch.replaced.is_empty()
        {
            return;
        }
        for (reason, mut ids) in [
            (DropReason::Expired, std::mem::take(&mut scratch.expired)),
            (DropReason::Displaced, std::mem::take(&mut scratch.displaced)),
            (DropReason::DeliveryLimit, std::mem::take(&mut scratch.exhausted)),
            (DropReason::Replaced, std::mem::take(&mut scratch.replaced)),
        ] {
            if !ids.is_empty() {
                self.commit(&Command::Drop { ids: &ids, reason }, turn);
            }
            ids.clear();
            let scratch = &mut turn.effects.scratch;
            *match reason {
                DropReason::Expired => &mut scratch.expired,
                DropReason::Displaced => &mut scratch.displaced,
                DropReason::DeliveryLimit => &mut scratch.exhausted,
                _ => &mut scratch.replaced,
            } = ids;
        }
    }
}
