//! Any sequence of operations does what the model does, whatever the log; and the log alone gives the same
//! state again.

use super::harness::*;
use super::model::{Model, Outcomes};
use crate::command::{CommandLog, DropReason, NewEntry, NoLog, RecordedCommand};
use crate::effect::{DeliveryCursor, Slot};
use crate::ids::{QueueId, Sequence, SessionId, Time};
use crate::message::{DeathReason, Message};
use crate::queue::{Queue, Snapshot};
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, Order, Overflow, QueueSettings};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    /// Bodies' lengths, times to live, priorities.
    Publish(Vec<(u16, Option<u64>, u8)>),
    Attach {
        priority: i32,
        window: Option<u32>,
        acknowledge: bool,
    },
    Detach(usize),
    Settle(usize, Outcome),
    Get(bool),
    Purge,
    Wait(u64),
    Depart,
    Reconfigure(Box<Limits>),
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        prop_oneof![Just(None), (0u64..6).prop_map(Some)],
        prop_oneof![Just(None), (0u64..2500).prop_map(Some)],
        prop_oneof![
            Just(None),
            Just(Some(Overflow::DropHead)),
            Just(Some(Overflow::Reject)),
            Just(Some(Overflow::RejectDeadLetter))
        ],
        prop_oneof![Just(None), (0u64..40).prop_map(Some)],
        any::<bool>(),
        prop_oneof![Just(None), (0u32..3).prop_map(Some)],
    )
        .prop_map(|(max_messages, max_bytes, overflow, message_ttl, dead_letter, delivery_limit)| {
            Limits {
                max_messages,
                max_bytes,
                overflow,
                message_ttl,
                dead_letter_exchange: dead_letter.then(|| "dead".to_owned()),
                delivery_limit,
                ..Limits::default()
            }
        })
}

fn op() -> impl Strategy<Value = Op> {
    let message = (
        prop_oneof![4 => 0u16..40, 1 => 1000u16..1400],
        prop_oneof![3 => Just(None), 1 => (0u64..40).prop_map(Some)],
        0u8..6,
    );
    let outcome = prop_oneof![
        3 => Just(Outcome::Accepted),
        1 => Just(Outcome::Rejected),
        1 => Just(Outcome::Released { delivered: false }),
        2 => Just(Outcome::Released { delivered: true }),
    ];
    prop_oneof![
        6 => prop::collection::vec(message, 1..8).prop_map(Op::Publish),
        2 => (-1i32..2, prop_oneof![Just(None), (0u32..5).prop_map(Some)], any::<bool>())
            .prop_map(|(priority, window, acknowledge)| Op::Attach { priority, window, acknowledge }),
        1 => any::<usize>().prop_map(Op::Detach),
        6 => (any::<usize>(), outcome).prop_map(|(at, outcome)| Op::Settle(at, outcome)),
        2 => any::<bool>().prop_map(Op::Get),
        1 => Just(Op::Purge),
        2 => (0u64..30).prop_map(Op::Wait),
        1 => Just(Op::Depart),
        1 => limits().prop_map(|limits| Op::Reconfigure(Box::new(limits))),
    ]
}

/// The real queue beside the model.
struct Pair<L> {
    bench: Bench<L>,
    model: Model,
    slots: BTreeMap<u32, Slot>,
    bodies: usize,
    next_consumer: u32,
    leaving: Vec<(Sequence, DropReason)>,
}

impl<L: CommandLog> Pair<L> {
    fn new(settings: &QueueSettings, log: L) -> Self {
        let levels = if let Order::Priority { levels } = settings.order { levels } else { 1 };
        Pair {
            bench: Bench::with_log(settings, log),
            model: Model::new(&settings.limits, levels),
            slots: BTreeMap::new(),
            bodies: 0,
            next_consumer: 0,
            leaving: Vec::new(),
        }
    }

    fn publish(&mut self, messages: &[(u16, Option<u64>, u8)]) {
        let messages: Vec<_> = messages
            .iter()
            .map(|(length, ttl, priority)| {
                self.bodies += 1;
                let body = format!("{:0width$}", self.bodies, width = usize::from(*length));
                (body, *ttl, *priority)
            })
            .collect();
        self.model.publish(&messages);
        let now = self.bench.now;
        let entries: Vec<_> = messages
            .iter()
            .map(|(body, ttl, priority)| NewEntry {
                message: message("", body),
                expires: ttl.map_or(Time(0), |ttl| now.after_milliseconds(ttl)),
                priority: *priority,
            })
            .collect();
        self.bench.publish(&entries);
    }

