//! Routing by each kind of exchange, through others, and by alternates.

use super::*;
use crate::refusal::{Bound, Resource};
use crate::router::STEPS_MAX;

fn check(bench: &Bench, exchange: &str, cases: &[(&str, &[&str])]) {
    for (key, expected) in cases {
        assert_eq!(bench.route(exchange, key), *expected, "key {key:?}");
    }
}

fn with_queues(names: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for name in names {
        bench.queue(name);
    }
    bench
}

#[test]
fn the_default_exchange_leads_to_the_queue_of_that_name() {
    let mut bench = with_queues(&["a", "b"]);
    check(&bench, "", &[("a", &["a"]), ("b", &["b"]), ("c", &[])]);
    assert_eq!(bench.route_with("", &["a", "c", "b", "a"], "", 0).unwrap(), ["a", "b"]);
    bench.delete_queue("a").unwrap();
    check(&bench, "", &[("a", &[])]);
    assert_eq!(bench.now.bindings().count(), 0);
}

#[test]
fn a_direct_exchange_wants_the_same_key() {
    let mut bench = with_queues(&["a", "b"]);
    for (queue, key) in [("a", "k"), ("b", "k"), ("b", "l"), ("b", "")] {
        bench.bind(&to_queue("amq.direct", queue, key)).unwrap();
    }
    check(&bench, "amq.direct", &[("k", &["a", "b"]), ("l", &["b"]), ("", &["b"]), ("m", &[])]);
    bench.unbind(&to_queue("amq.direct", "b", "k")).unwrap();
    check(&bench, "amq.direct", &[("k", &["a"]), ("l", &["b"])]);
    assert_eq!(bench.route_with("amq.direct", &["k", "l"], "", 0).unwrap(), ["a", "b"]);
}

#[test]
fn a_topic_exchange_matches_words() {
    let patterns = ["", "#", "*", "a.b", "a.*", "*.b", "a.#", "#.b", "#.#", "a.#.b", "*.#.*", "a..b"];
    let mut bench = with_queues(&patterns);
    for pattern in patterns {
        bench.bind(&to_queue("amq.topic", pattern, pattern)).unwrap();
    }
    check(
        &bench,
        "amq.topic",
        &[
            ("", &["", "#", "#.#"]),
            ("a", &["#", "#.#", "*", "a.#"]),
            ("b", &["#", "#.#", "#.b", "*"]),
            ("a.b", &["#", "#.#", "#.b", "*.#.*", "*.b", "a.#", "a.#.b", "a.*", "a.b"]),
            ("a.", &["#", "#.#", "*.#.*", "a.#", "a.*"]),
            ("a..b", &["#", "#.#", "#.b", "*.#.*", "a.#", "a.#.b", "a..b"]),
            ("x.y.z", &["#", "#.#", "*.#.*"]),
            ("*", &["#", "#.#", "*"]),
        ],
    );
}

#[test]
fn a_topic_with_many_hashes_takes_no_exponential_time() {
    let mut bench = with_queues(&["q"]);
    let pattern = "#.a.".repeat(60) + "#.b";
    bench.bind(&to_queue("amq.topic", "q", &pattern)).unwrap();
    let key = ["a"; 120].join(".");
    check(&bench, "amq.topic", &[(&key, &[]), (&format!("{key}.b"), &["q"])]);
}

#[test]
fn a_fanout_exchange_takes_each_queue_once() {
    let mut bench = with_queues(&["a", "b"]);
    for (queue, key) in [("a", "k"), ("a", "l"), ("b", "")] {
        bench.bind(&to_queue("amq.fanout", queue, key)).unwrap();
    }
    check(&bench, "amq.fanout", &[("", &["a", "b"]), ("k", &["a", "b"])]);
    bench.unbind(&to_queue("amq.fanout", "a", "k")).unwrap();
    check(&bench, "amq.fanout", &[("k", &["a", "b"])]);
    bench.unbind(&to_queue("amq.fanout", "a", "l")).unwrap();
    check(&bench, "amq.fanout", &[("k", &["b"])]);
}

