//! How much a queue takes in, and what goes when there is too much.

use super::entry::Handle;
use super::{Queue, STEP, Turn};
use crate::command::{CommandLog, NewEntry, push_sequence};
use crate::message::DeathReason;
use crate::settings::Overflow;

impl Queue {
    /// Whether new messages are refused when the queue is full.
    pub(super) fn refuses_when_full(&self) -> bool {
        let limits = &self.state.limits;
        (limits.max_messages.is_some() || limits.max_bytes.is_some())
            && matches!(limits.overflow, Some(Overflow::Reject | Overflow::RejectDeadLetter))
    }

    /// How many of the entries there is room for, from the first on. Proposed entries that are not applied
    /// yet count as ready, and so do those of open transactions.
    pub(super) fn room(&self, entries: &[NewEntry<'_>]) -> usize {
        let limits = &self.state.limits;
        let (ready, promised) = (self.state.contents.ready, self.state.parts.promised());
        let mut messages = ready.messages + promised.messages + (self.proposed.0 - self.state.next.0);
        let mut bytes = ready.bytes + promised.bytes;
        let most = (limits.max_messages.unwrap_or(u64::MAX), limits.max_bytes.unwrap_or(u64::MAX));
        entries
            .iter()
            .take_while(|entry| {
                messages += 1;
                bytes += entry.message.body.len() as u64;
                messages <= most.0 && bytes <= most.1
            })
            .count()
    }

    /// The oldest ready messages make room, where the queue is told so; returns how many.
    pub(super) fn enforce_limits<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) -> usize {
        let limits = &self.state.limits;
        if (limits.max_messages.is_none() && limits.max_bytes.is_none())
            || limits.overflow.unwrap_or_default() != Overflow::DropHead
        {
            return 0;
        }
        let most = (limits.max_messages.unwrap_or(u64::MAX), limits.max_bytes.unwrap_or(u64::MAX));
        let dead_letter = limits.dead_letter_exchange.is_some();
        let mut displaced = 0;
        while self.state.contents.ready.messages > most.0 || self.state.contents.ready.bytes > most.1 {
            let Some(spot) = self.state.contents.next_ready() else { break };
            if displaced == STEP {
                turn.effects.more = true;
                break;
            }
            displaced += 1;
            if dead_letter {
                if matches!(self.state.contents.at(spot).handle, Handle::Stored) {
                    self.want(spot, turn.effects);
                    break;
                }
                self.bury(spot, DeathReason::Displaced, turn);
            } else {
                push_sequence(&mut turn.effects.scratch.displaced, self.state.contents.at(spot).sequence);
                self.state.contents.leave(spot);
            }
            self.counters.displaced += 1;
        }
        displaced
    }
}
