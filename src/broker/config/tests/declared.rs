//! What is declared: names, arguments, policies, and whether the start could declare it.

use super::*;
use fairlead_kernel::settings::{Destination, MatchMode};

#[test]
fn declared_things_have_what_they_need_and_one_name_each() {
    check(
        "topology:\n  queues:\n    - {name: a}\n    - {name: a, vhost: /}\n    - {durable: true}\n    - {name: amq.b}\n  exchanges:\n    - {name: e, type: topical}\n    - {name: f, type: direct, vhost: nowhere}\n",
        &[
            "broker.yaml:4:14: topology.queues[1].name: a second queue \"a\" in \"/\", expected each name once",
            "broker.yaml:5:7: topology.queues[2].name: nothing, expected a text",
            "broker.yaml:6:14: topology.queues[3].name: \"amq.b\" begins with the reserved \"amq.\", expected another name",
            "broker.yaml:8:23: topology.exchanges[0].type: the text \"topical\", expected one of direct, topic, fanout, headers, x-consistent-hash, x-random",
            "broker.yaml:9:38: topology.exchanges[1].vhost: \"nowhere\" is not declared, expected \"/\" or one of topology.vhosts",
        ],
    );
    check(
        "users: [{name: ann, password: x}, {name: ann, password: y}, {name: bob}]",
        &[
            "broker.yaml:1:42: users[1].name: a second user \"ann\", expected each name once",
            "broker.yaml:1:61: users[2].password: nothing, expected a text",
        ],
    );
}

#[test]
fn policies_are_checked() {
    check(
        "policies:\n  - name: p\n    pattern: \"(\"\n    definition: {max-lenght: 1}\n  - name: q\n    pattern: a\n    apply_to: exchanges\n    definition: {overflow: never, dead-letter-routing-key: k}\n",
        &[
            "broker.yaml:3:14: policies[0].pattern: \"(\" is no regular expression that can be used: unclosed group",
            "broker.yaml:4:18: policies[0].definition.max-lenght: unknown key; did you mean \"max-length\"?",
            "broker.yaml:8:17: policies[1].definition: keys for queues, but apply_to is exchanges",
            "broker.yaml:8:28: policies[1].definition.overflow: the text \"never\", expected one of drop-head, reject-publish, reject-publish-dlx",
            "broker.yaml:8:60: policies[1].definition.dead-letter-routing-key: without dead-letter-exchange, expected both",
        ],
    );
}

#[test]
fn arguments_keep_their_types() {
    let config =
        read("topology: {queues: [{name: q, arguments: {n: 5, t: five, b: true, l: [1, x], m: {k: 1.5}}}]}");
    use fairlead_kernel::Value;
    let expect = [
        ("n", Value::Int64(5)),
        ("t", Value::Text("five".to_owned())),
        ("b", Value::Boolean(true)),
        ("l", Value::List(vec![Value::Int64(1), Value::Text("x".to_owned())])),
        ("m", Value::Map(vec![("k".to_owned(), Value::Float64(1.5))])),
    ];
    let queues = config.unwrap().topology.queues;
    let arguments: Vec<_> =
        queues[0].settings.arguments.iter().map(|a| (a.name.as_str(), a.value.clone())).collect();
    assert_eq!(arguments, expect);
    let deep = format!(
        "topology: {{queues: [{{name: q, arguments: {{a: {}1{}}}}}]}}",
        "[".repeat(17),
        "]".repeat(17)
    );
    let error = read(&deep).unwrap_err().to_string();
    assert!(error.contains("nested too deep, expected at most 16 levels"), "{error}");
}

#[test]
fn arguments_are_held_against_what_they_mean() {
    check(
        "topology:\n  queues:\n    - name: q\n      arguments: {x-max-length: many, x-max-priority: 256}\n    \
         - {name: r, arguments: {x-queue-type: quorum}}\n    \
         - {name: s, arguments: {x-dead-letter-routing-key: k}}\n    \
         - {name: t, arguments: {x-delivery-limit: 3}}\n  \
         exchanges: [{name: e, type: direct, arguments: {alternate-exchange: 5}}]\n  \
         bindings: [{source: amq.headers, destination: q, arguments: {x-match: some}}]\n",
        &[
            "broker.yaml:4:33: topology.queues[0].arguments.x-max-length: the text \"many\", expected a whole number from 0 to 9223372036854775807",
            "broker.yaml:4:55: topology.queues[0].arguments.x-max-priority: the number 256, expected a whole number from 0 to 255",
            "broker.yaml:5:43: topology.queues[1].arguments.x-queue-type: the text \"quorum\", expected classic, the one type of queue that there is yet",
            "broker.yaml:6:28: topology.queues[2].arguments: x-dead-letter-routing-key without x-dead-letter-exchange, expected both",
            "broker.yaml:7:47: topology.queues[3].arguments.x-delivery-limit: classic queues do not take it from their declarer, expected the key delivery-limit of a policy",
            "broker.yaml:8:71: topology.exchanges[0].arguments.alternate-exchange: the number 5, expected a text: put it in quotes",
            "broker.yaml:9:73: topology.bindings[0].arguments.x-match: the text \"some\", expected one of all, any, all-with-x, any-with-x",
        ],
    );
}