    fn attach(&mut self, priority: i32, window: Option<u32>, acknowledge: bool) {
        self.next_consumer += 1;
        let index = self.next_consumer;
        self.model.attach(index, priority, window, acknowledge);
        let settings = ConsumerSettings { acknowledge, priority, window, ..ConsumerSettings::default() };
        let slot = self.bench.attach_with(index, &settings, u32::MAX, false).expect("nobody is alone");
        self.slots.insert(index, slot);
    }

    fn run(&mut self, op: &Op) -> Option<u64> {
        match op {
            Op::Publish(messages) => self.publish(messages),
            Op::Attach { priority, window, acknowledge } => self.attach(*priority, *window, *acknowledge),
            Op::Detach(at) => {
                let attached = self.model.consumers();
                if let Some(&index) = attached.get(at % attached.len().max(1)) {
                    self.model.detach(index);
                    let slot = self.slots[&index];
                    self.bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
                }
            }
            Op::Settle(at, outcome) => {
                let held = self.model.held();
                if !held.is_empty() {
                    let at = at % held.len();
                    let (consumer, sequence) = held[at];
                    self.model.settle(at, *outcome);
                    let slot = consumer.map(|index| self.slots[&index]);
                    let delivered = [(Sequence(sequence), slot)];
                    self.bench
                        .step(|queue, turn| queue.settle(&delivered, *outcome, turn))
                        .expect("it exists");
                }
            }
            Op::Get(acknowledge) => {
                self.model.get(*acknowledge);
                self.bench
                    .step(|queue, turn| queue.get(SessionId(0), *acknowledge, turn))
                    .expect("it exists");
            }
            Op::Purge => {
                self.model.purge();
                let before = self.bench.queue.next_sequence();
                let purged = self.bench.step(|queue, turn| queue.purge(before, turn));
                return Some(purged.expect("it exists"));
            }
            Op::Wait(milliseconds) => {
                self.bench.now = self.bench.now.after_milliseconds(*milliseconds);
                self.model.tick(self.bench.now);
                self.bench.tick();
            }
            Op::Depart => {
                self.model.depart();
                for (sequence, reason) in std::mem::take(&mut self.leaving) {
                    self.bench
                        .step(|queue, turn| queue.departed(&[sequence], reason, turn))
                        .expect("it exists");
                }
                self.bench.tick();
                self.model.tick(self.bench.now);
            }
            Op::Reconfigure(limits) => {
                self.model.reconfigure(limits);
                self.bench.step(|queue, turn| queue.reconfigure(limits, turn)).expect("it exists");
            }
        }
        None
    }

    /// What the real queue did.
    fn outcomes(&mut self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        self.bench.effects.drain_deliveries(|_, batch| {
            let mut cursor = DeliveryCursor::default();
            while let Some(delivery) = batch.next(&mut cursor) {
                let consumer = delivery.consumer.expect("it is for a consumer").0;
                outcomes.deliveries.entry(consumer).or_default().push((
                    delivery.sequence.0,
                    text_of(&delivery.message),
                    delivery.redelivered,
                    u32::from(delivery.delivery_count),
                ));
            }
        });
        let effects = &mut self.bench.effects;
        if let Some(delivery) = effects.got.next(&mut DeliveryCursor::default()) {
            let given = (
                delivery.sequence.0,
                text_of(&delivery.message),
                delivery.redelivered,
                u32::from(delivery.delivery_count),
            );
            outcomes.got = Some((given, delivery.remaining));
        }
        outcomes.refused.clone_from(&effects.refused);
        for letter in &effects.dead_letters {
            outcomes.dead.push((text_of(&Message::view(&letter.message)), letter.reason));
            if let Some(sequence) = letter.sequence {
                let reason = match letter.reason {
                    DeathReason::Expired => DropReason::Expired,
                    DeathReason::Rejected => DropReason::Rejected,
                    DeathReason::Displaced => DropReason::Displaced,
                    DeathReason::DeliveryLimit => DropReason::DeliveryLimit,
                };
                self.leaving.push((sequence, reason));
            }
        }
        effects.clear(1 << 16);
        outcomes
    }

    fn compare(&mut self, op: &Op, purged: Option<u64>) {
        let expected = std::mem::take(&mut self.model.outcomes);
        let mut done = self.outcomes();
        done.purged = purged.unwrap_or_default();
        assert_eq!(done, expected, "after {op:?}");
        let queue = &self.bench.queue;
        let ready = (queue.ready().messages, queue.ready().bytes);
        let unsettled = (queue.unsettled().messages, queue.unsettled().bytes);
        assert_eq!(ready, self.model.ready(), "ready after {op:?}");
        assert_eq!(unsettled, self.model.unsettled(), "unsettled after {op:?}");
        assert_eq!(queue.leaving().messages, self.model.leaving(), "leaving after {op:?}");
    }
}

