//! A publisher of persistent messages that has a bounded number of them unconfirmed.
//!
//! Each body begins with its message's number, so that who receives them can tell a loss from a repetition. The latency
//! of a confirm is taken from just before the write that carries the message to the reading of the confirm.

use super::Lane;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::codec::frame::ENVELOPE_SIZE;
use fairlead_amqp_0_9_1::spec::{BasicProperties, Method, basic};
use fairlead_client::{Connection, Error, PublishTemplate};
use hdrhistogram::Histogram;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

/// Bytes of the number in front of a body, big-endian. No body is smaller.
pub const NUMBER_SIZE: usize = 8;

/// The publisher, on channel 1 of its connection, which is in confirm mode.
#[derive(Debug)]
pub struct ConfirmedPublisher {
    connection: Connection,
    /// `window` publishes.
    batch: Vec<u8>,
    /// Bytes of a publish.
    each: usize,
    /// Where the number stands in a publish.
    number_at: usize,
    window: usize,
    unconfirmed: Unconfirmed,
    /// The number of the next message.
    next: u64,
    confirmed: Rc<Cell<u64>>,
    /// In nanoseconds, while they are wanted.
    latencies: Option<Histogram<u64>>,
}

impl ConfirmedPublisher {
    /// A publisher to `queue` whose first message has the number `first`. `body_size` is at least [`NUMBER_SIZE`].
    pub async fn new(
        mut connection: Connection,
        queue: &str,
        window: usize,
        body_size: usize,
        first: u64,
    ) -> Result<Self, Error> {
        connection.confirm_select(1).await?;
        let publish = basic::Publish { routing_key: queue, ..basic::Publish::default() };
        let properties = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
        let template = PublishTemplate::new(1, &publish, &properties, body_size, connection.frame_max());
        let mut head = Vec::new();
        template.encode_head(&mut head);
        let body = vec![b'.'; body_size];
        let mut batch = Vec::with_capacity(window * template.encoded_size());
        for _ in 0..window {
            template.encode(&body, &mut batch);
        }
        Ok(Self {
            connection,
            batch,
            each: template.encoded_size(),
            // A frame's envelope is in front of it but for one byte behind.
            number_at: head.len() + ENVELOPE_SIZE - 1,
            window,
            unconfirmed: Unconfirmed::default(),
            next: first,
            confirmed: Rc::default(),
            latencies: None,
        })
    }

    /// How many were confirmed, also to be looked at while it runs.
    pub fn confirmed(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.confirmed)
    }

    /// From now on latencies are recorded in `latencies`, in nanoseconds.
    pub fn record(&mut self, latencies: Histogram<u64>) {
        self.latencies = Some(latencies);
    }

    /// What was recorded.
    pub fn recorded(&mut self) -> Option<Histogram<u64>> {
        self.latencies.take()
    }

    /// Publishes until `end`, or until so many were confirmed in this call. The last ones stay unconfirmed.
    pub async fn run_until(&mut self, end: Instant, most: u64) -> Result<(), Error> {
        let most = self.confirmed.get() + most;
        while Instant::now() < end && self.confirmed.get() < most {
            self.write(self.window).await?;
            self.take_confirms().await?;
        }
        Ok(())
    }

    /// Publishes exactly `count` messages and waits until all are confirmed.
    pub async fn store(&mut self, count: u64) -> Result<(), Error> {
        let end = self.next + count;
        while self.next < end {
            self.write(usize::try_from(end - self.next).unwrap_or(usize::MAX)).await?;
            self.take_confirms().await?;
        }
        self.settle().await
    }

    /// Waits until all that was published is confirmed.
    pub async fn settle(&mut self) -> Result<(), Error> {
        while self.unconfirmed.waiting > 0 {
            self.take_confirms().await?;
        }
        Ok(())
    }

    /// Publishes through a queue that `lane`'s consumer empties, as far as its window allows: `count` messages.
    pub async fn run_through(&mut self, lane: &Lane, count: u64) -> Result<(), Error> {
        let end = self.next.saturating_add(count);
        while self.next < end {
            // With confirms to come there is something to do also while the lane is full.
            if self.unconfirmed.waiting == 0 {
                lane.wait_for_room(1).await;
            }
            let most = lane.room().min(end - self.next);
            let written = self.write(usize::try_from(most).unwrap_or(usize::MAX)).await?;
            lane.add_published(written as u64);
            self.take_confirms().await?;
        }
        self.settle().await
    }

    /// Writes what the window has room for, `most` at most; gives how many that were.
    async fn write(&mut self, most: usize) -> Result<usize, Error> {
        let count = most.min(self.window - self.unconfirmed.waiting);
        if count > 0 {
            for publish in self.batch.chunks_exact_mut(self.each).take(count) {
                publish[self.number_at..self.number_at + NUMBER_SIZE]
                    .copy_from_slice(&self.next.to_be_bytes());
                self.next += 1;
            }
            self.unconfirmed.publish(count, Instant::now());
            self.connection.write(&self.batch[..count * self.each]).await?;
        }
        Ok(count)
    }

    /// Waits until something comes, and takes all confirms in it.
    async fn take_confirms(&mut self) -> Result<(), Error> {
        self.connection.read().await?;
        let now = Instant::now();
        let mut settled = 0;
        while let Some(frame) = self.connection.next_frame()? {
            let Payload::Method(payload) = frame.payload else { continue };
            let (tag, multiple) = match Method::decode(payload)? {
                Method::BasicAck(ack) => (ack.delivery_tag, ack.multiple),
                Method::ConnectionBlocked(_) | Method::ConnectionUnblocked(_) => continue,
                other => {
                    return Err(Error::Unexpected { found: other.name().into(), expected: "basic.ack" });
                }
            };
            let latencies = &mut self.latencies;
            let record = |sent: Instant| {
                if let Some(latencies) = latencies {
                    latencies.saturating_record((now - sent).as_nanos() as u64);
                }
            };
            settled += self.unconfirmed.settle(tag, multiple, record)?;
        }
        self.confirmed.set(self.confirmed.get() + settled);
        Ok(())
    }
}

