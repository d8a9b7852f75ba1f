//! What the catalogue stream holds: the durable exchanges, queues and bindings of all virtual hosts.
//!
//! A change of a topology is recorded by what it does to durable things, what it brings about elsewhere included, so
//! that reading it back needs no rules: transient things, by which those rules went, are not there then.

use fairlead_kernel::QueueId;
use fairlead_kernel::settings::{Binding, Destination, ExchangeSettings, QueueSettings};
use fairlead_kernel::topology::{BindingRecord, Topology, TopologyCommand, TopologySnapshot};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One durable thing comes or goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Item {
    /// An exchange.
    Exchange(Arc<str>, Arc<ExchangeSettings>),
    /// An exchange goes, with its bindings.
    NoExchange(Arc<str>),
    /// A queue.
    Queue(QueueId, Arc<str>, Arc<QueueSettings>),
    /// A queue goes, with its bindings.
    NoQueue(QueueId, Arc<str>),
    /// A binding.
    Binding(Binding),
    /// A binding goes.
    NoBinding(Binding),
}

/// What `commands`, which made `after` of `before`, do to durable things.
pub(super) fn changes(before: &Topology, after: &Topology, commands: &[TopologyCommand]) -> Vec<Item> {
    let mut items: Vec<Item> = commands.iter().filter_map(|command| change(before, after, command)).collect();
    if after.exchange_count() < before.exchange_count() {
        // Auto-delete exchanges whose last binding went.
        let known =
            |name: &str| items.iter().any(|item| matches!(item, Item::NoExchange(gone) if **gone == *name));
        let gone = before.exchanges().filter(|exchange| {
            exchange.settings().durable
                && after.exchange(exchange.name()).is_none()
                && !known(exchange.name())
        });
        let gone: Vec<Item> = gone.map(|exchange| Item::NoExchange(Arc::clone(exchange.name()))).collect();
        items.extend(gone);
    }
    items
}

fn change(before: &Topology, after: &Topology, command: &TopologyCommand) -> Option<Item> {
    match command {
        TopologyCommand::DeclareExchange { name, settings } => {
            settings.durable.then(|| Item::Exchange(Arc::clone(name), Arc::clone(settings)))
        }
        TopologyCommand::DeleteExchange { name } => {
            before.exchange(name)?.settings().durable.then(|| Item::NoExchange(Arc::clone(name)))
        }
        TopologyCommand::DeclareQueue { id, name, settings } => {
            is_kept(settings).then(|| Item::Queue(*id, Arc::clone(name), Arc::clone(settings)))
        }
        TopologyCommand::DeleteQueue { id, name } => {
            is_kept(before.queue(name)?.settings()).then(|| Item::NoQueue(*id, Arc::clone(name)))
        }
        TopologyCommand::Bind(binding) => {
            joins_durable(after, binding).then(|| Item::Binding(binding.clone()))
        }
        TopologyCommand::Unbind(binding) => {
            joins_durable(before, binding).then(|| Item::NoBinding(binding.clone()))
        }
        // The configuration has the policies.
        TopologyCommand::SetPolicies(_)
        | TopologyCommand::PutPolicy(_)
        | TopologyCommand::DeletePolicy { .. } => None,
    }
}

/// All durable things of a topology.
pub(super) fn items_of(topology: &Topology) -> Vec<Item> {
    let exchanges = topology.exchanges().filter(|it| it.settings().durable && !it.is_system());
    let exchanges = exchanges.map(|it| Item::Exchange(Arc::clone(it.name()), Arc::clone(it.settings())));
    let queues = topology.queues().filter(|it| is_kept(it.settings()));
    let queues = queues.map(|it| Item::Queue(it.id(), Arc::clone(it.name()), Arc::clone(it.settings())));
    let bindings = topology.bindings().map(BindingRecord::to_binding);
    let bindings = bindings.filter(|binding| joins_durable(topology, binding)).map(Item::Binding);
    exchanges.chain(queues).chain(bindings).collect()
}

/// Whether a queue outlives a restart: an exclusive one goes with its connection.
pub(crate) fn is_kept(settings: &QueueSettings) -> bool {
    settings.durable && settings.exclusive.is_none()
}

fn joins_durable(topology: &Topology, binding: &Binding) -> bool {
    let exchange = |name: &str| topology.exchange(name).is_some_and(|found| found.settings().durable);
    exchange(&binding.source)
        && match &binding.destination {
            Destination::Exchange(name) => exchange(name),
            Destination::Queue(name) => topology.queue(name).is_some_and(|queue| is_kept(queue.settings())),
        }
}

/// A virtual host's durable things, as they are read back.
#[derive(Debug, Default)]
pub(super) struct HostCatalogue {
    exchanges: BTreeMap<Arc<str>, Arc<ExchangeSettings>>,
    queues: BTreeMap<Arc<str>, (QueueId, Arc<QueueSettings>)>,
    /// By their encoded form, which tells them apart.
    bindings: BTreeMap<Arc<[u8]>, Binding>,
    /// Those of each exchange and queue: a start that replays many deletions does not walk all bindings for each.
    by_end: BTreeMap<Destination, BTreeSet<Arc<[u8]>>>,
}

