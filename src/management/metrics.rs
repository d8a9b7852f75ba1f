//! `/metrics`: Prometheus text format, made afresh at each scrape from the published values.
//!
//! Names carry their units. Queues have series of their own up to a bound, the longest first, so that ten
//! thousand reply queues do not become ten thousand series; the sums always hold all of them.

use crate::{Desk, journal_metrics};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fairlead_engine::counters::Counter;
use fairlead_engine::report::{JournalReport, Overview, QueueReport};
use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tracing::error;

/// The page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A name or label that Prometheus does not take, or two of one name.
    #[error("metrics could not be gathered: {0}")]
    Prometheus(#[from] prometheus::Error),
}

/// The page.
pub(crate) async fn metrics(State(desk): State<Desk>) -> Response {
    let source = &desk.source;
    let journal = source.journal();
    match page(&source.overview(), journal.as_ref(), source.queues(), desk.options.queue_metrics) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(fault) => {
            error!(%fault, "metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()).into_response()
        }
    }
}

fn page(
    overview: &Overview,
    journal: Option<&JournalReport>,
    queues: Vec<QueueReport>,
    bound: usize,
) -> Result<Vec<u8>, MetricsError> {
    let registry = Registry::new();
    for (counter, value) in &overview.counters {
        let (name, help) = described(*counter);
        let metric = IntCounter::new(format!("fairlead_{name}_total"), help)?;
        metric.inc_by(*value);
        registry.register(Box::new(metric))?;
    }
    for (name, help, value) in gauges(overview) {
        let metric = IntGauge::new(format!("fairlead_{name}"), help)?;
        metric.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(metric))?;
    }
    queue_series(&registry, queues, bound)?;
    let mut text = Vec::new();
    let mut families = registry.gather();
    families.extend(journal.map(journal_metrics::families).unwrap_or_default());
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

fn gauges(overview: &Overview) -> [(&'static str, &'static str, u64); 12] {
    [
        ("uptime_seconds", "Seconds since the broker started.", overview.uptime_seconds),
        ("connections", "Open connections.", overview.connections),
        ("channels", "Open channels and sessions.", overview.channels),
        ("consumers", "Consumers.", overview.consumers),
        ("queues", "Queues.", overview.queues),
        ("exchanges", "Exchanges.", overview.exchanges),
        ("messages_ready", "Messages ready for delivery.", overview.messages_ready),
        (
            "messages_unacknowledged",
            "Messages delivered and not yet settled.",
            overview.messages_unacknowledged,
        ),
        ("message_memory_bytes", "Memory held for messages.", overview.memory_used),
        (
            "message_memory_limit_bytes",
            "Message memory above which publishers are stopped.",
            overview.memory_limit,
        ),
        ("memory_alarm", "1 while publishers are stopped for memory.", overview.memory_alarm.into()),
        ("disk_alarm", "1 while publishers are stopped for the disk.", overview.disk_alarm.into()),
    ]
}

fn queue_series(registry: &Registry, mut queues: Vec<QueueReport>, bound: usize) -> Result<(), MetricsError> {
    let omitted = queues.len().saturating_sub(bound);
    queues.sort_by_key(|queue| std::cmp::Reverse(queue.ready + queue.unacknowledged));
    queues.truncate(bound);
    type Gauge = (&'static str, &'static str, fn(&QueueReport) -> u64);
    let gauges: [Gauge; 5] = [
        ("queue_messages_ready", "Ready messages of a queue.", |q| q.ready),
        ("queue_messages_unacknowledged", "Unsettled messages of a queue.", |q| q.unacknowledged),
        ("queue_message_bytes", "Bytes of the bodies in a queue.", |q| q.bytes),
        ("queue_memory_bytes", "Memory that a queue takes.", |q| q.memory),
        ("queue_consumers", "Consumers of a queue.", |q| q.consumers),
    ];
    for (name, help, read) in gauges {
        let family = IntGaugeVec::new(Opts::new(format!("fairlead_{name}"), help), &["vhost", "queue"])?;
        for queue in &queues {
            let value = i64::try_from(read(queue)).unwrap_or(i64::MAX);
            family.with_label_values(&[&*queue.vhost, &*queue.name]).set(value);
        }
        register_if_any(registry, family)?;
    }
    let counters: [Gauge; 8] = [
        ("queue_messages_published_total", "Messages put into a queue.", |q| q.published),
        ("queue_messages_delivered_total", "Deliveries from a queue.", |q| q.delivered),
        ("queue_messages_acknowledged_total", "Messages of a queue settled as done.", |q| q.acknowledged),
        ("queue_messages_refused_total", "Messages that a queue's limit refused.", |q| q.refused),
        ("queue_messages_expired_total", "Messages of a queue whose time to live ran out.", |q| q.expired),
        ("queue_messages_displaced_total", "Messages of a queue that went to make room.", |q| q.displaced),
        ("queue_messages_exhausted_total", "Messages of a queue delivered too often.", |q| q.exhausted),
        ("queue_messages_dead_lettered_total", "Messages that a queue dead-lettered.", |q| q.dead_lettered),
    ];
    for (name, help, read) in counters {
        let family = IntCounterVec::new(Opts::new(format!("fairlead_{name}"), help), &["vhost", "queue"])?;
        for queue in &queues {
            family.with_label_values(&[&*queue.vhost, &*queue.name]).inc_by(read(queue));
        }
        register_if_any(registry, family)?;
    }
    let metric = IntGauge::new("fairlead_queues_without_series", "Queues beyond the series bound.")?;
    metric.set(i64::try_from(omitted).unwrap_or(i64::MAX));
    Ok(registry.register(Box::new(metric))?)
}

