//! What the topology holds of one exchange, queue or binding. All are shared and never change in place.

use crate::ids::{ConnectionId, QueueId};
use crate::refusal::Resource;
use crate::router::{Router, Target};
use crate::settings::{Binding, Destination, ExchangeSettings, Limits, MatchMode, QueueSettings};
use crate::value::Value;
use rpds::RedBlackTreeSetSync;
use std::cmp::Ordering;
use std::sync::Arc;

/// The bindings of one exchange, by target, key and identity.
pub(crate) type Bindings = RedBlackTreeSetSync<Arc<BindingRecord>>;

/// A queue as declared, with what policies make of it.
#[derive(Clone, Debug)]
pub struct QueueRecord {
    pub(super) id: QueueId,
    pub(super) name: Arc<str>,
    pub(super) settings: Arc<QueueSettings>,
    /// The policy's name, and the limits if they differ from the declared ones.
    pub(super) policy: Option<Arc<str>>,
    pub(super) merged: Option<Arc<Limits>>,
}

impl QueueRecord {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As declared.
    #[must_use]
    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    /// The limits in force: the declared ones, and those of its policy.
    #[must_use]
    pub fn effective_limits(&self) -> &Limits {
        self.merged.as_deref().unwrap_or(&self.settings.limits)
    }

    /// The name of the policy in force, if any.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Whether it is exclusive to another connection.
    #[must_use]
    pub fn is_locked_for(&self, connection: ConnectionId) -> bool {
        self.settings.exclusive.is_some_and(|owner| owner != connection)
    }
}

/// An exchange as declared, with its bindings and their index.
#[derive(Clone, Debug)]
pub struct ExchangeRecord {
    pub(super) name: Arc<str>,
    pub(super) settings: Arc<ExchangeSettings>,
    pub(super) system: bool,
    pub(super) policy: Option<Arc<str>>,
    /// The alternate exchange in force.
    pub(super) alternate: Option<Arc<str>>,
    pub(super) version: u64,
    pub(super) bindings: Bindings,
    pub(super) router: Router,
}

impl ExchangeRecord {
    /// Its name; empty for the default exchange.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// As declared.
    #[must_use]
    pub fn settings(&self) -> &Arc<ExchangeSettings> {
        &self.settings
    }

    /// Whether it is predeclared and cannot be deleted.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// The name of the policy in force, if any.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The exchange that gets what this one cannot route: as declared, else as its policy says.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        self.alternate.as_deref()
    }

    /// Its bindings, in a fixed order.
    pub fn bindings(&self) -> impl Iterator<Item = &BindingRecord> {
        self.bindings.iter().map(|binding| &**binding)
    }

    /// How many bindings it has.
    #[must_use]
    pub fn binding_count(&self) -> usize {
        self.bindings.size()
    }

    pub(super) fn insert(&mut self, binding: Arc<BindingRecord>) {
        self.router.insert(&binding);
        self.bindings.insert_mut(binding);
    }

    pub(super) fn remove(&mut self, binding: &BindingRecord) {
        self.router.remove(binding);
        self.bindings.remove_mut(binding);
    }
}

/// A binding.
#[derive(Clone, Debug)]
pub struct BindingRecord {
    pub(crate) source: Arc<str>,
    pub(crate) destination: Arc<str>,
    pub(crate) target: Target,
    pub(crate) key: Arc<str>,
    pub(crate) match_mode: MatchMode,
    pub(crate) arguments: Box<[(String, Value)]>,
    /// Arguments and match mode, to be compared: see [`super::canonical::binding_identity`].
    pub(super) identity: Box<[u8]>,
}

impl BindingRecord {
    /// The exchange that routes.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the destination is a queue or an exchange, and its name.
    #[must_use]
    pub fn destination(&self) -> (Resource, &str) {
        match self.target {
            Target::Queue(_) => (Resource::Queue, &self.destination),
            Target::Exchange(_) => (Resource::Exchange, &self.destination),
        }
    }

    /// Binding key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// For headers exchanges: which arguments have to match.
    #[must_use]
    pub fn match_mode(&self) -> MatchMode {
        self.match_mode
    }

    /// Arguments, in the order given.
    #[must_use]
    pub fn arguments(&self) -> &[(String, Value)] {
        &self.arguments
    }

    /// The binding as it was asked for.
    #[must_use]
    pub fn to_binding(&self) -> Binding {
        let destination = self.destination.to_string();
        Binding {
            source: self.source.to_string(),
            destination: match self.target {
                Target::Queue(_) => Destination::Queue(destination),
                Target::Exchange(_) => Destination::Exchange(destination),
            },
            key: self.key.to_string(),
            match_mode: self.match_mode,
            arguments: self.arguments.to_vec(),
        }
    }

    /// Not above any binding of `source` to `target`.
    pub(super) fn first_of(source: &Arc<str>, target: &Target) -> BindingRecord {
        BindingRecord {
            source: Arc::clone(source),
            destination: Arc::default(),
            target: target.clone(),
            key: Arc::default(),
            match_mode: MatchMode::All,
            arguments: Box::default(),
            identity: Box::default(),
        }
    }
}

impl Ord for BindingRecord {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.target, &self.key, &self.identity, &self.source).cmp(&(
            &other.target,
            &other.key,
            &other.identity,
            &other.source,
        ))
    }
}

impl PartialOrd for BindingRecord {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BindingRecord {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for BindingRecord {}
