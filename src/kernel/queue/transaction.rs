//! A transaction's share of a queue: checked and held when prepared, in force when committed.
//!
//! What is accepted and what is published are parts of the log; rejections and returns are decided at the
//! commit, with whatever limits and consumers there are then, and logged as commands of their own behind
//! it.

use super::entry::ACQUIRED;
use super::{BROWSED, Delivered, Denial, Gone, Queue, SharedWindows, Turn};
use crate::command::{Command, CommandLog, NewEntry, push_sequence};
use crate::ids::Sequence;
use crate::refusal::Refusal;
use crate::session::Outcome;
use std::collections::BTreeMap;

/// Settlements of prepared transactions, by transaction.
pub(super) type Held = BTreeMap<u64, Vec<(Outcome, Vec<Delivered>)>>;

impl Queue {
    /// Hold a part of a transaction until [`Queue::commit_transaction`] or [`Queue::roll_back_transaction`].
    /// What is held has its room: nobody else is let in instead. Consumers make no room before the commit.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] if the limit refuses one of the entries: nothing is held then, and those without
    /// room are named in [`crate::effect::Effects::refused`]. [`Gone`] after its deletion.
    pub fn prepare_transaction<L: CommandLog, W: SharedWindows>(
        &mut self,
        transaction: u64,
        entries: &mut [NewEntry<'_>],
        settlements: Vec<(Outcome, Vec<Delivered>)>,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Denial> {
        self.alive()?;
        turn.effects.refused.clear();
        self.adjust(entries, turn.now);
        let room = if self.refuses_when_full() { self.room(entries) } else { entries.len() };
        if room < entries.len() {
            let without = room..entries.len();
            self.counters.refused += without.len() as u64;
            turn.effects.refused.extend(without.map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
            return Err(Refusal::QueueFull(self.name.to_string()).into());
        }
        let mut accepted = Vec::new();
        for (outcome, deliveries) in &settlements {
            if *outcome != Outcome::Accepted {
                continue;
            }
            for (sequence, _) in deliveries.iter().filter(|(sequence, _)| sequence.0 & BROWSED == 0) {
                if let Some(spot) = self.state.contents.find(*sequence)
                    && self.state.contents.at(spot).has(ACQUIRED)
                {
                    push_sequence(&mut accepted, *sequence);
                }
            }
        }
        self.commit(&Command::TxPart { transaction, entries, accepted: &accepted }, turn);
        self.held.entry(transaction).or_default().extend(settlements);
        Ok(())
    }

    /// A prepared transaction comes into force.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn commit_transaction<L: CommandLog, W: SharedWindows>(
        &mut self,
        transaction: u64,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let first = self.proposed;
        let part = self.state.parts.get(transaction);
        let entries = part.map_or(0, |part| part.entries.len() as u64);
        let accepted: u64 =
            part.map_or(0, |part| part.accepted.iter().map(|range| range.last.0 - range.first.0 + 1).sum());
        self.proposed = Sequence(first.0 + entries);
        self.counters.published += entries;
        self.counters.accepted += accepted;
        self.commit(&Command::TxCommit { transaction, first }, turn);
        for (outcome, deliveries) in self.held.remove(&transaction).unwrap_or_default() {
            if outcome == Outcome::Accepted {
                self.return_credit(&deliveries);
            } else {
                self.settle_only(&deliveries, outcome, turn);
            }
        }
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// A prepared transaction is forgotten: its deliveries stay with their consumers.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn roll_back_transaction<L: CommandLog, W: SharedWindows>(
        &mut self,
        transaction: u64,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        self.held.remove(&transaction);
        self.commit(&Command::TxRollback { transaction }, turn);
        self.finish(turn);
        Ok(())
    }
}
