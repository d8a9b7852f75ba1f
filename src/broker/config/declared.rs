//! Declared topology: virtual hosts, exchanges, queues and bindings, as AMQP 0-9-1 names their properties.
//!
//! Flow: an item's keys and arguments -> the adapter's translation, which refuses what it would refuse a
//! client -> kernel settings, decided on a draft of the topology.

use super::arguments::{self, Of};
use super::draft::Draft;
use super::section::Section;
use super::values::{boolean, choice, key, name};
use fairlead_amqp_0_9_1::connection::ConnectionConfig;
use fairlead_amqp_0_9_1::translate::{self, declared_binding, declared_exchange, declared_queue};
use fairlead_kernel::settings::{Binding, Destination, ExchangeKind, ExchangeSettings, QueueSettings};
use fairlead_kernel::topology::TopologyBounds;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The virtual host that is always there.
const DEFAULT_VHOST: &str = "/";

/// Types of exchanges; in `Some` for want of a default.
const KINDS: [(&str, Option<ExchangeKind>); 6] = [
    ("direct", Some(ExchangeKind::Direct)),
    ("topic", Some(ExchangeKind::Topic)),
    ("fanout", Some(ExchangeKind::Fanout)),
    ("headers", Some(ExchangeKind::Headers)),
    ("x-consistent-hash", Some(ExchangeKind::ConsistentHash)),
    ("x-random", Some(ExchangeKind::Random)),
];

/// What is to be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// Virtual hosts, `/` first.
    pub vhosts: Vec<String>,
    /// Exchanges.
    pub exchanges: Vec<Declared<ExchangeSettings>>,
    /// Queues.
    pub queues: Vec<Declared<QueueSettings>>,
    /// Bindings.
    pub bindings: Vec<DeclaredBinding>,
}

/// Something with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared<T> {
    /// Where.
    pub vhost: String,
    /// Unique in its virtual host.
    pub name: String,
    /// What it is.
    pub settings: T,
}

/// A binding.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredBinding {
    /// Where.
    pub vhost: String,
    /// The binding.
    pub binding: Binding,
}

impl Topology {
    pub(super) fn read(section: &Section, bounds: TopologyBounds) -> Topology {
        let complete = section.has_only(&["vhosts", "exchanges", "queues", "bindings"]);
        let mut vhosts = read_vhosts(section);
        if !complete {
            vhosts.push(String::new());
        }
        let draft = Draft::new(&vhosts, bounds, complete);
        let (exchanges, queues) = (Once::default(), Once::default());
        let read = Topology {
            exchanges: section
                .items("exchanges", &["vhost", "name"], |item| {
                    read_exchange(item, &vhosts, &exchanges, &draft)
                })
                .into_iter()
                .flatten()
                .collect(),
            queues: section
                .items("queues", &["vhost", "name"], |item| read_queue(item, &vhosts, &queues, &draft))
                .into_iter()
                .flatten()
                .collect(),
            bindings: section
                .items("bindings", &BINDING_IDENTITY, |item| read_binding(item, &vhosts, &draft))
                .into_iter()
                .flatten()
                .collect(),
            vhosts: Vec::new(),
        };
        Topology { vhosts, ..read }
    }
}

/// The virtual host of an item: one of the declared. An empty name among those stands for one that is wrong itself.
pub(super) fn vhost(item: &Section, declared: &[String]) -> String {
    let vhost = item.optional("vhost", name).unwrap_or_else(|| DEFAULT_VHOST.to_owned());
    if !declared.contains(&vhost) && !declared.contains(&String::new()) {
        item.fault("vhost", format!("{vhost:?} is not declared, expected \"/\" or one of topology.vhosts"));
    }
    vhost
}

/// Names that may be given once only.
#[derive(Default)]
pub(super) struct Once(RefCell<BTreeSet<(String, String)>>);

