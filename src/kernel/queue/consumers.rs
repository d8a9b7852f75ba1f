//! Who is attached to a queue, and whose turn it is.
//!
//! Consumers that can take a message stand in rings, one for each priority, highest first; dispatch serves
//! the front of the first ring that is not empty and sends it to the back. A consumer without credit
//! stands in no ring, and costs nothing per message.

use super::delivery_batch::Slot;
use crate::ids::{ConnectionId, ConsumerId, Sequence, SessionId};

/// A consumer as its queue sees it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent property of a consumer")]
pub(super) struct Consumer {
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    pub(super) id: ConsumerId,
    pub(super) priority: i32,
    /// Messages it may still get; `u32::MAX` without bound.
    pub(super) credit: u32,
    /// Settlements give credit back.
    pub(super) windowed: bool,
    /// Bytes it may still get; the last message may overdraw it.
    pub(super) bytes: i64,
    pub(super) acknowledge: bool,
    pub(super) exclusive: bool,
    pub(super) no_local: bool,
    pub(super) browse: bool,
    /// Its session has a window of its own, over all its queues.
    pub(super) shared_window: bool,
    /// The session's window was closed when it last asked.
    pub(super) waiting: bool,
    /// Another consumer is the single active one.
    pub(super) suspended: bool,
    /// It stands in a ring.
    pub(super) queued: bool,
    generation: u32,
    /// For a browser: the last sequence it has seen of each level.
    pub(super) seen: Vec<(u8, Sequence)>,
}

/// What a new consumer brings.
#[derive(Debug)]
pub(super) struct NewConsumer {
    pub(super) connection: ConnectionId,
    pub(super) session: SessionId,
    pub(super) id: ConsumerId,
    pub(super) priority: i32,
    pub(super) window: Option<u32>,
    pub(super) bytes: u32,
    pub(super) acknowledge: bool,
    pub(super) exclusive: bool,
    pub(super) no_local: bool,
    pub(super) browse: bool,
    pub(super) shared_window: bool,
}

impl Consumer {
    /// It has credit, and nothing keeps it waiting.
    #[inline]
    pub(super) fn can_take(&self) -> bool {
        self.credit > 0 && self.bytes > 0 && !self.waiting && !self.suspended
    }

    /// For a browser: the first sequence of that level that it may not have seen.
    pub(super) fn to_see(&self, level: u8) -> Sequence {
        let seen = self.seen.iter().find(|(seen, _)| *seen == level);
        Sequence(seen.map_or(0, |(_, sequence)| sequence.0 + 1))
    }

    /// For a browser: it is done with all entries of that level up to that one.
    pub(super) fn has_seen(&mut self, level: u8, sequence: Sequence) {
        match self.seen.iter_mut().find(|(seen, _)| *seen == level) {
            Some(seen) => seen.1 = sequence,
            None => self.seen.push((level, sequence)),
        }
    }

    /// A message went to it at that cost.
    #[inline]
    pub(super) fn charge(&mut self, cost: u32) {
        if self.credit != u32::MAX {
            self.credit -= 1;
        }
        self.bytes -= i64::from(cost);
    }
}

/// Consumers of one priority that can take messages.
#[derive(Debug)]
struct Ring {
    priority: i32,
    members: Vec<u32>,
    /// Index of the one whose turn it is.
    next: usize,
}

impl Ring {
    /// Join at the back: just before the one whose turn it is.
    fn join(&mut self, index: u32) {
        self.members.insert(self.next, index);
        self.next = (self.next + 1) % self.members.len();
    }

    fn leave(&mut self, index: u32) {
        let Some(at) = self.members.iter().position(|member| *member == index) else { return };
        self.members.remove(at);
        self.next -= usize::from(at < self.next);
        if self.next == self.members.len() {
            self.next = 0;
        }
    }

    #[inline]
    fn front(&self) -> Option<u32> {
        self.members.get(self.next).copied()
    }
}

/// All consumers of a queue.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<u32>,
    rings: Vec<Ring>,
    /// In the order in which they came; the first of the highest priority is active where one may be.
    line: Vec<u32>,
    /// Those that look without taking.
    pub(super) browsers: Vec<u32>,
    /// Those that do not want what their own connection publishes.
    pub(super) no_local: usize,
    generation: u32,
}

impl Consumers {
    /// How many are attached.
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether one of them, or the newcomer, demands to be alone.
    pub(super) fn refuses(&self, exclusive: bool) -> bool {
        !self.line.is_empty() && (exclusive || self.iter().any(|(_, consumer)| consumer.exclusive))
    }

