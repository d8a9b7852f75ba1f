//! Applying commands: total and deterministic, whatever the state.
//!
//! Flow: command -> the records it touches -> [`Topology::touch`], which gives a new version to each exchange
//! whose answers may have changed: the one itself and all that lead to it by bindings or as alternate.

use super::policy;
use super::{
    BindingRecord, Bindings, ExchangeRecord, Policy, QueueRecord, Topology, TopologyCommand, canonical,
};
use crate::ids::QueueId;
use crate::router::{BINDINGS_PER_WEIGHT, Router, Target, weight};
use crate::settings::{Binding, Destination, ExchangeKind, ExchangeSettings, Limits, QueueSettings};
use std::sync::Arc;

impl Topology {
    /// The snapshot after one command. This one stays as it is.
    #[must_use]
    pub fn apply(&self, command: &TopologyCommand) -> Topology {
        self.apply_all(std::slice::from_ref(command))
    }

    /// The snapshot after several commands, without those in between.
    #[must_use]
    pub fn apply_all(&self, commands: &[TopologyCommand]) -> Topology {
        let mut next = self.clone();
        commands.iter().for_each(|command| next.enter(command));
        next
    }

    pub(super) fn enter(&mut self, command: &TopologyCommand) {
        self.version += 1;
        match command {
            TopologyCommand::DeclareExchange { name, settings } => self.declare_exchange(name, settings),
            TopologyCommand::DeleteExchange { name } => {
                let mut emptied = Vec::new();
                self.delete_exchange(name, &mut emptied);
                self.delete_emptied(emptied);
            }
            TopologyCommand::DeclareQueue { id, name, settings } => self.declare_queue(*id, name, settings),
            TopologyCommand::DeleteQueue { id, name } => self.delete_queue(*id, name),
            TopologyCommand::Bind(binding) => self.bind(binding),
            TopologyCommand::Unbind(binding) => self.unbind(binding),
            TopologyCommand::SetPolicies(policies) => self.set_policies(policies.iter().cloned()),
            TopologyCommand::PutPolicy(policy) => {
                let before = Arc::clone(&self.policies);
                self.set_policies(before.iter().chain([policy]).cloned());
            }
            TopologyCommand::DeletePolicy { name } => {
                let before = Arc::clone(&self.policies);
                self.set_policies(before.iter().filter(|policy| policy.name != *name).cloned());
            }
        }
    }

    fn declare_exchange(&mut self, name: &Arc<str>, settings: &Arc<ExchangeSettings>) {
        if self.exchanges.contains_key(name) {
            return;
        }
        let (policy, alternate) = self.exchange_policy(name, settings);
        if let Some(alternate) = &alternate {
            self.alternates.insert_mut((Arc::clone(alternate), Arc::clone(name)));
        }
        let record = ExchangeRecord {
            name: Arc::clone(name),
            router: Router::new(settings),
            settings: Arc::clone(settings),
            system: false,
            policy,
            alternate,
            version: 0,
            bindings: Bindings::new_sync(),
        };
        self.exchanges.insert_mut(Arc::clone(name), Arc::new(record));
        self.touch(name);
    }

    /// Auto-delete exchanges that have lost their last binding by it are added to `emptied`.
    fn delete_exchange(&mut self, name: &Arc<str>, emptied: &mut Vec<Arc<str>>) {
        if self.exchanges.get(name).is_none_or(|exchange| exchange.system) {
            return;
        }
        self.touch(name);
        let target = Target::Exchange(Arc::clone(name));
        for binding in self.bindings_to(&target).into_iter().cloned().collect::<Vec<_>>() {
            self.remove_binding(&binding, emptied);
        }
        let Some(exchange) = self.exchanges.get(name).cloned() else { return };
        for binding in exchange.bindings() {
            self.uncount(&exchange, binding);
        }
        if let Some(alternate) = &exchange.alternate {
            self.alternates.remove_mut(&(Arc::clone(alternate), Arc::clone(name)));
        }
        self.exchanges.remove_mut(name);
    }

    /// Delete these exchanges, as far as they are still there, and what that empties in turn.
    fn delete_emptied(&mut self, mut emptied: Vec<Arc<str>>) {
        while let Some(name) = emptied.pop() {
            self.delete_exchange(&name, &mut emptied);
        }
    }

