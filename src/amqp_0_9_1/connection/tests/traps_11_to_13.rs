//! Traps 11 to 13, and 23 as far as it is about bindings: reserved names, idempotence, names.

use super::check;
use super::check_in;
use super::talk::{Talk, as_table, encoded, table};
use crate::codec::{TableWriter, Value as Field};
use crate::spec::{BasicProperties, basic, exchange, queue};
use crate::translate::HEAD_READER;
use fairlead_kernel::refusal::{BadBinding, Refusal, Resource};
use fairlead_kernel::session::{Reply, Request};
use fairlead_kernel::settings::{Binding, Destination, ExchangeKind, ExchangeSettings, MatchMode};
use fairlead_kernel::{HeadReader, Value};

#[test]
fn trap_11_reserved_names_and_system_exchanges() {
    check(
        |talk| talk.send(1, &queue::Declare { queue: "amq.foo", ..Default::default() }),
        &[
            "1 channel.close 403 ACCESS_REFUSED - queue name 'amq.foo' contains reserved prefix 'amq.*' (50,10)",
        ],
    );
    check(
        |talk| {
            talk.send(1, &exchange::Declare { exchange: "amq.foo", type_: "direct", ..Default::default() })
        },
        &[
            "1 channel.close 403 ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*' (40,10)",
        ],
    );
    check(
        |talk| {
            talk.send(1, &exchange::Declare { exchange: "amq.direct", type_: "direct", ..Default::default() })
        },
        &["1 exchange.declare-ok"],
    );
    check(
        |talk| talk.send(1, &exchange::Declare { exchange: "x", type_: "nonsense", ..Default::default() }),
        &["0 connection.close 503 COMMAND_INVALID - unknown exchange type 'nonsense' (40,10)"],
    );
    let refused = |refusal: Refusal, expect: &str| {
        let mut talk = Talk::open();
        talk.refuse(refusal);
        talk.send(1, &exchange::Delete { exchange: "x", ..Default::default() });
        assert_eq!(talk.heard(), [format!("1 channel.close 403 ACCESS_REFUSED - {expect} (40,20)")]);
    };
    refused(
        Refusal::SystemExchange("amq.direct".to_owned()),
        "deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    );
    refused(Refusal::DefaultExchange, "operation not permitted on the default exchange");
    refused(Refusal::Internal("x".to_owned()), "cannot publish to internal exchange 'x' in vhost '/'");
}

/// What exchange.declare of `x` asks for, or what the client hears instead.
fn declared(type_: &str, build: impl FnOnce(&mut TableWriter)) -> Result<ExchangeSettings, Vec<String>> {
    let arguments = table(build);
    let mut talk = Talk::open();
    let declare = exchange::Declare {
        exchange: "x",
        type_,
        durable: true,
        arguments: as_table(&arguments),
        ..Default::default()
    };
    talk.send(1, &declare);
    match talk.asked().pop() {
        Some(Request::DeclareExchange { settings: Some(settings), .. }) => Ok(settings),
        _ => Err(talk.heard()),
    }
}

#[test]
fn trap_11_exchange_types_and_arguments() {
    for (type_, kind) in [
        ("direct", ExchangeKind::Direct),
        ("topic", ExchangeKind::Topic),
        ("fanout", ExchangeKind::Fanout),
        ("headers", ExchangeKind::Headers),
        ("x-consistent-hash", ExchangeKind::ConsistentHash),
        ("x-random", ExchangeKind::Random),
    ] {
        assert_eq!(
            declared(type_, |_| ()).map(|settings| (settings.kind, settings.durable)),
            Ok((kind, true))
        );
    }
    let hash = declared("x-consistent-hash", |table| {
        table.put_str("alternate-exchange", "other").put_str("hash-header", "id").put_bool("mine", true);
    })
    .unwrap();
    assert_eq!((hash.alternate.as_deref(), hash.hash_header.as_deref()), (Some("other"), Some("id")));
    assert_eq!(
        hash.arguments.iter().map(|argument| argument.compared).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(
        declared("direct", |table| { table.put_i32("alternate-exchange", 1); }),
        Err(vec![
            "1 channel.close 406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in \
             exchange 'x' in vhost '/' (40,10)"
                .to_owned()
        ])
    );
}

#[test]
fn trap_23_a_hash_may_be_of_a_property() {
    let by_property = |property: &str| {
        declared("x-consistent-hash", |table| {
            table.put_str("hash-property", property);
        })
        .map(|settings| settings.hash_header.unwrap_or_default())
    };
    let head = encoded(&BasicProperties {
        message_id: Some(b"m"),
        correlation_id: Some(b"c"),
        timestamp: Some(7),
        ..Default::default()
    });
    let hashed = |property: &str| HEAD_READER.header(&head, &by_property(property).unwrap());
    assert_eq!(hashed("message_id"), Some(Value::Text("m".to_owned())));
    assert_eq!(hashed("correlation_id"), Some(Value::Text("c".to_owned())));
    assert_eq!(hashed("timestamp"), Some(Value::Timestamp(7)));
    let closed = |text: &str| Err(vec![format!("1 channel.close 406 PRECONDITION_FAILED - {text} (40,10)")]);
    assert_eq!(by_property("type"), closed("Unsupported property: type"));
    assert_eq!(
        declared("x-consistent-hash", |table| {
            table.put_str("hash-property", "timestamp").put_str("hash-header", "h");
        })
        .map(drop),
        closed("hash-header and hash-property are mutually exclusive").map(|_: String| ())
    );
}

#[test]
fn trap_12_what_is_not_there_is_deleted_and_unbound_well() {
    let check = |resource: Resource, send: &dyn Fn(&mut Talk), expect: &str| {
        let mut talk = Talk::open();
        talk.refuse(Refusal::NotFound(resource, "n".to_owned()));
        send(&mut talk);
        assert_eq!(talk.heard(), [expect]);
    };
    let (queue, exchange) = (Resource::Queue, Resource::Exchange);
    check(
        queue,
        &|talk| talk.send(1, &queue::Delete { queue: "n", ..Default::default() }),
        "1 queue.delete-ok message_count: 0",
    );
    check(
        exchange,
        &|talk| talk.send(1, &exchange::Delete { exchange: "n", ..Default::default() }),
        "1 exchange.delete-ok",
    );
    for missing in [queue, exchange] {
        check(
            missing,
            &|talk| talk.send(1, &queue::Unbind { queue: "n", ..Default::default() }),
            "1 queue.unbind-ok",
        );
        check(missing, &|talk| talk.send(1, &exchange::Unbind::default()), "1 exchange.unbind-ok");
    }
    check(
        queue,
        &|talk| talk.send(1, &basic::Cancel { consumer_tag: "unknown", no_wait: false }),
        "1 basic.cancel-ok consumer_tag: \"unknown\"",
    );
    let closed = |class: &str, what: &str| {
        format!("1 channel.close 404 NOT_FOUND - no {what} 'n' in vhost '/' ({class})")
    };
    check(
        queue,
        &|talk| talk.send(1, &queue::Bind { queue: "n", ..Default::default() }),
        &closed("50,20", "queue"),
    );
    check(exchange, &|talk| talk.send(1, &exchange::Bind::default()), &closed("40,30", "exchange"));
    check(
        queue,
        &|talk| talk.send(1, &queue::Purge { queue: "n", no_wait: false }),
        &closed("50,30", "queue"),
    );
    check(queue, &|talk| talk.send(1, &basic::Get { queue: "n", no_ack: true }), &closed("60,70", "queue"));
}

#[test]
fn trap_12_conditions_of_deletion_and_late_refusals_of_publishes() {
    let refused = |refusal: Refusal, expect: &str| {
        let mut talk = Talk::open();
        talk.refuse(refusal);
        talk.send(1, &queue::Delete { queue: "q", if_unused: true, if_empty: true, no_wait: false });
        assert_eq!(talk.heard(), [format!("1 channel.close 406 PRECONDITION_FAILED - {expect} (50,40)")]);
    };
    refused(Refusal::InUse(Resource::Queue, "q".to_owned()), "queue 'q' in vhost '/' in use");
    refused(Refusal::NotEmpty("q".to_owned()), "queue 'q' in vhost '/' not empty");
    let mut talk = Talk::open();
    talk.publish("gone", "k", &BasicProperties::default(), b"x");
    talk.event(fairlead_kernel::session::Event::PublishRefused {
        session: fairlead_kernel::SessionId(1),
        refusal: Refusal::NotFound(Resource::Exchange, "gone".to_owned()),
    });
    assert_eq!(talk.heard(), ["1 channel.close 404 NOT_FOUND - no exchange 'gone' in vhost '/' (60,40)"]);
    assert_eq!(talk.asked(), [Request::CloseSession { unsettled: vec![] }]);
}

#[test]
fn trap_13_an_empty_queue_name_is_the_last_one_declared() {
    check(
        |talk| talk.send(1, &basic::Get::default()),
        &["1 channel.close 404 NOT_FOUND - no previously declared queue (60,70)"],
    );
    let mut talk = Talk::open();
    talk.answer(Reply::Queue { name: "last".to_owned(), messages: 3, consumers: 2 });
    talk.send(1, &queue::Declare { queue: "last", passive: true, ..Default::default() });
    assert_eq!(talk.heard(), ["1 queue.declare-ok queue: \"last\", message_count: 3, consumer_count: 2"]);
    talk.asked();
    talk.send(1, &queue::Bind { exchange: "x", ..Default::default() });
    talk.send(1, &queue::Bind { exchange: "x", routing_key: "k", ..Default::default() });
    talk.send(1, &queue::Unbind { exchange: "x", queue: "last", ..Default::default() });
    talk.send(1, &queue::Purge::default());
    talk.send(1, &queue::Delete::default());
    let bound = |key: &str| Binding {
        source: "x".to_owned(),
        destination: Destination::Queue("last".to_owned()),
        key: key.to_owned(),
        match_mode: MatchMode::All,
        arguments: vec![],
    };
    assert_eq!(
        talk.asked(),
        [
            Request::Bind(bound("last")),
            Request::Bind(bound("k")),
            Request::Unbind(bound("")),
            Request::PurgeQueue { name: "last".to_owned() },
            Request::DeleteQueue { name: "last".to_owned(), if_unused: false, if_empty: false },
        ]
    );
}

#[test]
fn trap_13_the_server_names_queues_and_tags() {
    let mut talk = Talk::open();
    talk.send(1, &queue::Declare::default());
    talk.send(1, &basic::Consume::default());
    let heard = talk.heard();
    let name = |line: &str, prefix: &str| {
        let (_, rest) = line.split_once(prefix).expect(line);
        let (name, _) = rest.split_once('"').expect(line);
        assert!(
            name.len() == 22 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{line}"
        );
        name.to_owned()
    };
    assert_ne!(name(&heard[0], "amq.gen-"), name(&heard[1], "amq.ctag-"));
}

#[test]
fn trap_23_match_modes_of_bindings() {
    let bound = |mode: Option<Field<'_>>| {
        let arguments = table(|table| {
            if let Some(mode) = mode {
                table.put("x-match", mode);
            }
            table.put_i32("a", 1);
        });
        let mut talk = Talk::open();
        let bind = queue::Bind {
            queue: "q",
            exchange: "amq.match",
            arguments: as_table(&arguments),
            ..Default::default()
        };
        talk.send(1, &bind);
        match talk.asked().pop() {
            Some(Request::Bind(binding)) => Ok((binding.match_mode, binding.arguments.len())),
            _ => Err(talk.heard()),
        }
    };
    let text = |text: &'static str| Some(Field::LongString(text.as_bytes()));
    assert_eq!(bound(None), Ok((MatchMode::All, 1)));
    assert_eq!(bound(text("all")), Ok((MatchMode::All, 2)));
    assert_eq!(bound(text("any")), Ok((MatchMode::Any, 2)));
    assert_eq!(bound(text("all-with-x")), Ok((MatchMode::AllWithX, 2)));
    assert_eq!(bound(text("any-with-x")), Ok((MatchMode::AnyWithX, 2)));
    let closed = |what: &str| Err(vec![format!("1 channel.close 406 PRECONDITION_FAILED - {what} (50,20)")]);
    assert_eq!(
        bound(text("foo")),
        closed("Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x")
    );
    assert_eq!(
        bound(Some(Field::Int32(1))),
        closed("Invalid x-match field type signedint (value 1); expected longstr")
    );
}

#[test]
fn trap_23_weights_of_hash_bindings() {
    let mut talk = Talk::open();
    let text = |key: &str| {
        let mut talk = Talk::open();
        talk.refuse(Refusal::BadBinding(BadBinding::Weight(key.to_owned())));
        talk.send(1, &queue::Bind { queue: "q", exchange: "x", routing_key: key, ..Default::default() });
        talk.heard()
    };
    let closed = |text: &str| vec![format!("1 channel.close 406 PRECONDITION_FAILED - {text} (50,20)")];
    assert_eq!(text("0"), closed("The binding key must be greater than 0"));
    assert_eq!(text("5000"), closed("The binding key must not be greater than 1000"));
    talk.refuse(Refusal::BadBinding(BadBinding::Weight("heavy".to_owned())));
    check_in(
        talk,
        |talk| {
            talk.send(
                1,
                &queue::Bind { queue: "q", exchange: "x", routing_key: "heavy", ..Default::default() },
            )
        },
        &[
            "1 channel.close 406 PRECONDITION_FAILED - The binding key must be an integer: <<\"heavy\">> (50,20)",
        ],
    );
}
