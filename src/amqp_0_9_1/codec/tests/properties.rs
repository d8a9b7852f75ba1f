//! Content properties: golden bytes, all combinations there and back, and the scan against the full decoder.

use proptest::prelude::*;

use super::tables::table_content;
use super::{hex, proptest_cases};
use crate::codec::properties::{Scan, scan};
use crate::codec::{DecodeError, Table, TableWriter};
use crate::spec::{BasicProperties, ReplyCode, basic_properties};

/// All fourteen, as pika writes them.
#[test]
fn all_properties_of_pika() {
    let bytes = hex(concat!(
        "fffc0a746578742f706c61696e057574662d3800000007016149000000010205016301720536",
        "30303030016d000000005e0be10001740567756573740161017a",
    ));
    let mut headers = TableWriter::new();
    headers.put_i32("a", 1);
    let expect = BasicProperties {
        content_type: Some(b"text/plain"),
        content_encoding: Some(b"utf-8"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(5),
        correlation_id: Some(b"c"),
        reply_to: Some(b"r"),
        expiration: Some(b"60000"),
        message_id: Some(b"m"),
        timestamp: Some(1_577_836_800),
        type_: Some(b"t"),
        user_id: Some(b"guest"),
        app_id: Some(b"a"),
        reserved: Some(b"z"),
    };
    assert_eq!(BasicProperties::decode(&bytes), Ok(expect));
    let mut encoded = Vec::new();
    expect.encode(&mut encoded);
    assert_eq!(encoded, bytes);
    assert_scan_agrees(&bytes);
}

#[test]
fn no_properties() {
    assert_eq!(scan(&[0, 0]), Ok(Scan::default()));
    assert_eq!(BasicProperties::decode(&[0, 0]), Ok(BasicProperties::default()));
}

/// The shortcut for it tells what the long way tells.
#[test]
fn only_the_delivery_mode() {
    let bytes = [0x10, 0, 2];
    let expect = Scan { flags: basic_properties::DELIVERY_MODE, delivery_mode: Some(2), ..Scan::default() };
    assert_eq!(scan(&bytes), Ok(expect));
    assert_scan_agrees(&bytes);
}

/// What the scan tells is what the full decoder tells.
fn assert_scan_agrees(bytes: &[u8]) {
    let (found, properties) = match (scan(bytes), BasicProperties::decode(bytes)) {
        (Ok(found), Ok(properties)) => (found, properties),
        (found, properties) => {
            assert_eq!(found.err(), properties.err());
            return;
        }
    };
    assert_eq!(found.delivery_mode, properties.delivery_mode);
    assert_eq!(found.priority, properties.priority);
    assert_eq!(found.headers.map(|span| Table::from_validated(span.of(bytes))), properties.headers);
    assert_eq!(found.expiration.map(|span| span.of(bytes)), properties.expiration);
    assert_eq!(found.user_id.map(|span| span.of(bytes)), properties.user_id);
    assert_eq!(found.reply_to.map(|span| span.of(bytes)), properties.reply_to);
}

proptest! {
    #![proptest_config(proptest_cases(128))]

    #[test]
    fn properties_round_trip(
        flags in any::<u16>(),
        text in prop::collection::vec(any::<u8>(), 0..=255),
        headers in table_content(),
        octet in any::<u8>(),
        timestamp in any::<u64>(),
    ) {
        fn when<T>(flags: u16, flag: u16, value: T) -> Option<T> {
            (flags & flag != 0).then_some(value)
        }
        let properties = BasicProperties {
            content_type: when(flags, basic_properties::CONTENT_TYPE, &text),
            content_encoding: when(flags, basic_properties::CONTENT_ENCODING, &text),
            headers: when(flags, basic_properties::HEADERS, Table::from_validated(&headers)),
            delivery_mode: when(flags, basic_properties::DELIVERY_MODE, octet),
            priority: when(flags, basic_properties::PRIORITY, octet),
            correlation_id: when(flags, basic_properties::CORRELATION_ID, &text),
            reply_to: when(flags, basic_properties::REPLY_TO, &text),
            expiration: when(flags, basic_properties::EXPIRATION, &text),
            message_id: when(flags, basic_properties::MESSAGE_ID, &text),
            timestamp: when(flags, basic_properties::TIMESTAMP, timestamp),
            type_: when(flags, basic_properties::TYPE, &text),
            user_id: when(flags, basic_properties::USER_ID, &text),
            app_id: when(flags, basic_properties::APP_ID, &text),
            reserved: when(flags, basic_properties::RESERVED, &text),
        };
        let mut bytes = Vec::new();
        properties.encode(&mut bytes);
        prop_assert_eq!(BasicProperties::decode(&bytes), Ok(properties));
        prop_assert_eq!(scan(&bytes).map(|found| found.flags), Ok(flags & basic_properties::ALL));
        assert_scan_agrees(&bytes);
        for length in 0..bytes.len() {
            prop_assert_eq!(scan(&bytes[..length]), Err(DecodeError::Truncated));
        }
        bytes.push(0);
        prop_assert_eq!(scan(&bytes), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn any_bytes_are_read_alike_or_refused_alike(bytes in any::<Vec<u8>>()) {
        assert_scan_agrees(&bytes);
    }
}

/// Clause 4.2.6.1: the lowest bit announces more flags, of which class basic has none.
#[test]
fn unknown_flags_are_refused() {
    for flags in [0b01, 0b10, 0x1001] {
        let error = scan(&u16::to_be_bytes(flags)).unwrap_err();
        assert_eq!(error, DecodeError::UnknownPropertyFlags(flags));
        assert_eq!(error.reply_code(), ReplyCode::SyntaxError);
    }
}

/// Publishers put raw identifiers into short strings; they pass as they are.
#[test]
fn short_strings_of_properties_may_be_binary() {
    let bytes = [0x04, 0x00, 2, 0xff, 0xfe];
    assert_eq!(BasicProperties::decode(&bytes).unwrap().correlation_id, Some(&[0xff, 0xfe][..]));
    assert!(scan(&bytes).is_ok());
}
