//! Method frames as pika 1.x writes them, in both directions.

use super::hex;
use crate::codec::{EncodeMethod, Frame, Payload, TableWriter, frame};
use crate::spec::{Method, access, basic, channel, confirm, connection, exchange, queue, tx};

/// The frame decodes to `expect` on its channel, and `expect` encodes to the frame.
fn check<'a>(frame_hex: &str, channel: u16, expect: impl EncodeMethod + Into<Method<'a>>) {
    let bytes = hex(frame_hex);
    let (Frame { channel: found, payload }, used) = frame::decode(&bytes, 131_072).unwrap().unwrap();
    assert_eq!((found, used), (channel, bytes.len()));
    let Payload::Method(payload) = payload else { panic!("not a method: {payload:?}") };
    let mut encoded = Vec::new();
    frame::encode_method(&mut encoded, channel, &expect);
    assert_eq!(encoded, bytes);
    let expect = expect.into();
    assert_eq!(Method::decode(payload), Ok(expect));
    let mut encoded = Vec::new();
    frame::encode_method(&mut encoded, channel, &expect);
    assert_eq!(encoded, bytes, "by the enum of all methods");
}

#[test]
fn connection_class() {
    let mut properties = TableWriter::new();
    properties.put_str("product", "Fairlead");
    check(
        "01000000000031000a000a0009000000150770726f647563745300000008466169726c65616400000005504c41494e00000005656e5f5553ce",
        0,
        connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: properties.as_table(),
            mechanisms: b"PLAIN",
            locales: b"en_US",
        },
    );
    let mut properties = TableWriter::new();
    properties.put_str("k", "v");
    check(
        "0100000000002c000a000b00000008016b53000000017605504c41494e0000000c00677565737400677565737405656e5f5553ce",
        0,
        connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
        },
    );
    check("01000000000009000a00150000000172ce", 0, connection::SecureOk { response: b"r" });
    let (channel_max, frame_max, heartbeat) = (2047, 131_072, 60);
    check(
        "0100000000000c000a001e07ff00020000003cce",
        0,
        connection::Tune { channel_max, frame_max, heartbeat },
    );
    check(
        "0100000000000c000a001f07ff00020000003cce",
        0,
        connection::TuneOk { channel_max, frame_max, heartbeat },
    );
    check("01000000000008000a0028012f0000ce", 0, connection::Open { virtual_host: "/" });
    check("01000000000005000a002900ce", 0, connection::OpenOk);
    check(
        "0100000000001c000a0032014011434f4e4e454354494f4e5f464f52434544000a0028ce",
        0,
        connection::Close { reply_code: 320, reply_text: "CONNECTION_FORCED", class_id: 10, method_id: 40 },
    );
    check("01000000000004000a0033ce", 0, connection::CloseOk);
}

/// What additions.xml adds to the public XML.
#[test]
fn additions() {
    check(
        "01000000000012000a003c0d6c6f77206f6e206d656d6f7279ce",
        0,
        connection::Blocked { reason: "low on memory" },
    );
    check("01000000000004000a003dce", 0, connection::Unblocked);
    check(
        "01000000000016000a0046000000067333637265740772656e65776564ce",
        0,
        connection::UpdateSecret { new_secret: b"s3cret", reason: "renewed" },
    );
    check("01000000000004000a0047ce", 0, connection::UpdateSecretOk);
    // Not of pika, which dropped the class: by hand, after the 0-9 grammar.
    check(
        "0100010000000b001e000a052f64617461 1d ce",
        1,
        access::Request {
            realm: "/data",
            exclusive: true,
            passive: false,
            active: true,
            write: true,
            read: true,
        },
    );
    check("01000100000006001e000b0001ce", 1, access::RequestOk { ticket: 1 });
}

#[test]
fn channel_exchange_and_queue_classes() {
    check("010001000000050014000a00ce", 1, channel::Open);
    check("010001000000080014000b00000000ce", 1, channel::OpenOk);
    check("010001000000050014001401ce", 1, channel::Flow { active: true });
    let mut arguments = TableWriter::new();
    arguments.put_str("alternate-exchange", "x");
    check(
        "0100070000002f0028000a0000046c6f677305746f7069630a0000001912616c7465726e6174652d65786368616e6765530000000178ce",
        7,
        exchange::Declare {
            exchange: "logs",
            type_: "topic",
            durable: true,
            internal: true,
            arguments: arguments.as_table(),
            ..Default::default()
        },
    );
    check(
        "0100070000001100280028000001640173016b0000000000ce",
        7,
        exchange::Unbind { destination: "d", source: "s", routing_key: "k", ..Default::default() },
    );
    check("0100070000000400280033ce", 7, exchange::UnbindOk);
    let mut arguments = TableWriter::new();
    arguments.put_i32("x-max-length", 10);
    check(
        "0100010000001f0032000a000001710a000000120c782d6d61782d6c656e677468490000000ace",
        1,
        queue::Declare {
            queue: "q",
            durable: true,
            auto_delete: true,
            arguments: arguments.as_table(),
            ..Default::default()
        },
    );
    check(
        "0100010000000e0032000b01710000000300000002ce",
        1,
        queue::DeclareOk { queue: "q", message_count: 3, consumer_count: 2 },
    );
    check(
        "01000100000009003200280000017106ce",
        1,
        queue::Delete { queue: "q", if_unused: false, if_empty: true, no_wait: true },
    );
}

#[test]
fn basic_confirm_and_tx_classes() {
    check(
        "0100010000000b003c000a00000000006401ce",
        1,
        basic::Qos { prefetch_size: 0, prefetch_count: 100, global: true },
    );
    check(
        "0100010000000f003c00140000017101740600000000ce",
        1,
        basic::Consume { queue: "q", consumer_tag: "t", no_ack: true, exclusive: true, ..Default::default() },
    );
    check(
        "0100010000000d003c002800000165036b2e3101ce",
        1,
        basic::Publish { exchange: "e", routing_key: "k.1", mandatory: true, immediate: false },
    );
    check(
        "01000100000013003c00320138084e4f5f524f5554450165016bce",
        1,
        basic::Return { reply_code: 312, reply_text: "NO_ROUTE", exchange: "e", routing_key: "k" },
    );
    check(
        "01000100000013003c003c01740000000000000102010165016bce",
        1,
        basic::Deliver {
            consumer_tag: "t",
            delivery_tag: 258,
            redelivered: true,
            exchange: "e",
            routing_key: "k",
        },
    );
    check(
        "01000100000015003c00470000000000000009000165016b00000004ce",
        1,
        basic::GetOk {
            delivery_tag: 9,
            redelivered: false,
            exchange: "e",
            routing_key: "k",
            message_count: 4,
        },
    );
    check("01000100000005003c004800ce", 1, basic::GetEmpty);
    check("0100010000000d003c0050000000000000000501ce", 1, basic::Ack { delivery_tag: 5, multiple: true });
    check(
        "0100010000000d003c0078000000000000000502ce",
        1,
        basic::Nack { delivery_tag: 5, multiple: false, requeue: true },
    );
    check("0100010000000d003c005a000000000000000601ce", 1, basic::Reject { delivery_tag: 6, requeue: true });
    check("010001000000050055000a01ce", 1, confirm::Select { nowait: true });
    check("01000100000004005a001ece", 1, tx::Rollback);
}
