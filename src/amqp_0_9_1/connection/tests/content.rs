//! Messages in pieces: across reads, across frames, out in frames; and what each may make us hold.

use super::talk::{Talk, TestDelivery, message, publish_frames};
use super::{check, check_in};
use crate::codec::frame::{encode_body, encode_header, encode_method};
use crate::connection::ConnectionConfig;
use crate::spec::{BasicProperties, basic, channel, confirm};
use fairlead_kernel::SessionId;
use fairlead_kernel::message::Overlay;
use fairlead_kernel::session::Event;

fn to(key: &str) -> basic::Publish<'_> {
    basic::Publish { exchange: "x", routing_key: key, ..Default::default() }
}

fn frames(channel: u16, key: &str, body: &[u8]) -> Vec<u8> {
    publish_frames(channel, &to(key), &BasicProperties::default(), body)
}

/// Keys and bodies in the order in which the engine got them, with what was owned.
fn got(talk: &Talk) -> Vec<(&str, usize, bool)> {
    talk.published
        .iter()
        .map(|publish| (publish.routing_key.as_str(), publish.body.len(), publish.owned))
        .collect()
}

#[test]
fn messages_that_lie_whole_in_a_read_are_borrowed() {
    let mut talk = Talk::open();
    talk.feed(&[frames(1, "a", b""), frames(1, "b", b"body"), frames(1, "c", &[7; 1000])].concat());
    assert_eq!(got(&talk), [("a", 0, false), ("b", 4, false), ("c", 1000, false)]);
}

#[test]
fn a_read_may_end_anywhere() {
    let all = [frames(1, "a", b"first"), frames(1, "b", &[7; 2500]), frames(1, "c", b"")].concat();
    for cut in 0..all.len() {
        let mut talk = Talk::open();
        // As the runtime: whole frames are taken, the rest of the bytes comes again with the next read.
        let mut at = 0;
        while let Some((_, length)) = crate::codec::frame::decode(&all[at..cut], 1 << 17).unwrap() {
            at += length;
        }
        talk.feed(&all[..at]);
        talk.feed(&all[at..]);
        let bodies: Vec<(&str, usize)> = got(&talk).iter().map(|(key, length, _)| (*key, *length)).collect();
        assert_eq!(bodies, [("a", 5), ("b", 2500), ("c", 0)], "cut at {cut}");
        assert_eq!((talk.heard(), talk.connection.incomplete_bytes()), (vec![], 0));
    }
}

#[test]
fn order_is_kept_between_borrowed_and_owned() {
    let mut talk = Talk::open();
    talk.feed(&[frames(1, "a", b"1"), frames(1, "b", &[7; 1001]), frames(1, "c", b"3")].concat());
    assert_eq!(got(&talk), [("a", 1, false), ("b", 1001, true), ("c", 1, false)]);
}

#[test]
fn channels_may_interleave_their_frames() {
    let mut talk = Talk::open();
    talk.send(2, &channel::Open);
    talk.heard();
    let (first, second) = (frames(1, "a", b"of one"), frames(2, "b", b"of two"));
    let split = |bytes: &[u8]| {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some((_, length)) = crate::codec::frame::decode(&bytes[at..], 1 << 17).unwrap() {
            parts.push(bytes[at..at + length].to_vec());
            at += length;
        }
        parts
    };
    let mixed: Vec<u8> =
        split(&first).into_iter().zip(split(&second)).flat_map(|(a, b)| [a, b]).flatten().collect();
    talk.feed(&mixed);
    let bodies: Vec<(u16, &[u8])> =
        talk.published.iter().map(|publish| (publish.session, &publish.body[..])).collect();
    assert_eq!(bodies, [(1, &b"of one"[..]), (2, &b"of two"[..])]);
}

#[test]
fn octet_by_octet_holds_octets() {
    let mut talk = Talk::open();
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 1, &to("k"));
    encode_header(&mut bytes, 1, 60, 20_000, &[0, 0]);
    talk.feed(&bytes);
    for n in 0..20_000_u32 {
        let mut frame = Vec::new();
        encode_body(&mut frame, 1, &[n as u8]);
        if n == 10_000 {
            // A body frame may also be empty.
            encode_body(&mut frame, 1, b"");
        }
        talk.feed(&frame);
    }
    let expect: Vec<u8> = (0..20_000_u32).map(|n| n as u8).collect();
    assert!(talk.published[0].body == expect);
}