/// Should the adapter know more than this crate does, its word still comes with a place.
#[test]
fn what_the_adapter_refuses_is_refused_here() {
    let refused = read(
        "topology: {exchanges: [{name: e, type: x-consistent-hash, arguments: {hash-property: nonsense}}]}",
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with("broker.yaml:1:70: topology.exchanges[0].arguments: "), "{refused}");
}

#[test]
fn what_is_declared_can_be_declared() {
    check(
        "limits: {exchanges: 2}\ntopology:\n  exchanges:\n    - {name: e, type: direct}\n    - {name: e, type: topic}\n    - {name: hash, type: x-consistent-hash}\n    - {name: more, type: fanout}\n  \
         queues: [{name: q}]\n  bindings:\n    - {source: nowhere, destination: q}\n    - {source: e, destination: nothing}\n    \
         - {source: e, destination: q, destination_type: exchange}\n    - {source: hash, destination: q, routing_key: heavy}\n    \
         - {source: amq.topic, destination: q}\n",
        &[
            "broker.yaml:5:14: topology.exchanges[1].name: a second exchange \"e\" in \"/\", expected each name once",
            "broker.yaml:7:14: topology.exchanges[3].name: there may be 2 exchanges in a virtual host at most",
            "broker.yaml:10:16: topology.bindings[0].source: no exchange \"nowhere\" is declared in \"/\", expected one of topology.exchanges, or a predeclared one as amq.direct",
            "broker.yaml:11:32: topology.bindings[1].destination: no queue \"nothing\" is declared in \"/\", expected one of topology.queues",
            "broker.yaml:12:32: topology.bindings[2].destination: no exchange \"q\" is declared in \"/\", expected one of topology.exchanges, or a predeclared one as amq.direct",
            "broker.yaml:13:51: topology.bindings[3].routing_key: binding key 'heavy' is not a whole number from 1 to 1000",
        ],
    );
}

#[test]
fn a_fault_is_told_once_and_nothing_that_follows_from_it() {
    for (text, expect) in [
        (
            "topology: {queues: [{nmae: q}], bindings: [{source: amq.direct, destination: q}]}",
            "broker.yaml:1:22: topology.queues[0].nmae: unknown key; did you mean \"name\"?",
        ),
        (
            "topology: {exchange: [{name: e, type: topic}], bindings: [{source: e, destination: e, destination_type: exchange}]}",
            "broker.yaml:1:12: topology.exchange: unknown key; did you mean \"exchanges\"?",
        ),
        (
            "topology: {vhosts: [{nam: v}], queues: [{name: q, vhost: v}]}",
            "broker.yaml:1:22: topology.vhosts[0].nam: unknown key; did you mean \"name\"?",
        ),
        (
            "topology: {exchanges: [{name: e, type: topical}], queues: [{name: q}], bindings: [{source: e, destination: q}]}",
            "broker.yaml:1:40: topology.exchanges[0].type: the text \"topical\", expected one of direct, topic, fanout, headers, x-consistent-hash, x-random",
        ),
        (
            "policies: [{name: p, pattern: a, apply_to: queues, definition: {overflow: never}}]",
            "broker.yaml:1:75: policies[0].definition.overflow: the text \"never\", expected one of drop-head, reject-publish, reject-publish-dlx",
        ),
        (
            "policies: [{name: p, pattern: a, definition: {dead-leter-exchange: d, dead-letter-routing-key: k}}]",
            "broker.yaml:1:47: policies[0].definition.dead-leter-exchange: unknown key; did you mean \"dead-letter-exchange\"?",
        ),
        (
            "users: [{name: ann, pasword: x}]",
            "broker.yaml:1:21: users[0].pasword: unknown key; did you mean \"password\"?",
        ),
    ] {
        check(text, &[expect]);
    }
}

#[test]
fn bindings_lead_to_queues_or_exchanges() {
    let config = read(
        "topology: {exchanges: [{name: a, type: headers}, {name: c, type: fanout}], queues: [{name: b}], \
         bindings: [{source: a, destination: b}, {source: a, destination: c, destination_type: exchange, arguments: {x-match: any}}]}",
    );
    let bindings = config.unwrap().topology.bindings;
    assert_eq!(bindings[0].binding.destination, Destination::Queue("b".to_owned()));
    assert_eq!(bindings[1].binding.destination, Destination::Exchange("c".to_owned()));
    assert_eq!(bindings[1].binding.match_mode, MatchMode::Any);
}
