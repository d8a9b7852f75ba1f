//! Traps 7 to 10, and 21 as far as it is about arguments: tables, redeclaration, bad arguments, exclusive queues.

use super::talk::{Talk, as_table, table};
use super::{check, check_in};
use crate::codec::{TableWriter, Value as Field};
use crate::connection::ConnectionConfig;
use crate::spec::{BasicProperties, basic, queue};
use fairlead_kernel::refusal::{Difference, Refusal, Resource};
use fairlead_kernel::session::Request;
use fairlead_kernel::settings::{ExchangeKind, Limits, Order, Overflow, QueueKind, QueueSettings};
use fairlead_kernel::{ConnectionId, Value};

/// What queue.declare with these arguments asks of the engine.
fn declared(build: impl FnOnce(&mut TableWriter)) -> QueueSettings {
    let arguments = table(build);
    let mut talk = Talk::open_with(ConnectionConfig { quorum_queues: true, ..ConnectionConfig::default() });
    talk.send(1, &queue::Declare { queue: "q", arguments: as_table(&arguments), ..Default::default() });
    match &talk.asked()[..] {
        [Request::DeclareQueue { name, settings: Some(settings) }] if name == "q" => (**settings).clone(),
        other => panic!("{other:?} {:?}", talk.heard()),
    }
}

/// The fault of queue.declare with these arguments.
#[track_caller]
fn check_argument(build: impl FnOnce(&mut TableWriter), expect: &str) {
    let arguments = table(build);
    check(
        |talk| {
            talk.send(
                1,
                &queue::Declare { queue: "q", arguments: as_table(&arguments), ..Default::default() },
            )
        },
        &[&format!("1 channel.close 406 PRECONDITION_FAILED - {expect} (50,10)")],
    );
}

#[test]
fn trap_07_integers_of_any_width_and_letter_are_arguments() {
    let limit = |field: Field<'_>| {
        declared(|table| {
            table.put("x-max-length", field);
        })
        .limits
        .max_messages
    };
    assert_eq!(limit(Field::Int8(7)), Some(7));
    assert_eq!(limit(Field::UInt8(200)), Some(200));
    assert_eq!(limit(Field::Int16(300)), Some(300));
    assert_eq!(limit(Field::UInt16(60_000)), Some(60_000));
    assert_eq!(limit(Field::Int32(70_000)), Some(70_000));
    assert_eq!(limit(Field::UInt32(4_000_000_000)), Some(4_000_000_000));
    assert_eq!(limit(Field::Int64(5_000_000_000)), Some(5_000_000_000));
}

#[test]
fn trap_07_a_table_that_cannot_be_read_ends_the_connection() {
    // x-a of the unknown type octet 'z'.
    let arguments = [3, b'x', b'-', b'a', b'z'];
    check(
        |talk| talk.send(1, &queue::Declare { arguments: as_table(&arguments), ..Default::default() }),
        &["0 connection.close 502 SYNTAX_ERROR - unknown field table type octet 122 (50,10)"],
    );
}

#[test]
fn trap_07_names_are_not_held_against_the_xml() {
    let odd = "a name, with: grün & 日本";
    check(
        |talk| talk.send(1, &queue::Declare { queue: odd, ..Default::default() }),
        &[&format!("1 queue.declare-ok queue: {odd:?}, message_count: 0, consumer_count: 0")],
    );
}

