//! What the broker is told at its start and again at each reload, already checked for form.

use crate::auth::Authentication;
use fairlead_kernel::settings::{Binding, ExchangeSettings, QueueSettings};
use fairlead_kernel::topology::{PolicyDefinition, TopologyBounds};

/// Settings of a broker. What a running broker takes of them is told at [`crate::Broker::reload`].
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Who may come in.
    pub authentication: Authentication,
    /// Connections at most.
    pub connections: u64,
    /// Connections of one user at most.
    pub connections_per_user: u64,
    /// What a virtual host may hold.
    pub topology: TopologyBounds,
    /// Bytes that the publishes of an uncommitted transaction may have.
    pub transaction_bytes: u64,
    /// Bytes of messages above which publishers are stopped.
    pub memory_stop_above: u64,
    /// Bytes of messages above which queues leave to the disk what they can of those that come.
    pub memory_page_out_above: u64,
    /// Bytes of messages that a queue holds in memory before it leaves those that come to the disk, if they are on it.
    /// Queues that exist keep theirs.
    pub queue_memory: u64,
    /// Bytes that may wait for the disk; above, connections whose records are among them are not read.
    pub journal_pending: u64,
    /// Virtual hosts with what is declared in them; `/` exists even if it is not here.
    pub virtual_hosts: Vec<DeclaredHost>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            authentication: Authentication::default(),
            connections: 65_536,
            connections_per_user: 65_536,
            topology: TopologyBounds { queues: 1_000_000, exchanges: 100_000, bindings: 10_000_000 },
            transaction_bytes: 256 << 20,
            memory_stop_above: 1 << 30,
            memory_page_out_above: 512 << 20,
            queue_memory: 16 << 20,
            journal_pending: 64 << 20,
            virtual_hosts: Vec::new(),
        }
    }
}

/// A virtual host as the settings declare it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredHost {
    /// Its name.
    pub name: String,
    /// Exchanges by name; created where they are missing.
    pub exchanges: Vec<(String, ExchangeSettings)>,
    /// Queues by name; created where they are missing.
    pub queues: Vec<(String, QueueSettings)>,
    /// Bindings; created where they are missing.
    pub bindings: Vec<Binding>,
    /// All policies of the host.
    pub policies: Vec<PolicyDefinition>,
}
