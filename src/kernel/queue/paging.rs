//! Messages that lie only in the store: asked for by [`crate::effect::Fetch`], answered here.
//! Dispatch never assumes that a message is in memory.

use super::entry::{ACQUIRED, Handle, LEAVING, REDELIVERED};
use super::{Gone, Queue, SharedWindows, Turn};
use crate::command::{CommandLog, SequenceRange};
use crate::ids::Sequence;
use crate::message::MessageView;

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
            if entry.has(ACQUIRED | LEAVING) || matches!(entry.handle, Handle::Stored { .. }) {
                continue;
            }
            let digest = self.state.digest(entry);
            self.state.contents.page_out(spot, digest, position);
        }
        Ok(())
    }

    /// After a start: all that is here may have been delivered before it.
    pub fn may_have_been_delivered(&mut self) {
        let everything = SequenceRange { first: Sequence(0), last: Sequence(u64::MAX) };
        self.state.for_each(&[everything], |contents, spot| contents.at_mut(spot).flags |= REDELIVERED);
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
                && matches!(self.state.contents.at(spot).handle, Handle::Stored { .. })
            {
                self.state.contents.page_in(spot, message);
            }
        }
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
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
