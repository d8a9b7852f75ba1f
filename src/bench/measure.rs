//! What one round of a scenario found, and how it is taken.

use crate::error::Error;
use crate::machine::process::Process;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What can be measured. The order is that of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Messages received in a second; published and confirmed ones where nobody receives.
    MessagesPerSecond,
    /// Megabytes (10^6) of bodies received in a second.
    MegabytesPerSecond,
    /// Megabytes (10^6) of bodies stored and confirmed in a second.
    StoredMegabytesPerSecond,
    /// Half of the messages took no longer, in microseconds.
    LatencyP50,
    /// 99 % took no longer, in microseconds.
    LatencyP99,
    /// 99.9 % took no longer, in microseconds.
    LatencyP999,
    /// The slowest, in microseconds.
    LatencyMax,
    /// Syncs that the broker made in a second, by its own count.
    SyncsPerSecond,
    /// Flushes of the disk in a second, by the kernel's count: those of everybody who uses it.
    DiskFlushesPerSecond,
    /// Megabytes (10^6) written to the disk in a second, by the kernel's count: those of everybody who uses it.
    DiskMegabytesPerSecond,
    /// Messages in a second that the disk alone allows: the same bytes and as many syncs by a plain loop.
    DiskLimit,
    /// The broker's rate as a share of that.
    DiskLimitShare,
    /// Messages that a pause of the generator disturbed, as a share of those measured; the latencies are without them.
    DisturbedShare,
    /// What the slowest consumer received, as a share of the fastest's.
    SlowestShare,
    /// Bytes of resident memory each (connection, queue or message): the peak above what was resident before.
    BytesEach,
    /// Peak memory above what was resident before, as a multiple of one body.
    BodyCopies,
    /// From the start of the program until it was ready, in milliseconds; with a warm page cache.
    StartMilliseconds,
    /// CPU time that it took for that, in milliseconds.
    StartCpuMilliseconds,
    /// From the start of the program until its health was ready, in milliseconds.
    HealthMilliseconds,
    /// Bytes that it read until then, from the page cache or the disk.
    StartBytesRead,
    /// The peak of its resident memory until then, in bytes.
    StartPeakResident,
    /// Its resident memory then, in bytes.
    StartResident,
    /// From the start to ready with nothing in the page cache, in milliseconds.
    ColdStartMilliseconds,
    /// The same until its health was ready.
    ColdHealthMilliseconds,
    /// Bytes that it read from the disk until then.
    ColdDiskBytesRead,
    /// Messages stored and confirmed in a second while a backlog grew.
    FillRate,
    /// The peak of resident memory meanwhile, in bytes.
    BacklogPeakResident,
    /// Messages of a backlog consumed and acknowledged in a second.
    DrainRate,
    /// Messages published, confirmed, consumed and acknowledged in a second through an empty queue.
    EmptyQueueRate,
    /// The first as a share of the second.
    DrainShare,
    /// The most that the data folder took on the disk, in bytes.
    DiskPeak,
    /// What it took at the end, in bytes.
    DiskUsed,
    /// CPU seconds of the broker for a million messages.
    BrokerCpuPerMillion,
    /// CPU time of the broker by time passed.
    BrokerCpuShare,
    /// CPU time of the generator by time passed.
    GeneratorCpuShare,
    /// Resident memory of the broker at the end, in bytes.
    Resident,
    /// Its peak during the round, in bytes.
    PeakResident,
}

