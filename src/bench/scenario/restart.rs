//! A Fairlead with many persistent messages is killed and started again: how soon it is ready, with how much memory, and
//! how fast it gives the messages back, beside how fast they pass through an empty queue.

use super::Report;
use super::watch::watched;
use crate::error::Error;
use crate::flow::{ConfirmedPublisher, Lane, Progress, drain};
use crate::http;
use crate::machine::disk;
use crate::machine::process::Process;
use crate::measure::{Metric, Sample};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_client::{Connection, Consumer, Queue};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The queue; it goes with the broker.
pub const QUEUE: &str = "fairlead-bench.restart";

/// How long the health may take after the ready line.
const PATIENCE: Duration = Duration::from_secs(60);

/// At so many points the growth is noted.
const POINTS: u64 = 10;

/// Runs it all once.
pub async fn run(target: &mut Target, settings: &Settings, report: Report<'_>) -> Result<Sample, Error> {
    let mut sample = Sample::default();
    store(target, settings, report, &mut sample).await?;
    report("killing it, and starting it again");
    target.kill()?;
    warm_start(target, &mut sample).await?;
    if settings.cold {
        report("killing it again, and starting it with nothing in the page cache");
        target.kill()?;
        let emptied = disk::empty_page_cache(&target.data()?)?;
        report(match emptied {
            disk::Emptied::Everything => "starting it; the machine's page cache is empty",
            disk::Emptied::Files => "starting it; its files are out of the page cache",
        });
        cold_start(target, &mut sample).await?;
    }
    let drained = empty(target, settings, report).await?;
    report("through the empty queue");
    let through = flow(target, settings).await?;
    sample.put(Metric::DrainRate, drained);
    sample.put(Metric::EmptyQueueRate, through);
    sample.put(Metric::DrainShare, drained / through);
    sample.put_memory(target.process)?;
    Ok(sample)
}

/// Messages that a publisher of such bodies has unconfirmed at most: about a megabyte.
fn window(size: usize) -> usize {
    ((1 << 20) / size).clamp(1000, 10_000)
}

/// The process of a broker that was started here.
pub fn process(target: &Target) -> Result<Process, Error> {
    target.process.ok_or_else(|| Error::Usage(format!("{}: its process cannot be seen", target.name)))
}

/// Makes the durable queue, with a publisher to it whose first message has that number.
pub async fn publisher(target: &Target, size: usize, first: u64) -> Result<ConfirmedPublisher, Error> {
    let mut connection = target.connect(0).await?;
    let made = async {
        connection.declare_queue(1, &Queue { name: QUEUE, durable: true, ..Queue::default() }).await?;
        ConfirmedPublisher::new(connection, QUEUE, window(size), size, first).await
    };
    made.await.map_err(|source| target.failed(source))
}

/// A connection that consumes from the queue, with so many deliveries unacknowledged at most.
pub async fn consumer(target: &Target, prefetch: u16) -> Result<Connection, Error> {
    let mut connection = target.connect(0).await?;
    let consumer = Consumer { queue: QUEUE, tag: "bench", no_ack: false, exclusive: false };
    let started = async {
        connection.qos(1, prefetch).await?;
        connection.consume(1, &consumer).await
    };
    started.await.map_err(|source| target.failed(source))?;
    Ok(connection)
}

async fn store(
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
    sample: &mut Sample,
) -> Result<(), Error> {
    let count = settings.restart_messages;
    let process = process(target)?;
    let mut publisher = publisher(target, settings.restart_size as usize, 0).await?;
    let confirmed = publisher.confirmed();
    // Without the right to do so the peak is that since the start, which was small.
    let _ = process.reset_peak();
    let mut growth = Vec::new();
    let began = Instant::now();
    let work = async { publisher.store(count).await.map_err(|source| target.failed(source)) };
    let look = || {
        let stored = confirmed.get();
        report(&format!("stored {stored} of {count}"));
        if stored >= count * (growth.len() as u64 + 1) / POINTS {
            growth.push((stored, process.memory()?.resident));
        }
        Ok(())
    };
    watched(work, look).await?;
    sample.put(Metric::FillRate, count as f64 / began.elapsed().as_secs_f64());
    sample.put(Metric::BacklogPeakResident, process.memory()?.peak as f64);
    sample.growth = growth;
    sample.put(Metric::DiskUsed, disk::used(&target.data()?)? as f64);
    Ok(())
}

