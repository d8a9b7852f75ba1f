//! Traps 1 to 6: header, capabilities, login, tune, framing, channels.

use super::talk::{NEAR, Talk, publish_frames};
use super::{check, check_in};
use crate::codec::frame::{encode_body, encode_header, encode_heartbeat, encode_method};
use crate::codec::protocol_header::{PROTOCOL_HEADER, Recognised, recognise};
use crate::codec::{Table, Value};
use crate::connection::{ConnectionConfig, Peer, SaslMechanism};
use crate::spec::{BasicProperties, basic, channel, connection, queue};
use fairlead_kernel::refusal::{Bound, Refusal, Resource};
use fairlead_kernel::session::{Mechanism, Request};

#[test]
fn trap_01_headers_of_all_0_9_1_clients_are_taken_and_answered_with_start() {
    for header in [
        *b"AMQP\x00\x00\x09\x01",
        *b"AMQP\x01\x01\x00\x09",
        *b"AMQP\x01\x01\x08\x00",
        *b"AMQP\x01\x01\x09\x01",
    ] {
        assert_eq!(recognise(&header), Recognised::Accepted, "{header:?}");
    }
    for other in [&b"GET / HTTP/1.1"[..], b"AMQP\x00\x00\x09\x00", b"AMQP\x00\x01\x00\x00", b"\0"] {
        assert_eq!(recognise(other), Recognised::Refused, "{other:?}");
    }
    assert_eq!(PROTOCOL_HEADER, *b"AMQP\x00\x00\x09\x01");
    let heard = Talk::local().heard();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("0 connection.start version_major: 0, version_minor: 9"), "{heard:?}");
}

#[test]
fn trap_02_server_properties_tell_our_capabilities() {
    let mut talk = Talk::local();
    let bytes = talk.heard_bytes();
    let connection::Start { server_properties, mechanisms, locales, .. } =
        connection::Start::decode(&bytes[11..bytes.len() - 1]).unwrap();
    let capabilities = server_properties.get("capabilities").and_then(|field| field.as_table()).unwrap();
    let names: Vec<&str> = capabilities.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "consumer_priorities",
            "authentication_failure_close",
            "per_consumer_qos",
            "direct_reply_to",
        ]
    );
    assert!(capabilities.iter().all(|(_, value)| value == Value::Boolean(true)));
    assert_eq!(server_properties.get("product"), Some(Value::LongString(b"Fairlead")));
    assert_eq!((mechanisms, locales), (&b"PLAIN"[..], &b"en_US"[..]));
}

#[test]
fn trap_03_refused_login_is_told_to_clients_that_listen() {
    let mut talk = Talk::local();
    talk.heard();
    talk.refuse(Refusal::LoginRefused);
    talk.start_ok(&["authentication_failure_close"]);
    assert_eq!(
        talk.heard(),
        [
            "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
          details see the broker logfile. (0,0)"
        ]
    );
    talk.send(0, &connection::CloseOk);
    assert!(talk.connection.is_closed());
}

#[test]
fn trap_03_refused_login_is_silence_to_others() {
    let mut talk = Talk::local();
    talk.heard();
    talk.refuse(Refusal::LoginRefused);
    talk.start_ok(&[]);
    talk.wait(2900);
    assert!(!talk.connection.is_closed());
    talk.wait(100);
    assert!(talk.connection.is_closed());
    assert_eq!(talk.heard(), [""; 0]);
}

