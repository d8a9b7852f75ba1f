//! Time from publish to delivery at a fixed rate that does not wait for the broker.
//!
//! Each message carries the moment at which it was due, not the one at which it was written: when broker or
//! generator fall behind, the delay counts for every message that it delays (no coordinated omission).

use super::Report;
use super::objects::with_objects;
use crate::error::Error;
use crate::measure::{Metric, Sample, Stopwatch};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{BasicProperties, basic};
use fairlead_client::{Connection, Consumer, ContentProgress, Error as ClientError, PublishTemplate};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Bytes of a body: its number, and when it was due in nanoseconds since the start, both big-endian.
const BODY_SIZE: usize = 16;

/// Messages that are written together when the publisher is behind.
const CATCH_UP: u64 = 1_000;

/// How long the last messages are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// When messages are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    /// Messages in a second.
    rate: u64,
    /// The first message that is measured.
    from: u64,
    /// The message that is no longer sent.
    end: u64,
}

impl Schedule {
    fn new(settings: &Settings, start: Instant) -> Self {
        let rate = u64::from(settings.rate);
        let count = |duration: Duration| (duration.as_secs_f64() * rate as f64) as u64;
        let from = count(settings.warm_up);
        Self { start, rate, from, end: from + count(settings.duration).max(1) }
    }

    /// Nanoseconds from the start until message `number` is due.
    fn due(&self, number: u64) -> u64 {
        (u128::from(number) * 1_000_000_000 / u128::from(self.rate)) as u64
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// How many messages are due at `now`.
    fn due_by(&self, now: u64) -> u64 {
        let count = u128::from(now) * u128::from(self.rate) / 1_000_000_000 + 1;
        (count as u64).min(self.end)
    }
}

/// Runs one round.
pub async fn run(target: &Target, settings: &Settings, report: Report<'_>) -> Result<Sample, Error> {
    with_objects(target, async |objects| {
        report("setting up");
        let mut publisher = target.connect(0).await?;
        let mut consumer = target.connect(0).await?;
        let queue = async {
            let queue = objects.queues(&mut publisher, 1, false).await?.remove(0);
            let started = Consumer { queue: &queue, tag: "bench", no_ack: true, exclusive: false };
            consumer.consume(1, &started).await?;
            Ok(queue)
        }
        .await
        .map_err(|source| target.failed(source))?;
        report("measuring");
        let schedule = Schedule::new(settings, Instant::now());
        let mut receiver = Receiver::new(schedule)?;
        let stopwatch = Stopwatch::start(target.process)?;
        let (sent, received) = tokio::join!(
            send(&mut publisher, &queue, schedule),
            tokio::time::timeout(
                settings.warm_up + settings.duration + PATIENCE,
                receiver.run(&mut consumer)
            )
        );
        sent.map_err(|source| target.failed(source))?;
        match received {
            Ok(result) => result.map_err(|source| target.failed(source))?,
            Err(_) => return Err(receiver.missing(target)),
        }
        let mut sample = Sample::default();
        stopwatch.finish(schedule.end, &mut sample)?;
        receiver.put(&mut sample);
        Ok(sample)
    })
    .await
}

/// Writes each message when it is due, never waiting longer: it keeps its core busy between them, since timers are too
/// coarse.
async fn send(connection: &mut Connection, queue: &str, schedule: Schedule) -> Result<(), ClientError> {
    let publish = basic::Publish { routing_key: queue, ..basic::Publish::default() };
    let properties = BasicProperties::default();
    let template = PublishTemplate::new(1, &publish, &properties, BODY_SIZE, connection.frame_max());
    let mut batch = Vec::new();
    let mut next = 0;
    while next < schedule.end {
        let due = schedule.due_by(schedule.now()).min(next + CATCH_UP);
        batch.clear();
        while next < due {
            let mut body = [0; BODY_SIZE];
            body[..8].copy_from_slice(&next.to_be_bytes());
            body[8..].copy_from_slice(&schedule.due(next).to_be_bytes());
            template.encode(&body, &mut batch);
            next += 1;
        }
        if !batch.is_empty() {
            connection.write(&batch).await?;
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

struct Receiver {
    schedule: Schedule,
    /// Nanoseconds.
    histogram: Histogram<u64>,
    received: u64,
}

impl Receiver {
    fn new(schedule: Schedule) -> Result<Self, Error> {
        // Three digits, up to a minute: more than the patience.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|fault| Error::Usage(format!("no histogram: {fault}")))?;
        Ok(Self { schedule, histogram, received: 0 })
    }

    async fn run(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        let mut progress = ContentProgress::default();
        while self.received < self.schedule.end {
            connection.read().await?;
            let now = self.schedule.now();
            while let Some(frame) = connection.next_frame()? {
                if progress.take(&frame.payload)?
                    && let Payload::Body(body) = frame.payload
                {
                    self.take(body, now)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, body: &[u8], now: u64) -> Result<(), ClientError> {
        let (Some(number), Some(due)) = (body.first_chunk(), body.last_chunk()) else {
            return Err(ClientError::Unexpected { found: "a short body".into(), expected: "16 bytes" });
        };
        let number = u64::from_be_bytes(*number);
        if number != self.received {
            return Err(ClientError::Unexpected {
                found: format!("message {number} in the place of {}", self.received),
                expected: "every message in order",
            });
        }
        self.received += 1;
        if number >= self.schedule.from {
            self.histogram.saturating_record(now.saturating_sub(u64::from_be_bytes(*due)));
        }
        Ok(())
    }

    fn missing(&self, target: &Target) -> Error {
        Error::Missing {
            target: target.name.clone(),
            missing: self.schedule.end - self.received,
            sent: self.schedule.end,
            seconds: PATIENCE.as_secs(),
        }
    }

    fn put(&self, sample: &mut Sample) {
        let quantiles = [(Metric::LatencyP50, 0.5), (Metric::LatencyP99, 0.99), (Metric::LatencyP999, 0.999)];
        for (metric, quantile) in quantiles {
            sample.put(metric, self.histogram.value_at_quantile(quantile) as f64 / 1e3);
        }
        sample.put(Metric::LatencyMax, self.histogram.max() as f64 / 1e3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule { start: Instant::now(), rate: 20_000, from: 1, end: 100 }
    }

    #[test]
    fn messages_are_due_at_even_distances() {
        let schedule = schedule();
        assert_eq!(schedule.due(0), 0);
        assert_eq!(schedule.due(3), 150_000);
        assert_eq!(schedule.due_by(0), 1);
        assert_eq!(schedule.due_by(149_999), 3);
        assert_eq!(schedule.due_by(150_000), 4);
        assert_eq!(schedule.due_by(u64::MAX), 100);
    }

    #[test]
    fn the_delay_counts_from_when_the_message_was_due() {
        let schedule = schedule();
        let mut receiver = Receiver::new(schedule).unwrap();
        for number in 0..3u64 {
            let mut body = number.to_be_bytes().to_vec();
            body.extend_from_slice(&schedule.due(number).to_be_bytes());
            receiver.take(&body, 1_000_000).unwrap();
        }
        assert_eq!(receiver.histogram.len(), 2, "the first is warm-up");
        assert!(receiver.histogram.max() >= 950_000);
        assert!(receiver.take(&[0; 16], 1_000_000).is_err(), "number 0 came before");
    }
}