#[test]
fn incomplete_messages_are_bounded_over_all_channels() {
    let config = ConnectionConfig { incomplete_bytes_max: 3000, ..ConnectionConfig::default() };
    let mut talk = Talk::open_with(config);
    let begin = |talk: &mut Talk, number: u16| {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, number, &to("k"));
        encode_header(&mut bytes, number, 60, 10_000, &[0, 0]);
        encode_body(&mut bytes, number, &[0; 1400]);
        talk.feed(&bytes);
    };
    begin(&mut talk, 1);
    talk.send(2, &channel::Open);
    begin(&mut talk, 2);
    assert_eq!(
        (talk.heard(), talk.connection.incomplete_bytes()),
        (vec!["2 channel.open-ok".to_owned()], 2804)
    );
    // A channel that closes gives back what it held.
    talk.event(Event::SettlementTimeout { session: SessionId(2), milliseconds: 1 });
    talk.heard();
    assert_eq!(talk.connection.incomplete_bytes(), 1402);
    talk.send(3, &channel::Open);
    begin(&mut talk, 3);
    talk.heard();
    talk.send(4, &channel::Open);
    check_in(
        talk,
        |talk| begin(talk, 4),
        &[
            "4 channel.open-ok",
            "0 connection.close 506 RESOURCE_ERROR - incomplete messages of this connection hold more than 3000 bytes \
             (60,40)",
        ],
    );
}

#[test]
fn heads_of_incomplete_messages_are_bounded_too() {
    let config = ConnectionConfig { incomplete_bytes_max: 3000, ..ConnectionConfig::default() };
    let content_type = "x".repeat(200);
    let properties = BasicProperties { content_type: Some(content_type.as_bytes()), ..Default::default() };
    let mut head = Vec::new();
    properties.encode(&mut head);
    let begin = |number: u16| {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, number, &channel::Open);
        encode_method(&mut bytes, number, &to("k"));
        encode_header(&mut bytes, number, 60, 10_000, &head);
        bytes
    };
    let closed = "0 connection.close 506 RESOURCE_ERROR - incomplete messages of this connection hold more than 3000 bytes \
                  (60,40)";
    for at_once in [false, true] {
        let mut talk = Talk::open_with(config.clone());
        let all: Vec<Vec<u8>> = (2..20).map(begin).collect();
        if at_once {
            talk.feed(&all.concat());
        } else {
            all.iter().for_each(|bytes| talk.feed(bytes));
        }
        let heard = talk.heard();
        assert_eq!(heard.last().map(String::as_str), Some(closed), "{heard:?}");
        assert!(talk.connection.incomplete_bytes() <= 3000);
    }
    // What is complete, or whose channel has gone, holds nothing.
    let mut talk = Talk::open_with(config);
    talk.feed(&begin(2));
    assert_eq!(talk.connection.incomplete_bytes(), head.len() as u64);
    let mut body = Vec::new();
    encode_body(&mut body, 2, &[0; 10_000]);
    talk.feed(&body);
    assert_eq!((talk.published.len(), talk.connection.incomplete_bytes()), (1, 0));
}

#[test]
fn a_publish_whose_channel_ended_meanwhile_is_dropped() {
    let mut talk = Talk::open();
    talk.send(1, &confirm::Select { nowait: true });
    let all = frames(1, "k", b"body");
    let method = 7 + 4 + 2 + 2 + 2 + 1 + 1;
    talk.feed(&all[..method]);
    talk.event(Event::SettlementTimeout { session: SessionId(1), milliseconds: 1 });
    talk.feed(&all[method..]);
    assert_eq!(talk.published.len(), 0);
    assert_eq!(talk.heard().len(), 1, "the close of the channel only");
}

#[test]
fn deliveries_are_cut_to_the_clients_frames() {
    let mut talk = Talk::local();
    talk.start_ok(&[]);
    talk.send(0, &crate::spec::connection::TuneOk { channel_max: 10, frame_max: 4096, heartbeat: 0 });
    talk.send(0, &crate::spec::connection::Open { virtual_host: "/" });
    talk.send(1, &channel::Open);
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.heard();
    let body: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
    talk.deliver(&TestDelivery { body: &body, ..Default::default() });
    assert_eq!(talk.heard()[1..], ["1 header 10000", "1 body of 4088", "1 body of 4088", "1 body of 1824"]);
}

