//! Random sequences of operations, and the log that they make.

use super::*;
use crate::topology::TopologyCommand;
use proptest::prelude::*;
use proptest::sample::select;

/// One step of a random sequence.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    DeclareExchange(&'static str, ExchangeSettings),
    DeleteExchange(&'static str, bool),
    DeclareQueue(&'static str),
    DeleteQueue(&'static str),
    Bind(Binding),
    Unbind(Binding),
    /// One of those that there are, counted round.
    UnbindExisting(usize),
    Route {
        exchange: &'static str,
        keys: Vec<&'static str>,
        head: &'static str,
        seed: u64,
    },
}

impl Operation {
    pub(super) const EXCHANGES: [&'static str; 7] = ["", "amq.topic", "v", "w", "x", "y", "z"];
    const QUEUES: [&'static str; 5] = ["a", "b", "a.b", "1", ""];
    /// Binding keys and routing keys; numbers are weights for hash exchanges.
    pub(super) const KEYS: [&'static str; 13] =
        ["", "a", "b", "a.b", "a.a.b", "*", "#", "a.#", "#.b", "*.b", "#.a.#", "1", "2"];
    const HEADS: [&'static str; 4] = ["", "a=1", "a=1,b=x", "b=y"];
}

fn a_kind() -> impl Strategy<Value = ExchangeKind> {
    use ExchangeKind::{ConsistentHash, Direct, Fanout, Headers, Random, Topic};
    select(vec![Direct, Topic, Topic, Fanout, Headers, ConsistentHash, Random])
}

fn an_exchange() -> impl Strategy<Value = ExchangeSettings> {
    let alternate = proptest::option::of(select(Operation::EXCHANGES.to_vec()));
    let hash_header = proptest::option::of(Just("a".to_owned()));
    let flags = (proptest::bool::weighted(0.3), proptest::bool::weighted(0.1));
    (a_kind(), flags, alternate, hash_header).prop_map(
        |(kind, (auto_delete, internal), alternate, hash_header)| {
            let alternate = alternate.map(str::to_owned);
            ExchangeSettings { auto_delete, internal, alternate, hash_header, ..exchange(kind) }
        },
    )
}

fn a_binding() -> impl Strategy<Value = Binding> {
    use MatchMode::{All, Any, AnyWithX};
    let exchanges = || select(Operation::EXCHANGES[1..].to_vec());
    let destination = prop_oneof![
        2 => select(Operation::QUEUES.to_vec()).prop_map(|name| Destination::Queue(name.to_owned())),
        1 => exchanges().prop_map(|name| Destination::Exchange(name.to_owned())),
    ];
    let arguments = select(vec![
        vec![],
        vec![("a", Value::UInt8(1))],
        vec![("a", Value::Void), ("b", Value::Text("x".to_owned()))],
    ]);
    (
        exchanges(),
        destination,
        select(Operation::KEYS.to_vec()),
        select(vec![All, All, Any, AnyWithX]),
        arguments,
    )
        .prop_map(|(source, destination, key, mode, arguments)| {
            with_headers(Binding { destination, ..to_queue(source, "", key) }, mode, &arguments)
        })
}

pub(super) fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let exchanges = || select(Operation::EXCHANGES.to_vec());
    let queues = || select(Operation::QUEUES.to_vec());
    let keys = proptest::collection::vec(select(Operation::KEYS.to_vec()), 1..3);
    let one = prop_oneof![
        4 => (exchanges(), an_exchange()).prop_map(|(name, it)| Operation::DeclareExchange(name, it)),
        1 => (exchanges(), any::<bool>()).prop_map(|(name, unused)| Operation::DeleteExchange(name, unused)),
        3 => queues().prop_map(Operation::DeclareQueue),
        1 => queues().prop_map(Operation::DeleteQueue),
        9 => a_binding().prop_map(Operation::Bind),
        1 => a_binding().prop_map(Operation::Unbind),
        3 => any::<usize>().prop_map(Operation::UnbindExisting),
        6 => (exchanges(), keys, select(Operation::HEADS.to_vec()), any::<u64>())
            .prop_map(|(exchange, keys, head, seed)| Operation::Route { exchange, keys, head, seed }),
    ];
    proptest::collection::vec(one, 1..most)
}

pub(super) fn nth_binding(topology: &Topology, number: usize) -> Option<Binding> {
    let count = topology.binding_count().max(1);
    topology.bindings().nth(number % count).map(crate::topology::BindingRecord::to_binding)
}

/// The operations as commands that nobody has decided; queues are numbered by their place.
pub(super) fn commands(operations: &[Operation]) -> Vec<TopologyCommand> {
    let mut topology = Topology::new(WIDE);
    let mut commands = Vec::new();
    for (operation, number) in operations.iter().zip(1..) {
        let command = match operation.clone() {
            Operation::DeclareExchange(name, settings) => {
                TopologyCommand::DeclareExchange { name: name.into(), settings: settings.into() }
            }
            Operation::DeleteExchange(name, _) => TopologyCommand::DeleteExchange { name: name.into() },
            Operation::DeclareQueue(name) => TopologyCommand::DeclareQueue {
                id: QueueId(number),
                name: name.into(),
                settings: QueueSettings::default().into(),
            },
            Operation::DeleteQueue(name) => {
                let current = topology.queue(name).filter(|_| number % 4 != 0).map(|queue| queue.id());
                TopologyCommand::DeleteQueue { id: current.unwrap_or(QueueId(number)), name: name.into() }
            }
            Operation::Bind(binding) => TopologyCommand::Bind(binding),
            Operation::Unbind(binding) => TopologyCommand::Unbind(binding),
            Operation::UnbindExisting(number) => match nth_binding(&topology, number) {
                Some(binding) => TopologyCommand::Unbind(binding),
                None => continue,
            },
            Operation::Route { .. } => continue,
        };
        topology = topology.apply(&command);
        commands.push(command);
    }
    commands
}