impl Metric {
    /// Its name in JSON, with the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessagesPerSecond => "messages_per_second",
            Self::MegabytesPerSecond => "megabytes_per_second",
            Self::StoredMegabytesPerSecond => "stored_megabytes_per_second",
            Self::LatencyP50 => "latency_p50_microseconds",
            Self::LatencyP99 => "latency_p99_microseconds",
            Self::LatencyP999 => "latency_p999_microseconds",
            Self::LatencyMax => "latency_max_microseconds",
            Self::SyncsPerSecond => "syncs_per_second",
            Self::DiskFlushesPerSecond => "disk_flushes_per_second",
            Self::DiskMegabytesPerSecond => "disk_megabytes_per_second",
            Self::DiskLimit => "disk_limit_messages_per_second",
            Self::DiskLimitShare => "share_of_disk_limit",
            Self::DisturbedShare => "generator_disturbed_share",
            Self::SlowestShare => "slowest_share_of_fastest",
            Self::BytesEach => "bytes_each",
            Self::BodyCopies => "peak_in_bodies",
            Self::StartMilliseconds => "start_milliseconds",
            Self::StartCpuMilliseconds => "start_cpu_milliseconds",
            Self::HealthMilliseconds => "start_to_health_ready_milliseconds",
            Self::StartBytesRead => "start_bytes_read",
            Self::StartPeakResident => "start_peak_resident_bytes",
            Self::StartResident => "start_resident_bytes",
            Self::ColdStartMilliseconds => "cold_start_milliseconds",
            Self::ColdHealthMilliseconds => "cold_start_to_health_ready_milliseconds",
            Self::ColdDiskBytesRead => "cold_start_disk_bytes_read",
            Self::FillRate => "stored_per_second",
            Self::BacklogPeakResident => "backlog_peak_resident_bytes",
            Self::DrainRate => "drained_per_second",
            Self::EmptyQueueRate => "through_empty_queue_per_second",
            Self::DrainShare => "drain_share_of_empty_queue",
            Self::DiskPeak => "data_folder_peak_bytes",
            Self::DiskUsed => "data_folder_bytes",
            Self::BrokerCpuPerMillion => "broker_cpu_seconds_per_million",
            Self::BrokerCpuShare => "broker_cpu_share",
            Self::GeneratorCpuShare => "generator_cpu_share",
            Self::Resident => "resident_bytes",
            Self::PeakResident => "peak_resident_bytes",
        }
    }

    /// Whether more is better; `None` where neither is.
    pub fn more_is_better(self) -> Option<bool> {
        match self {
            Self::MessagesPerSecond
            | Self::MegabytesPerSecond
            | Self::StoredMegabytesPerSecond
            | Self::SlowestShare
            | Self::DiskLimitShare
            | Self::FillRate
            | Self::DrainRate
            | Self::EmptyQueueRate
            | Self::DrainShare => Some(true),
            Self::BrokerCpuShare
            | Self::GeneratorCpuShare
            | Self::DisturbedShare
            | Self::SyncsPerSecond
            | Self::DiskFlushesPerSecond
            | Self::DiskMegabytesPerSecond
            | Self::DiskLimit => None,
            Self::LatencyP50
            | Self::LatencyP99
            | Self::LatencyP999
            | Self::LatencyMax
            | Self::BytesEach
            | Self::BodyCopies
            | Self::StartMilliseconds
            | Self::StartCpuMilliseconds
            | Self::HealthMilliseconds
            | Self::StartBytesRead
            | Self::StartPeakResident
            | Self::StartResident
            | Self::ColdStartMilliseconds
            | Self::ColdHealthMilliseconds
            | Self::ColdDiskBytesRead
            | Self::BacklogPeakResident
            | Self::DiskPeak
            | Self::DiskUsed
            | Self::BrokerCpuPerMillion
            | Self::Resident
            | Self::PeakResident => Some(false),
        }
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The figures of one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// What was measured. A metric that could not be (a process out of sight) is not there.
    #[serde(flatten)]
    pub figures: BTreeMap<Metric, f64>,
    /// Messages stored and resident bytes, while a backlog grew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<(u64, u64)>,
}

impl Sample {
    /// Adds a figure.
    pub fn put(&mut self, metric: Metric, value: f64) {
        self.figures.insert(metric, value);
    }

    /// The broker's memory, if it can be seen.
    pub fn put_memory(&mut self, process: Option<Process>) -> Result<(), Error> {
        if let Some(process) = process {
            let memory = process.memory()?;
            self.put(Metric::Resident, memory.resident as f64);
            self.put(Metric::PeakResident, memory.peak as f64);
        }
        Ok(())
    }
}

