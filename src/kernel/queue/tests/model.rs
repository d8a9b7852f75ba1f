//! A queue as one would write it without a thought for speed, to hold the real one against.

use super::harness::START;
use crate::ids::Time;
use crate::message::DeathReason;
use crate::session::Outcome;
use crate::settings::{Limits, Overflow};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
struct Item {
    sequence: u64,
    body: String,
    expires: u64,
    level: u8,
    count: u32,
    redelivered: bool,
}

#[derive(Debug)]
struct Consumer {
    priority: i32,
    acknowledge: bool,
    credit: Option<u32>,
}

/// A delivery: sequence, body, redelivered, failed deliveries.
pub(super) type Given = (u64, String, bool, u32);

/// What one step does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) deliveries: BTreeMap<u32, Vec<Given>>,
    pub(super) got: Option<(Given, u64)>,
    pub(super) refused: Vec<u32>,
    pub(super) dead: Vec<(String, DeathReason)>,
    pub(super) purged: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: Time,
    limits: Limits,
    levels: u16,
    next: u64,
    ready: Vec<Item>,
    held: Vec<(Option<u32>, Item)>,
    leaving: Vec<Item>,
    consumers: BTreeMap<u32, Consumer>,
    /// Whose turn is next, by priority.
    rings: BTreeMap<i32, VecDeque<u32>>,
    pub(super) outcomes: Outcomes,
}

impl Model {
    pub(super) fn new(limits: &Limits, levels: u16) -> Self {
        Model { now: START, limits: limits.clone(), levels, next: 1, ..Model::default() }
    }

    pub(super) fn ready(&self) -> (u64, u64) {
        (self.ready.len() as u64, self.ready.iter().map(|item| item.body.len() as u64).sum())
    }

    pub(super) fn unsettled(&self) -> (u64, u64) {
        (self.held.len() as u64, self.held.iter().map(|(_, item)| item.body.len() as u64).sum())
    }

    pub(super) fn leaving(&self) -> u64 {
        self.leaving.len() as u64
    }

    /// Consumer and sequence of what is held.
    pub(super) fn held(&self) -> Vec<(Option<u32>, u64)> {
        self.held.iter().map(|(consumer, item)| (*consumer, item.sequence)).collect()
    }

    pub(super) fn consumers(&self) -> Vec<u32> {
        self.consumers.keys().copied().collect()
    }

    pub(super) fn publish(&mut self, messages: &[(String, Option<u64>, u8)]) {
        let refuses = (self.limits.max_messages.is_some() || self.limits.max_bytes.is_some())
            && !matches!(self.limits.overflow, None | Some(Overflow::DropHead));
        let mut from = 0;
        while from < messages.len() {
            let mut until = messages.len();
            if refuses {
                until = from;
                let (mut count, mut bytes) = self.ready();
                while until < messages.len() {
                    count += 1;
                    bytes += messages[until].0.len() as u64;
                    if count > self.limits.max_messages.unwrap_or(u64::MAX)
                        || bytes > self.limits.max_bytes.unwrap_or(u64::MAX)
                    {
                        break;
                    }
                    until += 1;
                }
            }
            if until == from {
                for (index, (body, _, _)) in messages.iter().enumerate().skip(from) {
                    self.outcomes.refused.push(u32::try_from(index).expect("small"));
                    if self.limits.overflow == Some(Overflow::RejectDeadLetter)
                        && self.limits.dead_letter_exchange.is_some()
                    {
                        self.outcomes.dead.push((body.clone(), DeathReason::Displaced));
                    }
                }
                break;
            }
            for (body, ttl, priority) in &messages[from..until] {
                self.enqueue(body, *ttl, *priority);
            }
            self.dispatch();
            from = until;
        }
        self.finish();
    }

    fn enqueue(&mut self, body: &str, ttl: Option<u64>, priority: u8) {
        let ttl = [ttl, self.limits.message_ttl].into_iter().flatten().min();
        self.ready.push(Item {
            sequence: self.next,
            body: body.to_owned(),
            expires: ttl.map_or(0, |ttl| self.now.after_milliseconds(ttl).0),
            level: priority.min(u8::try_from(self.levels - 1).expect("few levels")),
            count: 0,
            redelivered: false,
        });
        self.next += 1;
    }

    /// Index of the ready item that comes first.
    fn head(&self) -> Option<usize> {
        let key = |item: &Item| (std::cmp::Reverse(item.level), item.sequence);
        (0..self.ready.len()).min_by_key(|at| key(&self.ready[*at]))
    }

