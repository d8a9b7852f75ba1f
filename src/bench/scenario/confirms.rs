//! Persistent messages into a durable queue, with a bounded number of them unconfirmed.
//!
//! Nobody consumes: each confirm stands for a message that the broker has taken for good.

use super::Report;
use super::objects::with_objects;
use crate::error::Error;
use crate::measure::{Sample, Stopwatch};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{BasicProperties, Method, basic};
use fairlead_client::{ConfirmWindow, Connection, Error as ClientError, PublishTemplate};
use std::time::{Duration, Instant};

/// Bytes of a body.
const BODY_SIZE: usize = 256;

/// A round ends when so many messages are stored, however fast that was: some 2 GB.
const STORED_MAX: u64 = 4_000_000;

/// Runs one round with at most `window` messages unconfirmed.
pub async fn run(
    window: usize,
    target: &Target,
    settings: &Settings,
    report: Report<'_>,
) -> Result<Sample, Error> {
    with_objects(target, async |objects| {
        report("setting up");
        let mut connection = target.connect(0).await?;
        let mut publisher = async {
            let queues = objects.queues(&mut connection, 1, true).await?;
            connection.confirm_select(1).await?;
            Ok(Publisher::new(connection, &queues[0], window))
        }
        .await
        .map_err(|source| target.failed(source))?;
        report("warming up");
        publisher.run_for(settings.warm_up).await.map_err(|source| target.failed(source))?;
        report("measuring");
        let before = publisher.confirmed;
        let stopwatch = Stopwatch::start(target.process)?;
        publisher.run_for(settings.duration).await.map_err(|source| target.failed(source))?;
        let mut sample = Sample::default();
        stopwatch.finish(publisher.confirmed - before, &mut sample)?;
        Ok(sample)
    })
    .await
}

struct Publisher {
    connection: Connection,
    /// `window` publishes.
    batch: Vec<u8>,
    each: usize,
    window: usize,
    confirms: ConfirmWindow,
    confirmed: u64,
}

impl Publisher {
    fn new(connection: Connection, queue: &str, window: usize) -> Self {
        let publish = basic::Publish { routing_key: queue, ..basic::Publish::default() };
        let properties = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
        let template = PublishTemplate::new(1, &publish, &properties, BODY_SIZE, connection.frame_max());
        let mut batch = Vec::new();
        for _ in 0..window {
            template.encode(&[b'.'; BODY_SIZE], &mut batch);
        }
        let each = template.encoded_size();
        Self { connection, batch, each, window, confirms: ConfirmWindow::default(), confirmed: 0 }
    }

    async fn run_for(&mut self, duration: Duration) -> Result<(), ClientError> {
        let end = Instant::now() + duration;
        let most = self.confirmed + STORED_MAX;
        while Instant::now() < end && self.confirmed < most {
            let room = self.window - self.confirms.waiting();
            if room > 0 {
                self.connection.write(&self.batch[..room * self.each]).await?;
                self.confirms.publish(room);
            }
            self.connection.read().await?;
            self.take_confirms()?;
        }
        Ok(())
    }

    fn take_confirms(&mut self) -> Result<(), ClientError> {
        while let Some(frame) = self.connection.next_frame()? {
            let Payload::Method(payload) = frame.payload else { continue };
            let (tag, multiple) = match Method::decode(payload)? {
                Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple),
                Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => continue,
                other => {
                    return Err(ClientError::Unexpected {
                        found: other.name().into(),
                        expected: "basic.ack",
                    });
                }
            };
            self.confirmed += self.confirms.settle(tag, multiple)? as u64;
        }
        Ok(())
    }
}
