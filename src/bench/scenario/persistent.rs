//! Persistent messages into durable queues, with a bounded number of them unconfirmed, beside what the disk allows.
//!
//! Nobody consumes while it is measured, so that each confirm stands for a message that the disk has: a broker may
//! confirm a message that was consumed before it was written. What the warm-up stored is purged, so that a broker that
//! uses its files again does so here. With `--ack` a consumer empties each queue.

use super::Report;
use super::disk_limit::{self, Work};
use super::objects::with_objects;
use super::watch::within;
use crate::error::Error;
use crate::flow::{Acknowledge, ConfirmedPublisher, Lane, Progress, consume};
use crate::http;
use crate::machine::disk;
use crate::measure::{Metric, Sample, Stopwatch};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_client::{Consumer, Error as ClientError};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Bytes of a body.
const BODY_SIZE: usize = 1024;

/// A publisher ends its round when so many of its messages are confirmed, however fast that was.
const STORED_MAX: u64 = 4_000_000;

/// How long a round may take beyond its warm-up and its duration.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who publishes how.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Publishers, each with a connection and a queue of its own.
    pub publishers: usize,
    /// Messages that each has unconfirmed at most.
    pub window: usize,
    /// Of brokers other than Fairlead the queues are quorum queues. Fairlead's are durable classic ones in any case.
    pub quorum: bool,
}

/// Runs one round.
pub async fn run(
    shape: Shape,
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
) -> Result<Sample, Error> {
    // As much is stored before as is measured: the first time is slower.
    let warm_up = settings.warm_up.max(settings.duration * 3 / 2);
    let patience = warm_up + settings.duration + PATIENCE;
    let (mut sample, work) = with_objects(target, async |objects| {
        report("setting up");
        let mut control = target.connect(0).await?;
        let quorum = shape.quorum && !target.is_fairlead();
        let queues = objects.durable_queues(&mut control, shape.publishers, quorum).await;
        let queues = queues.map_err(|source| target.failed(source))?;
        let mut publishers = Vec::new();
        let mut consumers = JoinSet::new();
        for queue in &queues {
            let connection = target.connect(0).await?;
            let publisher = ConfirmedPublisher::new(connection, queue, shape.window, BODY_SIZE, 0).await;
            publishers.push(publisher.map_err(|source| target.failed(source))?);
            if settings.ack {
                start_consumer(queue, target, settings, &mut consumers).await?;
            }
        }
        report("warming up");
        let publishers = within(patience, &target.name, run_all(publishers, warm_up, target)).await?;
        for queue in &queues {
            control.purge(1, queue).await.map_err(|source| target.failed(source))?;
        }
        report("measuring");
        within(patience, &target.name, measure(publishers, target, settings)).await
    })
    .await?;
    if let (Some(work), Some(folder)) = (work, target.folder()) {
        report("measuring the disk");
        disk_limit::run(work, folder, target.core(), settings.duration, &mut sample)?;
    }
    Ok(sample)
}

async fn start_consumer(
    queue: &str,
    target: &Target,
    settings: &Settings,
    consumers: &mut JoinSet<Result<(), ClientError>>,
) -> Result<(), Error> {
    let mut connection = target.connect(0).await?;
    let consumer = Consumer { queue, tag: "bench", no_ack: false, exclusive: false };
    let started = async {
        connection.qos(1, settings.prefetch).await?;
        connection.consume(1, &consumer).await
    };
    started.await.map_err(|source| target.failed(source))?;
    // Publishers go by their confirms: nobody looks at this lane.
    let lane = Lane::new(1, Progress::Sum, 1);
    let acknowledge = Acknowledge::Every(u64::from(settings.prefetch / 4));
    consumers.spawn_local(async move { consume(&mut connection, &lane, 0, acknowledge).await });
    Ok(())
}

/// Runs all publishers at the same time, for so long.
async fn run_all(
    publishers: Vec<ConfirmedPublisher>,
    duration: Duration,
    target: &Target,
) -> Result<Vec<ConfirmedPublisher>, Error> {
    let end = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for mut publisher in publishers {
        tasks.spawn_local(async move { publisher.run_until(end, STORED_MAX).await.map(|()| publisher) });
    }
    let mut publishers = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(Error::system("run a task"))?;
        publishers.push(ended.map_err(|source| target.failed(source))?);
    }
    Ok(publishers)
}

