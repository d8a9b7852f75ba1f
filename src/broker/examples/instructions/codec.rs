//! Frames in and frames out, with nothing between.

use crate::publishes;
use fairlead_amqp_0_9_1::codec::{Payload, frame, properties};
use fairlead_amqp_0_9_1::spec::{CLASS_BASIC, Method, basic};
use std::hint::black_box;

/// The default frame-max.
const FRAME_MAX: u32 = 131_072;

/// Runs so many rounds; gives the messages.
pub fn run(rounds: u32) -> u64 {
    let (bytes, count) = publishes();
    let mut out = Vec::new();
    for _ in 0..rounds {
        out.clear();
        round(black_box(&bytes), &mut out);
        black_box(&out);
    }
    u64::from(rounds) * count
}

fn round(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    let mut tag = 0;
    let mut key = "";
    let mut head: &[u8] = &[];
    while let Ok(Some((frame, length))) = frame::decode(rest, FRAME_MAX) {
        rest = &rest[length..];
        match frame.payload {
            Payload::Method(payload) => {
                if let Ok(Method::BasicPublish(publish)) = Method::decode(payload) {
                    key = publish.routing_key;
                }
            }
            Payload::Header { properties: encoded, .. } => {
                black_box(properties::scan(encoded)).ok();
                head = encoded;
            }
            Payload::Body(body) => {
                tag += 1;
                let deliver = basic::Deliver {
                    consumer_tag: "consumer",
                    delivery_tag: tag,
                    routing_key: key,
                    ..basic::Deliver::default()
                };
                frame::encode_method(out, frame.channel, &deliver);
                frame::encode_header(out, frame.channel, CLASS_BASIC, body.len() as u64, head);
                frame::encode_body(out, frame.channel, body);
            }
            Payload::Heartbeat => {}
        }
    }
}
