//! Policies: limits and alternates for every queue and exchange whose name matches a pattern, also for those
//! that exist already.
//!
//! Flow: a [`PolicyDefinition`] becomes a [`Policy`] when its pattern compiles; the
//! [`Topology`](super::Topology) holds the policies in the order of precedence, finds the first that applies
//! to a name, and keeps what comes of it in the queue's or the exchange's record.

use crate::settings::Limits;
use regex::{Regex, RegexBuilder};
use std::ops::Deref;
use std::sync::Arc;

/// Compiled size of a pattern at most, in bytes.
const PATTERN_SIZE: usize = 256 * 1024;

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppliesTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues.
    Queues,
    /// Exchanges.
    Exchanges,
}

/// A policy as an operator gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyDefinition {
    /// Its name, unique in the virtual host.
    pub name: String,
    /// A regular expression: a name matches if it is found anywhere in it.
    pub pattern: String,
    /// What it is for.
    pub applies_to: AppliesTo,
    /// Of several that match a name, the one with the highest priority is in force, and of equal ones the
    /// first by name.
    pub priority: i32,
    /// For queues.
    pub limits: Limits,
    /// For exchanges: where unroutable messages go.
    pub alternate: Option<String>,
}

/// A policy whose pattern is not a regular expression that we can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy '{policy}': pattern '{pattern}' is not a regular expression: {reason}")]
pub struct BadPattern {
    /// The policy's name.
    pub policy: String,
    /// Its pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A policy with its pattern compiled. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Policy {
    definition: Arc<PolicyDefinition>,
    pattern: Regex,
}

impl Policy {
    /// Compile the pattern.
    ///
    /// # Errors
    /// The pattern is not a regular expression, or too large a one.
    pub fn new(definition: PolicyDefinition) -> Result<Policy, BadPattern> {
        match RegexBuilder::new(&definition.pattern).size_limit(PATTERN_SIZE).build() {
            Ok(pattern) => Ok(Policy { definition: Arc::new(definition), pattern }),
            Err(error) => Err(BadPattern {
                policy: definition.name,
                pattern: definition.pattern,
                reason: error.to_string(),
            }),
        }
    }

    pub(super) fn applies_to_queue(&self, name: &str) -> bool {
        self.applies_to != AppliesTo::Exchanges && self.pattern.is_match(name)
    }

    pub(super) fn applies_to_exchange(&self, name: &str) -> bool {
        self.applies_to != AppliesTo::Queues && self.pattern.is_match(name)
    }
}

impl Deref for Policy {
    type Target = PolicyDefinition;

    fn deref(&self) -> &PolicyDefinition {
        &self.definition
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition
    }
}

/// Policies of different names, in the order of precedence; of one name the last given.
pub(super) fn in_order(policies: impl IntoIterator<Item = Policy>) -> Arc<[Policy]> {
    let mut ordered: Vec<Policy> = Vec::new();
    for policy in policies {
        ordered.retain(|other| other.name != policy.name);
        ordered.push(policy);
    }
    ordered
        .sort_by(|left, right| right.priority.cmp(&left.priority).then_with(|| left.name.cmp(&right.name)));
    ordered.into()
}

/// The limits of a queue declared with `declared` under a policy with `policy`: the smaller of two numbers,
/// else what the declarer said.
pub(super) fn merge(declared: &Limits, policy: &Limits) -> Limits {
    fn smaller<N: Ord + Copy>(left: Option<N>, right: Option<N>) -> Option<N> {
        left.into_iter().chain(right).min()
    }
    Limits {
        max_messages: smaller(declared.max_messages, policy.max_messages),
        max_bytes: smaller(declared.max_bytes, policy.max_bytes),
        overflow: declared.overflow.or(policy.overflow),
        message_ttl: smaller(declared.message_ttl, policy.message_ttl),
        expires: smaller(declared.expires, policy.expires),
        dead_letter_exchange: declared
            .dead_letter_exchange
            .as_ref()
            .or(policy.dead_letter_exchange.as_ref())
            .cloned(),
        dead_letter_key: declared.dead_letter_key.as_ref().or(policy.dead_letter_key.as_ref()).cloned(),
        delivery_limit: smaller(declared.delivery_limit, policy.delivery_limit),
    }
}