/// Starts a killed broker with what the page cache has, and takes the figures of its start.
pub async fn warm_start(target: &mut Target, sample: &mut Sample) -> Result<(), Error> {
    target.start_again()?;
    let health = await_health(target).await?;
    let process = process(target)?;
    let memory = process.memory()?;
    sample.put(Metric::StartMilliseconds, target.start_milliseconds().unwrap_or_default());
    sample.put(Metric::StartCpuMilliseconds, process.cpu_time()?.as_secs_f64() * 1e3);
    sample.put(Metric::HealthMilliseconds, health);
    sample.put(Metric::StartBytesRead, process.reads()?.all as f64);
    sample.put(Metric::StartResident, memory.resident as f64);
    sample.put(Metric::StartPeakResident, memory.peak as f64);
    Ok(())
}

async fn cold_start(target: &mut Target, sample: &mut Sample) -> Result<(), Error> {
    target.start_again()?;
    let health = await_health(target).await?;
    sample.put(Metric::ColdStartMilliseconds, target.start_milliseconds().unwrap_or_default());
    sample.put(Metric::ColdHealthMilliseconds, health);
    sample.put(Metric::ColdDiskBytesRead, process(target)?.reads()?.from_disk as f64);
    Ok(())
}

/// Milliseconds from the start of the program until its health was ready.
async fn await_health(target: &Target) -> Result<f64, Error> {
    let (Some(port), Some(started)) = (target.http, target.started_at()) else {
        return Err(Error::Usage(format!("{}: its HTTP port is unknown", target.name)));
    };
    let deadline = Instant::now() + PATIENCE;
    while http::get(port, "/health/ready").await?.status != 200 {
        if Instant::now() >= deadline {
            return Err(Error::TooLong { target: target.name.clone(), seconds: PATIENCE.as_secs() });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Consumes all that is stored; gives messages in a second.
async fn empty(target: &Target, settings: &Settings, report: Report<'_>) -> Result<f64, Error> {
    let count = settings.restart_messages;
    let lane = Lane::new(1, Progress::Sum, 1);
    let began = Instant::now();
    let mut connection = consumer(target, settings.prefetch).await?;
    let work = async {
        drain(&mut connection, &lane, 0, count, u64::from(settings.prefetch / 4)).await?;
        // The answer to this comes when the acknowledgements are taken.
        connection.inspect_queue(1, QUEUE).await
    };
    let look = || {
        report(&format!("consumed {} of {count}", lane.received().sum::<u64>()));
        Ok(())
    };
    let left = watched(async { work.await.map_err(|source| target.failed(source)) }, look).await?;
    if left.messages > 0 {
        let fault = format!("{} messages more than were stored", left.messages);
        return Err(Error::Changed { target: target.name.clone(), fault });
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    connection.close().await.map_err(|source| target.failed(source))?;
    Ok(rate)
}

/// Messages in a second that are published with confirms, consumed and acknowledged while the queue stays short.
async fn flow(target: &Target, settings: &Settings) -> Result<f64, Error> {
    let size = settings.restart_size as usize;
    let lane: Rc<Lane> = Lane::new(1, Progress::Sum, settings.window_for(size));
    let mut connection = consumer(target, settings.prefetch).await?;
    let mut publisher = publisher(target, size, 0).await?;
    let every = u64::from(settings.prefetch / 4);
    let measured = async {
        tokio::time::sleep(settings.warm_up).await;
        let before: u64 = lane.received().sum();
        let began = Instant::now();
        tokio::time::sleep(settings.duration).await;
        (lane.received().sum::<u64>() - before) as f64 / began.elapsed().as_secs_f64()
    };
    let rate = tokio::select! {
        rate = measured => rate,
        ended = publisher.run_through(&lane, u64::MAX) => return Err(ended_early(target, ended)),
        ended = drain(&mut connection, &lane, 0, u64::MAX, every) => return Err(ended_early(target, ended)),
    };
    if rate > 0.0 {
        Ok(rate)
    } else {
        Err(Error::Silence { target: target.name.clone(), seconds: settings.duration.as_secs_f64() })
    }
}

/// A flow without end can only fail.
fn ended_early(target: &Target, result: Result<(), fairlead_client::Error>) -> Error {
    target.failed(result.err().unwrap_or(fairlead_client::Error::EndOfStream("while messages flowed")))
}
