//! Any bytes through the 0-9-1 decoders: frames, methods, properties and tables. What decodes is encoded
//! again and must decode to the same; nothing may panic, and a frame never claims more than is there.
#![no_main]

use fairlead_amqp_0_9_1::codec::{EncodeMethod, Payload, Value, frame, properties};
use fairlead_amqp_0_9_1::spec::{BasicProperties, Method};
use libfuzzer_sys::fuzz_target;

const FRAME_MAX: u32 = 131_072;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some((decoded, length))) = frame::decode(rest, FRAME_MAX) {
        assert!(length > 0 && length <= rest.len());
        match decoded.payload {
            Payload::Method(bytes) => method(bytes),
            Payload::Header { properties, .. } => head(properties),
            Payload::Body(body) => assert!(body.len() <= length),
            Payload::Heartbeat => {}
        }
        rest = &rest[length..];
    }
    method(data);
    head(data);
});

fn method(bytes: &[u8]) {
    let Ok(method) = Method::decode(bytes) else { return };
    let mut encoded = Vec::new();
    method.encode(&mut encoded);
    let again = Method::decode(&encoded).expect("what we encode decodes");
    assert_eq!(format!("{again:?}"), format!("{method:?}"));
}

fn head(bytes: &[u8]) {
    let scanned = properties::scan(bytes);
    let decoded = BasicProperties::decode(bytes);
    assert_eq!(scanned.is_ok(), decoded.is_ok(), "scan and decode agree on what is valid");
    if let Ok(BasicProperties { headers: Some(table), .. }) = decoded {
        table.iter().for_each(|(_, value)| walk(value));
    }
}

fn walk(value: Value<'_>) {
    if let Some(table) = value.as_table() {
        table.iter().for_each(|(_, value)| walk(value));
    }
    if let Some(array) = value.as_array() {
        array.iter().for_each(walk);
    }
}