/// The median of each figure; of two in the middle their mean. The growth is the last round's.
pub fn median(samples: &[Sample]) -> Sample {
    let mut median = Sample::default();
    let metrics = samples.iter().flat_map(|sample| sample.figures.keys().copied());
    for metric in metrics.collect::<std::collections::BTreeSet<_>>() {
        let mut values: Vec<f64> =
            samples.iter().filter_map(|sample| sample.figures.get(&metric).copied()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let value =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        median.put(metric, value);
    }
    median.growth = samples.last().map(|sample| sample.growth.clone()).unwrap_or_default();
    median
}

/// CPU time of broker and generator since a moment.
#[derive(Debug)]
pub struct Stopwatch {
    broker: Option<Process>,
    began: Instant,
    broker_before: Duration,
    generator_before: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(broker: Option<Process>) -> Result<Self, Error> {
        if let Some(broker) = broker {
            // Without the right to do so the peak is the process's own: it is then too high, never too low.
            let _ = broker.reset_peak();
        }
        Ok(Self {
            broker,
            broker_before: broker.map_or(Ok(Duration::ZERO), Process::cpu_time)?,
            generator_before: Process::this().cpu_time()?,
            began: Instant::now(),
        })
    }

    /// The time since.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Adds rate, CPU time and memory for `messages` since the start.
    pub fn finish(&self, messages: u64, sample: &mut Sample) -> Result<(), Error> {
        let seconds = self.elapsed().as_secs_f64();
        sample.put(Metric::MessagesPerSecond, messages as f64 / seconds);
        let generator = (Process::this().cpu_time()? - self.generator_before).as_secs_f64();
        sample.put(Metric::GeneratorCpuShare, generator / seconds);
        if let Some(broker) = self.broker {
            let used = broker.cpu_time()?.saturating_sub(self.broker_before).as_secs_f64();
            sample.put(Metric::BrokerCpuShare, used / seconds);
            if messages > 0 {
                sample.put(Metric::BrokerCpuPerMillion, used / (messages as f64 / 1e6));
            }
        }
        sample.put_memory(self.broker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], expected: f64) {
        let samples: Vec<_> = values
            .iter()
            .map(|value| {
                let mut sample = Sample::default();
                sample.put(Metric::BytesEach, *value);
                sample
            })
            .collect();
        assert_eq!(median(&samples).figures[&Metric::BytesEach], expected, "{values:?}");
    }

    #[test]
    fn the_median_is_the_middle() {
        check(&[5.0], 5.0);
        check(&[9.0, 1.0, 5.0], 5.0);
        check(&[9.0, 1.0, 5.0, 7.0], 6.0);
    }

    #[test]
    fn metrics_have_names_of_their_own() {
        let all = [
            Metric::MessagesPerSecond,
            Metric::MegabytesPerSecond,
            Metric::StoredMegabytesPerSecond,
            Metric::LatencyP50,
            Metric::LatencyP99,
            Metric::LatencyP999,
            Metric::LatencyMax,
            Metric::SyncsPerSecond,
            Metric::DiskFlushesPerSecond,
            Metric::DiskMegabytesPerSecond,
            Metric::DiskLimit,
            Metric::DiskLimitShare,
            Metric::DisturbedShare,
            Metric::SlowestShare,
            Metric::BytesEach,
            Metric::BodyCopies,
            Metric::StartMilliseconds,
            Metric::StartCpuMilliseconds,
            Metric::HealthMilliseconds,
            Metric::StartBytesRead,
            Metric::StartPeakResident,
            Metric::StartResident,
            Metric::ColdStartMilliseconds,
            Metric::ColdHealthMilliseconds,
            Metric::ColdDiskBytesRead,
            Metric::FillRate,
            Metric::BacklogPeakResident,
            Metric::DrainRate,
            Metric::EmptyQueueRate,
            Metric::DrainShare,
            Metric::DiskPeak,
            Metric::DiskUsed,
            Metric::BrokerCpuPerMillion,
            Metric::BrokerCpuShare,
            Metric::GeneratorCpuShare,
            Metric::Resident,
            Metric::PeakResident,
        ];
        let names: std::collections::BTreeSet<_> = all.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), all.len());
    }
}
