//! Every method of every class: arguments built from its layout decode, and encode to the same bytes.

use proptest::prelude::*;

use super::proptest_cases;
use super::tables::table_content;
use crate::codec::{DecodeError, EncodeMethod, put_longstr};
use crate::spec::layout::LAYOUTS;
use crate::spec::{Method, ReplyCode};

/// One value for each kind of field; a layout takes what it needs.
#[derive(Clone, Debug)]
struct Material {
    number: u64,
    bit: bool,
    text: String,
    bytes: Vec<u8>,
    table: Vec<u8>,
}

fn material() -> impl Strategy<Value = Material> {
    (any::<u64>(), any::<bool>(), "\\PC{0,40}", any::<Vec<u8>>(), table_content())
        .prop_map(|(number, bit, text, bytes, table)| Material { number, bit, text, bytes, table })
}

/// The payload of a method frame with this id and layout.
fn payload(id: u32, layout: &str, material: &[Material]) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    let mut letters = layout.chars().peekable();
    let mut material = material.iter().cycle();
    let mut bits = 0;
    while let Some(letter) = letters.next() {
        let reserved = letter == '.';
        let letter = if reserved { letters.next().unwrap() } else { letter };
        let value = material.next().unwrap();
        let number = if reserved { 0 } else { value.number };
        let bytes: &[u8] = match letter {
            _ if reserved => &[],
            't' => value.text.as_bytes(),
            'T' => &value.bytes,
            _ => &value.table,
        };
        if letter == 'b' {
            let octet = out.len() - 1;
            let set = u8::from(value.bit && !reserved);
            if bits % 8 == 0 {
                out.push(set)
            } else {
                out[octet] |= set << (bits % 8)
            }
            bits += 1;
            continue;
        }
        bits = 0;
        match letter {
            'o' => out.push(number as u8),
            's' => out.extend((number as u16).to_be_bytes()),
            'l' => out.extend((number as u32).to_be_bytes()),
            'L' => out.extend(number.to_be_bytes()),
            't' => {
                out.push(bytes.len() as u8);
                out.extend(bytes);
            }
            'T' | 'F' => put_longstr(&mut out, bytes),
            other => panic!("unknown letter {other}"),
        }
    }
    out
}

proptest! {
    #![proptest_config(proptest_cases(24))]

    #[test]
    fn every_method_round_trips(material in prop::collection::vec(material(), 5)) {
        for &(name, id, layout) in LAYOUTS {
            let bytes = payload(id, layout, &material);
            let method = Method::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error} in {bytes:?}"));
            prop_assert_eq!(method.name(), name);
            prop_assert_eq!(method.id(), id);
            prop_assert_eq!((u32::from(method.class_id()) << 16) | u32::from(method.method_id()), id);
            let mut encoded = Vec::new();
            method.encode(&mut encoded);
            prop_assert_eq!(&encoded, &bytes, "{}", name);
        }
    }

    #[test]
    fn every_method_refuses_to_be_cut_short_or_long(material in prop::collection::vec(material(), 5)) {
        for &(name, id, layout) in LAYOUTS {
            let mut bytes = payload(id, layout, &material);
            for length in 0..bytes.len() {
                let error = Method::decode(&bytes[..length]).expect_err(name);
                prop_assert_eq!(error, DecodeError::Truncated, "{} cut to {}", name, length);
            }
            bytes.push(0);
            prop_assert_eq!(Method::decode(&bytes), Err(DecodeError::Trailing(1)), "{}", name);
        }
    }
}

#[test]
fn the_layouts_are_of_all_classes() {
    let mut ids: Vec<_> = LAYOUTS.iter().map(|&(_, id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), LAYOUTS.len());
    let mut classes: Vec<_> = ids.iter().map(|id| id >> 16).collect();
    classes.dedup();
    assert_eq!(classes, [10, 20, 30, 40, 50, 60, 85, 90]);
}

#[test]
fn an_unknown_method_is_not_implemented() {
    let error = Method::decode(&[0, 60, 0, 99]).unwrap_err();
    assert_eq!(error, DecodeError::UnknownMethod { class_id: 60, method_id: 99 });
    assert_eq!(error.reply_code(), ReplyCode::NotImplemented);
}

#[test]
fn a_short_string_must_be_utf_8() {
    // basic.cancel with the consumer tag ff.
    let error = Method::decode(&[0, 60, 0, 30, 1, 0xff, 0]).unwrap_err();
    assert_eq!(error, DecodeError::MalformedUtf8);
    assert_eq!(error.reply_code().name(), "FRAME_ERROR");
    assert_eq!(error.to_string(), "Malformed UTF-8 in shortstr");
}

/// Only these are followed by content: clause 1.8 of the reference, class basic.
#[test]
fn content_follows_what_carries_messages() {
    let with_content: Vec<_> = LAYOUTS
        .iter()
        .filter(|&&(_, id, layout)| {
            let empty =
                Material { number: 0, bit: false, text: String::new(), bytes: Vec::new(), table: Vec::new() };
            Method::decode(&payload(id, layout, &[empty])).unwrap().has_content()
        })
        .map(|&(name, _, _)| name)
        .collect();
    assert_eq!(with_content, ["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"]);
}

/// RabbitMQ tells soft from hard errors as the XML does.
#[test]
fn reply_codes_have_numbers_names_and_scope() {
    for (code, number, name, closes_connection) in [
        (ReplyCode::NoRoute, 312, "NO_ROUTE", false),
        (ReplyCode::ConnectionForced, 320, "CONNECTION_FORCED", true),
        (ReplyCode::NotFound, 404, "NOT_FOUND", false),
        (ReplyCode::PreconditionFailed, 406, "PRECONDITION_FAILED", false),
        (ReplyCode::FrameError, 501, "FRAME_ERROR", true),
        (ReplyCode::NotAllowed, 530, "NOT_ALLOWED", true),
    ] {
        assert_eq!((code.code(), code.name(), code.closes_connection()), (number, name, closes_connection));
        assert_eq!(ReplyCode::from_code(number), Some(code));
    }
    assert_eq!(ReplyCode::from_code(200), None);
}
