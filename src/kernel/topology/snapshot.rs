//! A topology as plain data, and the hash of it by which replicas compare themselves.

use super::{Policy, PolicyDefinition, Topology, TopologyBounds, TopologyCommand, canonical as c};
use crate::ids::QueueId;
use crate::router::Target;
use crate::settings::{Binding, ExchangeKind, ExchangeSettings, Order, QueueKind, QueueSettings};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3Default;

/// All that a topology is made of; indices and effective values are found again.
#[derive(Clone, Debug, PartialEq)]
pub struct TopologySnapshot {
    /// How many commands had been applied.
    pub version: u64,
    /// Policies, in the order of precedence.
    pub policies: Vec<Policy>,
    /// Exchanges by name, without the predeclared ones.
    pub exchanges: Vec<(Arc<str>, Arc<ExchangeSettings>)>,
    /// Queues by name.
    pub queues: Vec<(QueueId, Arc<str>, Arc<QueueSettings>)>,
    /// Bindings by source.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// This topology as plain data.
    #[must_use]
    pub fn snapshot(&self) -> TopologySnapshot {
        let declared = self.exchanges.values().filter(|exchange| !exchange.system);
        TopologySnapshot {
            version: self.version,
            policies: self.policies.to_vec(),
            exchanges: declared.map(|it| (Arc::clone(&it.name), Arc::clone(&it.settings))).collect(),
            queues: self
                .queues
                .values()
                .map(|queue| (queue.id, Arc::clone(&queue.name), Arc::clone(&queue.settings)))
                .collect(),
            bindings: self.bindings().map(super::BindingRecord::to_binding).collect(),
        }
    }

    /// The topology that a snapshot was taken of. The log goes on behind it.
    #[must_use]
    pub fn restore(bounds: TopologyBounds, snapshot: TopologySnapshot) -> Topology {
        let TopologySnapshot { version, policies, exchanges, queues, bindings } = snapshot;
        let mut topology = Topology::new(bounds);
        topology.enter(&TopologyCommand::SetPolicies(policies));
        for (name, settings) in exchanges {
            topology.enter(&TopologyCommand::DeclareExchange { name, settings });
        }
        for (id, name, settings) in queues {
            topology.enter(&TopologyCommand::DeclareQueue { id, name, settings });
        }
        for binding in bindings {
            topology.enter(&TopologyCommand::Bind(binding));
        }
        topology.set_version(version);
        topology
    }

    /// A hash of the content: after the same log the same, whether or not a part of it came as a snapshot.
    /// It walks everything.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut hasher = Xxh3Default::new();
        let mut item = Vec::new();
        let mut feed = |write: &dyn Fn(&mut Vec<u8>)| {
            item.clear();
            write(&mut item);
            hasher.update(&(item.len() as u64).to_le_bytes());
            hasher.update(&item);
        };
        feed(&|out| {
            let counts = [self.policies.len(), self.exchanges.size(), self.queues.size(), self.binding_count];
            counts.iter().for_each(|count| c::number(out, *count as u64));
            c::number(out, self.version);
        });
        self.policies.iter().for_each(|it| feed(&|out| policy(out, it)));
        self.exchanges.values().for_each(|it| feed(&|out| exchange(out, &it.name, &it.settings)));
        self.queues.values().for_each(|it| feed(&|out| queue(out, it.id, &it.name, &it.settings)));
        self.bindings().for_each(|it| feed(&|out| binding(out, it)));
        hasher.digest()
    }
}

fn policy(out: &mut Vec<u8>, policy: &PolicyDefinition) {
    let PolicyDefinition { name, pattern, applies_to, priority, limits, alternate } = policy;
    c::text(out, name);
    c::text(out, pattern);
    out.push(*applies_to as u8);
    out.extend_from_slice(&priority.to_le_bytes());
    c::limits(out, limits);
    c::option(out, alternate.as_deref(), c::text);
}

fn exchange(out: &mut Vec<u8>, name: &str, settings: &ExchangeSettings) {
    let ExchangeSettings { kind, durable, auto_delete, internal, alternate, hash_header, arguments } =
        settings;
    c::text(out, name);
    out.push(match kind {
        ExchangeKind::Direct => 0,
        ExchangeKind::Topic => 1,
        ExchangeKind::Fanout => 2,
        ExchangeKind::Headers => 3,
        ExchangeKind::ConsistentHash => 4,
        ExchangeKind::Random => 5,
    });
    [*durable, *auto_delete, *internal].iter().for_each(|flag| c::flag(out, *flag));
    c::option(out, alternate.as_deref(), c::text);
    c::option(out, hash_header.as_deref(), c::text);
    c::arguments(out, arguments);
}

fn queue(out: &mut Vec<u8>, id: QueueId, name: &str, settings: &QueueSettings) {
    let QueueSettings {
        kind,
        durable,
        auto_delete,
        exclusive,
        order,
        browse_only,
        single_active_consumer,
        group_header,
        limits,
        arguments,
    } = settings;
    c::number(out, id.0);
    c::text(out, name);
    out.push(match kind {
        QueueKind::Classic => 0,
        QueueKind::Quorum => 1,
    });
    [*durable, *auto_delete, *browse_only, *single_active_consumer]
        .iter()
        .for_each(|flag| c::flag(out, *flag));
    c::option(out, *exclusive, |out, owner| c::number(out, owner.0));
    match order {
        Order::Fifo => out.push(0),
        Order::Priority { levels } => {
            out.push(1);
            c::number(out, (*levels).into());
        }
        Order::LastValue { key } => {
            out.push(2);
            c::text(out, key);
        }
    }
    c::option(out, group_header.as_deref(), c::text);
    c::limits(out, limits);
    c::arguments(out, arguments);
}

fn binding(out: &mut Vec<u8>, binding: &super::BindingRecord) {
    c::text(out, &binding.source);
    c::flag(out, matches!(binding.target, Target::Exchange(_)));
    c::text(out, &binding.destination);
    c::text(out, &binding.key);
    out.push(binding.match_mode as u8);
    c::pairs(out, binding.arguments.iter());
}
