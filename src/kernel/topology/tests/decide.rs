//! What is refused, in which order, and what is done without anything to do.

use super::*;
use crate::refusal::{BadBinding, Bound, Difference, Resource};
use crate::router::MAX_WEIGHT;

fn not_found(resource: Resource, name: &str) -> Refusal {
    Refusal::NotFound(resource, name.to_owned())
}

fn difference<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Difference {
    match result {
        Err(Refusal::Inequivalent { difference, .. }) => difference,
        other => panic!("expected an inequivalence, got {other:?}"),
    }
}

#[test]
fn the_predeclared_exchanges_are_there_and_stay() {
    let bench = Bench::new();
    let found: Vec<_> = bench.now.exchanges().map(|it| (it.name().to_string(), it.settings().kind)).collect();
    let expected = [
        ("", ExchangeKind::Direct),
        ("amq.direct", ExchangeKind::Direct),
        ("amq.fanout", ExchangeKind::Fanout),
        ("amq.headers", ExchangeKind::Headers),
        ("amq.match", ExchangeKind::Headers),
        ("amq.topic", ExchangeKind::Topic),
    ];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
    for (name, _) in &expected[1..] {
        let refused = bench.now.decide_delete_exchange(name, false);
        assert_eq!(refused, Err(Refusal::SystemExchange((*name).to_owned())));
        assert!(bench.now.exchange(name).unwrap().settings().durable);
    }
    let durable_topic = ExchangeSettings { durable: true, ..exchange(ExchangeKind::Topic) };
    assert_eq!(bench.now.decide_declare_exchange("amq.topic", Some(&durable_topic)), Ok(None));
}

#[test]
fn the_default_exchange_is_not_touched() {
    let mut bench = Bench::new();
    bench.queue("q");
    let settings = exchange(ExchangeKind::Direct);
    assert_eq!(bench.exchange("", &settings), Err(Refusal::DefaultExchange));
    assert_eq!(bench.now.decide_declare_exchange("", None), Err(Refusal::DefaultExchange));
    assert_eq!(bench.delete_exchange("", false), Err(Refusal::DefaultExchange));
    for binding in [to_queue("", "q", "k"), to_exchange("amq.fanout", "", "k"), to_queue("", "none", "k")] {
        assert_eq!(bench.bind(&binding), Err(Refusal::DefaultExchange));
        assert_eq!(bench.unbind(&binding), Err(Refusal::DefaultExchange));
    }
}

#[test]
fn a_redeclared_exchange_names_its_first_difference() {
    let mut bench = Bench::new();
    let alternate = |name: &str| argument("alternate-exchange", Value::Text(name.to_owned()));
    let declared = ExchangeSettings { arguments: vec![alternate("a")], ..exchange(ExchangeKind::Direct) };
    bench.exchange("x", &declared).unwrap();
    assert_eq!(bench.now.decide_declare_exchange("x", Some(&declared)), Ok(None));
    assert_eq!(bench.now.decide_declare_exchange("x", None), Ok(None));
    assert_eq!(bench.now.decide_declare_exchange("y", None), Err(not_found(Resource::Exchange, "y")));

    let mut wanted = ExchangeSettings {
        kind: ExchangeKind::Topic,
        durable: true,
        auto_delete: true,
        internal: true,
        arguments: vec![alternate("b")],
        ..declared.clone()
    };
    let kind = Difference::Kind { received: "topic", current: "direct" };
    assert_eq!(difference(bench.exchange("x", &wanted)), kind);
    wanted.kind = ExchangeKind::Direct;
    for (name, back) in [
        ("durable", (|wanted| wanted.durable = false) as fn(&mut ExchangeSettings)),
        ("auto_delete", |wanted| wanted.auto_delete = false),
        ("internal", |wanted| wanted.internal = false),
    ] {
        let flag = Difference::Flag { name, received: true, current: false };
        assert_eq!(difference(bench.exchange("x", &wanted)), flag);
        back(&mut wanted);
    }
    let argument = |received: Option<&str>| Difference::Argument {
        name: "alternate-exchange".to_owned(),
        received: received.map(|name| Value::Text(name.to_owned())),
        current: Some(Value::Text("a".to_owned())),
    };
    assert_eq!(difference(bench.exchange("x", &wanted)), argument(Some("b")));
    wanted.arguments.clear();
    assert_eq!(difference(bench.exchange("x", &wanted)), argument(None));
}

