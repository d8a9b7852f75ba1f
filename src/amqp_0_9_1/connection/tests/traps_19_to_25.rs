//! Traps 19 to 25: dead letters, requeue, direct reply-to, properties, limits, time and end.

use super::talk::{Talk, TestDelivery, as_table, encoded, message, table};
use super::{check, check_in};
use crate::codec::TableWriter;
use crate::connection::ConnectionConfig;
use crate::spec::{BasicProperties, access, basic, connection, queue};
use crate::translate::HEAD_READER;
use fairlead_kernel::message::{Death, DeathReason, HeadReader, Overlay};
use fairlead_kernel::refusal::{Refusal, Resource};
use fairlead_kernel::session::{CloseReason, Event, Request};
use fairlead_kernel::{ConsumerId, SessionId, Time, Value};
use std::time::Duration;

fn death(queue: &str, reason: DeathReason, count: u64) -> Death {
    Death {
        count,
        reason,
        queue: queue.into(),
        time: Time(1_700_000_000_123_456_789),
        exchange: "x".into(),
        routing_keys: vec!["k".into(), "copy".into()],
        original_expiry: (reason == DeathReason::Expired).then_some(1000),
    }
}

/// The properties that a delivery of `head` with `overlay` and `delivery_count` has.
fn delivered(head: &[u8], overlay: Option<&Overlay>, delivery_count: u16) -> Vec<u8> {
    let mut talk = Talk::open();
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.heard();
    talk.deliver(&TestDelivery { head, overlay, delivery_count, body: b"", ..Default::default() });
    let bytes = talk.heard_bytes();
    // The header is the last frame, and its properties are what stands behind 19 bytes of it.
    let (_, method) = crate::codec::frame::decode(&bytes, 1 << 20).unwrap().unwrap();
    bytes[method + 19..bytes.len() - 1].to_vec()
}

fn head_with(build: impl FnOnce(&mut TableWriter), properties: BasicProperties<'_>) -> Vec<u8> {
    let headers = table(build);
    encoded(&BasicProperties { headers: Some(as_table(&headers)), ..properties })
}

