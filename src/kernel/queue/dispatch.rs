//! Ready entries to consumers that have credit.
//!
//! Browsers first, each at its own pace; then the next ready entry to the next in turn. Runs of entries and
//! a consumer that is alone make one tight loop: this is the hot path. See `choosy` for groups and
//! consumers that do not take whatever comes.

use super::chunk::Chunks;
use super::consumers::Consumers;
use super::contents::{Contents, Spot, Stopped};
use super::delivery_batch::{DeliveryBatch, Run, Stamp};
use super::entry::{Entry, FETCHING, Handle, REDELIVERED};
use super::holding::{shared_size, view};
use super::labels::alike;
use super::{BROWSED, Queue, STEP, Shape, SharedWindows, Turn, packed};
use crate::command::{Command, CommandLog, NewEntry, Settled, push_sequence};
use crate::effect::{Effects, Fetch};
use crate::ids::{QueueId, Sequence, SessionId, Time};
use crate::message::MessageView;
use std::sync::Arc;

/// Bytes that are asked of the store at a time: enough to read in one piece, few beside a queue's budget.
const READ_AHEAD: usize = 1 << 20;
/// Bytes of a stored message besides its body, about.
const FETCH_COST: usize = 256;

impl Queue {
    /// Serve consumers until messages or credit run out.
    pub(super) fn dispatch<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) {
        if !self.consumers.browsers.is_empty() {
            turn.effects.pass += 1;
            self.dispatch_browsers(turn);
        }
        if self.state.contents.ready.messages == 0 {
            return;
        }
        turn.effects.pass += 1;
        if self.is_choosy() {
            self.dispatch_choosy(turn);
        } else {
            self.dispatch_plain(turn);
        }
        self.flush_accepted(turn);
    }

    /// Settle what went to consumers that do not.
    pub(super) fn flush_accepted<L: CommandLog, W>(&mut self, turn: &mut Turn<'_, L, W>) {
        if turn.effects.scratch.accepted.is_empty() {
            return;
        }
        let mut ids = std::mem::take(&mut turn.effects.scratch.accepted);
        self.commit(&Command::Settle { ids: &ids, outcome: Settled::Accepted }, turn);
        ids.clear();
        turn.effects.scratch.accepted = ids;
    }

    fn dispatch_plain<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) {
        let mut expired = 0;
        while let Some(index) = self.consumers.front() {
            let stopped = if self.consumers.is_alone(index) {
                self.serve_one(index, turn)
            } else {
                self.serve_in_turn(turn)
            };
            match stopped {
                Stopped::Empty => return,
                Stopped::Refused => {}
                Stopped::Stored(sequence) => {
                    if let Some(spot) = self.state.contents.find(sequence) {
                        self.want(spot, turn.effects);
                    }
                    return;
                }
                Stopped::Expired(sequence) => {
                    if expired == STEP {
                        turn.effects.more = true;
                        return;
                    }
                    expired += 1;
                    let Some(spot) = self.state.contents.find(sequence) else { return };
                    if !self.expire(spot, turn) {
                        return;
                    }
                }
            }
        }
    }

    /// Serve the only consumer of its priority until it, or the queue, has enough.
    fn serve_one<L, W: SharedWindows>(&mut self, index: u32, turn: &mut Turn<'_, L, W>) -> Stopped {
        let run = run_of(self.id, &self.shape, &self.consumers, index);
        let Queue { state, consumers, counters, .. } = self;
        let slot = consumers.slot(index);
        let Some(consumer) = consumers.at_mut(index) else { return Stopped::Refused };
        let Effects { scratch, pass, .. } = &mut *turn.effects;
        let (pass, mut accepted) = (*pass, std::mem::take(&mut scratch.accepted));
        let bucket = turn.effects.bucket(slot, || run);
        let mut delivered = 0;
        let stopped = state.contents.acquire_while(turn.now, |chunks, entry| {
            if !consumer.can_take() {
                return false;
            }
            if consumer.shared_window && !turn.windows.take(consumer.connection, consumer.session) {
                consumer.waiting = true;
                return false;
            }
            consumer.charge(append(bucket, chunks, entry, 0, pass));
            counters.redelivered += u64::from(entry.has(REDELIVERED));
            delivered += 1;
            if !consumer.acknowledge {
                push_sequence(&mut accepted, entry.sequence);
            }
            true
        });
        if consumer.acknowledge {
            counters.delivered += delivered;
        } else {
            counters.delivered_no_ack += delivered;
        }
        consumers.served(index);
        turn.effects.scratch.accepted = accepted;
        stopped
    }

    /// Serve all consumers of the highest priority in turn, message by message.
    fn serve_in_turn<L, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) -> Stopped {
        let Queue { state, consumers, counters, shape, id, .. } = self;
        state.contents.acquire_while(turn.now, |chunks, entry| {
            while let Some(index) = consumers.front() {
                let slot = consumers.slot(index);
                let Some(consumer) = consumers.at_mut(index) else { return false };
                if consumer.shared_window && !turn.windows.take(consumer.connection, consumer.session) {
                    consumer.waiting = true;
                    consumers.served(index);
                    continue;
                }
                let pass = turn.effects.pass;
                let bucket = turn.effects.bucket(slot, || run_of(*id, shape, consumers, index));
                let cost = append(bucket, chunks, entry, 0, pass);
                if consumers.charge_front(index, cost) {
                    counters.delivered += 1;
                } else {
                    counters.delivered_no_ack += 1;
                    push_sequence(&mut turn.effects.scratch.accepted, entry.sequence);
                }
                counters.redelivered += u64::from(entry.has(REDELIVERED));
                return true;
            }
            false
        })
    }

    /// Hand new messages straight to the consumer whose turn it is, as long as it need not settle them: they
    /// never become entries. Only where nothing is recorded and nothing waits; returns how many went.
    pub(super) fn pass_through<L: CommandLog, W>(
        &mut self,
        entries: &[NewEntry<'_>],
        turn: &mut Turn<'_, L, W>,
    ) -> usize {
        if turn.log.records()
            || self.state.contents.ready.messages > 0
            || !self.consumers.browsers.is_empty()
            || self.is_choosy()
            || self.shape.levels > 1
            || self.keys.is_some()
            || entries.is_empty()
        {
            return 0;
        }
        let Queue { state, consumers, shape, id, .. } = self;
        turn.effects.pass += 1;
        let pass = turn.effects.pass;
        let mut kind = 0;
        let mut passed = 0;
        let mut sequence = state.next;
        while let Some(index) = consumers.front() {
            let alone = consumers.is_alone(index);
            let slot = consumers.slot(index);
            if consumers.get(slot).is_none_or(|consumer| consumer.acknowledge) {
                break;
            }
            let bucket = turn.effects.bucket(slot, || run_of(*id, shape, consumers, index));
            let Some(consumer) = consumers.at_mut(index) else { break };
            let before = passed;
            while let Some(entry) = entries.get(passed)
                && consumer.can_take()
                && !entry.expired_before(turn.now)
                && (alone || before == passed)
            {
                if passed > 0 && !alike(&entries[passed - 1].message, &entry.message) {
                    kind += 1;
                }
                consumer.charge(append_new(bucket, sequence, &entry.message, (pass, kind)));
                sequence.0 += 1;
                passed += 1;
            }
            consumers.served(index);
            if passed == before || passed == entries.len() {
                break;
            }
        }
        state.next = sequence;
        self.proposed = sequence;
        self.counters.published += passed as u64;
        self.counters.delivered_no_ack += passed as u64;
        passed
    }

    /// Whether the consumer's session has room; if not, the consumer waits for
    /// [`Queue::window_opened`].
    #[inline]
    pub(super) fn window_open<L, W: SharedWindows>(&mut self, index: u32, turn: &mut Turn<'_, L, W>) -> bool {
        let Some(consumer) = self.consumers.at_mut(index) else { return false };
        if !consumer.shared_window || turn.windows.take(consumer.connection, consumer.session) {
            return true;
        }
        consumer.waiting = true;
        self.consumers.served(index);
        false
    }

    /// Give a ready entry, whose message is here, to a consumer that can take it.
    #[inline]
    pub(super) fn deliver<L, W>(&mut self, index: u32, spot: Spot, turn: &mut Turn<'_, L, W>) {
        let acknowledge = self.hand_over(index, spot, 0, turn.effects);
        self.consumers.served(index);
        let entry = self.state.contents.at(spot);
        let sequence = entry.sequence;
        self.counters.redelivered += u64::from(entry.has(REDELIVERED));
        self.state.contents.acquire(spot);
        if acknowledge {
            self.counters.delivered += 1;
        } else {
            self.counters.delivered_no_ack += 1;
            push_sequence(&mut turn.effects.scratch.accepted, sequence);
        }
    }

    /// Put an entry's message into a consumer's bucket; returns whether it is to be settled.
    pub(super) fn hand_over(&mut self, index: u32, spot: Spot, mark: u64, effects: &mut Effects) -> bool {
        let pass = effects.pass;
        let slot = self.consumers.slot(index);
        let bucket = effects.bucket(slot, || run_of(self.id, &self.shape, &self.consumers, index));
        let contents = &self.state.contents;
        let cost = append(bucket, &contents.chunks, contents.at(spot), mark, pass);
        let Some(consumer) = self.consumers.at_mut(index) else { return false };
        consumer.charge(cost);
        consumer.acknowledge
    }

    /// Ask for a stored message, once, and for some of those behind it, which will be wanted next.
    pub(super) fn want(&mut self, spot: Spot, effects: &mut Effects) {
        let mut bytes = 0;
        let mut next = Some(spot.place);
        while let Some(place) = next
            && bytes < READ_AHEAD
        {
            let spot = Spot { place, ..spot };
            let entry = self.state.contents.at_mut(spot);
            if !matches!(entry.handle, Handle::Stored) || entry.has(FETCHING) || !entry.is_ready() {
                return;
            }
            entry.flags |= FETCHING;
            let Entry { sequence, position, body_length: length, .. } = *entry;
            effects.fetches.push(Fetch { sequence, position, length });
            bytes += length as usize + FETCH_COST;
            next = self.state.contents.lanes[spot.lane].next_live(place);
        }
    }

    fn dispatch_browsers<L: CommandLog, W: SharedWindows>(&mut self, turn: &mut Turn<'_, L, W>) {
        for at in 0..self.consumers.browsers.len() {
            let index = self.consumers.browsers[at];
            while let Some(spot) = self.next_to_browse(index, turn.now) {
                if matches!(self.state.contents.at(spot).handle, Handle::Stored) {
                    self.want(spot, turn.effects);
                    break;
                }
                if !self.window_open(index, turn) {
                    break;
                }
                let acknowledge = self.hand_over(index, spot, BROWSED, turn.effects);
                let (level, sequence) =
                    (self.state.contents.lanes[spot.lane].level, self.state.contents.at(spot).sequence);
                let Some(consumer) = self.consumers.at_mut(index) else { break };
                consumer.has_seen(level, sequence);
                if acknowledge {
                    self.counters.delivered += 1;
                } else {
                    self.counters.delivered_no_ack += 1;
                }
            }
        }
    }

    /// The first ready entry that a browser with credit has not seen, highest level first. What it will never want
    /// counts as seen: what has expired, and what its own connection published if it does not want that.
    fn next_to_browse(&mut self, index: u32, now: Time) -> Option<Spot> {
        let consumer = self.consumers.at_mut(index)?;
        if !consumer.can_take() {
            return None;
        }
        let (no_local, connection) = (consumer.no_local, consumer.connection);
        let open = self.state.contents.open_lanes();
        let Contents { lanes, chunks, .. } = &mut self.state.contents;
        for (lane, entries) in lanes.iter_mut().take(open).enumerate() {
            while let Some(place) = entries.next_ready_from(consumer.to_see(entries.level)) {
                let entry = entries.at(place);
                let local = no_local && view(chunks, entry).is_some_and(|m| m.publisher == connection);
                if !local && !entry.expired_before(now) {
                    return Some(Spot { lane, place });
                }
                consumer.has_seen(entries.level, entry.sequence);
            }
        }
        None
    }
}

