//! Policies: precedence, merging with what was declared, and change under live queues and exchanges.

use super::*;
use crate::settings::{Limits, Overflow};
use crate::topology::{AppliesTo, Policy, PolicyDefinition, TopologyCommand};

fn policy(name: &str, pattern: &str, priority: i32, limits: Limits) -> PolicyDefinition {
    PolicyDefinition {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        priority,
        limits,
        ..Default::default()
    }
}

fn put(bench: &mut Bench, definition: PolicyDefinition) {
    bench.now = bench.now.apply(&TopologyCommand::PutPolicy(Policy::new(definition).unwrap()));
}

fn at_most(messages: u64) -> Limits {
    Limits { max_messages: Some(messages), ..Default::default() }
}

fn in_force<'a>(bench: &'a Bench, queue: &str) -> (Option<&'a str>, &'a Limits) {
    let queue = bench.now.queue(queue).unwrap();
    (queue.policy(), queue.effective_limits())
}

#[test]
fn the_highest_priority_is_in_force_and_then_the_first_name() {
    let mut bench = Bench::new();
    bench.queue("orders.eu");
    put(&mut bench, policy("b", "^orders", 5, at_most(5)));
    put(&mut bench, policy("low", ".*", 1, at_most(1)));
    assert_eq!(in_force(&bench, "orders.eu"), (Some("b"), &at_most(5)));
    put(&mut bench, policy("a", "eu$", 5, at_most(6)));
    assert_eq!(in_force(&bench, "orders.eu"), (Some("a"), &at_most(6)));
    bench.queue("orders.us");
    assert_eq!(in_force(&bench, "orders.us"), (Some("b"), &at_most(5)));
    put(&mut bench, policy("low", ".*", 9, at_most(9)));
    assert_eq!(in_force(&bench, "orders.eu"), (Some("low"), &at_most(9)));
    assert_eq!(bench.now.policies().iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["low", "a", "b"]);
    for name in ["low", "a", "b", "none"] {
        bench.now = bench.now.apply(&TopologyCommand::DeletePolicy { name: name.to_owned() });
    }
    assert_eq!(in_force(&bench, "orders.eu"), (None, &Limits::default()));
}

#[test]
fn the_smaller_number_wins_and_else_the_declarer() {
    let mut bench = Bench::new();
    let declared = Limits {
        max_messages: Some(10),
        max_bytes: Some(100),
        overflow: Some(Overflow::Reject),
        dead_letter_exchange: Some("mine".to_owned()),
        message_ttl: Some(7),
        ..Default::default()
    };
    bench.queue_as("q", &QueueSettings { limits: declared.clone(), ..Default::default() }, ME).unwrap();
    let theirs = Limits {
        max_messages: Some(5),
        max_bytes: Some(200),
        overflow: Some(Overflow::RejectDeadLetter),
        message_ttl: None,
        expires: Some(60),
        dead_letter_exchange: Some("theirs".to_owned()),
        dead_letter_key: Some("key".to_owned()),
        delivery_limit: Some(3),
    };
    put(&mut bench, policy("p", "q", 0, theirs));
    let expected = Limits {
        max_messages: Some(5),
        expires: Some(60),
        dead_letter_key: Some("key".to_owned()),
        delivery_limit: Some(3),
        ..declared.clone()
    };
    assert_eq!(in_force(&bench, "q"), (Some("p"), &expected));
    assert_eq!(bench.now.queue("q").unwrap().settings().limits, declared, "what was declared is kept");
}

#[test]
fn changed_limits_name_the_live_queues_that_a_policy_changed() {
    let mut bench = Bench::new();
    for name in ["a1", "a2", "b1"] {
        bench.queue(name);
    }
    bench.queue_as("a3", &QueueSettings { limits: at_most(1), ..Default::default() }, ME).unwrap();
    let before = bench.now.clone();
    put(&mut bench, policy("p", "^a", 0, at_most(5)));
    bench.queue("a4");
    let changed = |before: &Topology, after: &Topology| -> Vec<String> {
        before.changed_limits(after).into_iter().map(|queue| queue.name().to_string()).collect()
    };
    assert_eq!(changed(&before, &bench.now), ["a1", "a2"], "a3 has the smaller limit, a4 is new");
    assert_eq!(changed(&bench.now, &before), ["a1", "a2"]);
    let between = bench.now.clone();
    let swap = Policy::new(policy("other", "^a1", 0, at_most(5))).unwrap();
    bench.now = bench.now.apply(&TopologyCommand::SetPolicies(vec![swap]));
    assert_eq!(changed(&between, &bench.now), ["a2", "a4"], "the same limit by another policy is no change");
    assert_eq!(in_force(&bench, "a1").0, Some("other"));
}

#[test]
fn a_policy_gives_an_exchange_its_alternate_and_applies_only_where_it_says() {
    let mut bench = Bench::new();
    bench.queue("x.dead");
    bench.exchange("x", &exchange(ExchangeKind::Direct)).unwrap();
    let own = ExchangeSettings { alternate: Some("amq.direct".to_owned()), ..exchange(ExchangeKind::Direct) };
    bench.exchange("x.own", &own).unwrap();
    bench.bind(&to_queue("amq.fanout", "x.dead", "")).unwrap();
    let mut definition = PolicyDefinition {
        alternate: Some("amq.fanout".to_owned()),
        applies_to: AppliesTo::Exchanges,
        ..policy("p", "^x", 0, at_most(1))
    };
    put(&mut bench, definition.clone());
    assert_eq!(bench.route("x", "k"), ["x.dead"]);
    assert_eq!(bench.now.exchange("x").unwrap().alternate(), Some("amq.fanout"));
    assert_eq!(bench.now.exchange("x.own").unwrap().alternate(), Some("amq.direct"), "declared goes first");
    assert_eq!(in_force(&bench, "x.dead"), (None, &Limits::default()));
    definition.applies_to = AppliesTo::Queues;
    put(&mut bench, definition.clone());
    assert_eq!(bench.route("x", "k"), [""; 0]);
    assert_eq!(in_force(&bench, "x.dead"), (Some("p"), &at_most(1)));
    definition.applies_to = AppliesTo::All;
    put(&mut bench, definition);
    assert_eq!(bench.route("x", "k"), ["x.dead"]);
    assert_eq!(in_force(&bench, "x.dead"), (Some("p"), &at_most(1)));
}

#[test]
fn a_pattern_that_cannot_be_held_is_refused_by_name() {
    for pattern in ["(", "(?:(?:a{100}){100}){100}"] {
        let refused = Policy::new(policy("p", pattern, 0, Limits::default())).unwrap_err();
        assert_eq!((refused.policy.as_str(), refused.pattern.as_str()), ("p", pattern));
        assert!(refused.to_string().starts_with("policy 'p': pattern"), "{refused}");
    }
}
