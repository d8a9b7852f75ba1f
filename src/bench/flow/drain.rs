//! A consumer that takes numbered messages in their order, acknowledges them, and misses none.

use super::Lane;
use super::confirmed::NUMBER_SIZE;
use super::consumer::{Acknowledge, Tags};
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_client::{Connection, ContentProgress, Error};

/// Consumes on channel 1 of `connection` the messages from number `first` on, counts them for the lane, and
/// acknowledges all, each time `every` have come. Ends when `count` have come and are acknowledged.
///
/// # Errors
/// One is missing, comes twice or out of order: [`Error::Unexpected`].
pub async fn drain(
    connection: &mut Connection,
    lane: &Lane,
    first: u64,
    count: u64,
    every: u64,
) -> Result<(), Error> {
    let mut progress = ContentProgress::default();
    let mut tags = Tags::new(Acknowledge::Every(every));
    let mut numbers = Numbers { next: first, begins: true };
    let end = first.saturating_add(count);
    loop {
        let before = numbers.next;
        while let Some(frame) = connection.next_frame()? {
            match frame.payload {
                Payload::Method(payload) => tags.see(payload)?,
                Payload::Body(part) => numbers.see(part)?,
                Payload::Header { .. } | Payload::Heartbeat => {}
            }
            if progress.take(&frame.payload)? {
                tags.complete();
                numbers.complete();
            }
        }
        lane.add_received(0, numbers.next - before);
        let due = if numbers.next >= end { tags.rest() } else { tags.due() };
        if let Some(tag) = due {
            connection.ack(1, tag, true).await?;
        }
        if numbers.next >= end {
            return Ok(());
        }
        connection.read().await?;
    }
}

/// Whose turn it is.
#[derive(Debug)]
struct Numbers {
    next: u64,
    /// The next body frame is the first of a message.
    begins: bool,
}

impl Numbers {
    fn see(&mut self, part: &[u8]) -> Result<(), Error> {
        if !self.begins {
            return Ok(());
        }
        let number = part.first_chunk::<NUMBER_SIZE>().map(|bytes| u64::from_be_bytes(*bytes));
        if number != Some(self.next) {
            let found =
                number.map_or_else(|| "a body without a number".to_owned(), |n| format!("message {n}"));
            return Err(Error::Unexpected {
                found: format!("{found} in place of {}", self.next),
                expected: "each message once and in order",
            });
        }
        self.begins = false;
        Ok(())
    }

    fn complete(&mut self) {
        self.next += 1;
        self.begins = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_by_one() {
        let mut numbers = Numbers { next: 7, begins: true };
        numbers.see(&[0, 0, 0, 0, 0, 0, 0, 7, 1]).unwrap();
        numbers.see(b"the rest of the body").unwrap();
        numbers.complete();
        let missing = numbers.see(&[0, 0, 0, 0, 0, 0, 0, 9]).unwrap_err().to_string();
        assert!(missing.contains("message 9 in place of 8"), "{missing}");
        assert!(numbers.see(b"short").is_err());
    }
}
