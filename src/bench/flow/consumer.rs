//! The consuming end: frames are walked in the read buffer and counted.

use super::Lane;
use fairlead_amqp_0_9_1::codec::Payload;
use fairlead_amqp_0_9_1::spec::Method;
use fairlead_client::{Connection, ContentProgress, Error};

/// How a consumer acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Not at all.
    Never,
    /// Up to the latest delivery, when so many have come since the last acknowledgement.
    Every(u64),
}

/// Receives on channel 1 and counts for consumer `number` of the lane. Ends with an error only.
pub async fn consume(
    connection: &mut Connection,
    lane: &Lane,
    number: usize,
    acknowledge: Acknowledge,
) -> Result<(), Error> {
    let mut progress = ContentProgress::default();
    let mut tags = Tags::new(acknowledge);
    loop {
        let mut count = 0;
        while let Some(frame) = connection.next_frame()? {
            if let Payload::Method(payload) = frame.payload {
                tags.see(payload)?;
            }
            if progress.take(&frame.payload)? {
                count += 1;
                tags.complete();
            }
        }
        if count > 0 {
            lane.add_received(number, count);
            if let Some(delivery_tag) = tags.due() {
                connection.ack(1, delivery_tag, true).await?;
            }
        }
        connection.read().await?;
    }
}

/// What is to be acknowledged next.
#[derive(Debug)]
pub(super) struct Tags {
    every: Option<u64>,
    /// The delivery that is coming in.
    coming: u64,
    /// The last one that came whole.
    complete: u64,
    acknowledged: u64,
}

impl Tags {
    pub(super) fn new(acknowledge: Acknowledge) -> Self {
        let every = match acknowledge {
            Acknowledge::Never => None,
            Acknowledge::Every(count) => Some(count),
        };
        Self { every, coming: 0, complete: 0, acknowledged: 0 }
    }

    /// Takes a method's payload: a delivery carries its tag. Without acknowledgements it is not looked at.
    #[inline]
    pub(super) fn see(&mut self, payload: &[u8]) -> Result<(), Error> {
        if self.every.is_some()
            && let Method::BasicDeliver(deliver) = Method::decode(payload)?
        {
            self.coming = deliver.delivery_tag;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn complete(&mut self) {
        self.complete = self.coming;
    }

    /// The tag up to which to acknowledge, if it is time.
    pub(super) fn due(&mut self) -> Option<u64> {
        let every = self.every?;
        if self.complete - self.acknowledged < every {
            return None;
        }
        self.rest()
    }

    /// The tag up to which to acknowledge all that has come, if there is anything.
    pub(super) fn rest(&mut self) -> Option<u64> {
        let rest = self.complete > self.acknowledged;
        self.acknowledged = self.complete;
        rest.then_some(self.complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_amqp_0_9_1::codec::EncodeMethod;
    use fairlead_amqp_0_9_1::spec::basic;

    fn delivery(tag: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        basic::Deliver { delivery_tag: tag, ..basic::Deliver::default() }.encode(&mut payload);
        payload
    }

    #[test]
    fn whole_deliveries_are_acknowledged_in_steps() {
        let mut tags = Tags::new(Acknowledge::Every(2));
        tags.see(&delivery(1)).unwrap();
        tags.complete();
        assert_eq!(tags.due(), None);
        tags.see(&delivery(2)).unwrap();
        assert_eq!(tags.due(), None, "the second is not complete");
        tags.complete();
        assert_eq!(tags.due(), Some(2));
        assert_eq!(tags.due(), None);
    }

    #[test]
    fn without_acknowledgements_nothing_is_due() {
        let mut tags = Tags::new(Acknowledge::Never);
        tags.see(&delivery(1)).unwrap();
        tags.complete();
        assert_eq!(tags.due(), None);
    }
}