impl Once {
    pub(super) fn check(&self, section: &Section, what: &str, (vhost, name): (&str, &str)) {
        let first = self.0.borrow_mut().insert((vhost.to_owned(), name.to_owned()));
        if !first && !name.is_empty() {
            section.fault("name", format!("a second {what} {name:?} in {vhost:?}, expected each name once"));
        }
    }
}

fn read_vhosts(section: &Section) -> Vec<String> {
    let mut vhosts = vec![DEFAULT_VHOST.to_owned()];
    vhosts.extend(section.items("vhosts", &["name"], |item| item.required("name", name)));
    vhosts
}

fn read_exchange(
    item: &Section,
    vhosts: &[String],
    once: &Once,
    draft: &Draft,
) -> Option<Declared<ExchangeSettings>> {
    let (vhost, name) = (vhost(item, vhosts), unreserved_name(item));
    let kind = item.required("type", choice(&KINDS));
    let durable = item.optional("durable", boolean).unwrap_or(true);
    let auto_delete = item.optional("auto_delete", boolean).unwrap_or(false);
    let internal = item.optional("internal", boolean).unwrap_or(false);
    let arguments = arguments::read(item, Of::Exchange);
    once.check(item, "exchange", (&vhost, &name));
    let settings = kind.zip(arguments).and_then(|(kind, arguments)| {
        let declared =
            translate::Declared { name: &name, vhost: &vhost, durable, auto_delete, arguments: &arguments };
        accepted(item, declared_exchange(&declared, kind, internal))
    });
    draft.exchange(item, (&vhost, &name), settings.as_ref());
    Some(Declared { vhost, name, settings: settings? })
}

fn read_queue(
    item: &Section,
    vhosts: &[String],
    once: &Once,
    draft: &Draft,
) -> Option<Declared<QueueSettings>> {
    let (vhost, name) = (vhost(item, vhosts), unreserved_name(item));
    let durable = item.optional("durable", boolean).unwrap_or(true);
    let auto_delete = item.optional("auto_delete", boolean).unwrap_or(false);
    let arguments = arguments::read(item, Of::Queue);
    once.check(item, "queue", (&vhost, &name));
    let settings = arguments.and_then(|arguments| {
        let declared =
            translate::Declared { name: &name, vhost: &vhost, durable, auto_delete, arguments: &arguments };
        let quorum = ConnectionConfig::default().quorum_queues;
        accepted(item, declared_queue(&declared, quorum))
    });
    draft.queue(item, (&vhost, &name), settings.as_ref());
    Some(Declared { vhost, name, settings: settings? })
}

/// What tells one binding from another in comparisons.
const BINDING_IDENTITY: [&str; 5] = ["vhost", "source", "destination_type", "destination", "routing_key"];

fn read_binding(item: &Section, vhosts: &[String], draft: &Draft) -> Option<DeclaredBinding> {
    let vhost = vhost(item, vhosts);
    let source = item.required("source", name);
    let kinds = [("queue", Destination::Queue as fn(String) -> _), ("exchange", Destination::Exchange)];
    let kind = item.optional("destination_type", choice(&kinds)).unwrap_or(Destination::Queue);
    let destination = kind(item.required("destination", name));
    let routing_key = item.optional("routing_key", key).unwrap_or_default();
    let arguments = arguments::read(item, Of::Binding)?;
    let binding = accepted(item, declared_binding(&source, &destination, &routing_key, &arguments))?;
    draft.binding(item, &vhost, &binding);
    Some(DeclaredBinding { vhost, binding })
}

/// What the adapter made of it; a refusal is the arguments' fault, as the rest has been checked.
fn accepted<T>(item: &Section, declared: Result<T, String>) -> Option<T> {
    declared.map_err(|text| item.fault("arguments", text)).ok()
}

fn unreserved_name(item: &Section) -> String {
    let name = item.required("name", name);
    if name.starts_with("amq.") {
        item.fault("name", format!("{name:?} begins with the reserved \"amq.\", expected another name"));
    }
    name
}