#[test]
fn a_headers_exchange_compares_as_its_mode_says() {
    use MatchMode::{All, AllWithX, Any, AnyWithX};
    let one = ("n", Value::Int8(1));
    let there = ("t", Value::Void);
    let x = ("x-k", Value::Text("v".to_owned()));
    let mode = ("x-match", Value::Text("any".to_owned()));
    let check = |mode, arguments: &[&(&str, Value)], matching: &[&str], others: &[&str]| {
        let mut bench = with_queues(&["q"]);
        let arguments: Vec<_> = arguments.iter().copied().cloned().collect();
        bench.bind(&with_headers(to_queue("amq.match", "q", ""), mode, &arguments)).unwrap();
        for (heads, expected) in [(matching, &["q"][..]), (others, &[])] {
            for head in heads {
                let found = bench.route_with("amq.match", &["any key"], head, 0).unwrap();
                assert_eq!(found, expected, "{mode:?} {arguments:?} against {head:?}");
            }
        }
    };
    check(All, &[], &["", "n=2"], &[]);
    check(Any, &[&mode], &[], &["", "n=1"]);
    check(All, &[&one, &there], &["n=1,t=x", "t=5,n=1"], &["n=1", "n=2,t=x", "t=x"]);
    check(Any, &[&one, &there], &["n=1", "t=9", "n=2,t=x"], &["n=2", "", "n=one"]);
    check(All, &[&one, &x], &["n=1", "n=1,x-k=w"], &["x-k=v"]);
    check(Any, &[&one, &x], &["n=1"], &["x-k=v"]);
    check(AllWithX, &[&one, &x, &mode], &["n=1,x-k=v"], &["n=1", "n=1,x-k=w"]);
    check(AnyWithX, &[&one, &x, &mode], &["n=1", "x-k=v"], &["x-match=any", "x-k=w"]);
}

#[test]
fn a_hash_exchange_spreads_by_weight_and_moves_little() {
    let mut bench = with_queues(&["a", "b", "c", "d"]);
    bench.exchange("hash", &exchange(ExchangeKind::ConsistentHash)).unwrap();
    for (queue, weight) in [("a", "10"), ("b", "10"), ("c", "20")] {
        bench.bind(&to_queue("hash", queue, weight)).unwrap();
    }
    let keys: Vec<String> = (0..4000).map(|n| format!("key {n}")).collect();
    let spread = |bench: &Bench| -> Vec<String> {
        let one = |key: &String| bench.route("hash", key).pop().unwrap();
        keys.iter().map(one).collect()
    };
    let share = |all: &[String], queue: &str| all.iter().filter(|name| *name == queue).count();
    let before = spread(&bench);
    for (queue, expected) in [("a", 1000), ("b", 1000), ("c", 2000)] {
        assert!(
            share(&before, queue).abs_diff(expected) <= expected / 5,
            "{queue}: {}",
            share(&before, queue)
        );
    }
    bench.bind(&to_queue("hash", "d", "10")).unwrap();
    let after = spread(&bench);
    let moved = || before.iter().zip(&after).filter(|(old, new)| old != new);
    assert!(moved().all(|(_, new)| new == "d"), "keys move only to the new queue");
    assert_eq!(moved().count(), share(&after, "d"));
    bench.delete_queue("d").unwrap();
    assert!(spread(&bench) == before, "and back when it goes");
}

#[test]
fn a_hash_exchange_can_hash_a_header() {
    let mut bench = with_queues(&["a", "b", "c"]);
    let settings = ExchangeSettings {
        hash_header: Some("customer".to_owned()),
        ..exchange(ExchangeKind::ConsistentHash)
    };
    bench.exchange("hash", &settings).unwrap();
    for queue in ["a", "b", "c"] {
        bench.bind(&to_queue("hash", queue, "5")).unwrap();
    }
    let one = |key: &str, customer: &str| {
        bench.route_with("hash", &[key], &format!("customer={customer}"), 0).unwrap()
    };
    for customer in ["ann", "bob", "17", "18"] {
        assert!((0..20).all(|n| one(&n.to_string(), customer) == one("", customer)));
    }
    let all: std::collections::BTreeSet<_> = (0..50).map(|n| one("same", &n.to_string())).collect();
    assert_eq!(all.len(), 3, "every queue gets some");
    assert_eq!(bench.route_with("hash", &["k"], "", 0).unwrap().len(), 1, "also without the header");
}

