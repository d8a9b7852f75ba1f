//! Exchanges, bindings, queue declarations and policies of one virtual host: an immutable snapshot, and a
//! state machine over a log.
//!
//! Flow: a session's request is *decided* against the current snapshot (`decide_*`: a refusal, nothing to do,
//! or one [`TopologyCommand`]); the command is the log record; [`Topology::apply`] gives the next snapshot,
//! whatever the command, the same everywhere. Publishers [`route`](Topology::route) by the snapshot that is
//! current when they look, and keep the answer while [`memo_valid`](Topology::memo_valid) says so.
//!
//! Everything is in persistent maps: a snapshot is a few words to clone, and a change copies a path.

mod apply;
pub(crate) mod canonical;
mod command;
mod decide;
mod policy;
mod record;
mod route;
mod snapshot;
#[cfg(test)]
mod tests;

pub use command::TopologyCommand;
pub use decide::QueueDecision;
pub use policy::{AppliesTo, BadPattern, Policy, PolicyDefinition};
pub(crate) use record::Bindings;
pub use record::{BindingRecord, ExchangeRecord, QueueRecord};
pub use route::{RouteMemo, Routed, Targets};
pub use snapshot::TopologySnapshot;

use crate::ids::ConnectionId;
use crate::refusal::{Refusal, Resource};
use crate::router::{Router, Target};
use crate::settings::{ExchangeKind, ExchangeSettings};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::ops::Bound;
use std::sync::Arc;

/// The exchanges that every virtual host has, durable and never deleted.
const PREDECLARED: [(&str, ExchangeKind); 6] = [
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    ("amq.topic", ExchangeKind::Topic),
];

/// How much a virtual host may hold. Only deciding asks: a command that is in the log is always applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopologyBounds {
    /// Queues.
    pub queues: u64,
    /// Exchanges, the predeclared ones not counted.
    pub exchanges: u64,
    /// Bindings; one of a consistent-hash exchange counts as 16 for each unit of its weight, by its memory.
    pub bindings: u64,
}

/// A virtual host's exchanges, bindings, queues and policies. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Topology {
    bounds: TopologyBounds,
    version: u64,
    exchanges: RedBlackTreeMapSync<Arc<str>, Arc<ExchangeRecord>>,
    queues: RedBlackTreeMapSync<Arc<str>, Arc<QueueRecord>>,
    /// The exchanges that lead to a target, each with the number of its bindings that do.
    incoming: RedBlackTreeMapSync<(Target, Arc<str>), u32>,
    /// Alternate exchanges, existing or not, with those that have them.
    alternates: RedBlackTreeSetSync<(Arc<str>, Arc<str>)>,
    binding_count: usize,
    /// What `bounds.bindings` bounds.
    binding_units: u64,
    policies: Arc<[Policy]>,
}

impl Topology {
    /// A virtual host with the predeclared exchanges only.
    #[must_use]
    pub fn new(bounds: TopologyBounds) -> Topology {
        let mut topology = Topology {
            bounds,
            version: 0,
            exchanges: RedBlackTreeMapSync::new_sync(),
            queues: RedBlackTreeMapSync::new_sync(),
            incoming: RedBlackTreeMapSync::new_sync(),
            alternates: RedBlackTreeSetSync::new_sync(),
            binding_count: 0,
            binding_units: 0,
            policies: Arc::default(),
        };
        for (name, kind) in PREDECLARED {
            let settings = ExchangeSettings {
                kind,
                durable: true,
                auto_delete: false,
                internal: false,
                alternate: None,
                hash_header: None,
                arguments: Vec::new(),
            };
            let name: Arc<str> = name.into();
            let record = ExchangeRecord {
                name: Arc::clone(&name),
                router: Router::new(&settings),
                settings: Arc::new(settings),
                system: true,
                policy: None,
                alternate: None,
                version: 0,
                bindings: Bindings::new_sync(),
            };
            topology.exchanges.insert_mut(name, Arc::new(record));
        }
        topology
    }

