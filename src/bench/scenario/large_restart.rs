//! One very large persistent message: stored, and delivered unchanged after the broker was killed and started again.

use super::Report;
use super::idle::Baseline;
use super::large::{receive, send};
use super::restart::{QUEUE, process, warm_start};
use crate::error::Error;
use crate::measure::{Metric, Sample};
use crate::settings::Settings;
use crate::target::Target;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::{BasicProperties, Method, basic};
use fairlead_client::{Connection, Error as ClientError, Queue};
use std::time::Instant;

/// Runs it once.
pub async fn run(target: &mut Target, settings: &Settings, report: Report<'_>) -> Result<Sample, Error> {
    let size = settings.large_size;
    let mut sample = Sample::default();
    let before = Baseline::take(target)?;
    report("storing");
    let began = Instant::now();
    let mut connection = target.connect(0).await?;
    store(&mut connection, size).await.map_err(|source| target.failed(source))?;
    sample.put(Metric::StoredMegabytesPerSecond, size as f64 / 1e6 / began.elapsed().as_secs_f64());
    sample.put(Metric::BodyCopies, before.above(target)? as f64 / size as f64);
    report("killing it, and starting it again");
    target.kill()?;
    drop(connection);
    warm_start(target, &mut sample).await?;
    report("consuming");
    let began = Instant::now();
    receive(QUEUE, size, target).await?;
    sample.put(Metric::MegabytesPerSecond, size as f64 / 1e6 / began.elapsed().as_secs_f64());
    sample.put_memory(Some(process(target)?))?;
    Ok(sample)
}

/// Publishes the message to a durable queue and waits for its confirm.
async fn store(connection: &mut Connection, size: u64) -> Result<(), ClientError> {
    connection.declare_queue(1, &Queue { name: QUEUE, durable: true, ..Queue::default() }).await?;
    connection.confirm_select(1).await?;
    let publish = basic::Publish { routing_key: QUEUE, ..basic::Publish::default() };
    let properties = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
    send(connection, &publish, &properties, size).await?;
    loop {
        while let Some(frame) = connection.next_frame()? {
            let Payload::Method(payload) = frame.payload else { continue };
            match Method::decode(payload)? {
                Method::BasicAck(_) => return Ok(()),
                Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => {}
                other => {
                    return Err(ClientError::Unexpected {
                        found: other.name().into(),
                        expected: "basic.ack",
                    });
                }
            }
        }
        connection.read().await?;
    }
}
