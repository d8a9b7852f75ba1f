//! Deciding what a request comes to: a refusal, nothing to do, or one command for the log. Nothing changes
//! here. What a name may look like and what arguments mean, the adapter has settled before.

use super::apply::units;
use super::{PREDECLARED, Topology, TopologyCommand};
use crate::ids::{ConnectionId, QueueId};
use crate::refusal::{BadBinding, Bound, Difference, Refusal, Resource};
use crate::settings::{Argument, Binding, Destination, ExchangeSettings, QueueSettings};
use std::sync::Arc;

/// What declaring a queue comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum QueueDecision {
    /// It exists, and as wanted.
    Existing(QueueId),
    /// It is new.
    Create(TopologyCommand),
}

impl Topology {
    /// Declare an exchange, or with no `settings` ask whether it exists. `None`: it exists, and as wanted.
    ///
    /// # Errors
    /// `DefaultExchange`; `NotFound` when only asked; `Inequivalent` with the first difference in the order
    /// kind, durable, auto-delete, internal, compared arguments; `TooMany`.
    pub fn decide_declare_exchange(
        &self,
        name: &str,
        settings: Option<&ExchangeSettings>,
    ) -> Result<Option<TopologyCommand>, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        match (self.exchange(name), settings) {
            (Some(_), None) => Ok(None),
            (Some(current), Some(wanted)) => match exchange_difference(wanted, current.settings()) {
                None => Ok(None),
                Some(difference) => Err(inequivalent(Resource::Exchange, name, difference)),
            },
            (None, None) => Err(Refusal::NotFound(Resource::Exchange, name.to_owned())),
            (None, Some(wanted)) => {
                let declared = self.exchange_count() - PREDECLARED.len();
                check_bound(Bound::Exchanges, declared as u64, 1, self.bounds.exchanges)?;
                let settings = Arc::new(wanted.clone());
                Ok(Some(TopologyCommand::DeclareExchange { name: name.into(), settings }))
            }
        }
    }

    /// Delete an exchange. `None`: there is none.
    ///
    /// # Errors
    /// `DefaultExchange`, `SystemExchange`; `InUse` when it has bindings and only an unused one is to go.
    pub fn decide_delete_exchange(
        &self,
        name: &str,
        if_unused: bool,
    ) -> Result<Option<TopologyCommand>, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let Some(exchange) = self.exchange(name) else { return Ok(None) };
        if exchange.is_system() {
            return Err(Refusal::SystemExchange(name.to_owned()));
        }
        if if_unused && exchange.binding_count() > 0 {
            return Err(Refusal::InUse(Resource::Exchange, name.to_owned()));
        }
        Ok(Some(TopologyCommand::DeleteExchange { name: Arc::clone(exchange.name()) }))
    }

    /// Declare a queue as `id`, or with no `settings` ask whether it exists. Settings that are exclusive are
    /// exclusive to `connection`, whichever they name.
    ///
    /// # Errors
    /// `NotFound` when only asked; `Locked` when it is exclusive to another connection, or is exclusive where
    /// it is wanted shared or the reverse; `Inequivalent` with the first difference in the order durable,
    /// auto-delete, compared arguments; `TooMany`.
    pub fn decide_declare_queue(
        &self,
        name: &str,
        settings: Option<&QueueSettings>,
        connection: ConnectionId,
        id: QueueId,
    ) -> Result<QueueDecision, Refusal> {
        let Some(wanted) = settings else {
            return self.queue_for(name, connection).map(|queue| QueueDecision::Existing(queue.id));
        };
        let Some(current) = self.queue(name) else {
            check_bound(Bound::Queues, self.queue_count() as u64, 1, self.bounds.queues)?;
            let mut settings = wanted.clone();
            settings.exclusive = settings.exclusive.map(|_| connection);
            let settings = Arc::new(settings);
            return Ok(QueueDecision::Create(TopologyCommand::DeclareQueue {
                id,
                name: name.into(),
                settings,
            }));
        };
        // Exclusivity comes first: a foreign queue tells nothing about its other properties.
        if current.settings.exclusive != wanted.exclusive.map(|_| connection) {
            return Err(Refusal::Locked(name.to_owned()));
        }
        match queue_difference(wanted, &current.settings) {
            None => Ok(QueueDecision::Existing(current.id)),
            Some(difference) => Err(inequivalent(Resource::Queue, name, difference)),
        }
    }

    /// Delete a queue; whether it is unused or empty is the queue's own matter. `None`: there is none.
    ///
    /// # Errors
    /// `Locked` when it is exclusive to another connection.
    pub fn decide_delete_queue(
        &self,
        name: &str,
        connection: ConnectionId,
    ) -> Result<Option<TopologyCommand>, Refusal> {
        if self.queue(name).is_none() {
            return Ok(None);
        }
        let queue = self.queue_for(name, connection)?;
        Ok(Some(TopologyCommand::DeleteQueue { id: queue.id, name: Arc::clone(&queue.name) }))
    }

    /// Create a binding. `None`: it exists.
    ///
    /// # Errors
    /// `DefaultExchange` for either end; `NotFound` for the source, then for the destination; `Locked` when
    /// the queue is exclusive to another connection; `BadBinding`; `TooMany`.
    pub fn decide_bind(
        &self,
        binding: &Binding,
        connection: ConnectionId,
    ) -> Result<Option<TopologyCommand>, Refusal> {
        refuse_default(binding)?;
        let Some(source) = self.exchange(&binding.source) else {
            return Err(Refusal::NotFound(Resource::Exchange, binding.source.clone()));
        };
        match &binding.destination {
            Destination::Queue(name) => drop(self.queue_for(name, connection)?),
            Destination::Exchange(name) if self.exchange(name).is_none() => {
                return Err(Refusal::NotFound(Resource::Exchange, name.clone()));
            }
            Destination::Exchange(_) => {}
        }
        if self.existing(binding).is_some() {
            return Ok(None);
        }
        let Some(units) = units(source, &binding.key) else {
            return Err(Refusal::BadBinding(BadBinding::Weight(binding.key.clone())));
        };
        check_bound(Bound::Bindings, self.binding_units, units, self.bounds.bindings)?;
        Ok(Some(TopologyCommand::Bind(binding.clone())))
    }

    /// Delete a binding. `None`: there is none, perhaps because an end of it does not exist.
    ///
    /// # Errors
    /// `DefaultExchange` for either end; `Locked` when it leads to a queue exclusive to another connection.
    pub fn decide_unbind(
        &self,
        binding: &Binding,
        connection: ConnectionId,
    ) -> Result<Option<TopologyCommand>, Refusal> {
        refuse_default(binding)?;
        if self.existing(binding).is_none() {
            return Ok(None);
        }
        if let Destination::Queue(name) = &binding.destination {
            self.queue_for(name, connection)?;
        }
        Ok(Some(TopologyCommand::Unbind(binding.clone())))
    }
}