#[test]
fn trap_19_deaths_are_told_in_headers() {
    let overlay = Overlay {
        deaths: vec![death("second", DeathReason::Rejected, 2), death("first", DeathReason::Expired, 1)],
        first_death: Some(("first".into(), DeathReason::Expired, "x".into())),
        expiry_removed: true,
        extra_keys_removed: false,
    };
    let head = head_with(
        |table| {
            table
                .put_str("kept", "yes")
                .put_str("x-death", "forged")
                .put_str("x-first-death-queue", "forged");
        },
        BasicProperties { expiration: Some(b"1000"), ..Default::default() },
    );
    let out = delivered(&head, Some(&overlay), 0);
    let properties = BasicProperties::decode(&out).unwrap();
    assert_eq!(properties.expiration, None, "it died of it once");
    let text = |text: &str| Value::Text(text.to_owned());
    let entry = |count, reason, queue, original: Option<&str>| {
        let mut fields = vec![
            ("count".to_owned(), Value::Int64(count)),
            ("reason".to_owned(), text(reason)),
            ("queue".to_owned(), text(queue)),
            ("time".to_owned(), Value::Timestamp(1_700_000_000)),
            ("exchange".to_owned(), text("x")),
            ("routing-keys".to_owned(), Value::List(vec![text("k"), text("copy")])),
        ];
        fields.extend(original.map(|original| ("original-expiration".to_owned(), text(original))));
        Value::Map(fields)
    };
    let expect = [
        ("kept", text("yes")),
        (
            "x-death",
            Value::List(vec![
                entry(2, "rejected", "second", None),
                entry(1, "expired", "first", Some("1000")),
            ]),
        ),
        ("x-first-death-exchange", text("x")),
        ("x-first-death-queue", text("first")),
        ("x-first-death-reason", text("expired")),
        ("x-last-death-exchange", text("x")),
        ("x-last-death-queue", text("second")),
        ("x-last-death-reason", text("rejected")),
    ];
    let headers = HEAD_READER.headers(&out);
    assert_eq!(headers, expect.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn trap_19_reasons_have_their_names() {
    for (reason, name) in [
        (DeathReason::Expired, "expired"),
        (DeathReason::Rejected, "rejected"),
        (DeathReason::Displaced, "maxlen"),
        (DeathReason::DeliveryLimit, "delivery_limit"),
    ] {
        let overlay = Overlay { deaths: vec![death("q", reason, 1)], ..Overlay::default() };
        let out = delivered(&[0, 0], Some(&overlay), 0);
        assert_eq!(HEAD_READER.header(&out, "x-last-death-reason"), Some(Value::Text(name.to_owned())));
    }
}

#[test]
fn trap_20_hidden_keys_always_go_and_others_with_a_new_key() {
    let head = head_with(
        |table| {
            table.put_array("CC", |array| {
                array.push_str("copy");
            });
            table.put_array("BCC", |array| {
                array.push_str("blind");
            });
        },
        BasicProperties { message_id: Some(b"7"), ..Default::default() },
    );
    let names = |out: &[u8]| HEAD_READER.headers(out).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let out = delivered(&head, None, 0);
    assert_eq!(names(&out), ["CC"]);
    assert_eq!(BasicProperties::decode(&out).unwrap().message_id, Some(&b"7"[..]));
    let overlay = Overlay { extra_keys_removed: true, ..Overlay::default() };
    assert_eq!(names(&delivered(&head, Some(&overlay), 0)), [""; 0]);
}

#[test]
fn trap_20_other_properties_pass_through_as_they_came() {
    // A void, a nested table and a correlation id that is not UTF-8.
    let head = head_with(
        |table| {
            table.put("v", crate::codec::Value::Void).put_table("t", |t| {
                t.put_bool("b", true);
            });
        },
        BasicProperties { correlation_id: Some(&[0xff, 0]), priority: Some(9), ..Default::default() },
    );
    assert_eq!(delivered(&head, None, 0), head);
    assert_eq!(delivered(&[0, 0], None, 0), [0, 0]);
}

#[test]
fn trap_21_delivery_counts_are_told_from_the_second_on() {
    assert_eq!(delivered(&[0, 0], None, 0), [0, 0]);
    let out = delivered(&[0, 0], None, 3);
    assert_eq!(HEAD_READER.headers(&out), [("x-delivery-count".to_owned(), Value::Int64(3))]);
    // A second delivery of what came with the header says the new count.
    assert_eq!(
        HEAD_READER.headers(&delivered(&out, None, 4)),
        [("x-delivery-count".to_owned(), Value::Int64(4))]
    );
}

#[test]
fn trap_21_redelivered_is_told() {
    let mut talk = Talk::open();
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", no_ack: true, ..Default::default() });
    talk.heard();
    talk.deliver(&TestDelivery { acknowledge: false, redelivered: true, ..Default::default() });
    assert_eq!(
        talk.heard()[0],
        "1 basic.deliver consumer_tag: \"t\", delivery_tag: 1, redelivered: true, exchange: \"x\", routing_key: \"k\""
    );
}

/// A channel with a reply consumer, and its token.
fn with_reply_consumer() -> (Talk, String) {
    let mut talk = Talk::open();
    let consume = basic::Consume {
        queue: "amq.rabbitmq.reply-to",
        no_ack: true,
        consumer_tag: "t",
        ..Default::default()
    };
    talk.send(1, &consume);
    assert_eq!(talk.heard(), ["1 basic.consume-ok consumer_tag: \"t\""]);
    match talk.asked().pop() {
        Some(Request::SubscribeReplies { consumer: ConsumerId(1), token, tag }) if tag == "t" => {
            (talk, token)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn trap_22_requests_carry_the_address_of_their_channel() {
    let (mut talk, token) = with_reply_consumer();
    let properties = BasicProperties {
        reply_to: Some(b"amq.rabbitmq.reply-to"),
        correlation_id: Some(b"1"),
        ..Default::default()
    };
    talk.publish("", "server", &properties, b"request");
    let publish = &talk.published[0];
    assert_eq!((publish.routing_key.as_str(), publish.body.as_slice()), ("server", &b"request"[..]));
    let sent = BasicProperties::decode(&publish.head).unwrap();
    assert_eq!(sent.reply_to, Some(format!("amq.rabbitmq.reply-to.{token}").as_bytes()));
    assert_eq!(sent.correlation_id, Some(&b"1"[..]));
    assert_eq!(talk.heard(), [""; 0]);
    // With the consumer goes the address.
    talk.send(1, &basic::Cancel { consumer_tag: "t", no_wait: false });
    talk.heard();
    let closed = "1 channel.close 406 PRECONDITION_FAILED - fast reply consumer does not exist (60,40)";
    check_in(talk, |talk| talk.publish("", "server", &properties, b"request"), &[closed]);
    check(|talk| talk.publish("", "server", &properties, b"request"), &[closed]);
}

#[test]
fn trap_22_what_a_reply_consumer_may_not() {
    let consume = |no_ack| basic::Consume { queue: "amq.rabbitmq.reply-to", no_ack, ..Default::default() };
    check(
        |talk| talk.send(1, &consume(false)),
        &["1 channel.close 406 PRECONDITION_FAILED - reply consumer cannot acknowledge (60,20)"],
    );
    check_in(
        with_reply_consumer().0,
        |talk| talk.send(1, &consume(true)),
        &["1 channel.close 406 PRECONDITION_FAILED - reply consumer already set (60,20)"],
    );
}

#[test]
fn trap_22_addresses_can_be_asked_for() {
    let declare = |queue| queue::Declare { queue, passive: true, ..Default::default() };
    let there =
        |name: &str| format!("1 queue.declare-ok queue: \"{name}\", message_count: 0, consumer_count: 1");
    check(|talk| talk.send(1, &declare("amq.rabbitmq.reply-to")), &[&there("amq.rabbitmq.reply-to")]);
    let mut talk = Talk::open();
    talk.send(1, &declare("amq.rabbitmq.reply-to.abc"));
    assert_eq!(talk.heard(), [there("amq.rabbitmq.reply-to.abc")]);
    assert_eq!(talk.asked(), [Request::CheckReplyAddress { token: "abc".to_owned() }]);
    talk.refuse(Refusal::NoReplyConsumer);
    check_in(
        talk,
        |talk| talk.send(1, &declare("amq.rabbitmq.reply-to.abc")),
        &["1 channel.close 404 NOT_FOUND - no queue 'amq.rabbitmq.reply-to.abc' in vhost '/' (50,10)"],
    );
}

#[test]
fn trap_23_user_ids_are_checked_and_extra_keys_are_arrays() {
    let mut talk = Talk::open();
    talk.publish("", "q", &BasicProperties { user_id: Some(b"bob"), ..Default::default() }, b"");
    assert_eq!(talk.published[0].user_id.as_deref(), Some("bob"), "the engine knows who it is");
    let refusal = Refusal::UserId { claimed: "bob".to_owned(), user: "guest".to_owned() };
    check_in(
        talk,
        |talk| talk.event(Event::PublishRefused { session: SessionId(1), refusal }),
        &[
            "1 channel.close 406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest' \
           (60,40)",
        ],
    );
    let keys = |name: &str, good: bool| {
        table(|table| {
            if good {
                table.put_array(name, |array| {
                    array.push_str("copy");
                });
            } else {
                table.put_str(name, "copy");
            }
        })
    };
    for name in ["CC", "BCC"] {
        let headers = keys(name, false);
        let properties = BasicProperties { headers: Some(as_table(&headers)), ..Default::default() };
        check(
            |talk| talk.publish("", "q", &properties, b""),
            &[&format!(
                "1 channel.close 406 PRECONDITION_FAILED - invalid message: \
                 {{unacceptable_type_in_header,\"{name}\",longstr}} (60,40)"
            )],
        );
        let headers = keys(name, true);
        let properties = BasicProperties { headers: Some(as_table(&headers)), ..Default::default() };
        let mut talk = Talk::open();
        talk.publish("", "q", &properties, b"");
        let publish = &talk.published[0];
        assert!(publish.extra_keys);
        assert_eq!(HEAD_READER.extra_keys(&publish.head, true), ["copy"]);
        let open: &[&str] = if name == "CC" { &["copy"] } else { &[] };
        assert_eq!(HEAD_READER.extra_keys(&publish.head, false), open);
    }
}

#[test]
fn trap_23_heads_are_read_for_the_kernel() {
    let head = head_with(
        |table| {
            table.put_i32("n", 7);
        },
        BasicProperties {
            priority: Some(4),
            expiration: Some(b"50"),
            delivery_mode: Some(2),
            ..Default::default()
        },
    );
    assert_eq!(HEAD_READER.header(&head, "n"), Some(Value::Int32(7)));
    assert_eq!(HEAD_READER.header(&head, "m"), None);
    assert_eq!((HEAD_READER.priority(&head), HEAD_READER.time_to_live(&head)), (4, Some(50)));
    assert_eq!((HEAD_READER.priority(&[0, 0]), HEAD_READER.time_to_live(&[0, 0])), (0, None));
    let mut talk = Talk::open();
    let headers = table(|table| {
        table.put_i32("n", 7);
    });
    let properties = BasicProperties {
        headers: Some(as_table(&headers)),
        priority: Some(4),
        expiration: Some(b"50"),
        delivery_mode: Some(2),
        ..Default::default()
    };
    talk.publish("x", "k", &properties, b"");
    let publish = &talk.published[0];
    assert_eq!(publish.head, head);
    assert_eq!(
        (publish.priority, publish.time_to_live, publish.persistent, publish.extra_keys),
        (4, Some(50), true, false)
    );
}

#[test]
fn trap_24_bodies_over_the_limit_are_refused_at_their_header() {
    let config = ConnectionConfig { message_size_max: 10, ..ConnectionConfig::default() };
    let mut talk = Talk::open_with(config);
    talk.publish("", "q", &BasicProperties::default(), &[0; 10]);
    assert_eq!((talk.heard(), talk.published.len()), (vec![], 1));
    check_in(
        talk,
        |talk| talk.publish("", "q", &BasicProperties::default(), &[0; 11]),
        &[
            "1 channel.close 406 PRECONDITION_FAILED - message size 11 is larger than configured max size 10 (60,40)",
        ],
    );
}

#[test]
fn trap_24_access_is_granted_to_old_clients() {
    check(|talk| talk.send(1, &access::Request::default()), &["1 access.request-ok ticket: 1"]);
}

#[test]
fn trap_25_acknowledgements_that_take_too_long_end_the_channel() {
    let config =
        ConnectionConfig { acknowledgement_timeout: Duration::from_secs(30), ..ConnectionConfig::default() };
    let mut talk = Talk::open_with(config);
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.deliver(&TestDelivery { sequence: 1, ..Default::default() });
    talk.wait(20_000);
    talk.deliver(&TestDelivery { sequence: 2, ..Default::default() });
    talk.send(1, &basic::Ack { delivery_tag: 1, multiple: false });
    talk.heard();
    talk.wait(20_000);
    assert_eq!(talk.heard(), [""; 0], "the first was acknowledged in time");
    assert_eq!(talk.connection.poll_timeout(), Some(talk.now.after_milliseconds(10_000)));
    talk.wait(10_000);
    assert_eq!(
        talk.heard(),
        [
            "1 channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value \
          used: 30000 ms. The broker's configuration sets it. (0,0)"
        ]
    );
    // The engine may find out by itself, for queues with a timeout of their own.
    let event = Event::SettlementTimeout { session: SessionId(1), milliseconds: 5 };
    check(
        |talk| talk.event(event),
        &[
            "1 channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value \
           used: 5 ms. The broker's configuration sets it. (0,0)",
        ],
    );
}

#[test]
fn trap_25_shutdown_is_announced_behind_what_was_confirmed() {
    let mut talk = Talk::open();
    talk.send(1, &crate::spec::confirm::Select { nowait: true });
    talk.publish("", "q", &BasicProperties::default(), b"");
    check_in(
        talk,
        |talk| {
            talk.event(Event::Returned { session: SessionId(1), message: message("q", b"") });
            talk.event(Event::Confirmed { session: SessionId(1), from: 1, to: 1, accepted: true });
            talk.event(Event::Close { reason: CloseReason::Shutdown });
            talk.send(0, &connection::CloseOk);
            assert!(talk.connection.is_closed());
        },
        &[
            "1 basic.return reply_code: 312, reply_text: \"NO_ROUTE\", exchange: \"x\", routing_key: \"q\"",
            "1 header 0",
            "1 basic.ack delivery_tag: 1, multiple: false",
            "0 connection.close 320 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown' (0,0)",
        ],
    );
    check(
        |talk| {
            talk.event(Event::Close { reason: CloseReason::Operator("Closed by the operator".to_owned()) })
        },
        &["0 connection.close 320 CONNECTION_FORCED - Closed by the operator (0,0)"],
    );
}

#[test]
fn trap_25_new_secrets_are_taken() {
    check(
        |talk| talk.send(0, &connection::UpdateSecret { new_secret: b"new", reason: "expired" }),
        &["0 connection.update-secret-ok"],
    );
}

#[test]
fn trap_25_a_close_ends_all_sessions_first() {
    let mut talk = Talk::open();
    talk.send(7, &crate::spec::channel::Open);
    talk.heard();
    talk.asked();
    talk.send(0, &connection::Close { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 });
    assert_eq!(talk.heard(), ["0 connection.close-ok"]);
    let ended = Request::CloseSession { unsettled: vec![] };
    assert_eq!(talk.asked(), [ended.clone(), ended]);
    assert!(talk.connection.is_closed());
    assert_eq!(talk.connection.poll_timeout(), None);
}

#[test]
fn trap_25_missing_names_are_told_by_kind() {
    for (resource, name) in [(Resource::Queue, "queue"), (Resource::Exchange, "exchange")] {
        let mut talk = Talk::open();
        talk.refuse(Refusal::NotFound(resource, "n".to_owned()));
        check_in(
            talk,
            |talk| talk.send(1, &queue::Bind { queue: "q", ..Default::default() }),
            &[&format!("1 channel.close 404 NOT_FOUND - no {name} 'n' in vhost '/' (50,20)")],
        );
    }
}
