//! Tests of the topology; what they share is here: short ways to say what is declared, bound and published.

mod decide;
mod log;
mod model;
mod operations;
mod policy;
mod routing;
mod versions;

use super::{QueueDecision, Routed, Targets, Topology, TopologyBounds};
use crate::ids::{ConnectionId, QueueId};
use crate::message::HeadReader;
use crate::refusal::Refusal;
use crate::router::Routable;
use crate::settings::{
    Argument, Binding, Destination, ExchangeKind, ExchangeSettings, MatchMode, QueueSettings,
};
use crate::value::Value;

const ME: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);
const WIDE: TopologyBounds = TopologyBounds { queues: 100_000, exchanges: 100_000, bindings: 100_000 };

/// Reads heads of the form `name=value,name=value`: whole numbers are integers, the rest is text.
struct PlainHead;

impl HeadReader for PlainHead {
    fn header(&self, head: &[u8], name: &str) -> Option<Value> {
        self.headers(head).into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    fn headers(&self, head: &[u8]) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(head).unwrap();
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), plain_value(value))).collect()
    }

    fn time_to_live(&self, _: &[u8]) -> Option<u64> {
        None
    }

    fn extra_keys(&self, _: &[u8], _: bool) -> Vec<String> {
        Vec::new()
    }

    fn priority(&self, _: &[u8]) -> u8 {
        0
    }
}

fn plain_value(text: &str) -> Value {
    text.parse().map_or_else(|_| Value::Text(text.to_owned()), Value::Int64)
}

fn exchange(kind: ExchangeKind) -> ExchangeSettings {
    ExchangeSettings {
        kind,
        durable: false,
        auto_delete: false,
        internal: false,
        alternate: None,
        hash_header: None,
        arguments: Vec::new(),
    }
}

fn argument(name: &str, value: Value) -> Argument {
    Argument { name: name.to_owned(), value, compared: true }
}

fn to_queue(source: &str, queue: &str, key: &str) -> Binding {
    Binding {
        source: source.to_owned(),
        destination: Destination::Queue(queue.to_owned()),
        key: key.to_owned(),
        match_mode: MatchMode::All,
        arguments: Vec::new(),
    }
}

fn to_exchange(source: &str, exchange: &str, key: &str) -> Binding {
    Binding { destination: Destination::Exchange(exchange.to_owned()), ..to_queue(source, "", key) }
}

fn with_headers(binding: Binding, match_mode: MatchMode, arguments: &[(&str, Value)]) -> Binding {
    let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Binding { match_mode, arguments, ..binding }
}

/// A topology that decides and applies at once, and numbers its queues from 1.
struct Bench {
    now: Topology,
    queues: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench::bounded(WIDE)
    }

    fn bounded(bounds: TopologyBounds) -> Bench {
        Bench { now: Topology::new(bounds), queues: 0 }
    }

    fn exchange(&mut self, name: &str, settings: &ExchangeSettings) -> Result<(), Refusal> {
        let command = self.now.decide_declare_exchange(name, Some(settings))?;
        self.now = self.now.apply_all(command.as_slice());
        Ok(())
    }

    fn queue(&mut self, name: &str) -> QueueId {
        self.queue_as(name, &QueueSettings::default(), ME).unwrap()
    }

    fn queue_as(
        &mut self,
        name: &str,
        settings: &QueueSettings,
        connection: ConnectionId,
    ) -> Result<QueueId, Refusal> {
        let id = QueueId(self.queues + 1);
        match self.now.decide_declare_queue(name, Some(settings), connection, id)? {
            QueueDecision::Existing(id) => Ok(id),
            QueueDecision::Create(command) => {
                self.queues += 1;
                self.now = self.now.apply(&command);
                Ok(id)
            }
        }
    }

    fn bind(&mut self, binding: &Binding) -> Result<(), Refusal> {
        let command = self.now.decide_bind(binding, ME)?;
        self.now = self.now.apply_all(command.as_slice());
        Ok(())
    }

    fn unbind(&mut self, binding: &Binding) -> Result<(), Refusal> {
        let command = self.now.decide_unbind(binding, ME)?;
        self.now = self.now.apply_all(command.as_slice());
        Ok(())
    }

    fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<(), Refusal> {
        let command = self.now.decide_delete_exchange(name, if_unused)?;
        self.now = self.now.apply_all(command.as_slice());
        Ok(())
    }

    fn delete_queue(&mut self, name: &str) -> Result<(), Refusal> {
        let command = self.now.decide_delete_queue(name, ME)?;
        self.now = self.now.apply_all(command.as_slice());
        Ok(())
    }

    /// The names of the queues that a message with this key and head goes to, sorted.
    fn route_with(
        &self,
        exchange: &str,
        keys: &[&str],
        head: &str,
        seed: u64,
    ) -> Result<Vec<String>, Refusal> {
        route(&self.now, exchange, keys, head, seed).map(|(targets, _)| names(&self.now, &targets))
    }

    fn route(&self, exchange: &str, key: &str) -> Vec<String> {
        self.route_with(exchange, &[key], "", 0).unwrap()
    }
}

fn route(
    topology: &Topology,
    exchange: &str,
    keys: &[&str],
    head: &str,
    seed: u64,
) -> Result<(Targets, Routed), Refusal> {
    let mut targets = Targets::default();
    let message = Routable { keys, reader: &PlainHead, head: head.as_bytes(), seed };
    let routed = topology.route(exchange, &message, &mut targets)?;
    Ok((targets, routed))
}

fn names(topology: &Topology, targets: &Targets) -> Vec<String> {
    let name = |id: &QueueId| topology.queues().find(|queue| queue.id() == *id).unwrap().name().to_string();
    let mut names: Vec<_> = targets.queues().iter().map(name).collect();
    names.sort();
    names
}