#[test]
fn a_random_exchange_chooses_evenly_by_the_seed() {
    let mut bench = with_queues(&["a", "b", "c", "d"]);
    bench.exchange("random", &exchange(ExchangeKind::Random)).unwrap();
    assert_eq!(bench.route("random", ""), [""; 0]);
    for queue in ["a", "b", "c", "d"] {
        bench.bind(&to_queue("random", queue, "")).unwrap();
    }
    let one = |seed: u64| bench.route_with("random", &["k"], "", seed).unwrap().pop().unwrap();
    for queue in ["a", "b", "c", "d"] {
        let count = (0..4000).filter(|seed| one(*seed) == queue).count();
        assert!(count.abs_diff(1000) < 120, "{queue}: {count}");
    }
    assert!((0..100).all(|seed| one(seed) == one(seed)));
}

#[test]
fn exchanges_lead_to_exchanges_and_cycles_end() {
    let mut bench = with_queues(&["a", "b"]);
    for name in ["x", "y", "z"] {
        bench.exchange(name, &exchange(ExchangeKind::Direct)).unwrap();
    }
    for binding in [to_exchange("x", "y", "k"), to_exchange("y", "z", "k"), to_exchange("z", "x", "k")] {
        bench.bind(&binding).unwrap();
    }
    bench.bind(&to_exchange("x", "x", "k")).unwrap();
    check(&bench, "x", &[("k", &[])]);
    bench.bind(&to_queue("z", "a", "k")).unwrap();
    bench.bind(&to_queue("x", "b", "k")).unwrap();
    for name in ["x", "y", "z"] {
        check(&bench, name, &[("k", &["a", "b"]), ("l", &[])]);
    }
    bench.delete_exchange("y", false).unwrap();
    check(&bench, "x", &[("k", &["b"])]);
    check(&bench, "z", &[("k", &["a", "b"])]);
}

#[test]
fn an_alternate_takes_what_nothing_matched_and_has_its_own() {
    let mut bench = with_queues(&["a", "b", "last"]);
    let with_alternate =
        |kind, name: &str| ExchangeSettings { alternate: Some(name.to_owned()), ..exchange(kind) };
    bench.exchange("x", &with_alternate(ExchangeKind::Direct, "y")).unwrap();
    bench.bind(&to_queue("x", "a", "k")).unwrap();
    check(&bench, "x", &[("k", &["a"]), ("l", &[])]);
    bench.exchange("y", &with_alternate(ExchangeKind::Direct, "z")).unwrap();
    bench.bind(&to_queue("y", "b", "l")).unwrap();
    check(&bench, "x", &[("k", &["a"]), ("l", &["b"]), ("m", &[])]);
    bench.exchange("z", &with_alternate(ExchangeKind::Fanout, "x")).unwrap();
    check(&bench, "x", &[("m", &[])]);
    bench.bind(&to_queue("z", "last", "")).unwrap();
    check(&bench, "x", &[("k", &["a"]), ("l", &["b"]), ("m", &["last"])]);
    let several = bench.route_with("x", &["m", "k"], "", 0).unwrap();
    assert_eq!(several, ["a"], "one key that matches is enough");
}