/// The moments at which unconfirmed messages were written, by their delivery tags, which count from 1.
#[derive(Debug, Default)]
struct Unconfirmed {
    published: u64,
    /// From the oldest unconfirmed one to the newest; `None` for those that are confirmed.
    sent: VecDeque<Option<Instant>>,
    /// Those in `sent` that are not confirmed.
    waiting: usize,
}

impl Unconfirmed {
    fn publish(&mut self, count: usize, now: Instant) {
        self.published += count as u64;
        self.sent.extend(std::iter::repeat_n(Some(now), count));
        self.waiting += count;
    }

    /// Takes a confirm, and tells when each message that it settles was written; gives how many these are.
    fn settle(&mut self, tag: u64, multiple: bool, mut tell: impl FnMut(Instant)) -> Result<u64, Error> {
        let oldest = self.published - self.sent.len() as u64 + 1;
        let index = match tag.checked_sub(oldest) {
            Some(index) if index < self.sent.len() as u64 => index as usize,
            _ => return Err(Error::UnknownConfirm(tag)),
        };
        let mut settled = 0;
        let first = if multiple { 0 } else { index };
        for sent in self.sent.range_mut(first..=index).filter_map(Option::take) {
            tell(sent);
            settled += 1;
        }
        if settled == 0 {
            return Err(Error::UnknownConfirm(tag));
        }
        self.waiting -= settled;
        while self.sent.front() == Some(&None) {
            self.sent.pop_front();
        }
        Ok(settled as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_message_is_told_once_with_the_moment_of_its_write() {
        let began = Instant::now();
        let later = began + Duration::from_millis(1);
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.publish(3, began);
        unconfirmed.publish(2, later);
        let mut told = Vec::new();
        assert_eq!(unconfirmed.settle(4, false, |sent| told.push(sent)).unwrap(), 1);
        assert_eq!(unconfirmed.settle(5, true, |sent| told.push(sent)).unwrap(), 4);
        assert_eq!(told, [later, began, began, began, later]);
        assert_eq!(unconfirmed.waiting, 0);
        assert!(unconfirmed.sent.is_empty());
    }

    #[test]
    fn a_confirm_of_nothing_is_an_error() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.publish(2, Instant::now());
        assert!(unconfirmed.settle(3, true, |_| ()).is_err(), "not published");
        unconfirmed.settle(2, false, |_| ()).unwrap();
        assert!(unconfirmed.settle(2, false, |_| ()).is_err(), "confirmed before");
        assert!(unconfirmed.settle(0, false, |_| ()).is_err());
    }
}
