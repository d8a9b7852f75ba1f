//! Memory of what does nothing: connections with one channel, and queues never used.

use super::Report;
use super::objects::with_objects;
use crate::error::Error;
use crate::machine::raise_open_files;
use crate::measure::{Metric, Sample};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_client::Connection;
use std::time::Duration;

/// What there are many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Connections with one open channel.
    Connections,
    /// Queues without messages, consumers or bindings of their own.
    Queues,
}

/// Open files that the generator needs beside its connections.
const OTHER_FILES: u64 = 100;

/// Connections that are opened at the same time: fewer than any broker's listen backlog.
const AT_ONCE: usize = 50;

/// A broker may still tidy up after the last is there.
const SETTLE: Duration = Duration::from_millis(500);

/// Runs one round.
pub async fn run(
    what: What,
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
) -> Result<Sample, Error> {
    let before = Baseline::take(target)?;
    match what {
        What::Connections => {
            let count = settings.connections as usize;
            let connections = open(count, target, report).await?;
            tokio::time::sleep(SETTLE).await;
            let sample = before.sample(count as u64, target)?;
            report("closing");
            drop(connections);
            Ok(sample)
        }
        What::Queues => {
            with_objects(target, async |objects| {
                report("declaring");
                let count = settings.queues as usize;
                let mut connection = target.connect(0).await?;
                objects.queues(&mut connection, count).await.map_err(|source| target.failed(source))?;
                tokio::time::sleep(SETTLE).await;
                before.sample(count as u64, target)
            })
            .await
        }
    }
}

async fn open(count: usize, target: &Target, report: Report<'_>) -> Result<Vec<Connection>, Error> {
    let files = raise_open_files(count as u64 + OTHER_FILES);
    if files < count as u64 + OTHER_FILES {
        return Err(Error::Usage(format!(
            "{count} connections need {} open files, and {files} are allowed: raise `ulimit -n` or lower --connections",
            count as u64 + OTHER_FILES
        )));
    }
    let mut connections = Vec::with_capacity(count);
    while connections.len() < count {
        let first = connections.len();
        report(&format!("{first} of {count} connections"));
        // The futures of one group run in one task: they only wait for the broker.
        let group = (first..count.min(first + AT_ONCE)).map(|number| Box::pin(target.connect(number)));
        for connection in join_all(group.collect()).await {
            connections.push(connection?);
        }
    }
    Ok(connections)
}

/// Awaits all futures, which run together, and gives their results in order.
async fn join_all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut results: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none() {
                match std::pin::Pin::new(future).poll(context) {
                    std::task::Poll::Ready(value) => *result = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// What a broker held before.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    resident: u64,
}

impl Baseline {
    /// Takes it, and sets the peak back to it.
    pub fn take(target: &Target) -> Result<Self, Error> {
        let Some(process) = target.process else {
            return Err(Error::Usage(format!(
                "{}: memory can only be measured of a broker on this machine whose process may be looked at",
                target.name
            )));
        };
        process.reset_peak()?;
        Ok(Self { resident: process.memory()?.resident })
    }

    /// The peak above it, in bytes.
    pub fn above(self, target: &Target) -> Result<u64, Error> {
        let peak = target.process.map_or(Ok(0), |process| process.memory().map(|memory| memory.peak))?;
        Ok(peak.saturating_sub(self.resident))
    }

    /// The figures for `count` things.
    pub fn sample(self, count: u64, target: &Target) -> Result<Sample, Error> {
        let mut sample = Sample::default();
        sample.put(Metric::BytesEach, self.above(target)? as f64 / count as f64);
        sample.put_memory(target.process)?;
        Ok(sample)
    }
}