/// Put an entry's message into a bucket; returns its cost.
#[inline]
fn append(bucket: &mut DeliveryBatch, chunks: &Chunks, entry: &Entry, mark: u64, pass: u64) -> u32 {
    let stamp = Stamp {
        sequence: Sequence(entry.sequence.0 | mark),
        delivery_count: entry.delivery_count,
        redelivered: entry.has(REDELIVERED),
    };
    match &entry.handle {
        Handle::Inline { chunk, offset } => bucket.push_packed(stamp, chunks, (*chunk, *offset), pass),
        Handle::Shared(message) => bucket.push_shared(stamp, Arc::clone(message), shared_size(message)),
        Handle::Stored | Handle::Gone => 0,
    }
}

/// Put a message that never becomes an entry into a bucket; returns its cost.
#[inline]
fn append_new(
    bucket: &mut DeliveryBatch,
    sequence: Sequence,
    message: &MessageView<'_>,
    kind: (u64, u32),
) -> u32 {
    let stamp = Stamp { sequence, delivery_count: 0, redelivered: false };
    match packed::lengths(message) {
        Some(lengths) => bucket.push_new(stamp, message, lengths, kind),
        None => {
            let shared = message.to_shared();
            let bytes = shared_size(&shared);
            bucket.push_shared(stamp, shared, bytes)
        }
    }
}

fn run_of(queue: QueueId, shape: &Shape, consumers: &Consumers, index: u32) -> Run {
    let slot = consumers.slot(index);
    let consumer = consumers.get(slot);
    Run {
        queue,
        slot: Some(slot),
        session: consumer.map_or(SessionId(0), |c| c.session),
        consumer: consumer.map(|c| c.id),
        acknowledge: consumer.is_some_and(|c| c.acknowledge),
        tell_delivery_count: shape.tell_delivery_count,
        remaining: 0,
        count: 0,
        cost: 0,
    }
}
