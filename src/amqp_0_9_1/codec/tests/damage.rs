//! Damaged input: whatever the bytes, the codec answers with a frame, an error, or the wish for more.

use proptest::prelude::*;

use super::proptest_cases;
use crate::codec::properties::scan;
use crate::codec::{Payload, TableWriter, frame};
use crate::spec::{BasicProperties, Method, basic, queue};

const FRAME_MAX: u32 = 4096;

/// Reads all frames of `input` and all that they carry; tells how many bytes were frames.
fn read_all(input: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some((found, used))) = frame::decode(&input[at..], FRAME_MAX) {
        at += used;
        match found.payload {
            Payload::Method(payload) => drop(Method::decode(payload).map(|method| format!("{method:?}"))),
            Payload::Header { properties, .. } => {
                let decoded = BasicProperties::decode(properties);
                assert_eq!(scan(properties).is_ok(), decoded.is_ok());
            }
            Payload::Body(_) | Payload::Heartbeat => {}
        }
    }
    at
}

/// A declare with a table, then a message with properties.
fn conversation() -> Vec<u8> {
    let mut arguments = TableWriter::new();
    arguments.put_i32("x-max-length", 10).put_array("list", |list| {
        list.push_str("a").push_str("b");
    });
    let mut headers = TableWriter::new();
    headers.put_table("nested", |table| {
        table.put_bool("deep", true);
    });
    let mut properties = Vec::new();
    BasicProperties { headers: Some(headers.as_table()), delivery_mode: Some(2), ..Default::default() }
        .encode(&mut properties);
    let mut out = Vec::new();
    let declare = queue::Declare { queue: "q", arguments: arguments.as_table(), ..Default::default() };
    frame::encode_method(&mut out, 1, &declare);
    frame::encode_method(&mut out, 1, &basic::Publish { routing_key: "q", ..Default::default() });
    frame::encode_header(&mut out, 1, basic::Publish::CLASS_ID, 5, &properties);
    frame::encode_body(&mut out, 1, b"hello");
    frame::encode_heartbeat(&mut out);
    out
}

#[test]
fn a_cut_conversation_is_incomplete() {
    let bytes = conversation();
    assert_eq!(read_all(&bytes), bytes.len());
    for length in 0..bytes.len() {
        let at = read_all(&bytes[..length]);
        assert_eq!(frame::decode(&bytes[at..length], FRAME_MAX), Ok(None), "cut to {length}");
    }
}

proptest! {
    #![proptest_config(proptest_cases(256))]

    #[test]
    fn a_changed_conversation_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = conversation();
        for (place, octet) in changes {
            let place = place.index(bytes.len());
            bytes[place] = octet;
        }
        prop_assert!(read_all(&bytes) <= bytes.len());
    }

    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(read_all(&bytes) <= bytes.len());
    }

    #[test]
    fn noise_in_a_method_is_survived(arguments in any::<Vec<u8>>()) {
        for &(_, id, _) in crate::spec::layout::LAYOUTS {
            let payload = [&id.to_be_bytes(), arguments.as_slice()].concat();
            drop(Method::decode(&payload).map(|method| format!("{method:?}")));
        }
    }
}
