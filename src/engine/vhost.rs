//! A virtual host: its topology as a published snapshot, and the one lock under which it changes.
//!
//! Routing and reading load the snapshot and take no lock. A change decides on the newest snapshot under the
//! writer's lock, applies its command and publishes the result before the lock goes.

use arc_swap::ArcSwap;
use fairlead_kernel::Refusal;
use fairlead_kernel::topology::{Topology, TopologyBounds, TopologyCommand};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// A virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    name: Arc<str>,
    topology: ArcSwap<Topology>,
    /// Rank: topology writer; queues and leaves may be locked under it.
    writer: Mutex<()>,
}

impl VirtualHost {
    pub(crate) fn new(name: &str, bounds: TopologyBounds) -> VirtualHost {
        VirtualHost {
            name: name.into(),
            topology: ArcSwap::from_pointee(Topology::new(bounds)),
            writer: Mutex::new(()),
        }
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
        Change { host: self, current: self.topology.load_full(), _writer: writer }
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
                change.prepare(&[command]);
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
    _writer: MutexGuard<'a, ()>,
}

impl Change<'_> {
    /// Apply commands to [`Change::current`]; nobody sees it yet.
    pub(crate) fn prepare(&mut self, commands: &[TopologyCommand]) {
        self.current = Arc::new(self.current.apply_all(commands));
    }

    /// Let everybody see what was prepared.
    pub(crate) fn publish(&self) {
        self.host.topology.store(Arc::clone(&self.current));
    }
}
