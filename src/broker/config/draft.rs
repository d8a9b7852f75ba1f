//! A dry run of what is declared: each item is decided on a topology of its own, as the start will decide it, so that
//! what cannot be declared is found with its place before anything is started.
//!
//! The file has to stand on its own: what only clients declare is not there at the next start.

use super::section::Section;
use fairlead_engine::explain;
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::settings::{Binding, Destination, ExchangeSettings, QueueSettings};
use fairlead_kernel::topology::{QueueDecision, Topology, TopologyBounds, TopologyCommand};
use fairlead_kernel::{ConnectionId, QueueId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Nobody's connection.
const OF_SETTINGS: ConnectionId = ConnectionId(0);

/// See the module's text.
pub(super) struct Draft {
    hosts: RefCell<BTreeMap<String, Topology>>,
    /// Names of things that are wrong themselves: what refers to them is not reported too. An empty name stands for
    /// any, as the item's own could not be read.
    wrong: RefCell<BTreeSet<(Kind, String)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Exchange,
    Queue,
}

impl Draft {
    /// With these virtual hosts, empty. `complete` is whether all keys that can declare something are known.
    pub(super) fn new(vhosts: &[String], bounds: TopologyBounds, complete: bool) -> Draft {
        let hosts = vhosts.iter().map(|name| (name.clone(), Topology::new(bounds)));
        let draft = Draft { hosts: RefCell::new(hosts.collect()), wrong: RefCell::default() };
        if !complete {
            draft.note_wrong(Kind::Exchange, "");
            draft.note_wrong(Kind::Queue, "");
        }
        draft
    }

    /// An exchange; without settings it was wrong.
    pub(super) fn exchange(
        &self,
        item: &Section,
        (vhost, name): (&str, &str),
        settings: Option<&ExchangeSettings>,
    ) {
        let Some(settings) = settings else { return self.note_wrong(Kind::Exchange, name) };
        self.decide(item, vhost, Kind::Exchange, name, |topology| {
            topology.decide_declare_exchange(name, Some(settings))
        });
    }

    /// A queue; without settings it was wrong.
    pub(super) fn queue(
        &self,
        item: &Section,
        (vhost, name): (&str, &str),
        settings: Option<&QueueSettings>,
    ) {
        let Some(settings) = settings else { return self.note_wrong(Kind::Queue, name) };
        self.decide(item, vhost, Kind::Queue, name, |topology| {
            let id = QueueId(topology.queue_count() as u64 + 1);
            match topology.decide_declare_queue(name, Some(settings), OF_SETTINGS, id)? {
                QueueDecision::Create(command) => Ok(Some(command)),
                QueueDecision::Existing(_) => Ok(None),
            }
        });
    }

    /// A binding; call it when all exchanges and queues were told.
    pub(super) fn binding(&self, item: &Section, vhost: &str, binding: &Binding) {
        let mut hosts = self.hosts.borrow_mut();
        let Some(topology) = hosts.get_mut(vhost) else { return };
        let source_is_there = topology.exchange(&binding.source).is_some();
        if !source_is_there {
            self.fault_missing(item, "source", vhost, (Kind::Exchange, &binding.source));
        }
        let (kind, destination, is_there) = match &binding.destination {
            Destination::Queue(name) => (Kind::Queue, name, topology.queue(name).is_some()),
            Destination::Exchange(name) => (Kind::Exchange, name, topology.exchange(name).is_some()),
        };
        if !is_there {
            self.fault_missing(item, "destination", vhost, (kind, destination));
        }
        if !source_is_there || !is_there {
            return;
        }
        match topology.decide_bind(binding, OF_SETTINGS) {
            Ok(command) => apply(topology, command),
            Err(refusal @ Refusal::BadBinding(_)) => item.fault("routing_key", explain(&refusal)),
            Err(refusal) => item.fault("source", explain(&refusal)),
        }
    }

    fn decide(
        &self,
        item: &Section,
        vhost: &str,
        kind: Kind,
        name: &str,
        decide: impl FnOnce(&Topology) -> Result<Option<TopologyCommand>, Refusal>,
    ) {
        let mut hosts = self.hosts.borrow_mut();
        let topology = hosts.get_mut(vhost).filter(|_| !name.is_empty());
        let Some(topology) = topology else { return self.note_wrong(kind, name) };
        match decide(topology) {
            Ok(command) => apply(topology, command),
            // A name that is empty, reserved or given twice has been reported.
            Err(Refusal::Inequivalent { .. } | Refusal::DefaultExchange) => self.note_wrong(kind, name),
            Err(refusal) => {
                item.fault("name", explain(&refusal));
                self.note_wrong(kind, name);
            }
        }
    }

    fn note_wrong(&self, kind: Kind, name: &str) {
        self.wrong.borrow_mut().insert((kind, name.to_owned()));
    }

    fn fault_missing(&self, item: &Section, key: &'static str, vhost: &str, (kind, name): (Kind, &str)) {
        let wrong = self.wrong.borrow();
        // An empty name of this item's own has been reported, too.
        if name.is_empty() || ["", name].iter().any(|name| wrong.contains(&(kind, (*name).to_owned()))) {
            return;
        }
        let (what, expected) = match kind {
            Kind::Exchange => ("exchange", "one of topology.exchanges, or a predeclared one as amq.direct"),
            Kind::Queue => ("queue", "one of topology.queues"),
        };
        item.fault(key, format!("no {what} {name:?} is declared in {vhost:?}, expected {expected}"));
    }
}

fn apply(topology: &mut Topology, command: Option<TopologyCommand>) {
    if let Some(command) = command {
        *topology = topology.apply(&command);
    }
}