#[test]
fn the_alternate_is_that_of_the_exchange_where_nothing_matched() {
    let mut bench = with_queues(&["outer", "inner"]);
    let with_alternate =
        |name: &str| ExchangeSettings { alternate: Some(name.to_owned()), ..exchange(ExchangeKind::Direct) };
    bench.exchange("to outer", &exchange(ExchangeKind::Fanout)).unwrap();
    bench.exchange("to inner", &exchange(ExchangeKind::Fanout)).unwrap();
    bench.bind(&to_queue("to outer", "outer", "")).unwrap();
    bench.bind(&to_queue("to inner", "inner", "")).unwrap();
    bench.exchange("x", &with_alternate("to outer")).unwrap();
    bench.exchange("y", &with_alternate("to inner")).unwrap();
    bench.bind(&to_exchange("x", "y", "k")).unwrap();
    check(&bench, "x", &[("k", &["inner"]), ("l", &["outer"])]);
    bench.bind(&to_queue("x", "outer", "k")).unwrap();
    check(&bench, "x", &[("k", &["inner", "outer"])]);
}

#[test]
fn the_default_exchange_can_be_an_alternate() {
    let mut bench = with_queues(&["q"]);
    let settings = ExchangeSettings { alternate: Some(String::new()), ..exchange(ExchangeKind::Direct) };
    bench.exchange("x", &settings).unwrap();
    check(&bench, "x", &[("q", &["q"]), ("r", &[])]);
}

#[test]
fn only_the_broker_and_other_exchanges_publish_to_an_internal_one() {
    let mut bench = with_queues(&["q"]);
    bench.exchange("in", &ExchangeSettings { internal: true, ..exchange(ExchangeKind::Fanout) }).unwrap();
    bench.bind(&to_queue("in", "q", "")).unwrap();
    bench.bind(&to_exchange("amq.fanout", "in", "")).unwrap();
    let internal = Err(Refusal::Internal("in".to_owned()));
    assert_eq!(bench.route_with("in", &["k"], "", 0), internal);
    check(&bench, "amq.fanout", &[("", &["q"])]);
    let message = Routable { keys: &["k"], reader: &PlainHead, head: b"", seed: 0 };
    let mut targets = Targets::default();
    assert!(bench.now.route_internally("in", &message, &mut targets).is_some());
    assert_eq!(names(&bench.now, &targets), ["q"]);
    assert!(bench.now.route_internally("none", &message, &mut targets).is_none());
    let missing = Err(Refusal::NotFound(Resource::Exchange, "none".to_owned()));
    assert_eq!(bench.route_with("none", &["k"], "", 0), missing);
}

#[test]
fn answers_add_up_sorted_and_once() {
    let mut bench = with_queues(&["a", "b", "c"]);
    bench.bind(&to_queue("amq.direct", "c", "k")).unwrap();
    bench.bind(&to_queue("amq.direct", "a", "k")).unwrap();
    let mut targets = Targets::default();
    for key in ["b", "k", "b"] {
        let exchange = if key == "k" { "amq.direct" } else { "" };
        let message = Routable { keys: &[key], reader: &PlainHead, head: b"", seed: 0 };
        bench.now.route(exchange, &message, &mut targets).unwrap();
    }
    assert_eq!(targets.queues(), [QueueId(1), QueueId(2), QueueId(3)]);
    targets.clear();
    assert!(targets.queues().is_empty());
}

#[test]
fn auto_delete_exchanges_go_with_their_last_binding_one_after_another() {
    let mut bench = with_queues(&["q", "other"]);
    let auto = ExchangeSettings { auto_delete: true, ..exchange(ExchangeKind::Fanout) };
    for name in ["x", "y", "z"] {
        bench.exchange(name, &auto).unwrap();
    }
    for binding in [to_exchange("x", "y", ""), to_exchange("y", "z", ""), to_queue("z", "q", "")] {
        bench.bind(&binding).unwrap();
    }
    bench.bind(&to_queue("z", "other", "")).unwrap();
    bench.unbind(&to_queue("z", "other", "")).unwrap();
    check(&bench, "x", &[("", &["q"])]);
    bench.delete_queue("q").unwrap();
    assert_eq!((bench.now.exchange_count(), bench.now.binding_count()), (6, 0));
    bench.exchange("x", &auto).unwrap();
    assert_eq!(bench.route("x", ""), [""; 0], "one that never had a binding stays");
}

