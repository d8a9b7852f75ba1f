//! Consumers come, get credit and go; the queue's own settings and end.

use super::consumers::NewConsumer;
use super::delivery_batch::Slot;
use super::{Attachment, Denial, Gone, Queue, STEP, SharedWindows, Turn};
use crate::command::{Command, CommandLog, DropReason, SequenceRange, push_sequence};
use crate::effect::Cancelled;
use crate::ids::{ConnectionId, Sequence, SessionId};
use crate::refusal::{Refusal, Resource};
use crate::settings::Limits;

impl Queue {
    /// Attach a consumer, and serve it.
    ///
    /// # Errors
    /// [`Refusal::InExclusiveUse`] if it or another consumer wants to be alone; [`Gone`] after its deletion.
    pub fn attach<L: CommandLog, W: SharedWindows>(
        &mut self,
        attachment: &Attachment<'_>,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<Slot, Denial> {
        self.alive()?;
        let settings = attachment.settings;
        // Where one of many is served, none can be the only one.
        if self.consumers.refuses(settings.exclusive) || (settings.exclusive && self.shape.single_active) {
            return Err(Refusal::InExclusiveUse(self.name.to_string()).into());
        }
        let slot = self.consumers.insert(&NewConsumer {
            connection: attachment.connection,
            session: attachment.session,
            id: attachment.consumer,
            priority: settings.priority,
            window: if settings.acknowledge { settings.window } else { None },
            bytes: attachment.transfer_window,
            acknowledge: settings.acknowledge,
            exclusive: settings.exclusive,
            no_local: settings.no_local,
            browse: settings.browse || self.shape.browse_only,
            shared_window: attachment.shared_window && settings.acknowledge,
        });
        if self.shape.single_active {
            if let Some(consumer) = self.consumers.get_mut(slot) {
                consumer.suspended = !consumer.browse;
            }
            self.consumers.choose_active();
        }
        self.consumers.admit(slot.index);
        self.stirred = true;
        self.last_used = turn.now;
        self.dispatch(turn);
        self.finish(turn);
        Ok(slot)
    }

    /// Detach a consumer. What it holds stays unsettled. Without effect if it has gone.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn detach<L: CommandLog, W: SharedWindows>(
        &mut self,
        slot: Slot,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let Some(gone) = self.consumers.remove(slot) else { return Ok(()) };
        if gone.no_local {
            // Perhaps nobody is choosy any more.
            self.wake_all();
        }
        self.last_used = turn.now;
        if self.consumers.len() == 0 && self.shape.auto_delete {
            turn.effects.delete_me = true;
        }
        if self.shape.single_active {
            self.consumers.choose_active();
        }
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// Credit: so many more messages, and bytes that have left the outbox.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn grant<L: CommandLog, W: SharedWindows>(
        &mut self,
        slot: Slot,
        messages: u32,
        bytes: u64,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let Some(consumer) = self.consumers.get_mut(slot) else { return Ok(()) };
        if consumer.credit != u32::MAX {
            consumer.credit = consumer.credit.saturating_add(messages).min(u32::MAX - 1);
        }
        consumer.bytes = consumer.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.consumers.admit(slot.index);
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// Whether the consumer's session has a window of its own from now on.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn set_shared_window<L: CommandLog, W: SharedWindows>(
        &mut self,
        slot: Slot,
        shared: bool,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        if let Some(consumer) = self.consumers.get_mut(slot) {
            consumer.shared_window = shared && consumer.acknowledge;
            consumer.waiting = false;
            self.consumers.admit(slot.index);
            self.stirred = true;
            self.dispatch(turn);
        }
        self.finish(turn);
        Ok(())
    }

    /// The window of a session has opened: its consumers may ask again.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn window_opened<L: CommandLog, W: SharedWindows>(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        let waiting: Vec<Slot> = self
            .consumers
            .iter()
            .filter(|(_, c)| c.waiting && c.connection == connection && c.session == session)
            .map(|(slot, _)| slot)
            .collect();
        for slot in waiting {
            if let Some(consumer) = self.consumers.get_mut(slot) {
                consumer.waiting = false;
                self.consumers.admit(slot.index);
            }
        }
        self.stirred = true;
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }

    /// Drop ready messages with sequences below `before` (see [`Queue::next_sequence`]), at most 1,024 of
    /// them; returns how many. [`crate::effect::Effects::more`] tells that there are more.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn purge<L: CommandLog, W: SharedWindows>(
        &mut self,
        before: Sequence,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<u64, Gone> {
        self.alive()?;
        let mut ids = Vec::new();
        let mut purged = 0;
        for lane in 0..self.state.contents.lanes.len() {
            while let Some(place) = self.state.contents.lanes[lane].next_ready() {
                let spot = super::contents::Spot { lane, place };
                let sequence = self.state.contents.at(spot).sequence;
                if sequence >= before {
                    break;
                }
                if purged == STEP as u64 {
                    turn.effects.more = true;
                    break;
                }
                purged += 1;
                push_sequence(&mut ids, sequence);
                self.state.contents.leave(spot);
            }
        }
        for stretch in self.stretches().filter(|stretch| stretch.last < before) {
            ids.push(SequenceRange { first: stretch.first, last: stretch.last });
            purged += stretch.messages;
        }
        if !ids.is_empty() {
            self.commit(&Command::Drop { ids: &ids, reason: DropReason::Purged }, turn);
        }
        self.counters.purged += purged;
        self.finish(turn);
        Ok(purged)
    }

    /// Delete the queue: everything goes, nothing is dead-lettered, consumers are cancelled, and whatever is
    /// asked later is answered with [`Gone`]. Returns the ready messages that went.
    ///
    /// # Errors
    /// [`Refusal::InUse`] and [`Refusal::NotEmpty`] as asked for; [`Gone`] after an earlier deletion.
    pub fn delete<L: CommandLog, W: SharedWindows>(
        &mut self,
        if_unused: bool,
        if_empty: bool,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<u64, Denial> {
        self.alive()?;
        if if_unused && self.consumers.len() > 0 {
            return Err(Refusal::InUse(Resource::Queue, self.name.to_string()).into());
        }
        let messages = self.state.contents.ready.messages;
        if if_empty && messages > 0 {
            return Err(Refusal::NotEmpty(self.name.to_string()).into());
        }
        self.deleting = true;
        for (slot, consumer) in self.consumers.iter() {
            turn.effects.cancelled.push(Cancelled {
                slot,
                connection: consumer.connection,
                session: consumer.session,
                consumer: consumer.id,
            });
        }
        self.consumers = super::Consumers::default();
        self.commit(&Command::Delete, turn);
        turn.effects.deadline = None;
        Ok(messages)
    }

    /// Other limits are in force from now on: a policy has changed.
    ///
    /// # Errors
    /// [`Gone`] after its deletion.
    pub fn reconfigure<L: CommandLog, W: SharedWindows>(
        &mut self,
        limits: &Limits,
        turn: &mut Turn<'_, L, W>,
    ) -> Result<(), Gone> {
        self.alive()?;
        if self.state.limits != *limits {
            self.commit(&Command::Configure { limits }, turn);
        }
        self.dispatch(turn);
        self.finish(turn);
        Ok(())
    }
}