#[test]
fn a_redeclared_queue_names_its_first_difference_and_compares_numbers_by_value() {
    let mut bench = Bench::new();
    let ttl =
        |value: Value| QueueSettings { arguments: vec![argument("x-ttl", value)], ..Default::default() };
    let id = bench.queue_as("q", &ttl(Value::Int32(7)), ME).unwrap();
    assert_eq!(bench.queue_as("q", &ttl(Value::UInt8(7)), OTHER), Ok(id));
    let unknown = Argument { name: "x-other".to_owned(), value: Value::Void, compared: false };
    let mut more = ttl(Value::Int64(7));
    more.arguments.push(unknown);
    assert_eq!(bench.queue_as("q", &more, ME), Ok(id));

    let wanted = QueueSettings { durable: true, auto_delete: true, ..ttl(Value::Int32(8)) };
    let durable = Difference::Flag { name: "durable", received: true, current: false };
    assert_eq!(difference(bench.queue_as("q", &wanted, ME)), durable);
    let wanted = QueueSettings { durable: false, ..wanted };
    let auto_delete = Difference::Flag { name: "auto_delete", received: true, current: false };
    assert_eq!(difference(bench.queue_as("q", &wanted, ME)), auto_delete);
    let argument = |received: Option<Value>| Difference::Argument {
        name: "x-ttl".to_owned(),
        received,
        current: Some(Value::Int32(7)),
    };
    let eight = ttl(Value::Int32(8));
    assert_eq!(difference(bench.queue_as("q", &eight, ME)), argument(Some(Value::Int32(8))));
    assert_eq!(difference(bench.queue_as("q", &QueueSettings::default(), ME)), argument(None));
}

#[test]
fn an_exclusive_queue_is_locked_for_others_before_anything_else_is_said() {
    let mut bench = Bench::new();
    let mine = QueueSettings { exclusive: Some(ConnectionId(0)), ..Default::default() };
    let id = bench.queue_as("q", &mine, ME).unwrap();
    assert_eq!(bench.now.queue("q").unwrap().settings().exclusive, Some(ME));
    assert_eq!(bench.queue_as("q", &mine, ME), Ok(id));
    bench.bind(&to_queue("amq.direct", "q", "k")).unwrap();

    let locked = Refusal::Locked("q".to_owned());
    let shared = QueueSettings::default();
    let durable = QueueSettings { durable: true, ..mine.clone() };
    for (settings, connection) in [(&mine, OTHER), (&shared, OTHER), (&durable, OTHER), (&shared, ME)] {
        assert_eq!(bench.queue_as("q", settings, connection), Err(locked.clone()));
    }
    let now = &bench.now;
    assert_eq!(now.decide_declare_queue("q", None, OTHER, QueueId(9)), Err(locked.clone()));
    assert_eq!(now.decide_declare_queue("q", None, ME, QueueId(9)), Ok(QueueDecision::Existing(id)));
    assert_eq!(now.queue_for("q", OTHER).map(|_| ()), Err(locked.clone()));
    assert_eq!(now.decide_bind(&to_queue("amq.topic", "q", "k"), OTHER), Err(locked.clone()));
    assert_eq!(now.decide_unbind(&to_queue("amq.direct", "q", "k"), OTHER), Err(locked.clone()));
    assert_eq!(now.decide_delete_queue("q", OTHER), Err(locked.clone()));

    bench.queue("shared");
    assert_eq!(bench.queue_as("shared", &mine, ME), Err(Refusal::Locked("shared".to_owned())));
}

#[test]
fn deleting_and_unbinding_what_is_missing_is_nothing_to_do() {
    let mut bench = Bench::new();
    bench.queue("q");
    assert_eq!(bench.now.decide_delete_queue("none", ME), Ok(None));
    assert_eq!(bench.now.decide_delete_exchange("none", true), Ok(None));
    for binding in
        [to_queue("none", "q", ""), to_queue("amq.direct", "none", ""), to_queue("amq.direct", "q", "")]
    {
        assert_eq!(bench.now.decide_unbind(&binding, ME), Ok(None));
    }
    let passive = bench.now.decide_declare_queue("none", None, ME, QueueId(1));
    assert_eq!(passive, Err(not_found(Resource::Queue, "none")));
}

