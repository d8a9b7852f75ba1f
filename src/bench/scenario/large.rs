//! One very large message, in and out, and how many copies of its body the broker holds.

use super::Report;
use super::idle::Baseline;
use super::objects::with_objects;
use crate::error::Error;
use crate::measure::{Metric, Sample};
use crate::target::Target;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{BasicProperties, basic};
use fairlead_client::{Connection, Consumer, ContentProgress, PublishTemplate};
use std::time::{Duration, Instant};

/// How long the broker may take to queue the message after it was written.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one round with a body of `size` bytes to that many queues.
pub async fn run(queues: usize, size: u64, target: &Target, report: Report<'_>) -> Result<Sample, Error> {
    with_objects(target, async |objects| {
        report("setting up");
        let mut connection = target.connect(0).await?;
        let declared = async {
            let names = objects.queues(&mut connection, queues).await?;
            let exchange = objects.exchange(&mut connection, "fanout").await?;
            for name in &names {
                connection.bind(1, name, &exchange, "").await?;
            }
            Ok((names, exchange))
        };
        let (names, exchange) = declared.await.map_err(|source| target.failed(source))?;
        let before = Baseline::take(target)?;
        let began = Instant::now();
        report("publishing");
        let publish = basic::Publish { exchange: &exchange, ..basic::Publish::default() };
        let sent = send(&mut connection, &publish, &BasicProperties::default(), size).await;
        sent.map_err(|source| target.failed(source))?;
        for name in &names {
            await_message(&mut connection, name, target).await?;
        }
        for (number, name) in names.iter().enumerate() {
            report(&format!("consuming from queue {} of {queues}", number + 1));
            receive(name, size, target).await?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut sample = Sample::default();
        sample.put(Metric::BodyCopies, before.above(target)? as f64 / size as f64);
        sample.put(Metric::MegabytesPerSecond, (size * queues as u64) as f64 / 1e6 / seconds);
        sample.put_memory(target.process)?;
        Ok(sample)
    })
    .await
}

/// The byte at `offset` of the body: a cheap pattern whose parts cannot be exchanged unseen.
fn pattern(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16) ^ (offset >> 24)) as u8
}

/// Publishes a body of `size` bytes of the pattern.
pub async fn send(
    connection: &mut Connection,
    publish: &basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    size: u64,
) -> Result<(), fairlead_client::Error> {
    let template = PublishTemplate::new(1, publish, properties, size as usize, connection.frame_max());
    let mut out = Vec::new();
    template.encode_head(&mut out);
    let mut offset = 0;
    while offset < size {
        let end = (offset + u64::from(connection.frame_max())).min(size);
        let body: Vec<u8> = (offset..end).map(pattern).collect();
        let rest = template.encode_part(&body, &mut out).len() as u64;
        connection.write(&out).await?;
        out.clear();
        offset = end - rest;
        // A broker that refuses the size says so while the body is still being sent.
        if connection.try_read()?.is_some() {
            while connection.next_frame()?.is_some() {}
        }
    }
    Ok(())
}

async fn await_message(connection: &mut Connection, queue: &str, target: &Target) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    while connection.inspect_queue(1, queue).await.map_err(|source| target.failed(source))?.messages == 0 {
        if Instant::now() >= deadline {
            let seconds = PATIENCE.as_secs();
            return Err(Error::Missing { target: target.name.clone(), missing: 1, sent: 1, seconds });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Consumes one message and checks its body against the pattern.
pub async fn receive(queue: &str, size: u64, target: &Target) -> Result<(), Error> {
    let mut connection = target.connect(0).await?;
    let consumer = Consumer { queue, tag: "bench", no_ack: true, exclusive: false };
    connection.consume(1, &consumer).await.map_err(|source| target.failed(source))?;
    let mut progress = ContentProgress::default();
    let mut offset = 0;
    loop {
        while let Some(frame) = connection.next_frame().map_err(|source| target.failed(source))? {
            if let Payload::Body(part) = frame.payload {
                check(part, offset, target)?;
                offset += part.len() as u64;
            }
            if progress.take(&frame.payload).map_err(|source| target.failed(source))? {
                return if offset == size {
                    Ok(())
                } else {
                    Err(changed(target, format!("it has {offset} bytes, not {size}")))
                };
            }
        }
        connection.read().await.map_err(|source| target.failed(source))?;
    }
}

fn check(part: &[u8], offset: u64, target: &Target) -> Result<(), Error> {
    let wrong = part.iter().zip(offset..).find(|(byte, offset)| **byte != pattern(*offset));
    match wrong {
        None => Ok(()),
        Some((_, offset)) => Err(changed(target, format!("byte {offset} differs"))),
    }
}

fn changed(target: &Target, fault: String) -> Error {
    Error::Changed { target: target.name.clone(), fault }
}
