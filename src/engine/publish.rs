//! Messages in: a batch of publishes of one connection, routed, grouped by queue, each queue entered once.
//!
//! Flow: [`Connection::publish_batch`] -> each publish is placed in the groups of its queues (by a kept route,
//! or by the topology) -> each queue takes its group's entries in one step -> those whose queue was deleted
//! meanwhile are routed once again -> returns, then confirms. Per message: no lock, no allocation, no atomic.

use crate::connection::Connection;
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use crate::registry::Queues;
use crate::scratch::{BatchScratch, Group, Scratch, recycle};
use crate::store::during;
use fairlead_kernel::command::NewEntry;
use fairlead_kernel::message::Message;
use fairlead_kernel::router::Routable;
use fairlead_kernel::session::{Event, Publish};
use fairlead_kernel::topology::{RouteMemo, Topology};
use fairlead_kernel::{MessageView, Refusal, SessionId, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bodies above this many bytes that go to several queues are shared by them; up to it each has a copy.
const SHARE_ABOVE: usize = 1024;

/// A batch on its way.
pub(crate) struct Batch<'b, 'p> {
    pub(crate) publishes: &'b [Publish<'p>],
    pub(crate) now: Time,
    pub(crate) events: &'b mut Vec<Event>,
    topology: Arc<Topology>,
    queues: Arc<Queues>,
    /// Large messages for several queues, by index of the publish.
    shares: Vec<(u32, Arc<Message>)>,
    /// Sessions with the index of the publish that ended them.
    ended: Vec<(SessionId, usize)>,
}