    fn declare_queue(&mut self, id: QueueId, name: &Arc<str>, settings: &Arc<QueueSettings>) {
        if self.queues.contains_key(name) {
            return;
        }
        let (policy, merged) = self.queue_policy(name, settings);
        let record =
            QueueRecord { id, name: Arc::clone(name), settings: Arc::clone(settings), policy, merged };
        self.queues.insert_mut(Arc::clone(name), Arc::new(record));
    }

    fn delete_queue(&mut self, id: QueueId, name: &Arc<str>) {
        if self.queues.get(name).is_none_or(|queue| queue.id != id) {
            return;
        }
        let mut emptied = Vec::new();
        for binding in self.bindings_to(&Target::Queue(id)).into_iter().cloned().collect::<Vec<_>>() {
            self.remove_binding(&binding, &mut emptied);
        }
        self.queues.remove_mut(name);
        self.delete_emptied(emptied);
    }

    fn bind(&mut self, binding: &Binding) {
        let Some((exchange, record)) = self.resolve(binding) else { return };
        if exchange.bindings.contains(&record) {
            return;
        }
        let Some(units) = units(exchange, &record.key) else { return };
        let edge = (record.target.clone(), Arc::clone(&record.source));
        let record = Arc::new(record);
        self.edit_exchange(&record.source, |exchange| exchange.insert(Arc::clone(&record)));
        let count = self.incoming.get(&edge).copied().unwrap_or(0);
        self.incoming.insert_mut(edge, count + 1);
        self.binding_count += 1;
        self.binding_units += units;
        self.touch(&record.source);
    }

    fn unbind(&mut self, binding: &Binding) {
        let Some(record) = self.existing(binding).cloned() else { return };
        let mut emptied = Vec::new();
        self.remove_binding(&record, &mut emptied);
        self.delete_emptied(emptied);
    }

    /// The source and the record that this binding is or would be; `None` if an end of it does not exist.
    pub(super) fn resolve(&self, binding: &Binding) -> Option<(&Arc<ExchangeRecord>, BindingRecord)> {
        let source = self.exchanges.get(binding.source.as_str())?;
        let (destination, target) = match &binding.destination {
            Destination::Queue(name) => {
                let queue = self.queues.get(name.as_str())?;
                (&queue.name, Target::Queue(queue.id))
            }
            Destination::Exchange(name) => {
                let exchange = self.exchanges.get(name.as_str())?;
                (&exchange.name, Target::Exchange(Arc::clone(&exchange.name)))
            }
        };
        let record = BindingRecord {
            source: Arc::clone(&source.name),
            destination: Arc::clone(destination),
            target,
            key: binding.key.as_str().into(),
            match_mode: binding.match_mode,
            identity: canonical::binding_identity(binding.match_mode, &binding.arguments),
            arguments: binding.arguments.as_slice().into(),
        };
        Some((source, record))
    }

    /// The stored record of this binding.
    pub(super) fn existing(&self, binding: &Binding) -> Option<&Arc<BindingRecord>> {
        let (source, record) = self.resolve(binding)?;
        source.bindings.get(&record)
    }

    fn remove_binding(&mut self, binding: &BindingRecord, emptied: &mut Vec<Arc<str>>) {
        let Some(before) = self.exchanges.get(&binding.source).cloned() else { return };
        self.edit_exchange(&binding.source, |exchange| exchange.remove(binding));
        self.uncount(&before, binding);
        self.touch(&binding.source);
        if before.settings.auto_delete && before.bindings.size() == 1 {
            emptied.push(Arc::clone(&binding.source));
        }
    }

    /// Take a binding that is gone out of the counts and of `incoming`.
    fn uncount(&mut self, exchange: &ExchangeRecord, binding: &BindingRecord) {
        let edge = (binding.target.clone(), Arc::clone(&binding.source));
        match self.incoming.get(&edge).copied() {
            Some(count) if count > 1 => self.incoming.insert_mut(edge, count - 1),
            _ => {
                self.incoming.remove_mut(&edge);
            }
        }
        self.binding_count -= 1;
        self.binding_units -= units(exchange, &binding.key).unwrap_or(0);
    }

