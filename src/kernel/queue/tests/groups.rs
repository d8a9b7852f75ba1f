//! Random lives of queues with message groups and choosy consumers: between any two steps nobody waits for what he
//! could have, and no two hold messages of one group.

use super::harness::*;
use crate::command::NewEntry;
use crate::ids::ConnectionId;
use crate::message::MessageView;
use crate::queue::keys::identity;
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Order, QueueSettings};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Op {
    /// Groups, levels, lives and publishers.
    Publish(Vec<(u8, u8, bool, u8)>),
    Attach {
        window: u32,
        acknowledge: bool,
        no_local: bool,
    },
    Detach(usize),
    Settle {
        of: usize,
        which: usize,
        outcome: Outcome,
    },
    Get,
    Wait,
    Purge,
}

fn op() -> impl Strategy<Value = Op> {
    let message = (0..5_u8, 0..3_u8, prop::bool::weighted(0.2), 1..4_u8);
    let outcome = prop_oneof![
        4 => Just(Outcome::Accepted),
        1 => Just(Outcome::Released { delivered: true }),
        1 => Just(Outcome::Rejected),
    ];
    prop_oneof![
        6 => prop::collection::vec(message, 1..12).prop_map(Op::Publish),
        3 => (1..4_u32, prop::bool::weighted(0.9), prop::bool::weighted(0.1))
            .prop_map(|(window, acknowledge, no_local)| Op::Attach { window, acknowledge, no_local }),
        1 => (0..4_usize).prop_map(Op::Detach),
        12 => (0..4_usize, 0..4_usize, outcome).prop_map(|(of, which, outcome)| Op::Settle { of, which, outcome }),
        1 => Just(Op::Get),
        1 => Just(Op::Wait),
        1 => prop::bool::weighted(0.1).prop_map(|purge| if purge { Op::Purge } else { Op::Wait }),
    ]
}

struct World {
    bench: Bench,
    numbers: u64,
    consumers: u32,
}

impl World {
    fn run(&mut self, op: &Op) {
        let World { bench, numbers, consumers } = self;
        match op {
            Op::Publish(messages) => {
                let texts: Vec<_> = messages
                    .iter()
                    .map(|(group, ..)| {
                        *numbers += 1;
                        // The last group's messages are in none.
                        let head = if *group == 4 { String::new() } else { format!("group={group}") };
                        (head, format!("{group}-{numbers}"))
                    })
                    .collect();
                let entries: Vec<_> = messages
                    .iter()
                    .zip(&texts)
                    .map(|((_, priority, short, publisher), (head, body))| NewEntry {
                        message: MessageView {
                            publisher: ConnectionId((*publisher).into()),
                            ..message(head, body)
                        },
                        expires: if *short { bench.now.after_milliseconds(50) } else { crate::ids::Time(0) },
                        priority: *priority,
                    })
                    .collect();
                bench.publish(&entries);
            }
            Op::Attach { window, acknowledge, no_local } => {
                if bench.slots.len() == 4 {
                    return;
                }
                *consumers += 1;
                let settings = ConsumerSettings {
                    window: acknowledge.then_some(*window),
                    acknowledge: *acknowledge,
                    no_local: *no_local,
                    ..ConsumerSettings::default()
                };
                // One that does not settle takes all it may in one go.
                let bytes = if *acknowledge { 1 << 20 } else { 300 };
                bench.attach_with(*consumers, &settings, bytes, false).expect("nobody is alone");
            }
            Op::Detach(of) => {
                let Some(consumer) = bench.slots.keys().nth(*of).copied() else { return };
                let slot = bench.slots.remove(&consumer).expect("it is there");
                bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
            }
            Op::Settle { of, which, outcome } => {
                bench.held.retain(|_, held| !held.is_empty());
                let Some((consumer, held)) = bench.held.iter().nth(*of) else { return };
                let (consumer, body) = (*consumer, held[which % held.len()].1.clone());
                bench.settle(consumer, &body, *outcome);
            }
            Op::Get => drop(bench.get(false)),
            Op::Wait => {
                bench.now = bench.now.after_milliseconds(30);
                bench.tick();
            }
            Op::Purge => {
                let mark = bench.queue.next_sequence();
                bench.step(|queue, turn| queue.purge(mark, turn)).expect("it exists");
            }
        }
    }

    /// Take what was delivered; consumers that do not settle have nothing to hold.
    fn take(&mut self, acknowledges: &BTreeMap<u32, bool>) {
        self.bench.deliveries();
        self.bench.held.retain(|consumer, _| acknowledges.get(consumer).copied().unwrap_or(true));
    }

    fn check(&self, op: &Op) {
        let queue = &self.bench.queue;
        assert!(!self.bench.effects.more, "so few messages are one step");
        for lane in &queue.state.contents.lanes {
            for entry in lane.iter().filter(|entry| entry.is_ready() && !entry.expired_before(self.bench.now))
            {
                let message =
                    super::super::holding::view(&queue.state.contents.chunks, entry).expect("it is here");
                let group = queue.readers.of(message.origin).header(message.head, "group");
                let group = group.as_ref().and_then(identity);
                let owner = queue.groups.as_ref().zip(group).and_then(|(groups, group)| groups.owner(&group));
                let idle = queue.consumers.iter().find(|(slot, consumer)| {
                    consumer.can_take()
                        && owner.is_none_or(|owner| owner == *slot)
                        && !(consumer.no_local && consumer.connection == message.publisher)
                });
                assert!(idle.is_none(), "{:?} waits for {} after {op:?}", idle, text_of(&message));
            }
        }
        let mut holders: BTreeMap<&str, u32> = BTreeMap::new();
        for (consumer, held) in &self.bench.held {
            for (_, body) in held.iter().filter(|(_, body)| !body.starts_with('4')) {
                let (group, _) = body.split_once('-').expect("bodies name their groups");
                let holder = holders.entry(group).or_insert(*consumer);
                assert_eq!(holder, consumer, "group {group} after {op:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_waits_for_what_he_could_have(levels in any::<bool>(), ops in prop::collection::vec(op(), 1..80)) {
        let settings = QueueSettings {
            order: if levels { Order::Priority { levels: 3 } } else { Order::Fifo },
            group_header: Some("group".to_owned()),
            ..QueueSettings::default()
        };
        let mut world = World { bench: Bench::new(&settings), numbers: 0, consumers: 0 };
        let mut acknowledges = BTreeMap::new();
        for op in &ops {
            world.run(op);
            if let Op::Attach { acknowledge, .. } = op {
                acknowledges.entry(world.consumers).or_insert(*acknowledge);
            }
            world.take(&acknowledges);
            world.check(op);
        }
    }
}