fn check_bound(bound: Bound, held: u64, more: u64, limit: u64) -> Result<(), Refusal> {
    if held.saturating_add(more) > limit { Err(Refusal::TooMany { bound, limit }) } else { Ok(()) }
}

fn refuse_default(binding: &Binding) -> Result<(), Refusal> {
    let to_default = matches!(&binding.destination, Destination::Exchange(name) if name.is_empty());
    if binding.source.is_empty() || to_default { Err(Refusal::DefaultExchange) } else { Ok(()) }
}

fn inequivalent(resource: Resource, name: &str, difference: Difference) -> Refusal {
    Refusal::Inequivalent { resource, name: name.to_owned(), difference }
}

fn exchange_difference(wanted: &ExchangeSettings, current: &ExchangeSettings) -> Option<Difference> {
    if wanted.kind != current.kind {
        return Some(Difference::Kind { received: wanted.kind.name(), current: current.kind.name() });
    }
    flag_difference("durable", wanted.durable, current.durable)
        .or_else(|| flag_difference("auto_delete", wanted.auto_delete, current.auto_delete))
        .or_else(|| flag_difference("internal", wanted.internal, current.internal))
        .or_else(|| argument_difference(&wanted.arguments, &current.arguments))
}

fn queue_difference(wanted: &QueueSettings, current: &QueueSettings) -> Option<Difference> {
    flag_difference("durable", wanted.durable, current.durable)
        .or_else(|| flag_difference("auto_delete", wanted.auto_delete, current.auto_delete))
        .or_else(|| argument_difference(&wanted.arguments, &current.arguments))
}

fn flag_difference(name: &'static str, received: bool, current: bool) -> Option<Difference> {
    (received != current).then_some(Difference::Flag { name, received, current })
}

/// The first compared argument that only one side has, or that does not mean the same on both.
fn argument_difference(wanted: &[Argument], current: &[Argument]) -> Option<Difference> {
    let names =
        wanted.iter().chain(current).filter(|argument| argument.compared).map(|argument| &argument.name);
    for name in names {
        let (received, current) = (value_of(wanted, name), value_of(current, name));
        let same = match (received, current) {
            (Some(received), Some(current)) => received.means_same(current),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Some(Difference::Argument {
                name: name.clone(),
                received: received.cloned(),
                current: current.cloned(),
            });
        }
    }
    None
}

fn value_of<'a>(arguments: &'a [Argument], name: &str) -> Option<&'a crate::value::Value> {
    arguments
        .iter()
        .find(|argument| argument.compared && argument.name == name)
        .map(|argument| &argument.value)
}
