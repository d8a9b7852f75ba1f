//! One old message that nobody acknowledges, while many others pass it: what the data folder takes on the disk.
//!
//! Afterwards the broker is killed and started again, and must have the old message still.

use super::Report;
use super::restart::{QUEUE, consumer, process, publisher, warm_start};
use super::watch::watched;
use crate::error::Error;
use crate::flow::{Lane, NUMBER_SIZE, Progress, drain};
use crate::machine::disk;
use crate::measure::{Metric, Sample};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_client::Message;
use std::time::Instant;

/// Bytes of a body.
const BODY_SIZE: usize = 1024;

/// Runs it once.
pub async fn run(target: &mut Target, settings: &Settings, report: Report<'_>) -> Result<Sample, Error> {
    let mut sample = Sample::default();
    pass(target, settings, report, &mut sample).await?;
    report("killing it, and starting it again");
    target.kill()?;
    warm_start(target, &mut sample).await?;
    let mut connection = target.connect(0).await?;
    let kept = connection.get(1, QUEUE, true).await.map_err(|source| target.failed(source))?;
    let kept = kept.ok_or_else(|| changed(target, "the old one was lost".to_owned()))?;
    check(&kept, true, target)?;
    Ok(sample)
}

/// Publishes and consumes behind the back of one who holds the first message.
async fn pass(
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
    sample: &mut Sample,
) -> Result<(), Error> {
    let count = settings.pin_bytes / BODY_SIZE as u64;
    let data = target.data()?;
    let mut publisher = publisher(target, BODY_SIZE, 0).await?;
    publisher.store(1).await.map_err(|source| target.failed(source))?;
    let mut holder = consumer(target, 1).await?;
    let held = holder.receive().await.map_err(|source| target.failed(source))?;
    check(&held, false, target)?;

    let lane = Lane::new(1, Progress::Sum, settings.window_for(BODY_SIZE));
    let mut connection = consumer(target, settings.prefetch).await?;
    let mut peak = 0;
    let began = Instant::now();
    let work = async {
        let every = u64::from(settings.prefetch / 4);
        tokio::try_join!(publisher.run_through(&lane, count), drain(&mut connection, &lane, 1, count, every),)
            .map_err(|source| target.failed(source))
    };
    let look = || {
        let used = disk::used(&data)?;
        peak = peak.max(used);
        let passed: u64 = lane.received().sum();
        report(&format!("{passed} of {count} have passed; {:.0} MB on disk", used as f64 / 1e6));
        Ok(())
    };
    watched(work, look).await?;
    sample.put(Metric::MessagesPerSecond, count as f64 / began.elapsed().as_secs_f64());
    sample.put(Metric::DiskPeak, peak as f64);
    sample.put(Metric::DiskUsed, disk::used(&data)? as f64);
    sample.put_memory(Some(process(target)?))
}

/// Whether it is the first message.
fn check(message: &Message, redelivered: bool, target: &Target) -> Result<(), Error> {
    if message.body.len() != BODY_SIZE || message.body[..NUMBER_SIZE] != [0; NUMBER_SIZE] {
        return Err(changed(target, "it is not the old one".to_owned()));
    }
    if message.redelivered != redelivered {
        return Err(changed(target, format!("its redelivered flag is {}", message.redelivered)));
    }
    Ok(())
}

fn changed(target: &Target, fault: String) -> Error {
    Error::Changed { target: target.name.clone(), fault }
}