async fn measure(
    mut publishers: Vec<ConfirmedPublisher>,
    target: &Target,
    settings: &Settings,
) -> Result<(Sample, Option<Work>), Error> {
    for publisher in &mut publishers {
        publisher.record(histogram()?);
    }
    let before = confirmed(&publishers);
    let storage = Storage::look(target).await?;
    let stopwatch = Stopwatch::start(target.process)?;
    let mut publishers = run_all(publishers, settings.duration, target).await?;
    let count = confirmed(&publishers) - before;
    let mut sample = Sample::default();
    let elapsed = stopwatch.elapsed();
    stopwatch.finish(count, &mut sample)?;
    if count == 0 {
        return Err(Error::Silence { target: target.name.clone(), seconds: elapsed.as_secs_f64() });
    }
    let used = storage.until(Storage::look(target).await?);
    used.put(elapsed, &mut sample);
    let mut latencies = histogram()?;
    for recorded in publishers.iter_mut().filter_map(ConfirmedPublisher::recorded) {
        latencies.add(recorded).map_err(no_histogram)?;
    }
    for (metric, quantile) in [(Metric::LatencyP50, 0.5), (Metric::LatencyP99, 0.99)] {
        sample.put(metric, latencies.value_at_quantile(quantile) as f64 / 1e3);
    }
    let work = used.syncs.or(used.flushes).filter(|syncs| *syncs > 0).map(|syncs| Work {
        messages: count,
        bytes: used.bytes.unwrap_or(count * BODY_SIZE as u64),
        syncs,
        took: elapsed,
    });
    Ok((sample, work))
}

fn confirmed(publishers: &[ConfirmedPublisher]) -> u64 {
    publishers.iter().map(|publisher| publisher.confirmed().get()).sum()
}

fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(no_histogram)
}

fn no_histogram(fault: impl std::fmt::Display) -> Error {
    Error::Usage(format!("no histogram: {fault}"))
}

/// What broker and disk have counted; what they do not tell is `None`.
#[derive(Clone, Copy, Debug, Default)]
struct Storage {
    /// Syncs, by the broker's own count.
    syncs: Option<u64>,
    /// Bytes that it has written before them, by its own count.
    bytes: Option<u64>,
    /// Flushes of the disk, and bytes written to it, whoever asked for them.
    flushes: Option<u64>,
    written: Option<u64>,
}

impl Storage {
    async fn look(target: &Target) -> Result<Self, Error> {
        let text = match target.http {
            Some(port) => http::get(port, "/metrics").await?.body,
            None => String::new(),
        };
        let counter = |name: &str| http::metric(&text, name).map(|value| value as u64);
        // Of a broker that was not started here the folder is unknown: it is taken to be on the same disk.
        let folder = target.folder().map_or_else(std::env::temp_dir, std::path::Path::to_owned);
        let disk = disk::done(&folder);
        Ok(Self {
            syncs: counter("fairlead_journal_syncs_total"),
            bytes: counter("fairlead_journal_written_bytes_total"),
            flushes: disk.map(|done| done.flushes),
            written: disk.map(|done| done.written),
        })
    }

    fn until(self, after: Self) -> Self {
        let between = |before: Option<u64>, after: Option<u64>| Some(after?.saturating_sub(before?));
        Self {
            syncs: between(self.syncs, after.syncs),
            bytes: between(self.bytes, after.bytes),
            flushes: between(self.flushes, after.flushes),
            written: between(self.written, after.written),
        }
    }

    fn put(self, elapsed: Duration, sample: &mut Sample) {
        let figures = [
            (Metric::SyncsPerSecond, self.syncs, 1.0),
            (Metric::DiskFlushesPerSecond, self.flushes, 1.0),
            (Metric::DiskMegabytesPerSecond, self.written, 1e6),
        ];
        for (metric, count, unit) in figures {
            if let Some(count) = count {
                sample.put(metric, count as f64 / unit / elapsed.as_secs_f64());
            }
        }
    }
}