impl HostCatalogue {
    pub(super) fn take(&mut self, item: Item) {
        match item {
            Item::Exchange(name, settings) => {
                self.exchanges.insert(name, settings);
            }
            Item::NoExchange(name) => {
                self.exchanges.remove(&name);
                self.unbind_all(&Destination::Exchange(name.to_string()));
            }
            Item::Queue(id, name, settings) => {
                if let Some((earlier, _)) = self.queues.get(&name) {
                    // It went, by its own stream's word, and nothing came to be recorded of that here.
                    self.take(Item::NoQueue(*earlier, Arc::clone(&name)));
                }
                self.queues.insert(name, (id, settings));
            }
            Item::NoQueue(id, name) => {
                if self.queues.get(&name).is_some_and(|(found, _)| *found == id) {
                    self.queues.remove(&name);
                    self.unbind_all(&Destination::Queue(name.to_string()));
                }
            }
            Item::Binding(binding) => self.bind(binding),
            Item::NoBinding(binding) => self.unbind(&key(&binding)),
        }
    }

    fn bind(&mut self, binding: Binding) {
        // A change that a checkpoint has already is read again behind it: the queue has gone, and one that is
        // declared later by its name is not to have its bindings.
        if matches!(&binding.destination, Destination::Queue(name) if !self.queues.contains_key(&**name)) {
            return;
        }
        let key = key(&binding);
        for end in ends(&binding) {
            self.by_end.entry(end).or_default().insert(Arc::clone(&key));
        }
        self.bindings.insert(key, binding);
    }

    fn unbind(&mut self, key: &[u8]) {
        let Some(binding) = self.bindings.remove(key) else { return };
        for end in ends(&binding) {
            if let Some(keys) = self.by_end.get_mut(&end) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_end.remove(&end);
                }
            }
        }
    }

    fn unbind_all(&mut self, end: &Destination) {
        let keys = self.by_end.remove(end);
        keys.into_iter().flatten().for_each(|key| self.unbind(&key));
    }

    /// The queues that are not to be kept go, with their bindings.
    pub(super) fn keep_queues(&mut self, is_kept: impl Fn(QueueId) -> bool) {
        let gone: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, (id, _))| !is_kept(*id))
            .map(|(name, (id, _))| (*id, Arc::clone(name)))
            .collect();
        gone.into_iter().for_each(|(id, name)| self.take(Item::NoQueue(id, name)));
    }

    /// As a topology is restored from it.
    pub(super) fn snapshot(self) -> TopologySnapshot {
        TopologySnapshot {
            version: 0,
            policies: Vec::new(),
            exchanges: self.exchanges.into_iter().collect(),
            queues: self.queues.into_iter().map(|(name, (id, settings))| (id, name, settings)).collect(),
            bindings: self.bindings.into_values().collect(),
        }
    }
}

/// What a binding goes with.
fn ends(binding: &Binding) -> [Destination; 2] {
    [Destination::Exchange(binding.source.clone()), binding.destination.clone()]
}

/// Arguments in any order are the same binding.
fn key(binding: &Binding) -> Arc<[u8]> {
    let mut binding = binding.clone();
    binding.arguments.sort_by(|left, right| left.0.cmp(&right.0));
    rmp_serde::to_vec(&binding).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_kernel::settings::MatchMode;

    fn queue(id: u64, name: &str) -> Item {
        Item::Queue(QueueId(id), name.into(), Arc::new(QueueSettings::default()))
    }

    fn binding(source: &str, destination: Destination) -> Binding {
        Binding {
            source: source.to_owned(),
            destination,
            key: "k".to_owned(),
            match_mode: MatchMode::All,
            arguments: Vec::new(),
        }
    }

    #[test]
    fn a_queue_does_not_inherit_the_bindings_of_an_earlier_one_of_its_name() {
        let binding = || Item::Binding(binding("x", Destination::Queue("q".to_owned())));
        let mut host = HostCatalogue::default();
        [queue(1, "q"), binding()].into_iter().for_each(|item| host.take(item));
        // The first one's deletion was cut off before it came to the catalogue.
        host.take(queue(2, "q"));
        let found = host.snapshot();
        assert_eq!((found.queues.len(), found.queues[0].0), (1, QueueId(2)));
        assert_eq!(found.bindings, [], "of the queue that went");
        // Changes that a checkpoint has already, read again behind it.
        let mut host = HostCatalogue::default();
        [binding(), Item::NoQueue(QueueId(1), "q".into()), queue(2, "q")]
            .into_iter()
            .for_each(|item| host.take(item));
        assert_eq!(host.snapshot().bindings, [], "of the queue that went");
    }

    #[test]
    fn bindings_go_with_either_of_their_ends_and_no_others() {
        let to_queue = |source, name: &str| binding(source, Destination::Queue(name.to_owned()));
        let between = |source, name: &str| binding(source, Destination::Exchange(name.to_owned()));
        // An exchange and a queue may have one name.
        let all = || [to_queue("x", "x"), to_queue("x", "q"), to_queue("y", "q"), between("x", "y")];
        let left = |gone: Item| {
            let mut host = HostCatalogue::default();
            [queue(1, "x"), queue(2, "q")].into_iter().for_each(|item| host.take(item));
            all().into_iter().for_each(|binding| host.take(Item::Binding(binding)));
            host.take(gone);
            let left = host.snapshot().bindings;
            all().map(|binding| left.contains(&binding))
        };
        assert_eq!(left(Item::NoQueue(QueueId(1), "x".into())), [false, true, true, true]);
        assert_eq!(left(Item::NoQueue(QueueId(9), "x".into())), [true; 4], "another one of that name");
        assert_eq!(left(Item::NoQueue(QueueId(2), "q".into())), [true, false, false, true]);
        assert_eq!(left(Item::NoExchange("x".into())), [false, false, true, false]);
        assert_eq!(left(Item::NoExchange("y".into())), [true, true, false, false]);
        assert_eq!(left(Item::NoBinding(to_queue("x", "q"))), [true, false, true, true]);
    }
}
