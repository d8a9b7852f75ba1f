//! Deliveries back: done, not wanted, or returned.

use super::entry::ACQUIRED;
use super::{BROWSED, Delivered, Gone, Queue, SharedWindows, Slot, Turn};
use crate::command::{Command, CommandLog, DropReason, Settled, push_sequence};
use crate::ids::Sequence;
use crate::message::DeathReason;
use crate::session::Outcome;

impl Queue {
    /// Settle deliveries; their consumers get window credit back. What is not held (settled before) is
    /// passed over.
    ///
    /// # Errors
    /// [`Gone`] after its deletion; there is nothing left to settle then.
    pub fn settle<L: CommandLog, W: SharedWindows>(
        &mut self,
        deliveries: &[Delivered],
        outcome: Outcome,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        self.settle_only(deliveries, outcome, turn);
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// Settle without serving consumers.
    pub(super) fn settle_only<L: CommandLog, W>(
        &mut self,
        deliveries: &[Delivered],
        outcome: Outcome,
        turn: &mut Turn<'_, L, W>,
    ) {
        self.stirred = true;
        self.return_credit(deliveries);
        if outcome == Outcome::Accepted {
            self.accept(deliveries, turn);
        } else {
            for &(sequence, _) in deliveries.iter().filter(|(sequence, _)| sequence.0 & BROWSED == 0) {
                self.sort_out(sequence, outcome, turn);
            }
        }
        self.flush_accepted(turn);
        let mut rejected = std::mem::take(&mut turn.effects.scratch.rejected);
        if !rejected.is_empty() {
            self.commit(&Command::Settle { ids: &rejected, outcome: Settled::Rejected }, turn);
        }
        rejected.clear();
        turn.effects.scratch.rejected = rejected;
        let mut returned = std::mem::take(&mut turn.effects.scratch.returned);
        if !returned.is_empty() {
            let delivered = outcome == Outcome::Released { delivered: true };
            self.commit(&Command::Requeue { ids: &returned, delivered }, turn);
        }
        returned.clear();
        turn.effects.scratch.returned = returned;
    }

    /// Accepted deliveries, mostly of rising sequences: checked by ranges.
    fn accept<L: CommandLog, W>(&mut self, deliveries: &[Delivered], turn: &mut Turn<'_, L, W>) {
        for &(sequence, _) in deliveries.iter().filter(|(sequence, _)| sequence.0 & BROWSED == 0) {
            push_sequence(&mut turn.effects.scratch.accepted, sequence);
        }
        if !turn.log.records() && self.keys.is_none() {
            // Nobody is to be told which: what is held goes in one walk.
            let ids = &mut turn.effects.scratch.accepted;
            self.counters.accepted += self.state.contents.remove(ids, ACQUIRED);
            if let Some(groups) = &mut self.groups {
                groups.release(ids);
            }
            ids.clear();
            return;
        }
        let claimed = std::mem::take(&mut turn.effects.scratch.accepted);
        if claimed.iter().all(|range| self.state.contents.all_acquired(*range)) {
            turn.effects.scratch.accepted = claimed;
        } else {
            for sequence in claimed.iter().flat_map(|range| range.first.0..=range.last.0) {
                self.sort_out(Sequence(sequence), Outcome::Accepted, turn);
            }
        }
        let accepted = &turn.effects.scratch.accepted;
        self.counters.accepted += accepted.iter().map(|range| range.last.0 - range.first.0 + 1).sum::<u64>();
    }

    /// Decide what a delivery's outcome means for its entry.
    #[inline]
    fn sort_out<L: CommandLog, W>(
        &mut self,
        sequence: Sequence,
        outcome: Outcome,
        turn: &mut Turn<'_, L, W>,
    ) {
        let Some(spot) = self.state.contents.find(sequence) else { return };
        let entry = self.state.contents.at(spot);
        if !entry.has(ACQUIRED) {
            return;
        }
        let dead_letter = self.state.limits.dead_letter_exchange.is_some();
        match outcome {
            Outcome::Accepted => push_sequence(&mut turn.effects.scratch.accepted, sequence),
            Outcome::Rejected => {
                self.counters.rejected += 1;
                if dead_letter {
                    self.bury(spot, DeathReason::Rejected, turn);
                } else {
                    push_sequence(&mut turn.effects.scratch.rejected, sequence);
                }
            }
            Outcome::Released { delivered } => {
                let failed = u32::from(entry.delivery_count) + 1;
                self.counters.returned += 1;
                if self.keys.as_ref().is_some_and(|keys| keys.is_replaced(sequence)) {
                    push_sequence(&mut turn.effects.scratch.replaced, sequence);
                    self.state.contents.leave(spot);
                } else if !delivered || self.state.limits.delivery_limit.is_none_or(|limit| failed <= limit) {
                    push_sequence(&mut turn.effects.scratch.returned, sequence);
                } else {
                    self.counters.exhausted += 1;
                    if dead_letter {
                        self.bury(spot, DeathReason::DeliveryLimit, turn);
                    } else {
                        push_sequence(&mut turn.effects.scratch.exhausted, sequence);
                        self.state.contents.leave(spot);
                    }
                }
            }
        }
    }

    /// Window credit for settled deliveries, added up for consumers in a row.
    pub(super) fn return_credit(&mut self, deliveries: &[Delivered]) {
        for run in deliveries.chunk_by(|left, right| left.1 == right.1) {
            if let Some(slot) = run[0].1 {
                self.add_credit(slot, u32::try_from(run.len()).unwrap_or(u32::MAX));
            }
        }
    }

    fn add_credit(&mut self, slot: Slot, messages: u32) {
        if let Some(consumer) = self.consumers.get_mut(slot)
            && consumer.windowed
        {
            consumer.credit = consumer.credit.saturating_add(messages).min(u32::MAX - 1);
            self.consumers.admit(slot.index);
        }
    }

    /// The targets of dead letters, or of a move, hold these messages (or there is no target): they go.
    ///
    /// # Errors
    /// [`Gone`] after its deletion; they went with it.
    pub fn departed<L: CommandLog, W: SharedWindows>(
        &mut self,
        sequences: &[Sequence],
        reason: DropReason,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let mut ids = Vec::new();
        for &sequence in sequences {
            push_sequence(&mut ids, sequence);
        }
        if !ids.is_empty() {
            self.commit(&Command::Drop { ids: &ids, reason }, turn);
        }
        self.finish(turn);
        Ok(())
    }
}
