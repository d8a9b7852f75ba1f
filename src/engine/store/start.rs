//! A broker on a disk: what a start has found becomes virtual hosts and queues, and open transactions end.

use super::{Fatal, Recovered, recover};
use crate::Broker;
use crate::scratch::Scratch;
use crate::settings::Settings;
use crate::vhost::VirtualHost;
use crate::{SettingsError, broker::Hosts};
use fairlead_journal::{Backend, Keeper, Options, Writer};
use fairlead_kernel::effect::Fetch;
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::queue::Queue;
use fairlead_kernel::topology::Topology;
use std::sync::Arc;

/// All messages of a queue that cannot work without them.
fn all_if_needed(queue: &Queue) -> Vec<Fetch> {
    if !queue.needs_messages() {
        return Vec::new();
    }
    let all = queue.stored_within(0..u64::MAX);
    all.map(|(sequence, position)| Fetch { sequence, position, length: 0 }).collect()
}

/// Where a broker keeps what is durable.
pub struct Storage {
    /// The disk.
    pub backend: Arc<dyn Backend>,
    /// The journal's layout.
    pub options: Options,
    /// The broker's clock.
    pub clock: crate::Clock,
    /// Called when nothing can be written any more: the process is to end with a clear line.
    pub fatal: Fatal,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is kept cannot be read.
    #[error(transparent)]
    Journal(#[from] fairlead_journal::Error),
    /// What the settings declare makes no sense, or contradicts what is kept.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// A broker whose journal is open.
pub struct Opened {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The journal's writer: to be run on a thread of its own, or stepped.
    pub writer: Writer,
    /// The journal's keeper: the same.
    pub keeper: Keeper,
    /// What was found on the disk.
    pub found: fairlead_journal::Recovered,
}

impl Broker {
    /// A broker with what is kept in its storage, and what its settings declare. `readers` read the heads of all
    /// protocols. Until the writer runs nothing is confirmed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: Settings, readers: HeadReaders, storage: Storage) -> Result<Opened, OpenError> {
        let Storage { backend, options, clock, fatal } = storage;
        let Recovered {
            store,
            writer,
            keeper,
            hosts: kept_hosts,
            mut queues,
            next_queue,
            next_transaction,
            transactions,
            found,
        } = recover(backend, options, fatal, readers, clock.now())?;
        let mut hosts = Hosts::new();
        for (name, snapshot) in kept_hosts {
            let topology = Topology::restore(settings.topology, snapshot);
            let host = VirtualHost::new(Arc::clone(&name), topology, Some(Arc::clone(&store)));
            hosts.insert(name, Arc::new(host));
        }
        let broker = Broker::empty(&settings, readers, clock, Some(Arc::clone(&store)));
        broker.queues.continue_at(next_queue);
        broker.continue_transactions_at(next_transaction);
        let now = broker.clock().now();
        for host in hosts.values() {
            for record in host.topology().queues() {
                let Some(queue) = queues.remove(&record.id()) else { continue };
                let (queue, log) = queue.into_parts(&store);
                let fetches = all_if_needed(&queue);
                let cell = broker.add_cell(queue, log, host, now);
                broker.fetch(&store, &cell, &fetches, now);
                broker.janitor.note(cell.id(), &cell.deadline, now);
            }
        }
        broker.hosts.store(Arc::new(hosts));
        for (queue, transaction, committed) in transactions {
            let Some(cell) = broker.queues.get(queue) else { continue };
            Scratch::with(|scratch| {
                cell.enter(&broker, scratch, now, |q| {
                    // Nobody can have deleted it yet.
                    let _ = if committed {
                        q.queue.commit_transaction(transaction, &mut q.turn)
                    } else {
                        q.queue.roll_back_transaction(transaction, &mut q.turn)
                    };
                });
                broker.follow_up(scratch, now);
            });
        }
        broker.reload(settings)?;
        Ok(Opened { broker, writer, keeper, found })
    }

    /// Nothing more is kept from now on; the journal's writer ends when all that was is on disk.
    pub fn close_storage(&self) {
        if let Some(store) = &self.store {
            store.close(self.connection_count() == 0);
        }
    }
}
