//! Messages that lie only in the store: asked for by [`crate::effect::Fetch`], answered here.
//! Dispatch never assumes that a message is in memory.

use super::entry::{ACQUIRED, Entry, FETCHING, Handle, LEAVING, REDELIVERED};
use super::{Gone, Queue, SharedWindows, Turn};
use crate::command::{Command, CommandLog, DropReason, SequenceRange, push_sequence};
use crate::effect::Fetch;
use crate::ids::Sequence;
use crate::message::MessageView;
use std::num::NonZeroUsize;
use std::ops::Range;

impl Queue {
    /// The store has these messages at these positions: ready ones leave memory. What is held stays.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn page_out(&mut self, stored: &[(Sequence, u64)]) -> Result<(), Gone> {
        self.alive()?;
        for &(sequence, position) in stored {
            let Some(spot) = self.state.contents.find(sequence) else { continue };
            let entry = self.state.contents.at(spot);
            if entry.has(ACQUIRED | LEAVING) || matches!(entry.handle, Handle::Stored) {
                continue;
            }
            self.state.contents.page_out(spot, position);
        }
        Ok(())
    }

    /// After a start: all that is here may have been delivered before it.
    pub fn may_have_been_delivered(&mut self) {
        let everything = SequenceRange { first: Sequence(0), last: Sequence(u64::MAX) };
        self.state.for_each(&[everything], |contents, spot| contents.at_mut(spot).flags |= REDELIVERED);
        self.state.contents.cold.iter_mut().for_each(|stretch| stretch.redelivered = true);
    }

    /// Messages have come from the store; consumers that waited for them are served.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn loaded<L: CommandLog, W: SharedWindows>(
        &mut self,
        messages: &[(Sequence, MessageView<'_>)],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        for (sequence, message) in messages {
            if let Some(spot) = self.state.contents.find(*sequence)
                && matches!(self.state.contents.at(spot).handle, Handle::Stored)
            {
                self.state.contents.page_in(spot, message);
                self.index_keys(std::iter::once(*sequence));
            }
        }
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// Messages that come when those in memory take so many bytes are left to the store, if it has them. Without
    /// effect where newer messages replace older ones or come in groups: their heads are asked for all the time.
    pub fn set_memory_budget(&mut self, bytes: usize) {
        if !self.needs_messages() {
            self.state.contents.budget = NonZeroUsize::new(bytes.max(1));
        }
    }

    /// The store cannot give these messages, asked for at these positions: they are lost, and those behind them go
    /// on. One that was moved since is asked for again.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn lost<L: CommandLog, W: SharedWindows>(
        &mut self,
        fetches: &[Fetch],
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let mut ids = Vec::new();
        for Fetch { sequence, position, .. } in fetches {
            let Some(spot) = self.state.contents.find(*sequence) else { continue };
            let entry = self.state.contents.at_mut(spot);
            if !matches!(entry.handle, Handle::Stored) {
                continue;
            }
            entry.flags &= !FETCHING;
            if entry.position == *position {
                self.state.contents.leave(spot);
                push_sequence(&mut ids, *sequence);
            }
        }
        if !ids.is_empty() {
            self.counters.unreadable += ids.iter().map(|range| range.last.0 - range.first.0 + 1).sum::<u64>();
            self.commit(&Command::Drop { ids: &ids, reason: DropReason::Unreadable }, turn);
        }
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// The message that a Get waits for, asked for already or not.
    pub fn next_fetch(&mut self) -> Option<Fetch> {
        let spot = self.state.contents.next_ready()?;
        let entry = self.state.contents.at(spot);
        let Entry { sequence, position, body_length: length, .. } = *entry;
        matches!(entry.handle, Handle::Stored).then_some(Fetch { sequence, position, length })
    }

    /// Whether all messages have to be in memory for this queue to work.
    #[must_use]
    pub fn needs_messages(&self) -> bool {
        self.keys.is_some() || self.groups.is_some()
    }

    /// Where an entry's message is in the store; `None` if there is no such entry, or it is not there.
    pub fn position_of(&mut self, sequence: Sequence) -> Option<u64> {
        let spot = self.state.contents.find(sequence)?;
        Some(self.state.contents.at(spot).position).filter(|position| *position != 0)
    }

    /// The entries whose messages are in the store at these positions, in the order of their sequences.
    pub fn stored_within(&self, positions: Range<u64>) -> impl Iterator<Item = (Sequence, u64)> {
        let entries = self.state.contents.in_order().into_iter();
        entries
            .map(|entry| (entry.sequence, entry.position))
            .filter(move |(_, position)| positions.contains(position))
    }

    /// The store has copied messages: sequence, old and new position. Which of both nobody needs any more is among
    /// [`Queue::take_released`] then: the new one, if the entry has gone meanwhile or was moved by somebody else.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn relocated(&mut self, moves: &[(Sequence, u64, u64)]) -> Result<(), Gone> {
        self.alive()?;
        for &(sequence, from, to) in moves {
            let spot = self.state.contents.find(sequence);
            let entry = spot.map(|spot| self.state.contents.at_mut(spot));
            let unneeded = match entry {
                Some(entry) if entry.position == from => std::mem::replace(&mut entry.position, to),
                _ => to,
            };
            self.state.contents.released.push(unneeded);
        }
        Ok(())
    }
}