    fn dispatch(&mut self) {
        while let Some((_, ring)) = self.rings.iter_mut().rev().find(|(_, ring)| !ring.is_empty()) {
            let Some(at) = ({
                let key = |item: &Item| (std::cmp::Reverse(item.level), item.sequence);
                (0..self.ready.len()).min_by_key(|at| key(&self.ready[*at]))
            }) else {
                return;
            };
            if self.ready[at].expires != 0 && self.ready[at].expires < self.now.0 {
                self.bury(at, DeathReason::Expired);
                continue;
            }
            let index = ring.pop_front().expect("it is not empty");
            let item = self.ready.remove(at);
            let consumer = self.consumers.get_mut(&index).expect("rings hold the attached");
            if let Some(credit) = &mut consumer.credit {
                *credit -= 1;
            }
            if consumer.credit != Some(0) {
                ring.push_back(index);
            }
            let given = (item.sequence, item.body.clone(), item.redelivered, item.count);
            self.outcomes.deliveries.entry(index).or_default().push(given);
            if consumer.acknowledge {
                self.held.push((Some(index), item));
            }
        }
    }

    fn bury(&mut self, at: usize, reason: DeathReason) {
        let item = self.ready.remove(at);
        self.die(item, reason);
    }

    fn die(&mut self, item: Item, reason: DeathReason) {
        if self.limits.dead_letter_exchange.is_some() {
            self.outcomes.dead.push((item.body.clone(), reason));
            self.leaving.push(item);
        }
    }

    fn finish(&mut self) {
        self.sweep();
        if matches!(self.limits.overflow, None | Some(Overflow::DropHead)) {
            let most = self.limits.max_messages.unwrap_or(u64::MAX);
            let bytes = self.limits.max_bytes.unwrap_or(u64::MAX);
            while self.ready().0 > most || self.ready().1 > bytes {
                let at = self.head().expect("there is too much");
                self.bury(at, DeathReason::Displaced);
            }
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        for level in (0..self.levels).rev() {
            let head = |model: &Model| {
                let of_level = |at: &usize| u16::from(model.ready[*at].level) == level;
                (0..model.ready.len()).filter(of_level).min_by_key(|at| model.ready[*at].sequence)
            };
            while let Some(at) = head(self) {
                if self.ready[at].expires == 0 || self.ready[at].expires > self.now.0 {
                    break;
                }
                self.bury(at, DeathReason::Expired);
            }
        }
    }

    pub(super) fn attach(&mut self, index: u32, priority: i32, window: Option<u32>, acknowledge: bool) {
        let credit = window.filter(|_| acknowledge);
        self.consumers.insert(index, Consumer { priority, acknowledge, credit });
        if credit != Some(0) {
            self.rings.entry(priority).or_default().push_back(index);
        }
        self.dispatch();
        self.finish();
    }

    pub(super) fn detach(&mut self, index: u32) {
        self.consumers.remove(&index);
        self.rings.values_mut().for_each(|ring| ring.retain(|member| *member != index));
        self.dispatch();
        self.finish();
    }

    pub(super) fn settle(&mut self, at: usize, outcome: Outcome) {
        let (consumer, mut item) = self.held.remove(at);
        if let Some(index) = consumer
            && let Some(consumer) = self.consumers.get_mut(&index)
            && let Some(credit) = &mut consumer.credit
        {
            *credit += 1;
            let ring = self.rings.entry(consumer.priority).or_default();
            if !ring.contains(&index) {
                ring.push_back(index);
            }
        }
        match outcome {
            Outcome::Accepted => {}
            Outcome::Rejected => self.die(item, DeathReason::Rejected),
            Outcome::Released { delivered: false } => self.ready.push(item),
            Outcome::Released { delivered: true } => {
                item.count += 1;
                item.redelivered = true;
                if self.limits.delivery_limit.is_some_and(|limit| item.count > limit) {
                    self.die(item, DeathReason::DeliveryLimit);
                } else {
                    self.ready.push(item);
                }
            }
        }
        self.dispatch();
        self.finish();
    }

    pub(super) fn get(&mut self, acknowledge: bool) {
        while let Some(at) = self.head() {
            if self.ready[at].expires != 0 && self.ready[at].expires <= self.now.0 {
                self.bury(at, DeathReason::Expired);
                continue;
            }
            let item = self.ready.remove(at);
            let given = (item.sequence, item.body.clone(), item.redelivered, item.count);
            self.outcomes.got = Some((given, self.ready.len() as u64));
            if acknowledge {
                self.held.push((None, item));
            }
            break;
        }
        self.finish();
    }

    pub(super) fn purge(&mut self) {
        self.outcomes.purged = self.ready.len() as u64;
        self.ready.clear();
        self.finish();
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.now = now;
        self.dispatch();
        self.finish();
    }

    /// The dead letters' targets hold them.
    pub(super) fn depart(&mut self) {
        self.leaving.clear();
        self.finish();
    }

    pub(super) fn reconfigure(&mut self, limits: &Limits) {
        self.limits = limits.clone();
        self.dispatch();
        self.finish();
    }
}