/// A family without a series would be an error to gather.
fn register_if_any(registry: &Registry, family: impl Collector + 'static) -> Result<(), MetricsError> {
    if family.collect().iter().any(|metrics| !metrics.get_metric().is_empty()) {
        registry.register(Box::new(family))?;
    }
    Ok(())
}

/// Name, without prefix and suffix, and help of a counter.
fn described(counter: Counter) -> (&'static str, &'static str) {
    match counter {
        Counter::Published => ("messages_published", "Messages received from publishers."),
        Counter::PublishedBytes => ("messages_published_bytes", "Bytes of bodies received from publishers."),
        Counter::Enqueued => ("messages_enqueued", "Messages put into queues, one for each queue."),
        Counter::UnroutableDropped => ("messages_unroutable_dropped", "Messages that reached no queue."),
        Counter::UnroutableReturned => ("messages_unroutable_returned", "Mandatory messages returned."),
        Counter::Confirmed => ("publishes_confirmed", "Publishes confirmed."),
        Counter::Refused => ("publishes_refused", "Publishes refused by a queue's limit."),
        Counter::Delivered => ("deliveries_acknowledged_mode", "Deliveries that wait to be settled."),
        Counter::DeliveredSettled => ("deliveries_settled_mode", "Deliveries settled as they left."),
        Counter::DeliveredBytes => (
            "deliveries_bytes",
            "Bytes that deliveries took on their way to connections, heads and bookkeeping included.",
        ),
        Counter::Redelivered => ("deliveries_repeated", "Deliveries that may have been made before."),
        Counter::Got => ("gets", "Messages fetched one by one."),
        Counter::GotEmpty => ("gets_empty", "Fetches that found nothing."),
        Counter::Acknowledged => ("settlements_accepted", "Deliveries settled as done."),
        Counter::Rejected => ("settlements_rejected", "Deliveries settled as not wanted."),
        Counter::Released => ("settlements_released", "Deliveries given back."),
        Counter::DeadLettered => ("messages_dead_lettered", "Dead letters sent on."),
        Counter::DeadLettersDropped => ("messages_dead_letters_dropped", "Dead letters that went nowhere."),
        Counter::Replies => ("direct_replies", "Direct replies handed over."),
        Counter::MessagesUnreadable => {
            ("messages_unreadable", "Messages lost because the disk did not give them back.")
        }
        Counter::QueuesCreated => ("queues_created", "Queues declared anew."),
        Counter::QueuesDeleted => ("queues_deleted", "Queues deleted."),
        Counter::ConnectionsOpened => ("connections_opened", "Connections accepted."),
        Counter::ConnectionsClosed => ("connections_closed", "Connections ended."),
        Counter::ConnectionsRefused => ("connections_refused", "Connections turned away."),
        Counter::LoginsRefused => ("logins_refused", "Logins refused."),
        Counter::SessionsOpened => ("channels_opened", "Channels and sessions begun."),
        Counter::SessionsClosed => ("channels_closed", "Channels and sessions ended."),
        Counter::SessionErrors => ("channel_errors", "Errors that closed a channel or session."),
        Counter::ConnectionErrors => ("connection_errors", "Errors that closed a connection."),
        Counter::BytesIn => ("received_bytes", "Bytes read from sockets."),
        Counter::BytesOut => ("sent_bytes", "Bytes written to sockets."),
        Counter::MemoryAlarms => ("memory_alarms", "Times that publishers were stopped for memory."),
        Counter::DiskAlarms => ("disk_alarms", "Times that publishers were stopped for the disk."),
        Counter::SnapshotsMade => ("snapshots", "Copies of the data folder that were made."),
        Counter::SnapshotsFailed => ("snapshots_failed", "Copies of the data folder that failed."),
        Counter::JournalWaits => {
            ("journal_waits", "Times that a connection was not read because too much waited for the disk.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn queue(name: &str, ready: u64) -> QueueReport {
        QueueReport {
            vhost: "/".into(),
            name: name.into(),
            settings: Arc::default(),
            policy: None,
            owner: None,
            ready,
            unacknowledged: 1,
            bytes: 0,
            memory: 0,
            consumers: 0,
            published: ready,
            delivered: 0,
            acknowledged: 0,
            redelivered: 0,
            refused: 3,
            expired: 4,
            displaced: 5,
            exhausted: 6,
            dead_lettered: 7,
        }
    }

    #[test]
    fn the_longest_queues_have_series_and_the_rest_are_counted() {
        let overview =
            Overview { counters: Counter::ALL.iter().map(|c| (*c, 7)).collect(), ..Overview::default() };
        let queues = (0..100).map(|n| queue(&format!("q{n}"), n)).collect();
        let text = String::from_utf8(page(&overview, None, queues, 10).unwrap()).unwrap();
        assert!(text.contains("fairlead_messages_published_total 7"), "{text}");
        assert!(text.contains("fairlead_queue_messages_ready{queue=\"q99\",vhost=\"/\"} 99"), "{text}");
        assert!(!text.contains("queue=\"q89\""), "{text}");
        for (name, value) in
            [("refused", 3), ("expired", 4), ("displaced", 5), ("exhausted", 6), ("dead_lettered", 7)]
        {
            let line = format!("fairlead_queue_messages_{name}_total{{queue=\"q99\",vhost=\"/\"}} {value}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(text.contains("fairlead_queues_without_series 90"), "{text}");
        let none = String::from_utf8(page(&overview, None, Vec::new(), 10).unwrap()).unwrap();
        assert!(none.contains("fairlead_queues_without_series 0"), "{none}");
    }
}