    fn edit_exchange(&mut self, name: &Arc<str>, edit: impl FnOnce(&mut ExchangeRecord)) {
        if let Some(exchange) = self.exchanges.get_mut(name) {
            edit(Arc::make_mut(exchange));
        }
    }

    /// Give this version to an exchange and to all that lead to it.
    fn touch(&mut self, name: &Arc<str>) {
        let version = self.version;
        let mut pending = vec![Arc::clone(name)];
        while let Some(name) = pending.pop() {
            if self.exchanges.get(&name).is_some_and(|exchange| exchange.version != version) {
                self.edit_exchange(&name, |exchange| exchange.version = version);
                pending.extend(self.alternating_to(&name));
                pending.extend(self.sources_of(&Target::Exchange(name)));
            }
        }
    }

    fn set_policies(&mut self, policies: impl IntoIterator<Item = Policy>) {
        self.policies = policy::in_order(policies);
        for queue in self.queues.values().cloned().collect::<Vec<_>>() {
            let (policy, merged) = self.queue_policy(&queue.name, &queue.settings);
            if (&policy, &merged) != (&queue.policy, &queue.merged) {
                let record = QueueRecord { policy, merged, ..(*queue).clone() };
                self.queues.insert_mut(Arc::clone(&queue.name), Arc::new(record));
            }
        }
        for exchange in self.exchanges.values().cloned().collect::<Vec<_>>() {
            self.set_exchange_policy(&exchange);
        }
    }

    fn set_exchange_policy(&mut self, before: &ExchangeRecord) {
        let name = &before.name;
        let (policy, alternate) = self.exchange_policy(name, &before.settings);
        let rerouted = alternate != before.alternate;
        if rerouted {
            if let Some(old) = &before.alternate {
                self.alternates.remove_mut(&(Arc::clone(old), Arc::clone(name)));
            }
            if let Some(new) = &alternate {
                self.alternates.insert_mut((Arc::clone(new), Arc::clone(name)));
            }
        }
        if rerouted || policy != before.policy {
            self.edit_exchange(name, |exchange| {
                exchange.policy = policy;
                exchange.alternate = alternate;
            });
        }
        if rerouted {
            self.touch(name);
        }
    }

    /// Go on at that version. Every exchange is new there: nothing that was kept from before may pass.
    pub(super) fn set_version(&mut self, version: u64) {
        self.version = version;
        for exchange in self.exchanges.keys().cloned().collect::<Vec<_>>() {
            self.edit_exchange(&exchange, |exchange| exchange.version = version);
        }
    }

    /// The policy in force for a queue, and its limits where they are not the declared ones.
    fn queue_policy(&self, name: &str, settings: &QueueSettings) -> (Option<Arc<str>>, Option<Arc<Limits>>) {
        let Some(found) = self.policies.iter().find(|policy| policy.applies_to_queue(name)) else {
            return (None, None);
        };
        let merged = policy::merge(&settings.limits, &found.limits);
        let merged = (merged != settings.limits).then(|| Arc::new(merged));
        (Some(found.name.as_str().into()), merged)
    }

    /// The policy and the alternate in force for an exchange. The default exchange has neither.
    fn exchange_policy(
        &self,
        name: &str,
        settings: &ExchangeSettings,
    ) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let declared = settings.alternate.as_deref();
        let applies = |policy: &&Policy| !name.is_empty() && policy.applies_to_exchange(name);
        match self.policies.iter().find(applies) {
            Some(policy) => {
                (Some(policy.name.as_str().into()), declared.or(policy.alternate.as_deref()).map(Arc::from))
            }
            None => (None, declared.map(Arc::from)),
        }
    }
}

/// What a binding counts for in [`super::TopologyBounds::bindings`]; `None` if its key is no weight where one
/// is needed.
pub(super) fn units(exchange: &ExchangeRecord, key: &str) -> Option<u64> {
    match exchange.settings.kind {
        ExchangeKind::ConsistentHash => weight(key).map(|weight| u64::from(weight) * BINDINGS_PER_WEIGHT),
        _ => Some(1),
    }
}
