//! Memory of queued messages: many go into one queue and nobody takes them.

use super::Report;
use super::idle::Baseline;
use super::objects::with_objects;
use crate::error::Error;
use crate::flow::Batches;
use crate::measure::{Sample, Stopwatch};
use crate::target::Target;
use fairlead_client::Connection;
use std::time::{Duration, Instant};

/// How long the broker may take to show that all messages are queued.
const PATIENCE: Duration = Duration::from_secs(120);

/// At so many points the growth is noted.
const POINTS: u64 = 10;

/// Runs one round with `messages` of `body_size` bytes.
pub async fn run(
    body_size: usize,
    messages: u32,
    target: &Target,
    report: Report<'_>,
) -> Result<Sample, Error> {
    with_objects(target, async |objects| {
        report("setting up");
        let mut control = target.connect(0).await?;
        let names = objects.queues(&mut control, 1).await.map_err(|source| target.failed(source))?;
        let mut publisher = target.connect(0).await?;
        let batches = Batches::new(&publisher, "", &names, body_size);
        let before = Baseline::take(target)?;
        let stopwatch = Stopwatch::start(target.process)?;
        let mut stored = 0;
        let mut growth = Vec::new();
        for point in 1..=POINTS {
            report(&format!("{} % stored", (point - 1) * 100 / POINTS));
            let goal = u64::from(messages) * point / POINTS;
            stored += batches
                .send_at_least(&mut publisher, goal - stored.min(goal))
                .await
                .map_err(|source| target.failed(source))?;
            await_stored(&mut control, &names[0], stored, target).await?;
            if let Some(process) = target.process {
                growth.push((stored, process.memory()?.resident));
            }
        }
        let mut sample = before.sample(stored, target)?;
        stopwatch.finish(stored, &mut sample)?;
        sample.growth = growth;
        Ok(sample)
    })
    .await
}

async fn await_stored(
    control: &mut Connection,
    queue: &str,
    expected: u64,
    target: &Target,
) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = control.inspect_queue(1, queue).await.map_err(|source| target.failed(source))?;
        let stored = u64::from(state.messages);
        if stored >= expected {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Missing {
                target: target.name.clone(),
                missing: expected - stored,
                sent: expected,
                seconds: PATIENCE.as_secs(),
            });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