#[test]
fn a_queue_that_is_declared_again_has_none_of_its_namesakes_bindings() {
    let mut bench = with_queues(&["q"]);
    for source in ["amq.direct", "amq.topic", "amq.fanout", "amq.match"] {
        bench.bind(&to_queue(source, "q", "k")).unwrap();
    }
    assert_eq!(bench.now.bindings_of("q").count(), 4);
    let late = bench.now.decide_delete_queue("q", ME).unwrap().unwrap();
    bench.now = bench.now.apply(&late);
    bench.queue("q");
    bench.now = bench.now.apply(&late);
    assert!(bench.now.queue("q").is_some(), "a late deletion does not reach it");
    for source in ["amq.direct", "amq.topic", "amq.fanout", "amq.match"] {
        check(&bench, source, &[("k", &[])]);
    }
    assert_eq!((bench.now.bindings_of("q").count(), bench.now.binding_count()), (0, 0));
}

#[test]
fn bindings_alike_but_for_their_arguments_go_one_by_one() {
    for source in ["amq.direct", "amq.topic", "amq.fanout"] {
        let mut bench = with_queues(&["q", "other"]);
        let plain = to_queue(source, "q", "k");
        let more = with_headers(plain.clone(), MatchMode::All, &[("n", Value::Int8(1))]);
        for round in 0..2 {
            bench.bind(&plain).unwrap();
            bench.bind(&more).unwrap();
            bench.unbind(&plain).unwrap();
            assert!(bench.route(source, "k").contains(&"q".to_owned()), "{source}, round {round}");
            bench.unbind(&more).unwrap();
            assert!(!bench.route(source, "k").contains(&"q".to_owned()), "{source}, round {round}");
            // The second round has two targets at the same key.
            bench.bind(&to_queue(source, "other", "k")).unwrap();
        }
    }
}

#[test]
fn several_weights_of_one_destination_count_as_the_heaviest() {
    let mut bench = with_queues(&["a", "b"]);
    bench.exchange("hash", &exchange(ExchangeKind::ConsistentHash)).unwrap();
    let keys: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let spread = |bench: &Bench| -> Vec<_> { keys.iter().map(|key| bench.route("hash", key)).collect() };
    bench.bind(&to_queue("hash", "a", "4")).unwrap();
    bench.bind(&to_queue("hash", "b", "5")).unwrap();
    let heaviest = spread(&bench);
    bench.bind(&to_queue("hash", "b", "2")).unwrap();
    assert!(spread(&bench) == heaviest);
    bench.unbind(&to_queue("hash", "b", "5")).unwrap();
    let lighter = spread(&bench);
    let of_b = |spread: &[Vec<String>]| spread.iter().filter(|names| names[0] == "b").count();
    assert!(of_b(&lighter) < of_b(&heaviest) && of_b(&lighter) > 0);
    bench.unbind(&to_queue("hash", "b", "2")).unwrap();
    assert_eq!(of_b(&spread(&bench)), 0);
}

#[test]
fn a_message_that_takes_too_many_steps_is_refused_and_others_are_not() {
    let mut bench = with_queues(&["q"]);
    bench.exchange("deep", &exchange(ExchangeKind::Topic)).unwrap();
    // Each bit of the number chooses a word: after `#` all of them are reached by any key of the word `a`.
    for number in 0..512u32 {
        let words: Vec<&str> = (0..9).map(|bit| if number >> bit & 1 == 0 { "a.#" } else { "*.#" }).collect();
        bench.bind(&to_queue("deep", "q", &words.join("."))).unwrap();
    }
    assert_eq!(bench.route("deep", &["a"; 12].join(".")), ["q"]);
    let long = vec!["a"; 127].join(".");
    let keys = vec![long.as_str(); 16];
    let refused = Refusal::TooMany { bound: Bound::RoutingSteps, limit: STEPS_MAX };
    assert_eq!(bench.route_with("deep", &keys, "", 0), Err(refused));
}
