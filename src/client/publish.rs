//! Publishes, encoded many to a buffer.

use fairlead_amqp_0_9_1::codec::frame;
use fairlead_amqp_0_9_1::spec::{BasicProperties, CLASS_BASIC, basic};

/// A publish with all but its body encoded once: what repeats costs one copy.
#[derive(Clone, Debug)]
pub struct PublishTemplate {
    channel: u16,
    /// The method frame, and the header frame for a body of `body_size`.
    head: Vec<u8>,
    body_size: usize,
    /// The most that one body frame carries, in bytes.
    part_max: usize,
}

impl PublishTemplate {
    /// For messages with bodies of `body_size` bytes, in frames of at most `frame_max` bytes.
    #[must_use]
    pub fn new(
        channel: u16,
        publish: &basic::Publish<'_>,
        properties: &BasicProperties<'_>,
        body_size: usize,
        frame_max: u32,
    ) -> Self {
        let mut head = Vec::new();
        frame::encode_method(&mut head, channel, publish);
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        frame::encode_header(&mut head, channel, CLASS_BASIC, body_size as u64, &encoded);
        Self { channel, head, body_size, part_max: frame_max as usize - frame::ENVELOPE_SIZE }
    }

    /// The size of the bodies, in bytes.
    #[must_use]
    pub fn body_size(&self) -> usize {
        self.body_size
    }

    /// The size of one encoded publish, in bytes.
    #[must_use]
    pub fn encoded_size(&self) -> usize {
        self.head.len() + self.body_size + self.body_size.div_ceil(self.part_max) * frame::ENVELOPE_SIZE
    }

    /// Appends one publish. `body` has the size that the template was made for.
    #[inline]
    pub fn encode(&self, body: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(body.len(), self.body_size);
        self.encode_head(out);
        for part in body.chunks(self.part_max) {
            frame::encode_body(out, self.channel, part);
        }
    }

    /// Appends the frames in front of the body: for bodies too large for one buffer, whose parts
    /// [`PublishTemplate::encode_part`] sends one by one.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }

    /// Appends a body frame and gives what of `rest` it did not take.
    pub fn encode_part<'a>(&self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (part, rest) = rest.split_at(rest.len().min(self.part_max));
        frame::encode_body(out, self.channel, part);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_amqp_0_9_1::codec::Payload;
    use fairlead_amqp_0_9_1::spec::Method;

    /// The frames of one publish: the method, the header's body size and properties, the sizes of the body frames.
    fn check(body_size: usize, frame_max: u32, parts: &[usize]) {
        let publish = basic::Publish { exchange: "e", routing_key: "k", mandatory: true, immediate: false };
        let properties = BasicProperties { delivery_mode: Some(2), ..BasicProperties::default() };
        let template = PublishTemplate::new(7, &publish, &properties, body_size, frame_max);
        let mut out = Vec::new();
        let body: Vec<u8> = (0..body_size).map(|index| index as u8).collect();
        template.encode(&body, &mut out);
        assert_eq!(out.len(), template.encoded_size());

        let mut rest = &out[..];
        let mut next = || {
            let (frame, used) =
                frame::decode(rest, frame_max - frame::ENVELOPE_SIZE as u32).unwrap().unwrap();
            rest = &rest[used..];
            assert_eq!(frame.channel, 7);
            frame.payload
        };
        let Payload::Method(method) = next() else { panic!("no method") };
        assert_eq!(Method::decode(method).unwrap(), Method::BasicPublish(publish));
        let header = Payload::Header {
            class_id: CLASS_BASIC,
            weight: 0,
            body_size: body_size as u64,
            properties: &[0x10, 0, 2],
        };
        assert_eq!(next(), header);
        let mut collected = Vec::new();
        for size in parts {
            let Payload::Body(part) = next() else { panic!("no body") };
            assert_eq!(part.len(), *size);
            collected.extend_from_slice(part);
        }
        assert_eq!(collected, body);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_publish_is_encoded_whole() {
        check(0, 4096, &[]);
        check(16, 4096, &[16]);
        check(4088, 4096, &[4088]);
        check(4089, 4096, &[4088, 1]);
        check(20_000, 8192, &[8184, 8184, 3632]);
    }
}