#[test]
fn a_delivery_like_the_one_before_has_the_same_frames_as_without_it() {
    let long = vec![b'x'; 200_000];
    // Flags of a content type and of a priority; the priority's value.
    let heads: [&[u8]; 4] = [&[0, 0], &[0x08, 0, 7], &[0x80, 0, 4, b't', b'e', b'x', b't'], &[0x08, 0, 9]];
    let overlay = Overlay { expiry_removed: true, ..Overlay::default() };
    let plain = TestDelivery::default();
    let rows = [
        vec![plain; 3],
        vec![plain, TestDelivery { redelivered: true, ..plain }, plain],
        vec![plain, TestDelivery { body: b"another", ..plain }, TestDelivery { body: b"", ..plain }, plain],
        vec![plain, TestDelivery { body: &long, ..plain }, plain, plain],
        vec![plain, TestDelivery { overlay: Some(&overlay), ..plain }, plain, plain],
        vec![TestDelivery { delivery_count: 3, ..plain }, plain, TestDelivery { delivery_count: 1, ..plain }],
        heads.iter().chain(&heads).map(|head| TestDelivery { head, ..plain }).collect(),
        vec![TestDelivery { acknowledge: false, ..plain }; 2],
    ];
    for (number, row) in rows.iter().enumerate() {
        let told = [false, true].map(|tell| {
            let mut talk = Talk::open();
            talk.send(1, &basic::Consume { queue: "q", consumer_tag: "tag", ..Default::default() });
            talk.heard();
            for (at, delivery) in row.iter().enumerate() {
                talk.deliver(&TestDelivery { alike: tell && at > 0, ..*delivery });
            }
            talk.heard_bytes()
        });
        assert!(told[0] == told[1], "row {number}");
        assert!(told[0].len() > 50 * row.len());
    }
}

#[test]
fn shared_segments_come_out_as_one_body() {
    // Segments of many sizes, shared ones among them, cut into frames that fit none of them.
    let sizes = [1, 4096, 0, 5000, 20_000, 3, 4095, 1];
    let total: usize = sizes.iter().sum();
    let all: Vec<u8> = (0..total as u32).map(|n| (n % 251) as u8).collect();
    let mut at = 0;
    let segments = sizes.iter().map(|size| {
        at += size;
        bytes::Bytes::copy_from_slice(&all[at - size..at])
    });
    let mut shared = (*message("k", b"")).clone();
    shared.body = segments.collect();
    let mut talk = Talk::open();
    talk.connection.handle_event(Event::Returned { session: SessionId(1), message: shared.into() }, talk.now);
    let bytes = talk.heard_bytes();
    let mut body = Vec::new();
    let mut at = 0;
    while let Some((frame, length)) = crate::codec::frame::decode(&bytes[at..], 1 << 17).unwrap() {
        if let crate::codec::Payload::Body(piece) = frame.payload {
            body.extend_from_slice(piece);
        }
        at += length;
    }
    assert_eq!(at, bytes.len());
    assert!(body == all);
}

#[test]
fn get_is_answered_by_a_delivery() {
    let mut talk = Talk::open();
    // Asked, and not answered yet: nothing more is read.
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 1, &basic::Get { queue: "q", no_ack: false });
    let (frame, _) = crate::codec::frame::decode(&bytes, 1 << 17).unwrap().unwrap();
    talk.connection.handle_frame(frame, talk.now, &mut Default::default()).unwrap();
    assert!(talk.connection.poll_request().is_some());
    assert!(!talk.connection.wants_input());
    talk.deliver(&TestDelivery { consumer: None, remaining: 4, redelivered: true, ..Default::default() });
    assert!(talk.connection.wants_input());
    check_in(
        talk,
        |_| (),
        &[
            "1 basic.get-ok delivery_tag: 1, redelivered: true, exchange: \"x\", routing_key: \"k\", message_count: 4",
            "1 header 4",
            "1 body body",
        ],
    );
}

#[test]
fn methods_that_servers_send_end_the_connection() {
    check(
        |talk| talk.send(1, &basic::GetEmpty),
        &[
            "0 connection.close 503 COMMAND_INVALID - unexpected method basic.get-empty from a client's channel (60,72)",
        ],
    );
    check(
        |talk| talk.send(1, &channel::CloseOk),
        &[
            "0 connection.close 503 COMMAND_INVALID - unexpected method channel.close-ok from a client's channel (20,41)",
        ],
    );
    check(
        |talk| talk.send(1, &channel::FlowOk { active: true }),
        &[
            "0 connection.close 503 COMMAND_INVALID - unexpected method channel.flow-ok from a client's channel (20,21)",
        ],
    );
    check(|talk| talk.send(1, &basic::CancelOk { consumer_tag: "t" }), &[]);
    check(
        |talk| talk.send(0, &basic::GetEmpty),
        &[
            "0 connection.close 504 CHANNEL_ERROR - unexpected method basic.get-empty in connection state running \
           (60,72)",
        ],
    );
}
