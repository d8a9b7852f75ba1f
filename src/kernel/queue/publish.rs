//! Messages in.

use super::{Gone, Queue, SharedWindows, Turn};
use crate::command::{Command, CommandLog, NewEntry};
use crate::effect::DeadLetter;
use crate::ids::{Sequence, Time};
use crate::message::DeathReason;
use crate::settings::Overflow;

impl Queue {
    /// Enqueue a batch, and serve consumers. The entries' expiry and priority are lowered to what the queue
    /// allows. Those refused by the limit are named in [`crate::effect::Effects::refused`] by their index.
    ///
    /// # Errors
    /// [`Gone`] after its deletion: route once again.
    pub fn publish<L: CommandLog, W: SharedWindows>(
        &mut self,
        entries: &mut [NewEntry<'_>],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        turn.effects.refused.clear();
        self.adjust(entries, turn.now);
        if self.refuses_when_full() {
            self.publish_within_limit(entries, turn);
        } else {
            let passed = self.pass_through(entries, turn);
            if passed < entries.len() {
                self.enqueue(&entries[passed..], turn);
                self.dispatch(turn);
            }
        }
        self.finish(turn);
        Ok(())
    }

    /// Lower expiry to the queue's time to live, and priority to its levels.
    pub(super) fn adjust(&self, entries: &mut [NewEntry<'_>], now: Time) {
        if let Some(ttl) = self.state.limits.message_ttl {
            let end = now.after_milliseconds(ttl);
            for entry in entries.iter_mut() {
                entry.expires = super::state::earlier(entry.expires, end);
            }
        }
        let highest = u8::try_from(self.shape.levels.saturating_sub(1)).unwrap_or(u8::MAX);
        for entry in entries {
            entry.priority = entry.priority.min(highest);
        }
    }

    /// Propose entries.
    #[inline]
    fn enqueue<L: CommandLog, W>(&mut self, entries: &[NewEntry<'_>], turn: &mut Turn<'_, L, W>) {
        if entries.is_empty() {
            return;
        }
        let first = self.proposed;
        self.proposed = Sequence(first.0 + entries.len() as u64);
        self.counters.published += entries.len() as u64;
        self.commit(&Command::Enqueue { first, entries }, turn);
    }

    /// Enqueue as many as there is room for, as long as consumers make more.
    fn publish_within_limit<L: CommandLog, W: SharedWindows>(
        &mut self,
        entries: &[NewEntry<'_>],
        turn: &mut Turn<'_, L, W>,
    ) {
        let mut done = 0;
        while done < entries.len() {
            let room = self.room(&entries[done..]);
            if room == 0 {
                break;
            }
            self.enqueue(&entries[done..done + room], turn);
            self.dispatch(turn);
            done += room;
        }
        self.counters.refused += (entries.len() - done) as u64;
        for (index, entry) in entries.iter().enumerate().skip(done) {
            turn.effects.refused.push(u32::try_from(index).unwrap_or(u32::MAX));
            if self.state.limits.overflow == Some(Overflow::RejectDeadLetter)
                && self.state.limits.dead_letter_exchange.is_some()
            {
                let message = self.dead_message(&entry.message, DeathReason::Displaced, turn.now);
                self.counters.dead_lettered += 1;
                turn.effects.dead_letters.push(DeadLetter {
                    queue: self.id,
                    sequence: None,
                    reason: DeathReason::Displaced,
                    message,
                });
            }
        }
    }
}