#[test]
fn trap_08_redeclared_with_another_property() {
    let check = |resource: Resource, difference: Difference, expect: &str| {
        let mut talk = Talk::open();
        talk.refuse(Refusal::Inequivalent { resource, name: "n".to_owned(), difference });
        talk.send(1, &queue::Declare { queue: "n", ..Default::default() });
        assert_eq!(
            talk.heard(),
            [format!("1 channel.close 406 PRECONDITION_FAILED - inequivalent arg {expect} (50,10)")]
        );
    };
    let argument =
        |name: &str, received, current| Difference::Argument { name: name.to_owned(), received, current };
    check(
        Resource::Queue,
        Difference::Flag { name: "durable", received: true, current: false },
        "'durable' for queue 'n' in vhost '/': received 'true' but current is 'false'",
    );
    check(
        Resource::Exchange,
        Difference::Kind {
            received: ExchangeKind::Fanout.name(),
            current: ExchangeKind::ConsistentHash.name(),
        },
        "'type' for exchange 'n' in vhost '/': received 'fanout' but current is 'x-consistent-hash'",
    );
    check(
        Resource::Queue,
        argument("x-max-length", None, Some(Value::Int32(1))),
        "'x-max-length' for queue 'n' in vhost '/': received none but current is the value '1' of type 'signedint'",
    );
    check(
        Resource::Queue,
        argument("x-overflow", Some(Value::Text("drop-head".to_owned())), None),
        "'x-overflow' for queue 'n' in vhost '/': received the value 'drop-head' of type 'longstr' but current is none",
    );
    check(
        Resource::Queue,
        argument("x-expires", Some(Value::Int64(5)), Some(Value::Int32(6))),
        "'x-expires' for queue 'n' in vhost '/': received '5' but current is '6'",
    );
}

#[test]
fn trap_08_only_known_arguments_are_compared() {
    let settings = declared(|table| {
        table.put_i32("x-max-length", 1).put_str("x-note", "mine").put_i32("x-expires", 5);
    });
    let compared: Vec<(&str, bool)> =
        settings.arguments.iter().map(|argument| (argument.name.as_str(), argument.compared)).collect();
    assert_eq!(compared, [("x-max-length", true), ("x-note", false), ("x-expires", true)]);
}

#[test]
fn trap_09_arguments_become_settings() {
    let settings = declared(|table| {
        table
            .put_i32("x-max-length", 10)
            .put_i32("x-max-length-bytes", 1000)
            .put_str("x-overflow", "reject-publish");
        table.put_i32("x-message-ttl", 60_000).put_i32("x-expires", 90_000);
        table.put_str("x-dead-letter-exchange", "dlx").put_str("x-dead-letter-routing-key", "key");
        table
            .put_i32("x-max-priority", 9)
            .put_bool("x-single-active-consumer", true)
            .put_str("x-group-key", "g");
    });
    assert_eq!(
        settings.limits,
        Limits {
            max_messages: Some(10),
            max_bytes: Some(1000),
            overflow: Some(Overflow::Reject),
            message_ttl: Some(60_000),
            expires: Some(90_000),
            dead_letter_exchange: Some("dlx".to_owned()),
            dead_letter_key: Some("key".to_owned()),
            delivery_limit: None,
        }
    );
    assert_eq!(settings.order, Order::Priority { levels: 10 });
    assert!(settings.single_active_consumer);
    assert_eq!(settings.group_header.as_deref(), Some("g"));
    assert_eq!(declared(|_| ()), QueueSettings::default());
    let ours = declared(|table| {
        table
            .put_str("x-last-value-key", "symbol")
            .put_bool("x-browse-only", true)
            .put_str("x-overflow", "drop-head");
    });
    assert_eq!(ours.order, Order::LastValue { key: "symbol".to_owned() });
    assert!(ours.browse_only);
    assert_eq!(ours.limits.overflow, Some(Overflow::DropHead));
    let rejecting = declared(|table| {
        table.put_str("x-overflow", "reject-publish-dlx");
    });
    assert_eq!(rejecting.limits.overflow, Some(Overflow::RejectDeadLetter));
}

