//! All features at once: whatever is done, the books balance, no message is held twice, no window is
//! overdrawn, and the log tells the whole state.

use super::harness::*;
use crate::command::{DropReason, NewEntry};
use crate::effect::{DeliveryCursor, Slot};
use crate::ids::{ConnectionId, QueueId, Sequence, SessionId};
use crate::message::{DeathReason, MessageView};
use crate::queue::{BROWSED, Delivered, Denial, Queue};
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, Order, Overflow, QueueSettings};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Op {
    Publish { messages: Vec<(u8, u8, bool)>, publisher: u64 },
    Attach(Box<ConsumerSettings>, u32),
    Detach(usize),
    Grant(usize, u32, u64),
    Settle { of: usize, count: usize, outcome: Outcome },
    Window(u32),
    Get(bool),
    Purge,
    Wait(u64),
    Depart,
    Stay,
    PageOut(u64),
    Load,
    Prepare { transaction: u64, messages: Vec<(u8, u8, bool)>, settle: usize },
    Commit(u64),
    RollBack(u64),
    Move(u8),
}

fn settings() -> impl Strategy<Value = QueueSettings> {
    let order = prop_oneof![
        2 => Just(Order::Fifo),
        1 => Just(Order::Priority { levels: 3 }),
        1 => Just(Order::LastValue { key: "key".to_owned() })
    ];
    let limits = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(bounded, refuses, dead, expires)| Limits {
            max_messages: bounded.then_some(9),
            overflow: refuses.then_some(Overflow::Reject),
            dead_letter_exchange: dead.then(|| "dead".to_owned()),
            message_ttl: expires.then_some(50),
            delivery_limit: refuses.then_some(2),
            ..Limits::default()
        },
    );
    (order, limits, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.1)).prop_map(
        |(order, limits, groups, single, browse_only)| QueueSettings {
            order,
            limits,
            group_header: groups.then(|| "group".to_owned()),
            single_active_consumer: single,
            browse_only,
            ..QueueSettings::default()
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let messages = || prop::collection::vec((0u8..4, 0u8..4, prop::bool::weighted(0.1)), 1..12);
    let consumer = (any::<bool>(), 0i32..2, any::<bool>(), prop::bool::weighted(0.2), 0u32..6).prop_map(
        |(acknowledge, priority, no_local, browse, window)| {
            Box::new(ConsumerSettings {
                acknowledge,
                priority,
                no_local,
                browse,
                window: (window > 0).then_some(window),
                ..ConsumerSettings::default()
            })
        },
    );
    let outcome = prop_oneof![
        4 => Just(Outcome::Accepted),
        1 => Just(Outcome::Rejected),
        1 => Just(Outcome::Released { delivered: false }),
        1 => Just(Outcome::Released { delivered: true }),
    ];
    prop_oneof![
        8 => (messages(), 1u64..4).prop_map(|(messages, publisher)| Op::Publish { messages, publisher }),
        3 => (consumer, prop_oneof![Just(100u32), Just(1 << 20)])
            .prop_map(|(settings, bytes)| Op::Attach(settings, bytes)),
        1 => any::<usize>().prop_map(Op::Detach),
        2 => (any::<usize>(), 0u32..3, 0u64..400).prop_map(|(of, n, bytes)| Op::Grant(of, n, bytes)),
        8 => (any::<usize>(), 1usize..6, outcome)
            .prop_map(|(of, count, outcome)| Op::Settle { of, count, outcome }),
        1 => (0u32..5).prop_map(Op::Window),
        2 => any::<bool>().prop_map(Op::Get),
        1 => Just(Op::Purge),
        2 => (0u64..40).prop_map(Op::Wait),
        2 => Just(Op::Depart),
        1 => Just(Op::Stay),
        2 => (1u64..5).prop_map(Op::PageOut),
        4 => Just(Op::Load),
        2 => (0u64..3, messages(), 0usize..4)
            .prop_map(|(transaction, messages, settle)| Op::Prepare { transaction, messages, settle }),
        2 => (0u64..3).prop_map(Op::Commit),
        1 => (0u64..3).prop_map(Op::RollBack),
        1 => (0u8..4).prop_map(Op::Move),
    ]
}

/// A queue, and what its users know.
struct World {
    settings: QueueSettings,
    bench: Bench,
    /// Attached consumers: place, settles, window.
    consumers: BTreeMap<u32, (Slot, bool, Option<u32>)>,
    next_consumer: u32,
    /// Deliveries that wait to be settled; those of browsers are marked.
    held: Vec<(Sequence, Option<u32>)>,
    /// Held ones that a transaction will settle.
    promised: BTreeMap<u64, Vec<(Sequence, Option<u32>)>>,
    leaving: Vec<(Sequence, DropReason)>,
    fetching: BTreeSet<Sequence>,
    /// Head, body and publisher of what open transactions publish.
    parts: BTreeMap<u64, Vec<(String, String, u64)>>,
    /// Head, body and publisher of every entry ever taken, by sequence.
    texts: BTreeMap<Sequence, (String, String, u64)>,
    trace: Vec<String>,
}

fn texts(messages: &[(u8, u8, bool)]) -> Vec<(String, String, u8)> {
    messages
        .iter()
        .map(|(name, priority, large)| {
            let body = if *large { "L".repeat(2000) } else { format!("body {name}") };
            (format!("key={name};group={}", name % 2), body, *priority)
        })
        .collect()
}

impl World {
    fn new(settings: &QueueSettings) -> Self {
        World {
            settings: settings.clone(),
            bench: Bench::new(settings),
            consumers: BTreeMap::new(),
            next_consumer: 0,
            held: Vec::new(),
            promised: BTreeMap::new(),
            leaving: Vec::new(),
            fetching: BTreeSet::new(),
            parts: BTreeMap::new(),
            texts: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Publish { messages, publisher } => self.publish(messages, *publisher),
            Op::Attach(settings, bytes) => self.attach(settings, *bytes),
            Op::Detach(at) => self.detach(*at),
            Op::Grant(at, messages, bytes) => self.grant(*at, *messages, *bytes),
            Op::Settle { of, count, outcome } => self.settle(*of, *count, *outcome),
            Op::Window(window) => {
                self.bench.windows.0.insert(SessionId(1), *window);
                for connection in 0..self.next_consumer {
                    let connection = ConnectionId(connection.into());
                    self.step(|queue, turn| queue.window_opened(connection, SessionId(1), turn));
                }
            }
            Op::Get(acknowledge) => {
                self.step(|queue, turn| queue.get(SessionId(1), *acknowledge, turn));
            }
            Op::Purge => {
                let before = self.bench.queue.next_sequence();
                self.step(|queue, turn| queue.purge(before, turn));
            }
            Op::Wait(milliseconds) => {
                self.bench.now = self.bench.now.after_milliseconds(*milliseconds);
                self.bench.tick();
            }
            Op::Depart => {
                for (sequence, reason) in std::mem::take(&mut self.leaving) {
                    self.step(|queue, turn| queue.departed(&[sequence], reason, turn));
                }
            }
            Op::Stay => {
                let moved: Vec<_> = self.leaving.extract_if(.., |(_, r)| *r == DropReason::Moved).collect();
                let moved: Vec<_> = moved.into_iter().map(|(sequence, _)| sequence).collect();
                self.step(|queue, turn| queue.stay(&moved, turn));
            }
            Op::PageOut(every) => {
                let next = self.bench.queue.next_sequence().0;
                let stored: Vec<_> = (1..next).filter(|n| n % every == 0).map(|n| (Sequence(n), n)).collect();
                self.bench.queue.page_out(&stored).expect("it exists");
            }
            Op::Load => self.load(),
            Op::Prepare { transaction, messages, settle } => self.prepare(*transaction, messages, *settle),
            Op::Commit(transaction) => self.commit(*transaction),
            Op::RollBack(transaction) => {
                self.step(|queue, turn| queue.roll_back_transaction(*transaction, turn));
                self.parts.remove(transaction);
                self.held.extend(self.promised.remove(transaction).unwrap_or_default());
            }
            Op::Move(name) => {
                let wanted = format!("body {name}");
                let (picked, _) = self.bench.queue.select(Sequence(0), |m| text_of(m) == wanted);
                let moving = self.step(|queue, turn| queue.move_out(&picked, turn));
                self.leaving.extend(moving.iter().map(|moving| (moving.sequence, DropReason::Moved)));
            }
        }
    }

    fn step<R, E: std::fmt::Debug>(
        &mut self,
        step: impl FnOnce(&mut Queue, &mut crate::queue::Turn<'_, MemoryLog, Windows>) -> Result<R, E>,
    ) -> R {
        self.bench.step(step).expect("the queue exists")
    }

    fn publish(&mut self, messages: &[(u8, u8, bool)], publisher: u64) {
        let texts = texts(messages);
        let mut entries: Vec<_> = texts
            .iter()
            .map(|(head, body, priority)| NewEntry {
                message: MessageView { publisher: ConnectionId(publisher), ..message(head, body) },
                priority: *priority,
                ..entry("")
            })
            .collect();
        let mut sequence = self.bench.queue.next_sequence();
        self.step(|queue, turn| queue.publish(&mut entries, turn));
        for (index, (head, body, _)) in (0u32..).zip(texts.iter()) {
            if !self.bench.effects.refused.contains(&index) {
                self.texts.insert(sequence, (head.clone(), body.clone(), publisher));
                sequence.0 += 1;
            }
        }
    }

    fn attach(&mut self, settings: &ConsumerSettings, bytes: u32) {
        self.next_consumer += 1;
        let consumer = self.next_consumer;
        let shared = consumer.is_multiple_of(3);
        let slot = self.bench.attach_with(consumer, settings, bytes, shared).expect("nobody is alone");
        let window = settings.window.filter(|_| settings.acknowledge);
        self.consumers.insert(consumer, (slot, settings.acknowledge, window));
    }

    fn pick(&self, at: usize) -> Option<u32> {
        self.consumers.keys().nth(at % self.consumers.len().max(1)).copied()
    }

    fn detach(&mut self, at: usize) {
        if let Some((slot, _, _)) = self.pick(at).and_then(|consumer| self.consumers.remove(&consumer)) {
            self.step(|queue, turn| queue.detach(slot, turn));
        }
    }

    fn grant(&mut self, at: usize, messages: u32, bytes: u64) {
        let Some(consumer) = self.pick(at) else { return };
        let Some((slot, _, window)) = self.consumers.get_mut(&consumer) else { return };
        let slot = *slot;
        if let Some(window) = window {
            *window += messages;
        }
        self.step(|queue, turn| queue.grant(slot, messages, bytes, turn));
    }

    fn delivered(&self, held: &[(Sequence, Option<u32>)]) -> Vec<Delivered> {
        let slot = |consumer: &u32| self.consumers.get(consumer).map(|(slot, _, _)| *slot);
        held.iter().map(|(sequence, consumer)| (*sequence, consumer.as_ref().and_then(slot))).collect()
    }

    fn take_held(&mut self, of: usize, count: usize) -> Vec<(Sequence, Option<u32>)> {
        let from = of % self.held.len().max(1);
        let to = (from + count).min(self.held.len());
        self.held.drain(from..to).collect()
    }

    fn settle(&mut self, of: usize, count: usize, outcome: Outcome) {
        let taken = self.take_held(of, count);
        let delivered = self.delivered(&taken);
        self.step(|queue, turn| queue.settle(&delivered, outcome, turn));
    }

    fn load(&mut self) {
        let wanted = std::mem::take(&mut self.fetching);
        let texts = self.texts.clone();
        let messages: Vec<_> = wanted
            .iter()
            .map(|sequence| {
                let (head, body, publisher) = &texts[sequence];
                (*sequence, MessageView { publisher: ConnectionId(*publisher), ..message(head, body) })
            })
            .collect();
        self.step(|queue, turn| queue.loaded(&messages, turn));
    }

    fn prepare(&mut self, transaction: u64, messages: &[(u8, u8, bool)], settle: usize) {
        let texts = texts(messages);
        let mut entries: Vec<_> = texts
            .iter()
            .map(|(head, body, priority)| NewEntry {
                message: MessageView { publisher: ConnectionId(1), ..message(head, body) },
                priority: *priority,
                ..entry("")
            })
            .collect();
        let taken = self.take_held(0, settle);
        let settlements = vec![(Outcome::Accepted, self.delivered(&taken))];
        let prepared = self
            .bench
            .step(|queue, turn| queue.prepare_transaction(transaction, &mut entries, settlements, turn));
        assert!(!matches!(prepared, Err(Denial::Gone(_))), "the queue exists");
        if prepared.is_ok() {
            self.promised.entry(transaction).or_default().extend(taken);
            let part = self.parts.entry(transaction).or_default();
            part.extend(texts.into_iter().map(|(head, body, _)| (head, body, 1)));
        } else {
            self.held.extend(taken);
        }
    }

    fn commit(&mut self, transaction: u64) {
        let first = self.bench.queue.next_sequence().0;
        let part = self.parts.remove(&transaction).unwrap_or_default();
        self.texts.extend((first..).map(Sequence).zip(part));
        self.step(|queue, turn| queue.commit_transaction(transaction, turn));
        self.promised.remove(&transaction);
    }

    /// Take note of what the queue did.
    fn note(&mut self, op: &Op) {
        let mut seen = Vec::new();
        let mut look = |batch: &crate::effect::DeliveryBatch| {
            let mut cursor = DeliveryCursor::default();
            while let Some(delivery) = batch.next(&mut cursor) {
                let text = text_of(&delivery.message);
                seen.push((delivery.sequence, delivery.consumer.map(|c| c.0), delivery.acknowledge, text));
            }
        };
        self.bench.effects.drain_deliveries(|_, batch| look(batch));
        look(&self.bench.effects.got);
        for (sequence, consumer, acknowledge, text) in &seen {
            if let Some((_, body, _)) = self.texts.get(&Sequence(sequence.0 & !BROWSED)) {
                assert_eq!(text, body, "the wrong message under {sequence:?}");
            }
            if *acknowledge {
                let twice = sequence.0 & BROWSED == 0
                    && self
                        .held
                        .iter()
                        .chain(self.promised.values().flatten())
                        .any(|(held, _)| held == sequence);
                assert!(!twice, "{sequence:?} is held twice after {op:?}");
                self.held.push((*sequence, *consumer));
            }
        }
        let effects = &mut self.bench.effects;
        for letter in &effects.dead_letters {
            let reason = match letter.reason {
                DeathReason::Expired => DropReason::Expired,
                DeathReason::Rejected => DropReason::Rejected,
                DeathReason::Displaced => DropReason::Displaced,
                DeathReason::DeliveryLimit => DropReason::DeliveryLimit,
            };
            self.leaving.extend(letter.sequence.map(|sequence| (sequence, reason)));
        }
        for fetch in &effects.fetches {
            assert!(self.fetching.insert(fetch.sequence), "{fetch:?} was asked for already");
        }
        self.trace.push(format!("{op:?}: {seen:?} {:?} {:?}", effects.dead_letters, effects.deadline));
        effects.clear(1 << 16);
    }

    /// What must hold between any two steps.
    fn check(&mut self, op: &Op) {
        let queue = &self.bench.queue;
        let snapshot = queue.snapshot();
        let volumes = [queue.ready(), queue.unsettled(), queue.leaving()];
        let messages: u64 = volumes.iter().map(|volume| volume.messages).sum();
        assert_eq!(messages, snapshot.entries.len() as u64, "after {op:?}");
        let promised = self.promised.values().flatten();
        let held = self.held.iter().chain(promised).filter(|(sequence, _)| sequence.0 & BROWSED == 0);
        assert_eq!(queue.unsettled().messages, held.count() as u64, "after {op:?}");
        assert_eq!(queue.leaving().messages, self.leaving.len() as u64, "after {op:?}");
        for (consumer, (_, _, window)) in &self.consumers {
            let promised = self.promised.values().flatten();
            let held = self.held.iter().chain(promised).filter(|(_, by)| *by == Some(*consumer)).count();
            assert!(window.is_none_or(|window| held <= window as usize), "window after {op:?}");
        }
        if self.settings.browse_only {
            assert_eq!(queue.unsettled().messages, 0);
        }
        let mut whole =
            Queue::new(QueueId(7), "q".into(), &self.settings, &self.settings.limits, READERS, START);
        self.bench.log.commands.iter().for_each(|command| command.with(|command| whole.apply(command, &[])));
        assert_eq!(whole.state_hash(), queue.state_hash(), "the log tells another state after {op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance(settings in settings(), ops in prop::collection::vec(op(), 1..50)) {
        let mut world = World::new(&settings);
        for op in &ops {
            world.run(op);
            world.note(op);
            world.check(op);
        }
        for transaction in 0..3 {
            world.commit(transaction);
        }
        let end = Op::Purge;
        world.note(&end);
        let held = std::mem::take(&mut world.held);
        let delivered = world.delivered(&held);
        while let Some((slot, _, _)) = world.consumers.pop_first().map(|(_, consumer)| consumer) {
            world.step(|queue, turn| queue.detach(slot, turn));
            world.note(&end);
        }
        world.step(|queue, turn| queue.settle(&delivered, Outcome::Accepted, turn));
        let late = std::mem::take(&mut world.held);
        let late = world.delivered(&late);
        world.step(|queue, turn| queue.settle(&late, Outcome::Accepted, turn));
        world.run(&Op::Purge);
        world.note(&end);
        world.run(&Op::Depart);
        prop_assert_eq!(world.bench.queue.snapshot().entries, Vec::new());
        world.bench.now = world.bench.now.after_milliseconds(5000);
        world.bench.tick();
        let fresh = Queue::new(QueueId(7), "q".into(), &settings, &settings.limits, READERS, START);
        prop_assert!(world.bench.queue.memory() < fresh.memory() + 7000, "drained queues are small");
    }

    #[test]
    fn the_same_inputs_have_the_same_trace(settings in settings(), ops in prop::collection::vec(op(), 1..40)) {
        let trace = || {
            let mut world = World::new(&settings);
            for op in &ops {
                world.run(op);
                world.note(op);
            }
            (world.trace, world.bench.log.commands, world.bench.queue.memory())
        };
        prop_assert_eq!(trace(), trace());
    }
}
