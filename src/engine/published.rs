//! The broker as management sees it: gathered from snapshots and published figures, without a queue's lock.

use crate::Broker;
use crate::connections::{Description, Entry};
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use crate::report::{
    BindingReport, ChannelReport, ConnectionReport, ConsumerReport, ExchangeReport, JournalReport, NotReady,
    Overview, Purged, QueueReport, Source,
};
use crate::store::{Snapshot, SnapshotError, during};
use crate::vhost::VirtualHost;
use fairlead_journal::Space;
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::session::{CloseReason, Event};
use fairlead_kernel::topology::QueueRecord;
use fairlead_kernel::{Refusal, Time};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn read(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

fn milliseconds(time: Time) -> u64 {
    time.0 / 1_000_000
}

impl Broker {
    fn all_hosts(&self) -> Vec<Arc<VirtualHost>> {
        self.hosts.load().values().cloned().collect()
    }

    fn cells(&self) -> Vec<Arc<QueueCell>> {
        self.queues.load().values().cloned().collect()
    }

    fn queue_report(&self, host: &VirtualHost, record: &QueueRecord, cell: &QueueCell) -> QueueReport {
        let figures = &cell.figures;
        let owner = record.settings().exclusive.and_then(|id| self.connections.get(id));
        QueueReport {
            vhost: Arc::clone(host.name()),
            name: Arc::clone(record.name()),
            settings: Arc::clone(record.settings()),
            policy: record.policy().map(Arc::from),
            owner: owner.map(|entry| entry.name()),
            ready: read(&figures.ready),
            unacknowledged: read(&figures.unsettled),
            bytes: read(&figures.ready_bytes) + read(&figures.unsettled_bytes),
            memory: read(&figures.memory),
            consumers: read(&figures.consumers),
            published: read(&figures.published),
            delivered: read(&figures.delivered),
            acknowledged: read(&figures.accepted),
            redelivered: read(&figures.redelivered),
            refused: read(&figures.unwanted.refused),
            expired: read(&figures.unwanted.expired),
            displaced: read(&figures.unwanted.displaced),
            exhausted: read(&figures.unwanted.exhausted),
            dead_lettered: read(&figures.unwanted.dead_lettered),
        }
    }

    /// Why publishers are stopped for the disk, if they are.
    fn disk_trouble(&self) -> Option<String> {
        let (free, mark) = self.store.as_ref()?.room();
        match self.pressure.disk() {
            Space::Enough => None,
            Space::Low => {
                Some(format!("{free} bytes of the disk are free; publishers are stopped below {mark}"))
            }
            Space::Full => {
                Some(format!("the disk is full: {free} bytes are free, and that is not enough to go on"))
            }
        }
    }

    /// The open connections that have said what they are.
    fn described(&self) -> Vec<(Arc<Entry>, Arc<Description>)> {
        let all = self.connections.all().into_iter();
        all.filter_map(|entry| entry.description.load_full().map(|description| (entry, description)))
            .collect()
    }
}

impl Source for Broker {
    fn overview(&self) -> Overview {
        let described = self.described();
        let cells = self.cells();
        let sum = |figure: fn(&QueueCell) -> u64| cells.iter().map(|cell| figure(cell)).sum();
        let exchanges = self.all_hosts().iter().map(|host| host.topology().exchange_count() as u64).sum();
        Overview {
            uptime_seconds: self.clock.now().since(self.clock.started()).as_secs(),
            counters: Counter::ALL.iter().map(|counter| (*counter, self.counters.get(*counter))).collect(),
            connections: self.connections.len() as u64,
            channels: described.iter().map(|(_, it)| it.sessions.len() as u64).sum(),
            consumers: sum(|cell| read(&cell.figures.consumers)),
            queues: cells.len() as u64,
            exchanges,
            messages_ready: sum(|cell| read(&cell.figures.ready)),
            messages_unacknowledged: sum(|cell| read(&cell.figures.unsettled)),
            memory_used: self.memory.used(),
            memory_limit: self.memory.stop_above(),
            memory_alarm: self.pressure.memory(),
            disk_alarm: self.pressure.disk() != Space::Enough,
        }
    }

    fn journal(&self) -> Option<JournalReport> {
        self.store.as_ref().map(|store| store.report())
    }

    fn vhosts(&self) -> Vec<Arc<str>> {
        self.hosts.load().keys().cloned().collect()
    }

    fn queues(&self) -> Vec<QueueReport> {
        let queues = self.queues.load();
        let mut reports = Vec::new();
        for host in self.all_hosts() {
            for record in host.topology().queues() {
                if let Some(cell) = queues.get(&record.id()) {
                    reports.push(self.queue_report(&host, record, cell));
                }
            }
        }
        reports
    }

    fn exchanges(&self) -> Vec<ExchangeReport> {
        let mut reports = Vec::new();
        for host in self.all_hosts() {
            reports.extend(host.topology().exchanges().map(|record| ExchangeReport {
                vhost: Arc::clone(host.name()),
                name: Arc::clone(record.name()),
                settings: Arc::clone(record.settings()),
                policy: record.policy().map(Arc::from),
            }));
        }
        reports
    }

    fn bindings(&self) -> Vec<BindingReport> {
        let mut reports = Vec::new();
        for host in self.all_hosts() {
            reports.extend(host.topology().bindings().map(|record| BindingReport {
                vhost: Arc::clone(host.name()),
                binding: record.to_binding(),
            }));
        }
        reports
    }

    fn connections(&self) -> Vec<ConnectionReport> {
        let report = |(entry, it): (Arc<Entry>, Arc<Description>)| {
            let (bytes_in, bytes_out) = entry.bytes();
            ConnectionReport {
                name: entry.name(),
                peer: entry.endpoints.peer,
                local: entry.endpoints.local,
                vhost: it.vhost.clone(),
                user: it.user.clone(),
                protocol: it.protocol,
                state: it.state,
                connected_at: milliseconds(entry.connected_at),
                frame_max: it.frame_max,
                heartbeat: it.heartbeat,
                client_properties: it.client_properties.clone(),
                channels: it.sessions.len() as u64,
                bytes_in,
                bytes_out,
            }
        };
        self.described().into_iter().map(report).collect()
    }

    fn channels(&self) -> Vec<ChannelReport> {
        let mut reports = Vec::new();
        for (entry, it) in self.described() {
            let name = entry.name();
            reports.extend(it.sessions.iter().map(|session| ChannelReport {
                connection: name.clone(),
                number: session.number,
                vhost: it.vhost.clone(),
                user: it.user.clone(),
                consumers: it.consumers.iter().filter(|consumer| consumer.session == session.number).count()
                    as u64,
                unacknowledged: session.unsettled,
                prefetch: session.prefetch,
                global_prefetch: session.global_prefetch,
                confirm: session.confirm,
                transactional: session.transactional,
            }));
        }
        reports
    }

    fn consumers(&self) -> Vec<ConsumerReport> {
        let mut reports = Vec::new();
        for (entry, it) in self.described() {
            let name = entry.name();
            reports.extend(it.consumers.iter().map(|consumer| ConsumerReport {
                vhost: Arc::clone(&consumer.vhost),
                queue: Arc::clone(&consumer.queue),
                connection: name.clone(),
                channel: consumer.session,
                settings: Arc::clone(&consumer.settings),
                active: consumer.is_active(),
            }));
        }
        reports
    }

    fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        if self.is_draining() {
            let detail = "the broker is stopping".to_owned();
            reasons.push(NotReady { keep_away: true, reason: "draining", detail });
        }
        if self.pressure.memory() {
            let (used, mark) = (self.memory.used(), self.memory.stop_above());
            let detail = format!("messages take {used} bytes; publishers are stopped above {mark}");
            reasons.push(NotReady { keep_away: false, reason: "memory_alarm", detail });
        }
        if let Some(detail) = self.disk_trouble() {
            reasons.push(NotReady { keep_away: false, reason: "disk_alarm", detail });
        }
        reasons
    }

    fn purge(&self, vhost: &str, queue: &str) -> Result<Purged, Refusal> {
        let host = self.host(vhost).ok_or_else(|| Refusal::NoVirtualHost(vhost.to_owned()))?;
        let missing = || Refusal::NotFound(Resource::Queue, queue.to_owned());
        let id = host.topology().queue(queue).map(|record| record.id()).ok_or_else(missing)?;
        let cell = self.queues.get(id).ok_or_else(missing)?;
        let (messages, recorded) = during(|| self.purge_cell(&cell, self.clock.now()));
        let waits = recorded.zip(self.store.as_ref());
        Ok(Purged { messages, on_disk: waits.map(|(position, store)| store.when_durable(position)) })
    }

    fn snapshot(&self, folder: &Path) -> Result<Snapshot, SnapshotError> {
        self.snapshot_to(folder)
    }

    fn close_connection(&self, name: &str, reason: &str) -> bool {
        let found = self.connections.all().into_iter().find(|entry| entry.name() == name);
        let Some(entry) = found else { return false };
        let reason = CloseReason::Operator(reason.to_owned());
        entry.outbox.tell_urgently(Event::Close { reason });
        true
    }
}
