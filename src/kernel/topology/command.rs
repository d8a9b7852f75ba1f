//! The log record of a topology change.

use super::Policy;
use crate::ids::QueueId;
use crate::settings::{Binding, ExchangeSettings, QueueSettings};
use std::sync::Arc;

/// A change of the topology. Applying it is total: what does not fit the state any more does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum TopologyCommand {
    /// Create an exchange, unless there is one of that name.
    DeclareExchange {
        /// Its name.
        name: Arc<str>,
        /// As wanted.
        settings: Arc<ExchangeSettings>,
    },
    /// Delete an exchange with its bindings, and each auto-delete exchange whose last binding goes with it.
    DeleteExchange {
        /// Its name.
        name: Arc<str>,
    },
    /// Create a queue, unless there is one of that name.
    DeclareQueue {
        /// Never given before.
        id: QueueId,
        /// Its name.
        name: Arc<str>,
        /// As wanted.
        settings: Arc<QueueSettings>,
    },
    /// Delete a queue with its bindings, and each auto-delete exchange whose last binding goes with it.
    DeleteQueue {
        /// Its id: a namesake stays.
        id: QueueId,
        /// Its name.
        name: Arc<str>,
    },
    /// Create a binding.
    Bind(Binding),
    /// Delete a binding, and each auto-delete exchange whose last binding goes with it.
    Unbind(Binding),
    /// Have these policies only.
    SetPolicies(Vec<Policy>),
    /// Create or replace the policy of that name.
    PutPolicy(Policy),
    /// Delete a policy.
    DeletePolicy {
        /// Its name.
        name: String,
    },
}
