//! The topology as a state machine over a log: total, deterministic, and restorable at any place.

use super::operations::{Operation, commands, operations};
use super::*;
use crate::settings::Limits;
use crate::topology::{Policy, PolicyDefinition, TopologyCommand};
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    /// Commands that no decision has passed, and that fit nothing, are in the log too.
    #[test]
    fn the_same_log_gives_the_same_state(operations in operations(80), cut in 0.0..1.0f64) {
        let log = commands(&operations);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let cut = (cut * log.len() as f64) as usize;
        let one_by_one = log.iter().fold(Topology::new(WIDE), |state, command| state.apply(command));
        let at_once = Topology::new(WIDE).apply_all(&log);
        let before = Topology::new(WIDE).apply_all(&log[..cut]);
        let restored = Topology::restore(WIDE, before.snapshot());
        prop_assert_eq!(restored.state_hash(), before.state_hash());
        prop_assert_eq!(restored.snapshot(), before.snapshot());
        let restored = restored.apply_all(&log[cut..]);
        for other in [&at_once, &restored] {
            prop_assert_eq!(other.state_hash(), one_by_one.state_hash());
            prop_assert_eq!(other.snapshot(), one_by_one.snapshot());
            prop_assert_eq!(other.binding_units, one_by_one.binding_units);
            for name in Operation::EXCHANGES {
                for key in Operation::KEYS {
                    let answer = |it: &Topology| route(it, name, &[key], "a=1", 7).map(|found| found.0);
                    prop_assert_eq!(answer(other), answer(&one_by_one));
                }
            }
        }
    }

    /// A snapshot that somebody still reads does not change with those that follow.
    #[test]
    fn a_snapshot_stays_as_it_is(operations in operations(40)) {
        let mut state = Topology::new(WIDE);
        let mut kept = Vec::new();
        for command in commands(&operations) {
            kept.push((state.clone(), state.state_hash()));
            state = state.apply(&command);
        }
        for (old, hash) in kept {
            prop_assert_eq!(old.state_hash(), hash);
        }
    }
}

#[test]
fn every_property_is_part_of_the_hash() {
    let text = |text: &str| Some(text.to_owned());
    let declare = |settings: ExchangeSettings| TopologyCommand::DeclareExchange {
        name: "x".into(),
        settings: settings.into(),
    };
    let queue = |settings: QueueSettings| TopologyCommand::DeclareQueue {
        id: QueueId(1),
        name: "q".into(),
        settings: settings.into(),
    };
    let limits = |limits: Limits| queue(QueueSettings { limits, ..Default::default() });
    let policy = |definition| TopologyCommand::PutPolicy(Policy::new(definition).unwrap());
    let direct = || exchange(ExchangeKind::Direct);
    let arguments = |value| vec![argument("n", value)];
    let one_command = [
        declare(direct()),
        declare(exchange(ExchangeKind::Topic)),
        declare(ExchangeSettings { durable: true, ..direct() }),
        declare(ExchangeSettings { auto_delete: true, ..direct() }),
        declare(ExchangeSettings { internal: true, ..direct() }),
        declare(ExchangeSettings { alternate: text("a"), ..direct() }),
        declare(ExchangeSettings { hash_header: text("a"), ..direct() }),
        declare(ExchangeSettings { arguments: arguments(Value::Int8(1)), ..direct() }),
        declare(ExchangeSettings { arguments: arguments(Value::Int16(1)), ..direct() }),
        queue(QueueSettings::default()),
        queue(QueueSettings { exclusive: Some(ME), ..Default::default() }),
        queue(QueueSettings { order: crate::settings::Order::Priority { levels: 4 }, ..Default::default() }),
        queue(QueueSettings { group_header: text("g"), ..Default::default() }),
        queue(QueueSettings { arguments: arguments(Value::Text("1".to_owned())), ..Default::default() }),
        queue(QueueSettings { arguments: arguments(Value::Bytes(b"1".to_vec())), ..Default::default() }),
        limits(Limits { max_messages: Some(1), ..Default::default() }),
        limits(Limits { max_bytes: Some(1), ..Default::default() }),
        limits(Limits { dead_letter_exchange: Some(String::new()), ..Default::default() }),
        limits(Limits { dead_letter_key: Some(String::new()), ..Default::default() }),
        TopologyCommand::Bind(to_exchange("amq.topic", "amq.direct", "k")),
        TopologyCommand::Bind(to_exchange("amq.topic", "amq.direct", "l")),
        TopologyCommand::Bind(Binding {
            match_mode: MatchMode::Any,
            ..to_exchange("amq.topic", "amq.direct", "k")
        }),
        policy(PolicyDefinition::default()),
        policy(PolicyDefinition { priority: 1, ..Default::default() }),
        policy(PolicyDefinition { pattern: "a".to_owned(), ..Default::default() }),
        TopologyCommand::DeletePolicy { name: String::new() },
    ];
    let empty = Topology::new(WIDE);
    let hashes: BTreeSet<u64> = one_command.iter().map(|command| empty.apply(command).state_hash()).collect();
    assert_eq!(hashes.len(), one_command.len());
    assert!(!hashes.contains(&empty.state_hash()));
}