impl<'b, 'p> Batch<'b, 'p> {
    pub(crate) fn new(
        connection: &Connection,
        publishes: &'b [Publish<'p>],
        now: Time,
        events: &'b mut Vec<Event>,
    ) -> Option<Self> {
        let topology = arc_swap::Guard::into_inner(connection.host.as_ref()?.topology());
        let queues = arc_swap::Guard::into_inner(connection.broker.queues.load());
        Some(Batch { publishes, now, events, topology, queues, shares: Vec::new(), ended: Vec::new() })
    }

    fn refuse(&mut self, index: usize, refusal: Refusal) {
        let session = self.publishes[index].session;
        self.ended.push((session, index));
        self.events.push(Event::PublishRefused { session, refusal });
    }

    /// The first publish that was refused decides for all of a transaction.
    pub(crate) fn first_refusal(&self) -> Result<(), Refusal> {
        let refused = self.events.iter().find_map(|event| match event {
            Event::PublishRefused { refusal, .. } => Some(refusal.clone()),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// Whether the session had ended before that publish: it is as if it had not come.
    fn is_late(&self, index: usize, session: SessionId) -> bool {
        !self.ended.is_empty() && self.ended.iter().any(|(ended, at)| *ended == session && *at <= index)
    }

    /// The publish as a queue takes it.
    #[inline]
    pub(crate) fn entry<'e>(&'e self, index: u32) -> NewEntry<'e>
    where
        'p: 'e,
    {
        let publish = &self.publishes[index as usize];
        let expires = publish.time_to_live.map_or(Time(0), |ttl| self.now.after_milliseconds(ttl));
        let message = match self.share(index) {
            Some(shared) => Message::view(shared),
            None => publish.message,
        };
        NewEntry { message, expires, priority: publish.priority }
    }

    #[inline]
    fn share(&self, index: u32) -> Option<&Arc<Message>> {
        if self.shares.is_empty() {
            return None;
        }
        let at = self.shares.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(&self.shares[at].1)
    }

    /// A body that goes to several queues is held once.
    fn share_if_large(&mut self, index: usize) {
        let message = &self.publishes[index].message;
        if message.shared.is_none() && message.body.len() > SHARE_ABOVE {
            self.shares.push((index as u32, message.to_shared()));
        }
    }

    pub(crate) fn unroutable(&mut self, index: usize, connection: &Connection) {
        let publish = &self.publishes[index];
        if publish.mandatory {
            connection.broker.counters.add(Counter::UnroutableReturned, 1);
            let message = publish.message.to_shared();
            self.events.push(Event::Returned { session: publish.session, message });
        } else {
            connection.broker.counters.add(Counter::UnroutableDropped, 1);
        }
    }
}

impl Connection {
    /// Publish, in order. What the session is to hear of it is appended to `events`: returns and refusals,
    /// then confirms; those of what was recorded are for [`Connection::tell_confirms`]. Before the virtual host is
    /// open nothing is published.
    pub fn publish_batch(&mut self, publishes: &[Publish<'_>], now: Time, events: &mut Vec<Event>) {
        if publishes.is_empty() {
            return;
        }
        let Some(mut batch) = Batch::new(self, publishes, now, events) else { return };
        Scratch::with(|scratch| {
            let published = self.place(&mut batch, scratch);
            self.count_published(batch.publishes.iter().filter(|publish| !publish.transacted), published);
            let ((), recorded) = during(|| {
                self.enqueue_groups(&batch, scratch);
                self.publish_missed(&mut batch, scratch);
            });
            let before = batch.events.len();
            self.confirm(&mut batch, &mut scratch.batch);
            if let Some(position) = recorded {
                self.recorded = recorded;
                self.held_back.confirms(position, batch.events.drain(before..));
            }
            scratch.batch.clear();
            self.broker.follow_up(scratch, now);
        });
    }

    /// So many were published, with the bodies of these.
    pub(crate) fn count_published<'p>(
        &self,
        publishes: impl Iterator<Item = &'p Publish<'p>>,
        published: u64,
    ) {
        let bytes = publishes.map(|publish| publish.message.body.len() as u64).sum();
        self.broker.counters.add(Counter::Published, published);
        self.broker.counters.add(Counter::PublishedBytes, bytes);
    }

    /// Find each publish's queues; returns how many publishes were taken.
    pub(crate) fn place(&mut self, batch: &mut Batch<'_, '_>, scratch: &mut Scratch) -> u64 {
        self.batches += 1;
        let mut taken = 0;
        // The publish whose route is the one that was used last.
        let mut routed: Option<&MessageView<'_>> = None;
        let publishes = batch.publishes;
        for (index, publish) in publishes.iter().enumerate() {
            debug_assert_eq!(publish.message.publisher, self.id, "filled in by the adapter");
            if batch.is_late(index, publish.session) {
                continue;
            }
            if let Some(claimed) = publish.user_id
                && let Err(refusal) = self.check_user_id(claimed)
            {
                batch.refuse(index, refusal);
                continue;
            }
            if publish.transacted && !self.committing {
                if let Err(refusal) = self.hold(publish) {
                    batch.refuse(index, refusal);
                }
                continue;
            }
            taken += 1;
            let again = routed.is_some_and(|before| same_names(before, &publish.message));
            let kept = self.place_one(index, again, batch, scratch);
            routed = kept.then_some(&publish.message);
        }
        taken
    }

    fn check_user_id(&self, claimed: &str) -> Result<(), Refusal> {
        match self.user.as_deref() {
            Some(user) if user == claimed => Ok(()),
            user => Err(Refusal::UserId {
                claimed: claimed.to_owned(),
                user: user.unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Place one publish; `again` says that the route used last is its route. Gives whether the route used last
    /// now is.
    #[inline]
    fn place_one(
        &mut self,
        index: usize,
        again: bool,
        batch: &mut Batch<'_, '_>,
        scratch: &mut Scratch,
    ) -> bool {
        let publish = &batch.publishes[index];
        let (exchange, key) = (publish.message.exchange, publish.message.routing_key);
        let kept = match (publish.extra_keys, again) {
            (true, _) => None,
            (false, true) => self.routes.latest(),
            (false, false) => self.routes.find(&batch.topology, exchange, key),
        };
        if let Some(route) = kept {
            if route.cells.is_empty() {
                batch.unroutable(index, self);
                return true;
            }
            if route.batch != self.batches {
                route.batch = self.batches;
                for (group, cell) in route.groups.iter_mut().zip(&route.cells) {
                    *group = scratch.batch.group(cell);
                }
            }
            for group in &route.groups {
                scratch.batch.place(*group, index);
            }
            if route.cells.len() > 1 {
                batch.share_if_large(index);
            }
            return true;
        }
        match self.look_up(publish, batch, scratch) {
            Err(refusal) => {
                batch.refuse(index, refusal);
                false
            }
            Ok((cells, memo)) => {
                if cells.len() > 1 {
                    batch.share_if_large(index);
                }
                for cell in &cells {
                    let group = scratch.batch.group(cell);
                    scratch.batch.place(group, index);
                }
                if cells.is_empty() {
                    batch.unroutable(index, self);
                }
                let Some(memo) = memo else { return false };
                self.routes.keep((exchange, key), memo, cells);
                true
            }
        }
    }

    /// The queues of a publish by the topology, and what keeps the answer good.
    fn look_up(
        &self,
        publish: &Publish<'_>,
        batch: &Batch<'_, '_>,
        scratch: &mut Scratch,
    ) -> Result<(Vec<Arc<QueueCell>>, Option<RouteMemo>), Refusal> {
        let message = &publish.message;
        if message.exchange.is_empty()
            && let Some(cell) = self.broker.replies.find(message.routing_key)
        {
            self.broker.counters.add(Counter::Replies, 1);
            return Ok((vec![cell], None));
        }
        let reader = self.broker.readers.of(message.origin);
        let extra = if publish.extra_keys { reader.extra_keys(message.head, true) } else { Vec::new() };
        let mut keys = vec![message.routing_key];
        keys.extend(extra.iter().map(String::as_str));
        let seed = self.broker.clock.seed();
        let routable = Routable { keys: &keys, reader, head: message.head, seed };
        scratch.targets.clear();
        let routed = batch.topology.route(message.exchange, &routable, &mut scratch.targets)?;
        let cells: Vec<_> =
            scratch.targets.queues().iter().filter_map(|id| batch.queues.get(id).cloned()).collect();
        // A queue that the topology has and the registry not yet: ask again next time.
        let complete = cells.len() == scratch.targets.queues().len();
        Ok((cells, routed.memo.filter(|_| complete)))
    }

    /// Enter each queue with its group.
    fn enqueue_groups(&mut self, batch: &Batch<'_, '_>, scratch: &mut Scratch) {
        scratch.batch.order();
        let mut from = 0;
        for at in 0..scratch.batch.groups.len() {
            let Group { cell, count } = &scratch.batch.groups[at];
            let (cell, to) = (Arc::clone(cell), from + *count as usize);
            let mut entries = recycle(std::mem::take(&mut scratch.batch.entries));
            entries.extend(scratch.batch.ordered[from..to].iter().map(|index| batch.entry(*index)));
            let taken =
                cell.enter(&self.broker, scratch, batch.now, |q| q.queue.publish(&mut entries, &mut q.turn));
            self.outpaces |= cell.is_behind();
            let Scratch { batch: lists, effects, .. } = scratch;
            match taken {
                Ok(()) => {
                    lists.refused.extend(effects.refused.iter().map(|at| lists.ordered[from + *at as usize]));
                    self.broker.counters.add(Counter::Enqueued, (to - from - effects.refused.len()) as u64);
                    self.broker.counters.add(Counter::Refused, effects.refused.len() as u64);
                }
                Err(_gone) => lists.missed.extend_from_slice(&lists.ordered[from..to]),
            }
            scratch.batch.entries = recycle(entries);
            from = to;
        }
    }

    /// Route those again whose queues were all deleted between routing and entering.
    #[inline]
    pub(crate) fn publish_missed(&mut self, batch: &mut Batch<'_, '_>, scratch: &mut Scratch) {
        if !scratch.batch.missed.is_empty() {
            self.route_missed(batch, scratch);
        }
    }

    #[cold]
    fn route_missed(&mut self, batch: &mut Batch<'_, '_>, scratch: &mut Scratch) {
        for (index, cells) in self.route_again(batch, scratch) {
            let mut reached = false;
            for cell in cells {
                let mut entries = [batch.entry(index)];
                let taken = cell
                    .enter(&self.broker, scratch, batch.now, |q| q.queue.publish(&mut entries, &mut q.turn));
                reached |= taken.is_ok();
                if taken.is_ok() && !scratch.effects.refused.is_empty() {
                    scratch.batch.refused.push(index);
                }
            }
            if !reached {
                batch.unroutable(index as usize, self);
            }
        }
    }

    /// The missed publishes that reached no queue at all, each with its queues as they are now.
    pub(crate) fn route_again(
        &mut self,
        batch: &mut Batch<'_, '_>,
        scratch: &mut Scratch,
    ) -> Vec<(u32, Vec<Arc<QueueCell>>)> {
        let missed = std::mem::take(&mut scratch.batch.missed);
        let Some(fresh) = self.host.as_ref().map(|host| arc_swap::Guard::into_inner(host.topology())) else {
            return Vec::new();
        };
        batch.topology = fresh;
        batch.queues = arc_swap::Guard::into_inner(self.broker.queues.load());
        let mut queues_left: BTreeMap<u32, usize> = missed.iter().map(|index| (*index, 0)).collect();
        for placement in &scratch.batch.placements {
            queues_left.entry(placement.publish).and_modify(|count| *count += 1);
        }
        for index in &missed {
            queues_left.entry(*index).and_modify(|count| *count -= 1);
        }
        queues_left.retain(|_, count| *count == 0);
        let mut routed = Vec::new();
        for index in queues_left.into_keys() {
            let publish = batch.publishes[index as usize];
            match self.look_up(&publish, batch, scratch) {
                Err(refusal) => batch.refuse(index as usize, refusal),
                Ok((cells, _)) => routed.push((index, cells)),
            }
        }
        routed
    }

    /// Confirm what wants it, in ranges.
    fn confirm(&self, batch: &mut Batch<'_, '_>, lists: &mut BatchScratch) {
        lists.refused.sort_unstable();
        lists.refused.dedup();
        let mut refused = lists.refused.iter().copied().peekable();
        let mut open: Option<(SessionId, u64, u64, bool)> = None;
        let mut count = 0;
        for (index, publish) in batch.publishes.iter().enumerate() {
            let accepted = refused.next_if(|at| *at as usize == index).is_none();
            let Some(number) = publish.confirm else { continue };
            if batch.is_late(index, publish.session) {
                continue;
            }
            count += u64::from(accepted);
            match &mut open {
                Some((session, _, to, same))
                    if *session == publish.session && *to + 1 == number && *same == accepted =>
                {
                    *to = number;
                }
                _ => {
                    batch.events.extend(open.map(confirmed));
                    open = Some((publish.session, number, number, accepted));
                }
            }
        }
        batch.events.extend(open.map(confirmed));
        self.broker.counters.add(Counter::Confirmed, count);
    }
}

/// Whether two messages of a batch have the same exchange and key. Adapters repeat them as the same slices; what
/// is equal elsewhere is found by comparing.
#[inline]
fn same_names(left: &MessageView<'_>, right: &MessageView<'_>) -> bool {
    std::ptr::eq(left.routing_key, right.routing_key) && std::ptr::eq(left.exchange, right.exchange)
}

fn confirmed((session, from, to, accepted): (SessionId, u64, u64, bool)) -> Event {
    Event::Confirmed { session, from, to, accepted }
}
