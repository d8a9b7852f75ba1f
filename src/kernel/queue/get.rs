//! One message, asked for.

use super::delivery_batch::{Run, Stamp};
use super::entry::{Handle, REDELIVERED};
use super::holding::shared_size;
use super::{BROWSED, Gone, Got, Queue, STEP, SharedWindows, Turn};
use crate::command::{CommandLog, push_sequence};
use crate::ids::{Sequence, SessionId};
use std::sync::Arc;

impl Queue {
    /// One message, if there is one, into [`crate::effect::Effects::got`].
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn get<L: CommandLog, W: SharedWindows>(
        &mut self,
        session: SessionId,
        acknowledge: bool,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<Got, Gone> {
        self.alive()?;
        self.last_used = turn.now;
        let got = self.take_one(session, acknowledge, turn);
        if got == Got::Empty {
            self.counters.got_empty += 1;
        }
        self.flush_accepted(turn);
        self.finish(turn);
        Ok(got)
    }

    fn take_one<L: CommandLog, W>(
        &mut self,
        session: SessionId,
        acknowledge: bool,
        turn: &mut Turn<'_, L, W>,
    ) -> Got {
        let mut expired = 0;
        let spot = loop {
            let Some(spot) = self.state.contents.next_ready() else {
                return if self.state.contents.cold.is_empty() { Got::Empty } else { Got::Waiting };
            };
            let entry = self.state.contents.at(spot);
            if !entry.expired_at(turn.now) {
                break spot;
            }
            expired += 1;
            if expired > STEP || !self.expire(spot, turn) {
                turn.effects.more = true;
                return Got::Waiting;
            }
        };
        let entry = self.state.contents.at(spot);
        let browse = self.shape.browse_only;
        let sequence = entry.sequence;
        let stamp = Stamp {
            sequence: Sequence(sequence.0 | if browse { BROWSED } else { 0 }),
            delivery_count: entry.delivery_count,
            redelivered: entry.has(REDELIVERED),
        };
        if matches!(entry.handle, Handle::Stored) {
            self.want(spot, turn.effects);
            return Got::Waiting;
        }
        turn.effects.pass += 1;
        turn.effects.got.begin(Run {
            queue: self.id,
            slot: None,
            session,
            consumer: None,
            acknowledge,
            tell_delivery_count: self.shape.tell_delivery_count,
            remaining: self.state.contents.ready.messages - 1,
            count: 0,
            cost: 0,
        });
        match &entry.handle {
            Handle::Inline { chunk, offset } => {
                let pass = turn.effects.pass;
                turn.effects.got.push_packed(stamp, &self.state.contents.chunks, (*chunk, *offset), pass);
            }
            Handle::Shared(message) => {
                turn.effects.got.push_shared(stamp, Arc::clone(message), shared_size(message));
            }
            Handle::Stored | Handle::Gone => {}
        }
        self.counters.redelivered += u64::from(stamp.redelivered);
        if acknowledge {
            self.counters.got += 1;
        } else {
            self.counters.got_no_ack += 1;
        }
        if !browse {
            self.state.contents.acquire(spot);
            if !acknowledge {
                push_sequence(&mut turn.effects.scratch.accepted, sequence);
            }
        }
        Got::Found
    }
}