#[test]
fn trap_09_bad_arguments_are_named() {
    let of = |name: &str, what: &str| format!("invalid arg '{name}' for queue 'q' in vhost '/': {what}");
    let text = |name: &'static str| {
        move |table: &mut TableWriter| {
            table.put_str(name, "text");
        }
    };
    let number = |name: &'static str, v: i64| {
        move |table: &mut TableWriter| {
            table.put_i64(name, v);
        }
    };
    check_argument(text("x-message-ttl"), &of("x-message-ttl", "\"expected integer, got longstr\""));
    check_argument(number("x-message-ttl", -1), &of("x-message-ttl", "{value_negative,-1}"));
    check_argument(number("x-message-ttl", 1 << 40), &of("x-message-ttl", "{value_too_large,1099511627776}"));
    check_argument(number("x-expires", 0), &of("x-expires", "{value_zero,0}"));
    check_argument(number("x-max-length", -1), &of("x-max-length", "{value_negative,-1}"));
    check_argument(number("x-max-priority", 256), &of("x-max-priority", "{max_value_exceeded,256}"));
    check_argument(text("x-overflow"), &of("x-overflow", "invalid_overflow"));
    check_argument(number("x-overflow", 1), &of("x-overflow", "{unacceptable_type,long}"));
    check_argument(
        text("x-single-active-consumer"),
        &of("x-single-active-consumer", "{unacceptable_type,longstr}"),
    );
    check_argument(
        text("x-dead-letter-routing-key"),
        &of("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"),
    );
    check_argument(
        number("x-dead-letter-exchange", 1),
        "invalid type 'long' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    );
    check_argument(text("x-queue-mode"), &of("x-queue-mode", "invalid_queue_mode"));
    check_argument(text("x-queue-type"), &of("x-queue-type", "\"unsupported queue type 'text'\""));
    for kind in ["quorum", "stream"] {
        check_argument(
            |table| {
                table.put_str("x-queue-type", kind);
            },
            &of("x-queue-type", &format!("\"unsupported queue type '{kind}'\"")),
        );
    }
}

#[test]
fn trap_09_expiration_is_text() {
    let publish = |expiration: &str| {
        let mut talk = Talk::open();
        let properties = BasicProperties { expiration: Some(expiration.as_bytes()), ..Default::default() };
        talk.publish("", "q", &properties, b"x");
        (talk.published.first().map(|publish| publish.time_to_live), talk.heard())
    };
    assert_eq!(publish("60000"), (Some(Some(60_000)), vec![]));
    assert_eq!(publish("0"), (Some(Some(0)), vec![]));
    assert_eq!(
        publish("abc"),
        (
            None,
            vec![
                "1 channel.close 406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer (60,40)"
                    .to_owned()
            ]
        )
    );
}

#[test]
fn trap_10_exclusive_queues_are_locked_to_others() {
    let mut talk = Talk::open();
    talk.send(1, &queue::Declare { queue: "q", exclusive: true, durable: true, ..Default::default() });
    let asked = talk.asked();
    let [Request::DeclareQueue { settings: Some(settings), .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(settings.exclusive, Some(ConnectionId(0)), "mine, says the adapter; whose, knows the engine");
    talk.heard();
    talk.refuse(Refusal::Locked("q".to_owned()));
    check_in(
        talk,
        |talk| talk.send(1, &basic::Consume { queue: "q", ..Default::default() }),
        &[
            "1 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It \
           could be originally declared on another connection or the exclusive property value does not match that \
           of the original declaration. (60,20)",
        ],
    );
}

#[test]
fn trap_21_delivery_limits_are_for_quorum_queues() {
    check_argument(
        |table| {
            table.put_i32("x-delivery-limit", 3);
        },
        "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
    );
    let limit = |limit: Option<i32>| {
        let settings = declared(|table| {
            table.put_str("x-queue-type", "quorum");
            if let Some(limit) = limit {
                table.put_i32("x-delivery-limit", limit);
            }
        });
        (settings.kind, settings.limits.delivery_limit)
    };
    assert_eq!(limit(None), (QueueKind::Quorum, Some(20)));
    assert_eq!(limit(Some(3)), (QueueKind::Quorum, Some(3)));
    assert_eq!(limit(Some(-1)), (QueueKind::Quorum, None));
}
