//! The publishing end: batches that were encoded beforehand, one write each.

use super::Lane;
use fairlead_amqp_0_9_1::spec::{BasicProperties, basic};
use fairlead_client::{Connection, Error, PublishTemplate};

/// The bytes of a batch, about: what one write takes without the syscall being felt.
const BATCH: usize = 64 * 1024;

/// Publishes of equal size to the same exchange, encoded and cut into batches.
#[derive(Clone, Debug)]
pub struct Batches {
    encoded: Vec<Vec<u8>>,
    /// Messages of each batch.
    count: u64,
}

impl Batches {
    /// Publishes with each of `keys` in turn, on channel 1. All keys have the same length.
    pub fn new(connection: &Connection, exchange: &str, keys: &[String], body_size: usize) -> Self {
        let body = vec![b'.'; body_size];
        let templates = keys.iter().map(|routing_key| {
            let publish = basic::Publish { exchange, routing_key, ..basic::Publish::default() };
            PublishTemplate::new(1, &publish, &BasicProperties::default(), body_size, connection.frame_max())
        });
        let templates: Vec<_> = templates.collect();
        let each = templates.first().map_or(1, PublishTemplate::encoded_size);
        let count = (BATCH / each).max(1);
        let mut cycle = templates.iter().cycle();
        let encoded = (0..keys.len().div_ceil(count)).map(|_| {
            let mut batch = Vec::with_capacity(count * each);
            for template in cycle.by_ref().take(count) {
                template.encode(&body, &mut batch);
            }
            batch
        });
        Self { encoded: encoded.collect(), count: count as u64 }
    }

    /// Writes whole batches until at least `count` messages are written; gives how many it were.
    pub async fn send_at_least(&self, connection: &mut Connection, count: u64) -> Result<u64, Error> {
        let mut sent = 0;
        for batch in self.encoded.iter().cycle().take(count.div_ceil(self.count) as usize) {
            connection.write(batch).await?;
            sent += self.count;
        }
        Ok(sent)
    }
}

/// Publishes as fast as the lane's window and the broker's socket allow. Ends with an error only.
pub async fn publish(connection: &mut Connection, lane: &Lane, batches: &Batches) -> Result<(), Error> {
    for batch in batches.encoded.iter().cycle() {
        lane.wait_for_room(batches.count).await;
        connection.write(batch).await?;
        lane.add_published(batches.count);
        // A broker that objects says so here.
        if connection.try_read()?.is_some() {
            while connection.next_frame()?.is_some() {}
        }
    }
    Ok(())
}
