//! Routing a message through the exchanges of a snapshot.
//!
//! Flow: the exchange published to -> the targets of its matching bindings, or its alternate when none
//! matches -> exchanges among them in turn, each once -> queues, sorted and each once.

use super::{ExchangeRecord, Topology};
use crate::ids::QueueId;
use crate::refusal::{Bound, Refusal, Resource};
use crate::router::{Matches, Routable, STEPS_MAX};
use std::collections::BTreeSet;

/// Queues that a message goes to, sorted and each once. Reused from message to message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Vec<QueueId>);

impl Targets {
    /// The queues.
    #[must_use]
    pub fn queues(&self) -> &[QueueId] {
        &self.0
    }

    /// Forget all; the memory is kept.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What is known of an answer besides its queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routed {
    /// With this the answer may be kept for its exchange and key. `None` where it depends on the message
    /// (headers, random, several keys), or on queues that come and go (the default exchange as alternate).
    pub memo: Option<RouteMemo>,
}

/// What a kept answer has to be held against: see [`Topology::memo_valid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteMemo {
    /// The topology's version.
    topology: u64,
    entry: Entry,
}

/// What the answer depended on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// The version of the exchange, which changes with those that it leads to.
    Exchange(u64),
    /// The queue that the default exchange found under the key.
    Queue(Option<QueueId>),
}

impl Topology {
    /// Add the queues that a client's message goes to, published to `exchange`.
    ///
    /// # Errors
    /// `NotFound` or `Internal`, for the exchange published to; `TooMany` if it would take too many steps. `targets` is
    /// as it was.
    pub fn route(
        &self,
        exchange: &str,
        message: &Routable<'_>,
        targets: &mut Targets,
    ) -> Result<Routed, Refusal> {
        let found = self.check_publish(exchange)?;
        self.route_from(found, message, targets)
            .ok_or(Refusal::TooMany { bound: Bound::RoutingSteps, limit: STEPS_MAX })
    }

    /// The exchange, if clients may publish to it.
    ///
    /// # Errors
    /// `NotFound` or `Internal`.
    pub fn check_publish(&self, exchange: &str) -> Result<&ExchangeRecord, Refusal> {
        match self.exchanges.get(exchange) {
            None => Err(Refusal::NotFound(Resource::Exchange, exchange.to_owned())),
            Some(found) if found.settings.internal => Err(Refusal::Internal(exchange.to_owned())),
            Some(found) => Ok(found),
        }
    }

    /// The same for a message that the broker itself publishes, dead-lettered for example: an internal
    /// exchange takes it. `None`: there is no such exchange, or it would take too many steps.
    pub fn route_internally(
        &self,
        exchange: &str,
        message: &Routable<'_>,
        targets: &mut Targets,
    ) -> Option<Routed> {
        self.exchanges.get(exchange).and_then(|found| self.route_from(found, message, targets))
    }

    fn route_from(
        &self,
        first: &ExchangeRecord,
        message: &Routable<'_>,
        targets: &mut Targets,
    ) -> Option<Routed> {
        let before = targets.0.len();
        let entry = if first.name.is_empty() {
            self.default_route(message, &mut targets.0);
            Entry::Queue(message.keys.first().and_then(|key| self.queues.get(*key)).map(|queue| queue.id))
        } else {
            Entry::Exchange(first.version)
        };
        let mut matches = Matches::new(&mut targets.0);
        if !first.name.is_empty() {
            self.walk(first, message, &mut matches);
        }
        if matches.is_exhausted() {
            targets.0.truncate(before);
            return None;
        }
        let stable = !matches.volatile && message.keys.len() == 1;
        if targets.0.len() > 1 {
            targets.0.sort_unstable();
            targets.0.dedup();
        }
        Some(Routed { memo: stable.then_some(RouteMemo { topology: self.version, entry }) })
    }

    fn walk<'t>(&'t self, first: &'t ExchangeRecord, message: &Routable<'_>, matches: &mut Matches<'t, '_>) {
        let mut seen = BTreeSet::new();
        let mut exchange = first;
        loop {
            matches.matched = false;
            exchange.router.route(&exchange.name, &exchange.bindings, message, matches);
            if matches.is_exhausted() {
                return;
            }
            if !matches.matched {
                matches.exchanges.extend(exchange.alternate());
            }
            if matches.exchanges.is_empty() {
                return;
            }
            seen.insert(&*exchange.name);
            loop {
                let Some(name) = matches.exchanges.pop() else { return };
                match self.exchanges.get(name) {
                    Some(_) if name.is_empty() => {
                        matches.volatile = true;
                        self.default_route(message, matches.queues);
                    }
                    Some(next) if !seen.contains(name) => {
                        exchange = next;
                        break;
                    }
                    _ => {}
                }
            }
        }
    }

    /// The default exchange: to the queue that is named as the key.
    fn default_route(&self, message: &Routable<'_>, queues: &mut Vec<QueueId>) {
        queues.extend(message.keys.iter().filter_map(|key| self.queues.get(*key)).map(|queue| queue.id));
    }

    /// The version of an exchange: another one whenever the answers of it, or of one that it leads to, may
    /// have changed; never the same for two exchanges of one name.
    #[must_use]
    pub fn exchange_version(&self, name: &str) -> Option<u64> {
        self.exchanges.get(name).map(|exchange| exchange.version)
    }

    /// Whether an answer kept for `exchange` and `key` still holds. At most one look-up, and none while the
    /// topology is the same; a memo that holds is brought up to date, so that the look-up is not repeated.
    #[must_use]
    pub fn memo_valid(&self, exchange: &str, key: &str, memo: &mut RouteMemo) -> bool {
        if memo.topology == self.version {
            return true;
        }
        let valid = match memo.entry {
            Entry::Exchange(version) => self.exchange_version(exchange) == Some(version),
            Entry::Queue(id) => self.queues.get(key).map(|queue| queue.id) == id,
        };
        if valid {
            memo.topology = self.version;
        }
        valid
    }
}
