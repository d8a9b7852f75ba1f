//! Ready messages picked one by one: by an operator's filter, or by a session that looked at them first.

use super::contents::Spot;
use super::entry::{Handle, LEAVING};
use super::{BROWSED, Gone, Queue, STEP, SharedWindows, Turn};
use crate::command::{Command, CommandLog, DropReason, push_sequence};
use crate::ids::{Sequence, Time};
use crate::message::{Message, MessageView};
use std::sync::Arc;

/// A message on its way to another queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Its place here.
    pub sequence: Sequence,
    /// The message.
    pub message: Arc<Message>,
    /// When it expires; `Time(0)` is never.
    pub expires: Time,
    /// Its level.
    pub priority: u8,
}

impl Queue {
    /// Ready messages that `wanted` picks, in the order of their sequences from `from` on. At most 1,024 are
    /// looked at; the second value is where to go on, if there are more. What lies only in the store is
    /// passed over.
    pub fn select(
        &self,
        from: Sequence,
        mut wanted: impl FnMut(&MessageView<'_>) -> bool,
    ) -> (Vec<Sequence>, Option<Sequence>) {
        let contents = &self.state.contents;
        let mut picked = Vec::new();
        let mut next = from;
        for _ in 0..STEP {
            let found = contents.lanes.iter().enumerate().filter_map(|(lane, entries)| {
                let place = entries.find_from(next)?;
                Some((entries.at(place).sequence, Spot { lane, place }))
            });
            let Some((sequence, spot)) = found.min_by_key(|(sequence, _)| *sequence) else {
                return (picked, None);
            };
            let message = contents.at(spot).is_ready().then(|| contents.message(spot)).flatten();
            if message.is_some_and(|message| wanted(&message)) {
                picked.push(sequence);
            }
            next = Sequence(sequence.0 + 1);
        }
        (picked, Some(next))
    }

    /// Drop those of these messages that are ready; returns how many.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn purge_selected<L: CommandLog, W: SharedWindows>(
        &mut self,
        sequences: &[Sequence],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<u64, Gone> {
        self.alive()?;
        let mut ids = Vec::new();
        let mut purged = 0;
        for &sequence in sequences {
            if let Some(spot) = self.state.contents.find(sequence)
                && self.state.contents.at(spot).is_ready()
            {
                push_sequence(&mut ids, sequence);
                self.state.contents.leave(spot);
                purged += 1;
            }
        }
        if !ids.is_empty() {
            self.commit(&Command::Drop { ids: &ids, reason: DropReason::Purged }, turn);
        }
        self.counters.purged += purged;
        self.finish(turn);
        Ok(purged)
    }

    /// Take those of these messages that are ready, to be put into another queue. They stay, held, until
    /// [`Queue::departed`] or [`Queue::stay`]. What lies only in the store is asked for and left.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn move_out<L: CommandLog, W: SharedWindows>(
        &mut self,
        sequences: &[Sequence],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<Vec<Moving>, Gone> {
        self.alive()?;
        let mut moving = Vec::new();
        for &sequence in sequences {
            let Some(spot) = self.state.contents.find(sequence) else { continue };
            let entry = self.state.contents.at(spot);
            if !entry.is_ready() {
                continue;
            }
            let (expires, priority) = (entry.expires, entry.priority);
            match self.state.contents.message(spot) {
                Some(message) => {
                    moving.push(Moving { sequence, message: message.to_shared(), expires, priority });
                    self.state.contents.leave(spot);
                }
                None => self.want(spot, turn.effects),
            }
        }
        self.finish(turn);
        Ok(moving)
    }

    /// Messages that were leaving do not: they are ready again in their places.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn stay<L: CommandLog, W: SharedWindows>(
        &mut self,
        sequences: &[Sequence],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        for &sequence in sequences {
            if let Some(spot) = self.state.contents.find(sequence) {
                self.state.contents.give_back(spot, LEAVING);
            }
        }
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// A session that has looked at these messages wants them for its own: those that are still ready are
    /// held from now on, and named in the answer, to be settled like deliveries.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn acquire(&mut self, deliveries: &[Sequence]) -> Result<Vec<Sequence>, Gone> {
        self.alive()?;
        let mut acquired = Vec::new();
        for delivery in deliveries {
            let sequence = Sequence(delivery.0 & !BROWSED);
            if let Some(spot) = self.state.contents.find(sequence)
                && self.state.contents.at(spot).is_ready()
                && !matches!(self.state.contents.at(spot).handle, Handle::Stored)
            {
                self.state.contents.acquire(spot);
                acquired.push(sequence);
            }
        }
        Ok(acquired)
    }
}
