//! The broker: virtual hosts, queues, connections, and what belongs to all of them.

use crate::Clock;
use crate::connection::Connection;
use crate::connections::{Connections, Endpoints};
use crate::counters::{Counter, Counters};
use crate::janitor::Janitor;
use crate::memory::Memory;
use crate::pressure::Pressure;
use crate::queue_cell::QueueCell;
use crate::registry::Registry;
use crate::reload::SettingsError;
use crate::replies::Replies;
use crate::scratch::Scratch;
use crate::seldom::Seldom;
use crate::settings::Settings;
use crate::store::{Log, Store, is_kept};
use crate::vhost::VirtualHost;
use arc_swap::ArcSwap;
use fairlead_kernel::command::CommandLog;
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::queue::{Denial, Queue};
use fairlead_kernel::session::{CloseReason, Event};
use fairlead_kernel::settings::QueueSettings;
use fairlead_kernel::topology::{QueueDecision, TopologyCommand};
use fairlead_kernel::{ConnectionId, QueueId, Refusal, Time};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Queues, or dead letters, that one turn of the janitor handles.
pub(crate) const TURN: usize = 256;

/// Virtual hosts by name.
pub(crate) type Hosts = BTreeMap<Arc<str>, Arc<VirtualHost>>;

/// See the module's text.
pub struct Broker {
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) readers: HeadReaders,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) hosts: ArcSwap<Hosts>,
    pub(crate) queues: Registry,
    /// Where durable things are kept, if anywhere.
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) replies: Replies,
    pub(crate) connections: Connections,
    pub(crate) janitor: Janitor,
    /// Queues whose dead letters turns have left. Rank: leaf.
    pub(crate) letters: Mutex<VecDeque<Arc<QueueCell>>>,
    /// One reload at a time. Rank: above the topology writer.
    pub(crate) reloading: Mutex<()>,
    /// Lines about refused logins.
    pub(crate) refused_logins: Seldom,
    transactions: AtomicU64,
    pub(crate) pressure: Pressure,
    /// For those who ask how it is; [`Connections`] decides who may come in.
    draining: AtomicBool,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker in memory, with what its settings declare. `readers` read the heads of all protocols.
    ///
    /// # Errors
    /// What the settings declare makes no sense.
    pub fn new(settings: Settings, readers: HeadReaders) -> Result<Arc<Broker>, SettingsError> {
        let broker = Broker::empty(&settings, readers, Clock::from_machine(), None);
        broker.reload(settings)?;
        Ok(broker)
    }

    /// A broker without virtual hosts.
    pub(crate) fn empty(
        settings: &Settings,
        readers: HeadReaders,
        clock: Clock,
        store: Option<Arc<Store>>,
    ) -> Arc<Broker> {
        let janitor =
            store.as_ref().map_or_else(Janitor::default, |store| Janitor::woken_by(store.changed()));
        Arc::new(Broker {
            clock,
            store,
            counters: Counters::default(),
            memory: Memory::new(settings),
            readers,
            settings: ArcSwap::from_pointee(settings.clone()),
            hosts: ArcSwap::default(),
            queues: Registry::default(),
            replies: Replies::default(),
            connections: Connections::default(),
            janitor,
            letters: Mutex::default(),
            reloading: Mutex::default(),
            refused_logins: Seldom::default(),
            transactions: AtomicU64::new(1),
            pressure: Pressure::new(settings.journal_pending),
            draining: AtomicBool::new(false),
        })
    }

    /// The clock: `now` is read once a batch, and given to everything below.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Let a connection in.
    ///
    /// # Errors
    /// There are too many, or the broker is stopping.
    pub fn connect(self: &Arc<Self>, endpoints: Endpoints, now: Time) -> Result<Connection, Refusal> {
        let entry = self
            .connections
            .open(endpoints, now, self.settings().connections)
            .inspect_err(|_| self.counters.add(Counter::ConnectionsRefused, 1))?;
        self.counters.add(Counter::ConnectionsOpened, 1);
        if let Some(reason) = self.blocked() {
            entry.outbox.tell_first(Event::Blocked { reason });
        }
        Ok(Connection::new(Arc::clone(self), entry))
    }

    pub(crate) fn disconnect(&self, connection: &Connection) {
        self.connections.close(connection.id, connection.user.as_ref());
        self.counters.add(Counter::ConnectionsClosed, 1);
    }

    /// Open connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Take no connection any more, and close those that are open, telling their clients why.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.connections.close_all(&CloseReason::Shutdown);
    }

    /// Whether the broker is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Why publishers are stopped, if they are.
    #[must_use]
    pub fn blocked(&self) -> Option<&'static str> {
        self.pressure.reason()
    }

    pub(crate) fn host(&self, name: &str) -> Option<Arc<VirtualHost>> {
        self.hosts.load().get(name).cloned()
    }

    pub(crate) fn next_transaction(&self) -> u64 {
        self.transactions.fetch_add(1, Ordering::Relaxed)
    }

    /// Transactions before that number are another life's.
    pub(crate) fn continue_transactions_at(&self, number: u64) {
        self.transactions.fetch_max(number, Ordering::Relaxed);
    }

    /// Messages take so many bytes more, or less.
    #[inline]
    pub(crate) fn memory_changed(&self, difference: i64) {
        self.memory.change(difference);
        let stopped = self.pressure.memory();
        if self.memory.alarm(stopped) != stopped {
            self.janitor.poke();
        }
    }

    /// Declare a queue; the cell is given if it is new.
    pub(crate) fn declare_queue(
        &self,
        host: &Arc<VirtualHost>,
        name: &str,
        settings: Option<&QueueSettings>,
        connection: ConnectionId,
        now: Time,
    ) -> Result<(QueueDecision, Option<Arc<QueueCell>>), Refusal> {
        let decision = host.topology().decide_declare_queue(name, settings, connection, QueueId(0))?;
        if let QueueDecision::Existing(_) = decision {
            return Ok((decision, None));
        }
        let mut change = host.change();
        let id = self.queues.next_id();
        let decision = change.current.decide_declare_queue(name, settings, connection, id)?;
        let QueueDecision::Create(command) = &decision else { return Ok((decision, None)) };
        change.prepare(vec![command.clone()]);
        let cell = self.create_cell(host, &change.current, name, now);
        change.publish();
        drop(change);
        Ok((decision, cell))
    }

    /// The cell of a queue that the topology has, and is not published yet.
    pub(crate) fn create_cell(
        &self,
        host: &Arc<VirtualHost>,
        topology: &fairlead_kernel::topology::Topology,
        name: &str,
        now: Time,
    ) -> Option<Arc<QueueCell>> {
        let record = topology.queue(name)?;
        let (settings, limits) = (record.settings(), record.effective_limits());
        let (id, name) = (record.id(), Arc::clone(record.name()));
        let queue = Queue::new(id, name, settings, limits, self.readers, now);
        let log = match &self.store {
            Some(store) if is_kept(settings) => Log::new(store, id),
            _ => Log::Memory,
        };
        Some(self.add_cell(queue, log, host, now))
    }

    /// A queue begins to live.
    pub(crate) fn add_cell(
        &self,
        queue: Queue,
        log: Log,
        host: &Arc<VirtualHost>,
        now: Time,
    ) -> Arc<QueueCell> {
        let expires = queue.limits().expires;
        let cell = Arc::new(QueueCell::new(queue, log, Arc::clone(host)));
        if let Some(expires) = expires {
            self.janitor.note(cell.id(), &cell.deadline, now.after_milliseconds(expires));
        }
        self.queues.insert(Arc::clone(&cell));
        self.counters.add(Counter::QueuesCreated, 1);
        cell
    }

    /// Delete a queue, if it is unused, or empty, as asked for; returns the ready messages that went.
    pub(crate) fn delete_cell(
        &self,
        cell: &Arc<QueueCell>,
        conditions: (bool, bool),
        now: Time,
    ) -> Result<u64, Refusal> {
        Scratch::with(|scratch| {
            let deleted = self.delete_in(scratch, cell, conditions, now);
            self.follow_up(scratch, now);
            deleted
        })
    }

    pub(crate) fn delete_in(
        &self,
        scratch: &mut Scratch,
        cell: &Arc<QueueCell>,
        (if_unused, if_empty): (bool, bool),
        now: Time,
    ) -> Result<u64, Refusal> {
        let mut change = cell.host.change();
        let deleted = cell.enter(self, scratch, now, |q| q.queue.delete(if_unused, if_empty, &mut q.turn));
        match deleted {
            Ok(messages) => {
                let (id, name) = (cell.id(), Arc::clone(&cell.name));
                change.prepare(vec![TopologyCommand::DeleteQueue { id, name }]);
                change.publish();
                self.queues.remove(id);
                self.janitor.forget(id, &cell.deadline);
                self.counters.add(Counter::QueuesDeleted, 1);
                Ok(messages)
            }
            Err(Denial::Refused(refusal)) => Err(refusal),
            Err(Denial::Gone(_)) => Ok(0),
        }
    }

    /// Drop a queue's ready messages, those that come meanwhile excepted; returns how many.
    pub(crate) fn purge_cell(&self, cell: &Arc<QueueCell>, now: Time) -> u64 {
        Scratch::with(|scratch| {
            let mut mark = None;
            let mut purged = 0;
            loop {
                let step = cell.enter(self, scratch, now, |q| {
                    let mark = *mark.get_or_insert(q.queue.next_sequence());
                    q.queue.purge(mark, &mut q.turn)
                });
                purged += step.unwrap_or(0);
                if step.is_err() || !scratch.effects.more {
                    break;
                }
            }
            self.follow_up(scratch, now);
            if let (0, Some(store)) = (purged, &self.store)
                && cell.with_log(|_, log| log.records())
            {
                store.rest_on_what_was_appended();
            }
            purged
        })
    }

    /// Do what is due at `now`; returns when to come again: at once if it is not after `now`.
    pub fn run_due(&self, now: Time) -> Option<Time> {
        self.announce_pressure();
        let mut more = self.send_left_letters(now);
        for turn in 0.. {
            if turn == TURN {
                more = true;
                break;
            }
            let Some(id) = self.janitor.due(now) else { break };
            let Some(cell) = self.queues.get(id).or_else(|| self.replies.of_id(id)) else { continue };
            Janitor::cleared(&cell.deadline);
            Scratch::with(|scratch| {
                cell.enter(self, scratch, now, |q| {
                    // Gone: nothing is due any more.
                    let _ = q.queue.tick(&mut q.turn);
                });
                self.follow_up(scratch, now);
            });
        }
        more |= !self.letters.lock().is_empty();
        if more { Some(now) } else { self.janitor.next() }
    }

    /// Run what is due whenever it is, for as long as the broker lives.
    pub async fn run_janitor(self: Arc<Self>) {
        loop {
            let now = self.clock.now();
            match self.run_due(now) {
                Some(next) if next <= now => tokio::task::yield_now().await,
                Some(next) => {
                    let sleep = tokio::time::sleep_until(self.clock.instant(next).into());
                    tokio::select! {
                        () = sleep => {}
                        () = self.janitor.changed() => {}
                    }
                }
                None => self.janitor.changed().await,
            }
        }
    }
}