    /// Attach a consumer, in no ring yet.
    pub(super) fn insert(&mut self, new: &NewConsumer) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.generation = self.generation.wrapping_add(1);
        let slot = Slot { index, generation: self.generation };
        self.slots[slot.index()] = Some(Consumer {
            connection: new.connection,
            session: new.session,
            id: new.id,
            priority: new.priority,
            credit: new.window.unwrap_or(u32::MAX),
            windowed: new.window.is_some(),
            bytes: new.bytes.into(),
            acknowledge: new.acknowledge,
            exclusive: new.exclusive,
            no_local: new.no_local,
            browse: new.browse,
            shared_window: new.shared_window,
            waiting: false,
            suspended: false,
            queued: false,
            generation: slot.generation,
            seen: Vec::new(),
        });
        self.line.push(index);
        if new.browse {
            self.browsers.push(index);
        }
        self.no_local += usize::from(new.no_local);
        slot
    }

    /// Detach a consumer.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Consumer> {
        self.get_mut(slot)?;
        let consumer = self.slots[slot.index()].take()?;
        self.free.push(slot.index);
        self.line.retain(|index| *index != slot.index);
        self.browsers.retain(|index| *index != slot.index);
        self.no_local -= usize::from(consumer.no_local);
        for ring in &mut self.rings {
            ring.leave(slot.index);
        }
        self.rings.retain(|ring| !ring.members.is_empty());
        if self.line.is_empty() {
            *self = Consumers { generation: self.generation, ..Consumers::default() };
        }
        Some(consumer)
    }

    /// The consumer that holds that place, unless it has gone.
    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Consumer> {
        let consumer = self.slots.get_mut(slot.index())?.as_mut()?;
        (consumer.generation == slot.generation).then_some(consumer)
    }

    /// The same, to read.
    pub(super) fn get(&self, slot: Slot) -> Option<&Consumer> {
        let consumer = self.slots.get(slot.index())?.as_ref()?;
        (consumer.generation == slot.generation).then_some(consumer)
    }

    /// The consumer at an index that a ring or `browsers` gave.
    #[inline]
    pub(super) fn at_mut(&mut self, index: u32) -> Option<&mut Consumer> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    /// Its slot.
    #[inline]
    pub(super) fn slot(&self, index: u32) -> Slot {
        let generation = self.slots[index as usize].as_ref().map_or(0, |consumer| consumer.generation);
        Slot { index, generation }
    }

    /// Attached consumers, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Consumer)> {
        self.line.iter().filter_map(|&index| {
            let consumer = self.slots[index as usize].as_ref()?;
            Some((Slot { index, generation: consumer.generation }, consumer))
        })
    }

    /// Put a consumer at the back of its ring, if it can take messages and is in none.
    #[inline]
    pub(super) fn admit(&mut self, index: u32) {
        let Some(consumer) = self.slots[index as usize].as_mut() else { return };
        if consumer.queued || consumer.browse || !consumer.can_take() {
            return;
        }
        consumer.queued = true;
        let priority = consumer.priority;
        let ring = match self.rings.iter().position(|ring| ring.priority <= priority) {
            Some(at) if self.rings[at].priority == priority => at,
            at => {
                let at = at.unwrap_or(self.rings.len());
                self.rings.insert(at, Ring { priority, members: Vec::new(), next: 0 });
                at
            }
        };
        self.rings[ring].join(index);
    }

    /// Whose turn it is.
    #[inline]
    pub(super) fn front(&self) -> Option<u32> {
        self.rings.iter().find_map(Ring::front)
    }

    /// Whether that consumer, whose turn it is, has its ring for itself.
    #[inline]
    pub(super) fn is_alone(&self, index: u32) -> bool {
        let ring = self.rings.iter().find(|ring| !ring.members.is_empty());
        ring.is_some_and(|ring| ring.members[..] == [index])
    }

    /// Of those that can take messages, the one who comes that many turns from now.
    pub(super) fn turn(&self, mut turns: usize) -> Option<u32> {
        for ring in &self.rings {
            let members = ring.members.len();
            if turns < members {
                return ring.members.get((ring.next + turns) % members).copied();
            }
            turns -= members;
        }
        None
    }

    /// The consumer whose turn it is got a message at that cost; returns whether it is to be settled.
    #[inline]
    pub(super) fn charge_front(&mut self, index: u32, cost: u32) -> bool {
        let Some(consumer) = self.at_mut(index) else { return false };
        consumer.charge(cost);
        let acknowledge = consumer.acknowledge;
        self.served(index);
        acknowledge
    }

    /// A consumer had its turn: it goes to the back of its ring, or out when it cannot take more.
    #[inline]
    pub(super) fn served(&mut self, index: u32) {
        let Some(consumer) = self.slots[index as usize].as_mut() else { return };
        let stays = consumer.can_take();
        consumer.queued = stays;
        let priority = consumer.priority;
        let Some(ring) = self.rings.iter_mut().find(|ring| ring.priority == priority) else { return };
        if !stays {
            ring.leave(index);
        } else if ring.front() == Some(index) {
            ring.next += 1;
            if ring.next == ring.members.len() {
                ring.next = 0;
            }
        } else {
            ring.leave(index);
            ring.join(index);
        }
    }

    /// Let the first in line be the only active one, among those of the highest priority; returns it if it
    /// has become so now.
    pub(super) fn choose_active(&mut self) -> Option<u32> {
        if self.iter().any(|(_, consumer)| !consumer.suspended && !consumer.browse) {
            return None;
        }
        let highest = self.iter().filter(|(_, c)| !c.browse).map(|(_, c)| c.priority).max()?;
        let (slot, _) = self.iter().find(|(_, c)| !c.browse && c.priority == highest)?;
        self.at_mut(slot.index)?.suspended = false;
        self.admit(slot.index);
        Some(slot.index)
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Consumer>>()
            + (self.free.capacity() + self.line.capacity() + self.browsers.capacity()) * size_of::<u32>()
            + self
                .rings
                .iter()
                .map(|ring| size_of::<Ring>() + ring.members.capacity() * size_of::<u32>())
                .sum::<usize>()
    }
}
