//! The journal's and the disk's part of `/metrics`.

use fairlead_engine::report::{Distribution, JournalReport};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// All families; none without a journal.
pub(crate) fn families(journal: &JournalReport) -> Vec<MetricFamily> {
    let live_ratio = match journal.used_bytes {
        0 => 1.0,
        used => (journal.live_bytes as f64 / used as f64).min(1.0),
    };
    let mut families = vec![
        counter("written_bytes", "Bytes written to the journal.", journal.written_bytes as f64),
        counter("syncs", "Syncs of the journal.", journal.syncs as f64),
        counter("read_errors", "Reads of messages that failed or found damage.", journal.read_errors as f64),
        histogram("sync_seconds", "How long syncs took.", &journal.sync_seconds),
        histogram("batch_bytes", "Bytes that were written before each sync.", &journal.batch_bytes),
        segments(journal),
    ];
    let gauges = [
        ("pending_bytes", "Bytes that wait for the disk.", journal.pending_bytes as f64),
        (
            "waiting_connections",
            "Connections that are not read until less waits for the disk.",
            journal.waiting_connections as f64,
        ),
        (
            "durable_position_bytes",
            "Everything before this position of the journal is on disk.",
            journal.durable_position as f64,
        ),
        ("live_records", "Records that are still needed.", journal.live_records as f64),
        ("live_bytes", "About how many bytes the needed records are.", journal.live_bytes as f64),
        ("used_bytes", "Bytes of all records, needed or not.", journal.used_bytes as f64),
        ("live_ratio", "Share of the records' bytes that is still needed.", live_ratio),
        ("recovery_seconds", "How long the start took to read the journal.", journal.recovery_seconds),
        ("recovery_records", "Records that the start has read.", journal.recovery_records as f64),
    ];
    families.extend(gauges.map(|(name, help, value)| gauge(&format!("journal_{name}"), help, value)));
    families.push(gauge(
        "disk_free_bytes",
        "Free bytes of the data folder's disk.",
        journal.free_bytes as f64,
    ));
    let help = "Free bytes below which publishers are stopped.";
    families.push(gauge("disk_free_limit_bytes", help, journal.free_mark as f64));
    families
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(format!("fairlead_{name}"));
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    let (mut counter, mut metric) = (Counter::default(), Metric::from_label(Vec::new()));
    counter.set_value(value);
    metric.set_counter(counter);
    family(&format!("journal_{name}_total"), help, MetricType::COUNTER, vec![metric])
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, vec![gauge_metric(Vec::new(), value)])
}

fn gauge_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let (mut gauge, mut metric) = (Gauge::default(), Metric::from_label(labels));
    gauge.set_value(value);
    metric.set_gauge(gauge);
    metric
}

fn segments(journal: &JournalReport) -> MetricFamily {
    let states = [
        ("active", journal.active_segments),
        ("sealed", journal.sealed_segments),
        ("spare", journal.spare_segments),
    ];
    let metrics = states.map(|(state, count)| {
        let mut label = LabelPair::default();
        label.set_name("state".to_owned());
        label.set_value(state.to_owned());
        gauge_metric(vec![label], count as f64)
    });
    family("journal_segments", "Segment files by state.", MetricType::GAUGE, metrics.to_vec())
}

fn histogram(name: &str, help: &str, distribution: &Distribution) -> MetricFamily {
    let buckets = distribution.below.iter().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(*count);
        bucket
    });
    let (mut histogram, mut metric) = (Histogram::default(), Metric::from_label(Vec::new()));
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(distribution.count);
    histogram.set_sample_sum(distribution.sum);
    metric.set_histogram(histogram);
    family(&format!("journal_{name}"), help, MetricType::HISTOGRAM, vec![metric])
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, TextEncoder};

    #[test]
    fn histograms_and_states_are_as_prometheus_reads_them() {
        let journal = JournalReport {
            sync_seconds: Distribution { below: vec![(0.001, 2), (0.01, 5)], count: 6, sum: 0.25 },
            sealed_segments: 3,
            live_bytes: 25,
            used_bytes: 100,
            ..JournalReport::default()
        };
        let mut text = Vec::new();
        TextEncoder::new().encode(&families(&journal), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "# TYPE fairlead_journal_sync_seconds histogram",
            "fairlead_journal_sync_seconds_bucket{le=\"0.001\"} 2",
            "fairlead_journal_sync_seconds_bucket{le=\"0.01\"} 5",
            "fairlead_journal_sync_seconds_bucket{le=\"+Inf\"} 6",
            "fairlead_journal_sync_seconds_sum 0.25",
            "fairlead_journal_sync_seconds_count 6",
            "fairlead_journal_segments{state=\"sealed\"} 3",
            "fairlead_journal_live_ratio 0.25",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
