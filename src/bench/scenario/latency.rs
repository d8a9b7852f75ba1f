//! Time from publish to delivery at a fixed rate that does not wait for the broker.
//!
//! Each message carries the moment at which it was due, not the one at which it was written: when broker or
//! generator fall behind, the delay counts for every message that it delays (no coordinated omission).
//!
//! The generator never sleeps, so it can tell when the machine has taken its core away: messages that were on their way
//! then say nothing of the broker. They are left out, and their share is a figure of its own.

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
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Bytes of a body: its number, and when it was due in nanoseconds since the start, both big-endian.
const BODY_SIZE: usize = 16;

/// Messages that are written together when the publisher is behind.
const CATCH_UP: u64 = 1_000;

/// A generator that has not come round for so long was not running, in nanoseconds: a round takes some 10 us.
const PAUSE: u64 = 100_000;

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
            let queue = objects.queues(&mut publisher, 1).await?.remove(0);
            let started = Consumer { queue: &queue, tag: "bench", no_ack: true, exclusive: false };
            consumer.consume(1, &started).await?;
            Ok(queue)
        }
        .await
        .map_err(|source| target.failed(source))?;
        report("measuring");
        let schedule = Schedule::new(settings, Instant::now());
        let pulse = Pulse::default();
        let mut receiver = Receiver::new(schedule, &pulse)?;
        let stopwatch = Stopwatch::start(target.process)?;
        let (sent, received) = tokio::join!(
            send(&mut publisher, &queue, schedule, &pulse),
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

/// When the generator was last seen running, and until when it was last not.
#[derive(Debug, Default)]
struct Pulse {
    last: Cell<u64>,
    paused_until: Cell<u64>,
    /// A write may wait for the broker: that is no pause.
    writing: Cell<bool>,
}

impl Pulse {
    /// The generator runs at `now`.
    fn beat(&self, now: u64) {
        if !self.writing.get() && now.saturating_sub(self.last.get()) > PAUSE {
            self.paused_until.set(now);
        }
        self.last.set(now);
    }

    /// Whether a message that was due then has been on its way during a pause, if it is received now.
    fn disturbed(&self, due: u64) -> bool {
        due < self.paused_until.get()
    }
}

/// Writes each message when it is due, never waiting longer: it keeps its core busy between them, since timers are too
/// coarse.
async fn send(
    connection: &mut Connection,
    queue: &str,
    schedule: Schedule,
    pulse: &Pulse,
) -> Result<(), ClientError> {
    let publish = basic::Publish { routing_key: queue, ..basic::Publish::default() };
    let properties = BasicProperties::default();
    let template = PublishTemplate::new(1, &publish, &properties, BODY_SIZE, connection.frame_max());
    let mut batch = Vec::new();
    let mut next = 0;
    while next < schedule.end {
        let now = schedule.now();
        pulse.beat(now);
        let due = schedule.due_by(now).min(next + CATCH_UP);
        batch.clear();
        while next < due {
            let mut body = [0; BODY_SIZE];
            body[..8].copy_from_slice(&next.to_be_bytes());
            body[8..].copy_from_slice(&schedule.due(next).to_be_bytes());
            template.encode(&body, &mut batch);
            next += 1;
        }
        if !batch.is_empty() {
            pulse.writing.set(true);
            connection.write(&batch).await?;
            pulse.writing.set(false);
            pulse.last.set(schedule.now());
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

struct Receiver<'p> {
    schedule: Schedule,
    pulse: &'p Pulse,
    /// Nanoseconds.
    histogram: Histogram<u64>,
    received: u64,
    /// Of those that are measured, how many a pause of the generator has disturbed.
    disturbed: u64,
}

impl<'p> Receiver<'p> {
    fn new(schedule: Schedule, pulse: &'p Pulse) -> Result<Self, Error> {
        // Three digits, up to a minute: more than the patience.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|fault| Error::Usage(format!("no histogram: {fault}")))?;
        Ok(Self { schedule, pulse, histogram, received: 0, disturbed: 0 })
    }

    async fn run(&mut self, connection: &mut Connection) -> Result<(), ClientError> {
        let mut progress = ContentProgress::default();
        while self.received < self.schedule.end {
            connection.read().await?;
            let now = self.schedule.now();
            self.pulse.beat(now);
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
        let due = u64::from_be_bytes(*due);
        if number >= self.schedule.from {
            if self.pulse.disturbed(due) {
                self.disturbed += 1;
            } else {
                self.histogram.saturating_record(now.saturating_sub(due));
            }
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
        let measured = self.schedule.end - self.schedule.from;
        sample.put(Metric::DisturbedShare, self.disturbed as f64 / measured as f64);
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
        let pulse = Pulse::default();
        let mut receiver = Receiver::new(schedule, &pulse).unwrap();
        for number in 0..3u64 {
            let mut body = number.to_be_bytes().to_vec();
            body.extend_from_slice(&schedule.due(number).to_be_bytes());
            receiver.take(&body, 1_000_000).unwrap();
        }
        assert_eq!(receiver.histogram.len(), 2, "the first is warm-up");
        assert!(receiver.histogram.max() >= 950_000);
        assert!(receiver.take(&[0; 16], 1_000_000).is_err(), "number 0 came before");
    }

    #[test]
    fn what_a_pause_of_the_generator_disturbs_is_left_out_and_counted() {
        let pulse = Pulse::default();
        let mut receiver = Receiver::new(Schedule { from: 0, ..schedule() }, &pulse).unwrap();
        let mut receive = |number: u64, due: u64, now: u64| {
            let body = [number.to_be_bytes(), due.to_be_bytes()].concat();
            receiver.take(&body, now).unwrap();
            (receiver.histogram.len(), receiver.disturbed)
        };
        pulse.beat(50_000);
        assert_eq!(receive(0, 0, 50_000), (1, 0), "the generator was there");
        pulse.beat(300_000);
        assert_eq!(receive(1, 50_000, 300_000), (1, 1), "it was away while this one was due");
        assert_eq!(receive(2, 300_000, 320_000), (2, 1), "and is back");
        pulse.writing.set(true);
        pulse.beat(900_000);
        assert_eq!(receive(3, 400_000, 900_000), (3, 1), "it waited for the broker");
    }
}