    /// How many commands have been applied.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The exchange of that name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Arc<ExchangeRecord>> {
        self.exchanges.get(name)
    }

    /// The queue of that name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueRecord>> {
        self.queues.get(name)
    }

    /// The queue of that name, for use by a connection.
    ///
    /// # Errors
    /// It does not exist, or is exclusive to another connection.
    pub fn queue_for(&self, name: &str, connection: ConnectionId) -> Result<&Arc<QueueRecord>, Refusal> {
        match self.queues.get(name) {
            None => Err(Refusal::NotFound(Resource::Queue, name.to_owned())),
            Some(queue) if queue.is_locked_for(connection) => Err(Refusal::Locked(name.to_owned())),
            Some(queue) => Ok(queue),
        }
    }

    /// All exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<ExchangeRecord>> {
        self.exchanges.values()
    }

    /// All queues, by name.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueRecord>> {
        self.queues.values()
    }

    /// All bindings, by source. Those of the default exchange, one from each queue's name to the queue, are
    /// not stored and not among them.
    pub fn bindings(&self) -> impl Iterator<Item = &BindingRecord> {
        self.exchanges.values().flat_map(|exchange| exchange.bindings())
    }

    /// The bindings that lead to a queue, by source.
    pub fn bindings_of(&self, queue: &str) -> impl Iterator<Item = &BindingRecord> {
        let target = self.queues.get(queue).map(|queue| Target::Queue(queue.id));
        target.into_iter().flat_map(|target| self.bindings_to(&target)).map(|binding| &**binding)
    }

    /// How many queues there are.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.queues.size()
    }

    /// How many exchanges there are, the predeclared ones included.
    #[must_use]
    pub fn exchange_count(&self) -> usize {
        self.exchanges.size()
    }

    /// How many bindings there are.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.binding_count
    }

    /// The policies, in the order of precedence.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The queues of `newer` whose effective limits are not those they had here. Queues that only one of the
    /// two snapshots has are not among them.
    #[must_use]
    pub fn changed_limits<'n>(&self, newer: &'n Topology) -> Vec<&'n Arc<QueueRecord>> {
        let changed = |queue: &&'n Arc<QueueRecord>| {
            self.queues.get(&queue.name).is_some_and(|before| {
                !Arc::ptr_eq(before, queue)
                    && before.id == queue.id
                    && before.effective_limits() != queue.effective_limits()
            })
        };
        newer.queues.values().filter(changed).collect()
    }

    /// The exchanges that lead to a target by bindings.
    fn sources_of(&self, target: &Target) -> Vec<Arc<str>> {
        let from = (target.clone(), Arc::default());
        self.incoming
            .range((Bound::Included(&from), Bound::Unbounded))
            .take_while(|((other, _), _)| other == target)
            .map(|((_, source), _)| Arc::clone(source))
            .collect()
    }

    /// The bindings that lead to a target, by source.
    fn bindings_to(&self, target: &Target) -> Vec<&Arc<BindingRecord>> {
        let mut found = Vec::new();
        for source in self.sources_of(target) {
            let Some(exchange) = self.exchanges.get(&source) else { continue };
            let from = BindingRecord::first_of(&source, target);
            let of_target =
                exchange.bindings.range::<BindingRecord, _>((Bound::Included(&from), Bound::Unbounded));
            found.extend(of_target.take_while(|binding| binding.target == *target));
        }
        found
    }

    /// The exchanges whose alternate is that name.
    fn alternating_to(&self, name: &str) -> Vec<Arc<str>> {
        let from: (Arc<str>, Arc<str>) = (name.into(), Arc::default());
        self.alternates
            .range((Bound::Included(&from), Bound::Unbounded))
            .take_while(|(alternate, _)| **alternate == *name)
            .map(|(_, exchange)| Arc::clone(exchange))
            .collect()
    }
}