#[test]
fn trap_03_unknown_virtual_host() {
    let mut talk = Talk::local();
    talk.start_ok(&[]);
    talk.send(0, &connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
    talk.heard();
    talk.refuse(Refusal::NoVirtualHost("nowhere".to_owned()));
    talk.send(0, &connection::Open { virtual_host: "nowhere" });
    assert_eq!(talk.heard(), ["0 connection.close 530 NOT_ALLOWED - vhost nowhere not found (10,40)"]);
}

#[test]
fn trap_03_refusals_of_open_are_told() {
    let check = |refusal: Refusal, expect: &str| {
        let mut talk = Talk::local();
        talk.start_ok(&[]);
        talk.send(0, &connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
        talk.heard();
        talk.refuse(refusal);
        talk.send(0, &connection::Open { virtual_host: "v" });
        assert_eq!(talk.heard(), [format!("0 connection.close {expect} (10,40)")]);
    };
    check(Refusal::LoginRefused, "530 NOT_ALLOWED - access to vhost 'v' refused for user 'guest'");
    check(
        Refusal::TooMany { bound: Bound::Connections, limit: 5 },
        "530 NOT_ALLOWED - connection refused: connection limit (5) is reached",
    );
    check(
        Refusal::TooMany { bound: Bound::UserConnections, limit: 2 },
        "530 NOT_ALLOWED - connection refused for user 'guest': user connection limit (2) is reached",
    );
    check(
        Refusal::ShuttingDown,
        "320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    );
}

#[test]
fn trap_03_mechanisms_and_their_responses() {
    let config = || ConnectionConfig {
        mechanisms: vec![SaslMechanism::Plain, SaslMechanism::AmqPlain, SaslMechanism::Anonymous],
        ..ConnectionConfig::default()
    };
    let far = Peer { loopback: false, ..NEAR };
    let login = |peer: Peer, mechanism: &str, response: &[u8]| {
        let mut talk = Talk::new(config(), peer);
        talk.heard();
        talk.send(
            0,
            &connection::StartOk { client_properties: Table::EMPTY, mechanism, response, locale: "" },
        );
        (talk.asked(), talk.heard())
    };
    let plain = |user: &str, secret: &[u8]| {
        vec![Request::Authenticate {
            mechanism: Mechanism::Plain,
            user: user.to_owned(),
            secret: secret.to_vec(),
        }]
    };
    assert_eq!(login(NEAR, "PLAIN", b"ignored\0me\0secret").0, plain("me", b"secret"));
    let fields = super::talk::table(|table| {
        table.put_str("LOGIN", "me").put_str("PASSWORD", "pw");
    });
    assert_eq!(login(NEAR, "AMQPLAIN", &fields).0, plain("me", b"pw"));
    let anonymous = login(far, "ANONYMOUS", b"").0;
    assert!(matches!(&anonymous[..], [Request::Authenticate { mechanism: Mechanism::Anonymous, .. }]));
    assert_eq!(
        login(far, "PLAIN", b"\0me\0secret").1,
        ["0 connection.close 503 COMMAND_INVALID - unknown authentication mechanism 'PLAIN' (10,11)"]
    );
    for response in [&b""[..], b"me", b"\0me", b"\0me\0a\0b", b"\0\xff\0a"] {
        assert_eq!(
            login(NEAR, "PLAIN", response),
            (
                vec![],
                vec![
                    "0 connection.close 502 SYNTAX_ERROR - invalid response for authentication mechanism PLAIN \
                     (10,11)"
                        .to_owned()
                ]
            )
        );
    }
}

#[test]
fn trap_04_tune_is_held_against_our_limits() {
    let tuned = |channel_max, frame_max, heartbeat| {
        let mut talk = Talk::local();
        talk.heard();
        talk.start_ok(&[]);
        assert_eq!(talk.heard(), ["0 connection.tune channel_max: 2047, frame_max: 131072, heartbeat: 60"]);
        talk.send(0, &connection::TuneOk { channel_max, frame_max, heartbeat });
        talk.send(0, &connection::Open { virtual_host: "/" });
        talk.heard()
    };
    let ok = ["0 connection.open-ok"];
    assert_eq!(tuned(2047, 131_072, 60), ok);
    assert_eq!(tuned(1, 4096, 0), ok, "old clients' frame-max");
    assert_eq!(tuned(100, 131_072, 600), ok, "the client's heartbeat wins");
    let refused =
        |text: &str| vec![format!("0 connection.close 530 NOT_ALLOWED - negotiated {text} (10,31)")];
    assert_eq!(
        tuned(0, 131_072, 60),
        refused("channel_max = 0 (no limit) is higher than the maximum allowed value (2047)")
    );
    assert_eq!(
        tuned(2048, 131_072, 60),
        refused("channel_max = 2048 is higher than the maximum allowed value (2047)")
    );
    assert_eq!(
        tuned(1, 131_073, 60),
        refused("frame_max = 131073 is higher than the maximum allowed value (131072)")
    );
    assert_eq!(
        tuned(1, 0, 60),
        refused("frame_max = 0 (no limit) is higher than the maximum allowed value (131072)")
    );
    assert_eq!(
        tuned(1, 4095, 60),
        refused("frame_max = 4095 is lower than the minimum allowed value (4096)")
    );
}

#[test]
fn trap_05_broken_frames_end_the_connection() {
    let mut large = Vec::new();
    encode_body(&mut large, 1, &[0; 131_073]);
    check(
        |talk| talk.feed(&large),
        &[
            "0 connection.close 501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064} (0,0)",
        ],
    );
    let mut wrong_end = Vec::new();
    encode_heartbeat(&mut wrong_end);
    *wrong_end.last_mut().unwrap() = 0;
    check(
        |talk| talk.feed(&wrong_end),
        &[
            "0 connection.close 501 FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,0} (0,0)",
        ],
    );
}

#[test]
fn trap_05_frames_out_of_order_end_the_connection() {
    const METHOD: &str =
        "0 connection.close 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)";
    const HEADER: &str = "0 connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, got non \
                          content header frame instead (60,40)";
    const BODY: &str = "0 connection.close 505 UNEXPECTED_FRAME - expected content body, got non content body frame \
                        instead (60,40)";
    type Put = fn(&mut Vec<u8>);
    let body: Put = |out| encode_body(out, 1, b"x");
    let header: Put = |out| encode_header(out, 1, 60, 5, &[0, 0]);
    let publish: Put = |out| encode_method(out, 1, &basic::Publish::default());
    let other: Put = |out| encode_method(out, 1, &queue::Declare::default());
    let cases: [(&[Put], &str); 9] = [
        (&[body], METHOD),
        (&[header], METHOD),
        (&[publish, publish], HEADER),
        (&[publish, other], HEADER),
        (&[publish, body], HEADER),
        (&[publish, header, header], BODY),
        (&[publish, header, publish], BODY),
        (&[publish, header, body, header], BODY),
        (&[publish, header, body, other], BODY),
    ];
    for (frames, expect) in cases {
        // All in one read, and each frame in a read of its own.
        check(
            |talk| {
                talk.feed(&frames.iter().fold(Vec::new(), |mut out, put| {
                    put(&mut out);
                    out
                }))
            },
            &[expect],
        );
        let alone = |talk: &mut Talk| {
            for put in frames {
                let mut bytes = Vec::new();
                put(&mut bytes);
                talk.feed(&bytes);
            }
        };
        check(alone, &[expect]);
    }
}

#[test]
fn trap_05_headers_and_heartbeats_in_wrong_places() {
    check(
        |talk| {
            talk.send(1, &basic::Publish::default());
            let mut header = Vec::new();
            encode_header(&mut header, 1, 10, 0, &[0, 0]);
            talk.feed(&header);
        },
        &[
            "0 connection.close 505 UNEXPECTED_FRAME - expected content header for class 60, got one for class 10 \
           instead (60,40)",
        ],
    );
    check(
        |talk| {
            let mut frames = Vec::new();
            encode_method(&mut frames, 1, &basic::Publish::default());
            encode_header(&mut frames, 1, 60, 2, &[0, 0]);
            encode_body(&mut frames, 1, b"abc");
            talk.feed(&frames);
        },
        &[
            "0 connection.close 505 UNEXPECTED_FRAME - content body is longer than the 2 octets of its header (60,40)",
        ],
    );
    check(
        |talk| talk.feed(&[8, 0, 1, 0, 0, 0, 0, 206]),
        &["0 connection.close 505 UNEXPECTED_FRAME - heartbeat frame on channel 1, expected channel 0 (0,0)"],
    );
}

#[test]
fn trap_06_channels_are_opened_once_and_counted() {
    check(
        |talk| talk.send(2, &queue::Declare::default()),
        &["0 connection.close 504 CHANNEL_ERROR - expected 'channel.open' (50,10)"],
    );
    check(
        |talk| talk.feed(&publish_frames(2, &basic::Publish::default(), &BasicProperties::default(), b"x")),
        &["0 connection.close 504 CHANNEL_ERROR - expected 'channel.open' (60,40)"],
    );
    check(
        |talk| talk.send(1, &channel::Open),
        &["0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (20,10)"],
    );
    let mut talk = Talk::local();
    talk.start_ok(&[]);
    talk.send(0, &connection::TuneOk { channel_max: 1, frame_max: 131_072, heartbeat: 0 });
    talk.send(0, &connection::Open { virtual_host: "/" });
    talk.heard();
    check_in(
        talk,
        |talk| {
            talk.send(9, &channel::Open);
            talk.send(1, &channel::Open);
        },
        &[
            "9 channel.open-ok",
            "0 connection.close 530 NOT_ALLOWED - number of channels opened (1) has reached the negotiated \
             channel_max (1) (20,10)",
        ],
    );
}

#[test]
fn trap_06_a_closed_channel_hears_nothing_but_close_and_close_ok() {
    let mut talk = Talk::open();
    talk.refuse(Refusal::NotFound(Resource::Queue, "q".to_owned()));
    talk.send(1, &queue::Declare { queue: "q", passive: true, ..Default::default() });
    let closed = "1 channel.close 404 NOT_FOUND - no queue 'q' in vhost '/' (50,10)";
    assert_eq!(talk.heard(), [closed]);
    talk.asked();
    talk.feed(&publish_frames(1, &basic::Publish::default(), &BasicProperties::default(), b"x"));
    talk.send(1, &queue::Declare::default());
    assert_eq!((talk.heard(), talk.asked(), talk.published.len()), (vec![], vec![], 0));
    talk.send(1, &channel::Close { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 });
    assert_eq!(talk.heard(), ["1 channel.close-ok"], "both closed at once");
    talk.send(1, &channel::CloseOk);
    talk.send(1, &channel::Open);
    assert_eq!(talk.heard(), ["1 channel.open-ok"]);
    assert_eq!(talk.asked(), [Request::OpenSession]);
}
