//! A virtual host: its topology as a published snapshot, and the one lock under which it changes.
//!
//! Routing and reading load the snapshot and take no lock. A change decides on the newest snapshot under the
//! writer's lock, applies its command, has it recorded if it is durable, and publishes the result before the lock goes.

use crate::store::Store;
use arc_swap::ArcSwap;
use fairlead_kernel::Refusal;
use fairlead_kernel::topology::{Topology, TopologyCommand};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// A virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    name: Arc<str>,
    /// Where its durable things are kept, if anywhere.
    store: Option<Arc<Store>>,
    topology: ArcSwap<Topology>,
    /// Rank: topology writer; queues and leaves may be locked under it.
    writer: Mutex<()>,
}

impl VirtualHost {
    pub(crate) fn new(name: Arc<str>, topology: Topology, store: Option<Arc<Store>>) -> VirtualHost {
        VirtualHost { name, store, topology: ArcSwap::from_pointee(topology), writer: Mutex::new(()) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The topology of this moment.
    #[must_use]
    pub fn topology(&self) -> arc_swap::Guard<Arc<Topology>> {
        self.topology.load()
    }

    /// Begin a change; the topology stays as it is until [`Change::publish`].
    pub(crate) fn change(&self) -> Change<'_> {
        let writer = self.writer.lock();
        Change { host: self, current: self.topology.load_full(), commands: Vec::new(), _writer: writer }
    }

    /// Decide and apply one command; false if there was nothing to do.
    pub(crate) fn decide(
        &self,
        decide: impl FnOnce(&Topology) -> Result<Option<TopologyCommand>, Refusal>,
    ) -> Result<bool, Refusal> {
        let mut change = self.change();
        match decide(&change.current)? {
            None => Ok(false),
            Some(command) => {
                change.prepare(vec![command]);
                change.publish();
                Ok(true)
            }
        }
    }
}

/// The right to change a topology, until dropped.
pub(crate) struct Change<'a> {
    host: &'a VirtualHost,
    pub(crate) current: Arc<Topology>,
    commands: Vec<TopologyCommand>,
    _writer: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// Apply commands to [`Change::current`]; nobody sees it yet.
    pub(crate) fn prepare(&mut self, commands: Vec<TopologyCommand>) {
        self.current = Arc::new(self.current.apply_all(&commands));
        self.commands.extend(commands);
    }

    /// Record what was prepared, and let everybody see it.
    pub(crate) fn publish(&mut self) {
        let commands = std::mem::take(&mut self.commands);
        if let Some(store) = &self.host.store {
            let before = self.host.topology.load();
            store.record_topology(&self.host.name, &before, &self.current, &commands);
        }
        self.host.topology.store(Arc::clone(&self.current));
    }
}