impl Pair<MemoryLog> {
    /// Apply what the log has been given since, as its owner does; steps may add to it.
    fn apply_pending(&mut self) {
        let mut done = self.bench.log.later.expect("this log is applied later");
        loop {
            let pending: Vec<_> = self.bench.log.commands[done..].to_vec();
            if pending.is_empty() {
                break;
            }
            done += pending.len();
            for command in &pending {
                command.with(|command| self.bench.queue.apply(command, &[]));
            }
            self.bench.tick();
        }
        self.bench.log.later = Some(done);
    }
}

fn replay(settings: &QueueSettings, commands: &[RecordedCommand]) -> Queue {
    let mut queue = Queue::new(QueueId(7), "q".into(), settings, &settings.limits, READERS, START);
    commands.iter().for_each(|command| command.with(|command| queue.apply(command, &[])));
    queue
}

fn restore(settings: &QueueSettings, snapshot: &Snapshot, tail: &[RecordedCommand]) -> Queue {
    let mut queue = Queue::restore(QueueId(7), "q".into(), settings, READERS, snapshot, START);
    tail.iter().for_each(|command| command.with(|command| queue.apply(command, &[])));
    queue
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    (prop_oneof![Just(Order::Fifo), (1u16..5).prop_map(|levels| Order::Priority { levels })], limits())
        .prop_map(|(order, limits)| QueueSettings { order, limits, ..QueueSettings::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut pair = Pair::new(&settings, MemoryLog::default());
        for op in &ops {
            let purged = pair.run(op);
            pair.compare(op, purged);
        }
    }

    #[test]
    fn it_does_so_without_a_log(settings in settings(), ops in prop::collection::vec(op(), 1..60)) {
        let mut pair = Pair::new(&settings, NoLog);
        for op in &ops {
            let purged = pair.run(op);
            pair.compare(op, purged);
        }
    }

    #[test]
    fn it_does_so_when_commands_are_applied_later(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        // What is refused depends on what is known when it is asked, and a returned message comes back only
        // when that is applied, behind what its consumer's credit has fetched meanwhile.
        let mut settings = settings;
        settings.limits.overflow = None;
        let mut pair = Pair::new(&settings, MemoryLog { later: Some(0), ..MemoryLog::default() });
        for op in &ops {
            let op = match op {
                Op::Reconfigure(limits) => {
                    Op::Reconfigure(Box::new(Limits { overflow: None, ..Limits::clone(limits) }))
                }
                Op::Settle(at, Outcome::Released { .. }) => Op::Settle(*at, Outcome::Accepted),
                other => other.clone(),
            };
            let purged = pair.run(&op);
            pair.apply_pending();
            pair.compare(&op, purged);
        }
    }

    #[test]
    fn a_log_gives_the_same_state_from_its_start_or_from_a_snapshot(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut pair = Pair::new(&settings, MemoryLog::default());
        for op in &ops {
            let purged = pair.run(op);
            pair.compare(op, purged);
        }
        let commands = &pair.bench.log.commands;
        let live = pair.bench.queue.state_hash();
        let whole = replay(&settings, commands);
        prop_assert_eq!(live, whole.state_hash());
        prop_assert_eq!(live, replay(&settings, commands).state_hash());
        let cut = cut.index(commands.len() + 1);
        let snapshot = replay(&settings, &commands[..cut]).snapshot();
        let restored = restore(&settings, &snapshot, &commands[cut..]);
        prop_assert_eq!(live, restored.state_hash());
        prop_assert_eq!(whole.snapshot(), restored.snapshot());
        prop_assert_eq!(whole.snapshot(), pair.bench.queue.snapshot());
        prop_assert_eq!(restore(&settings, &whole.snapshot(), &[]).state_hash(), live);
    }

    #[test]
    fn the_same_inputs_have_the_same_effects(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let trace = || {
            let mut pair = Pair::new(&settings, MemoryLog::default());
            let mut seen = Vec::new();
            for op in &ops {
                let purged = pair.run(op);
                let deadline = pair.bench.effects.deadline;
                let outcomes = pair.outcomes();
                pair.model.outcomes = Outcomes::default();
                seen.push((purged, deadline, outcomes, pair.bench.queue.memory()));
            }
            (seen, pair.bench.log.commands, pair.bench.queue.state_hash())
        };
        prop_assert_eq!(trace(), trace());
    }
}