#[test]
fn binding_wants_both_ends_source_first_and_is_done_once() {
    let mut bench = Bench::new();
    bench.queue("q");
    let missing_source = bench.bind(&to_queue("none", "nor", "k"));
    assert_eq!(missing_source, Err(not_found(Resource::Exchange, "none")));
    assert_eq!(bench.bind(&to_queue("amq.direct", "nor", "k")), Err(not_found(Resource::Queue, "nor")));
    assert_eq!(bench.bind(&to_exchange("amq.direct", "nor", "k")), Err(not_found(Resource::Exchange, "nor")));

    let two = [("a", Value::Int32(1)), ("b", Value::Void)];
    let binding = with_headers(to_queue("amq.headers", "q", "k"), MatchMode::Any, &two);
    bench.bind(&binding).unwrap();
    let turned = Binding { arguments: binding.arguments.iter().rev().cloned().collect(), ..binding.clone() };
    assert_eq!(bench.now.decide_bind(&turned, ME), Ok(None), "the order of arguments is no difference");
    let all = Binding { match_mode: MatchMode::All, ..binding.clone() };
    bench.bind(&all).unwrap();
    assert_eq!(bench.now.binding_count(), 2, "the match mode is one");
    bench.unbind(&turned).unwrap();
    assert_eq!(bench.now.bindings().map(super::super::BindingRecord::to_binding).collect::<Vec<_>>(), [all]);
}

#[test]
fn an_exchange_in_use_is_not_deleted_if_unused() {
    let mut bench = Bench::new();
    bench.exchange("x", &exchange(ExchangeKind::Fanout)).unwrap();
    bench.bind(&to_exchange("amq.fanout", "x", "")).unwrap();
    assert!(bench.now.decide_delete_exchange("x", true).unwrap().is_some(), "only what it leads to is use");
    bench.bind(&to_exchange("x", "amq.fanout", "")).unwrap();
    let in_use = Refusal::InUse(Resource::Exchange, "x".to_owned());
    assert_eq!(bench.delete_exchange("x", true), Err(in_use));
    bench.delete_exchange("x", false).unwrap();
    assert_eq!((bench.now.exchange("x").is_none(), bench.now.binding_count()), (true, 0));
}

#[test]
fn a_hash_binding_needs_a_weight() {
    let mut bench = Bench::new();
    bench.queue("q");
    bench.exchange("hash", &exchange(ExchangeKind::ConsistentHash)).unwrap();
    for key in ["", "a", "-1", "0", "1.5", "1001", "99999999999"] {
        let bad = Refusal::BadBinding(BadBinding::Weight(key.to_owned()));
        assert_eq!(bench.bind(&to_queue("hash", "q", key)), Err(bad));
    }
    for key in ["1", &MAX_WEIGHT.to_string()] {
        bench.bind(&to_queue("hash", "q", key)).unwrap();
    }
    let text = BadBinding::Weight("a".to_owned()).to_string();
    assert_eq!(text, "binding key 'a' is not a whole number from 1 to 1000");
}

#[test]
fn counts_are_bounded() {
    let mut bench = Bench::bounded(TopologyBounds { queues: 2, exchanges: 1, bindings: 17 });
    let full = |bound, limit| Refusal::TooMany { bound, limit };
    bench.queue("q1");
    bench.queue("q2");
    let settings = QueueSettings::default();
    assert_eq!(bench.queue_as("q3", &settings, ME), Err(full(Bound::Queues, 2)));
    assert_eq!(bench.queue_as("q2", &settings, ME), Ok(QueueId(2)), "what exists is not one more");
    bench.exchange("hash", &exchange(ExchangeKind::ConsistentHash)).unwrap();
    let second = bench.exchange("x", &exchange(ExchangeKind::Direct));
    assert_eq!(second, Err(full(Bound::Exchanges, 1)));
    let heavy = bench.bind(&to_queue("hash", "q2", "2"));
    assert_eq!(heavy, Err(full(Bound::Bindings, 17)), "weights count");
    bench.bind(&to_queue("hash", "q1", "1")).unwrap();
    bench.bind(&to_queue("amq.direct", "q1", "k")).unwrap();
    assert_eq!(bench.bind(&to_queue("amq.direct", "q2", "k")), Err(full(Bound::Bindings, 17)));
    bench.delete_exchange("hash", false).unwrap();
    bench.delete_queue("q1").unwrap();
    for key in 1..=17 {
        bench.bind(&to_queue("amq.direct", "q2", &key.to_string())).unwrap();
    }
    assert_eq!(bench.bind(&to_queue("amq.direct", "q2", "18")), Err(full(Bound::Bindings, 17)));
}
