//! The embedded defaults, every kind of fault with its place, overrides, and what a reload tells.

mod declared;

use super::memory::Mark;
use super::*;
use fairlead_kernel::settings::{ExchangeKind, Order, Overflow};
use std::time::Duration;

/// The configuration of `text` over the defaults, as if it were the file `broker.yaml`.
fn read(text: &str) -> Result<Config, ConfigError> {
    let mut tree = node::parse(None, DEFAULTS)?;
    tree.overlay(parse_text(&"broker.yaml".into(), text)?);
    from_tree(&tree)
}

/// The lines that `text` is refused with.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    match read(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => assert_eq!(error.to_string().lines().collect::<Vec<_>>(), expect, "{text}"),
    }
}

#[test]
fn the_defaults_are_complete_and_as_documented() {
    let config = load(&Overrides::default()).unwrap();
    assert_eq!(config.listeners.amqp, "[::]:5672".parse().unwrap());
    assert_eq!(config.listeners.http, "[::]:15672".parse().unwrap());
    assert_eq!(config.data_dir, PathBuf::from("./fairlead-data"));
    assert_eq!(config.limits.channels_per_connection, 2047);
    assert_eq!(config.limits.frame_size, 131_072);
    assert_eq!(config.limits.message_size, 128 << 20);
    assert_eq!(config.timeouts.heartbeat_seconds, 60);
    assert_eq!(config.timeouts.acknowledgement, Duration::from_secs(1800));
    assert_eq!(config.memory.stop_publishers_above, Mark::Percent(50));
    assert_eq!((config.journal.segment_size, config.journal.pending), (128 << 20, 64 << 20));
    assert_eq!((config.journal.keep_free, config.journal.stop_publishers_below), (256 << 20, 1 << 30));
    assert_eq!(config.authentication.mechanisms, [Mechanism::Plain]);
    assert!(config.authentication.required && !config.authentication.plain_without_tls);
    let users: Vec<_> =
        config.users.iter().map(|user| (user.name.as_str(), user.password.reveal())).collect();
    assert_eq!(users, [("guest", "guest")]);
    assert_eq!(config.topology.vhosts, ["/"]);
    assert_eq!(read("").unwrap(), config, "an empty file changes nothing");
    assert_eq!(read("limits:\n  # nothing yet\nusers:\n").unwrap(), config, "nor does an empty section");
}

#[test]
fn the_examples_in_the_defaults_are_valid() {
    // An example is a comment beneath the empty list that it belongs to.
    let mut text = String::new();
    for line in DEFAULTS.lines() {
        let bare = line.trim_start();
        let example = ["#  - ", "#    "].iter().any(|start| bare.starts_with(start)) && bare.contains(": ");
        match line.strip_suffix(": []") {
            Some(list) => text += &format!("{list}:\n"),
            None if example => text += &format!("{}\n", line.replacen('#', " ", 1)),
            None => text += &format!("{line}\n"),
        }
    }
    let config = read(&text).unwrap();
    assert_eq!(config.policies[0].definition.limits.max_messages, Some(100_000));
    assert_eq!(config.policies[0].definition.limits.overflow, Some(Overflow::DropHead));
    assert_eq!(config.topology.vhosts, ["/", "orders"]);
    assert_eq!(config.topology.exchanges[0].settings.kind, ExchangeKind::Topic);
    assert_eq!(config.topology.queues[0].settings.order, Order::Priority { levels: 5 });
    assert_eq!(config.topology.bindings[0].binding.key, "eu.*");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    check(
        "limits:\n  chanels_per_connection: 7\nlissteners:\n  amqp: \"[::]:1\"\n",
        &[
            "broker.yaml:2:3: limits.chanels_per_connection: unknown key; did you mean \"channels_per_connection\"?",
            "broker.yaml:3:1: lissteners: unknown key; did you mean \"listeners\"?",
        ],
    );
    check(
        "metrics:\n  zzz: 1\n",
        &["broker.yaml:2:3: metrics.zzz: unknown key, expected one of queues_in_detail"],
    );
}

#[test]
fn a_wrong_type_or_value_says_what_was_expected() {
    check(
        "limits: {connections: many, channels_per_connection: 70000, frame_size: 1 KiB, queues: 1.5}",
        &[
            "broker.yaml:1:23: limits.connections: the text \"many\", expected a whole number from 1 to 10000000",
            "broker.yaml:1:54: limits.channels_per_connection: the number 70000, expected a whole number from 1 to 65535",
            "broker.yaml:1:73: limits.frame_size: the text \"1 KiB\", expected a size from 4 KiB to 16 MiB, as 128 MiB",
            "broker.yaml:1:88: limits.queues: the number 1.5, expected a whole number from 1 to 100000000",
        ],
    );
    check(
        "timeouts:\n  heartbeat: 60\n  drain: 2 h\nlisteners:\n  amqp: 5672\n  proxy_protocol: yes\n",
        &[
            "broker.yaml:2:14: timeouts.heartbeat: the number 60, expected a duration from 0 to 65535 s, as 30 s",
            "broker.yaml:3:10: timeouts.drain: the text \"2 h\", expected a duration from 0 to 1 h, as 30 s",
            "broker.yaml:5:9: listeners.amqp: the number 5672, expected ADDRESS:PORT, as 127.0.0.1:5672 or [::]:5672",
            "broker.yaml:6:19: listeners.proxy_protocol: the text \"yes\", expected true or false",
        ],
    );
    check("users: guest", &["broker.yaml:1:8: users: the text \"guest\", expected a sequence"]);
    check("limits: [1]", &["broker.yaml:1:9: limits: a sequence, expected a mapping of keys to values"]);
    check("[1, 2]", &["broker.yaml:1:1: a sequence, expected a mapping of keys to values"]);
    check(
        "logging: {level: inof}",
        &[
            "broker.yaml:1:18: logging.level: \"inof\" is not a level, expected one as info, or by module as info,fairlead_engine=debug",
        ],
    );
}

#[test]
fn the_journal_is_checked_as_its_opening_will() {
    check(
        "journal: {segment_size: 1 MiB, spare_segments: -1, keep_free: lots}",
        &[
            "broker.yaml:1:25: journal.segment_size: the text \"1 MiB\", expected a size from 8 MiB to 16 GiB, as 128 MiB",
            "broker.yaml:1:48: journal.spare_segments: the number -1, expected a whole number from 0 to 1000",
            "broker.yaml:1:63: journal.keep_free: the text \"lots\", expected a size from 0 bytes to 1 TiB, as 128 MiB",
        ],
    );
    check(
        "journal: {segment_size: 8388609}",
        &[
            "broker.yaml:1:25: journal.segment_size: 8388609 bytes: the size of a segment must be a multiple of 8",
        ],
    );
    check(
        "journal: {keep_free: 2 GiB}",
        &[
            "broker.yaml:1:22: journal.keep_free: stop_publishers_below is 1 GiB and keep_free 2 GiB, expected at least as much",
        ],
    );
    let options = read("journal: {segment_size: 8 MiB, spare_segments: 0}").unwrap().journal.options();
    assert_eq!((options.segment_size, options.spares_most), (8 << 20, 0));
    options.check().unwrap();
}

#[test]
fn broken_yaml_is_placed() {
    check(
        "limits:\n\tqueues: 1\n",
        &["broker.yaml:2:2: not valid YAML: tabs disallowed within this context (block indentation)"],
    );
    check(
        "users: []\nusers: []\n",
        &["broker.yaml:2:1: not valid YAML: duplicate mapping key `users` is not allowed here"],
    );
    check("users: *nobody\n", &["broker.yaml:1:8: not valid YAML: reference to unknown value"]);
}

#[test]
fn passwords_are_not_shown() {
    check(
        "users: [{name: ann, password: 4711}]",
        &["broker.yaml:1:31: users[0].password: a number, expected a text: put it in quotes"],
    );
    let config = read("users: [{name: ann, password: s3cret}]").unwrap();
    assert_eq!(config.users[0].password.reveal(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn values_are_held_against_each_other() {
    check(
        "limits: {message_size: 1 GiB}\nmemory: {page_out_above: 60%}\n",
        &[
            "broker.yaml:1:24: limits.message_size: incomplete_message_bytes is 256 MiB, message_size 1 GiB and frame_size 128 KiB, expected at least both together",
            "broker.yaml:2:26: memory.page_out_above: page_out_above is 60% and stop_publishers_above 50%, expected at most as much",
        ],
    );
    check(
        "memory:\n  stop_publishers_above: 1 GiB\n",
        &[
            "broker.yaml:2:26: memory.stop_publishers_above: one mark is a size and one a percentage, expected two of a kind",
        ],
    );
    check(
        "authentication: {mechanisms: []}",
        &["broker.yaml:1:30: authentication.mechanisms: none that can be offered, expected at least one"],
    );
}

#[test]
fn flags_come_before_the_file_and_are_named_when_wrong() {
    let overrides = |amqp: &str| Overrides { amqp: Some(amqp.to_owned()), ..Overrides::default() };
    assert_eq!(load(&overrides("127.0.0.1:0")).unwrap().listeners.amqp, "127.0.0.1:0".parse().unwrap());
    let error = load(&overrides("localhost")).unwrap_err().to_string();
    assert_eq!(
        error,
        "--amqp or FAIRLEAD_AMQP: listeners.amqp: the text \"localhost\", expected ADDRESS:PORT, as 127.0.0.1:5672 or [::]:5672"
    );
    let missing = Overrides { config: Some("no/such/file.yaml".into()), ..Overrides::default() };
    let error = load(&missing).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.yaml: cannot be read: "), "{error}");
}

#[test]
fn a_reload_tells_what_changed_and_what_waits() {
    let old = read("users: [{name: ann, password: one}, {name: bob, password: two}]\nlimits: {queues: 10}")
        .unwrap();
    let new = read(
        "users: [{name: bob, password: three}, {name: eve, password: four}]\nlimits: {queues: 20, frame_size: 131072, connections: 7}\n\
         authentication: {plain_without_tls: true}\ntopology: {queues: [{name: q, durable: true}]}",
    );
    assert_eq!(
        Config::difference(&old, &new.unwrap()),
        [
            "authentication.plain_without_tls: false -> true",
            "limits.connections: 100000 -> 7",
            "limits.queues: 10 -> 20 (at the next restart)",
            "topology.queues[q].durable: added: true",
            "topology.queues[q].name: added: q",
            "users[ann].name: removed: ann",
            "users[ann].password: removed",
            "users[bob].password: changed",
            "users[eve].name: added: eve",
            "users[eve].password: added",
        ]
    );
    assert_eq!(Config::difference(&old, &old), [""; 0]);
}

#[test]
fn the_defaults_mark_the_keys_that_a_running_broker_takes() {
    let defaults = load(&Overrides::default()).unwrap();
    // Every key that is alone on its line beneath a comment with the mark, or in a section with it.
    let (mut marked, mut section, mut section_marked, mut comment_marked) = (Vec::new(), "", false, false);
    for line in DEFAULTS.lines() {
        let bare = line.trim_start();
        if bare.starts_with('#') || bare.starts_with('-') || bare.is_empty() {
            comment_marked = bare.contains("[reload]") || (comment_marked && !bare.is_empty());
            continue;
        }
        let key = bare.split(':').next().unwrap();
        if bare.len() == line.len() {
            (section, section_marked) = (key, comment_marked);
        } else if comment_marked || section_marked {
            marked.push(format!("{section}.{key}"));
        }
        comment_marked = false;
    }
    for key in defaults.effective.keys().filter(|key| !key.contains('[')) {
        let expect = marked.contains(key) || ["policies", "users"].contains(&key.as_str());
        assert_eq!(difference::is_reloaded(key), expect, "{key}");
    }
    assert!(marked.len() > 5, "{marked:?}");
}

#[test]
fn listeners_need_addresses_that_can_be_had_at_once() {
    for (amqp, http, at_once) in [
        ("127.0.0.1:5672", "127.0.0.1:5672", false),
        ("[::]:5672", "127.0.0.1:5672", false),
        ("0.0.0.0:5672", "[::]:5672", false),
        ("0.0.0.0:5672", "[::1]:5672", true),
        ("127.0.0.1:5672", "127.0.0.2:5672", true),
        ("127.0.0.1:0", "127.0.0.1:0", true),
    ] {
        let text = format!("listeners: {{amqp: '{amqp}', http: '{http}'}}");
        assert_eq!(read(&text).is_ok(), at_once, "{text}");
    }
    check(
        "listeners:\n  http: '[::]:5672'\n",
        &[
            "broker.yaml:2:9: listeners.http: amqp is [::]:5672 and http [::]:5672, expected addresses that can be had at once",
        ],
    );
}

#[test]
fn a_reload_shows_values_as_they_were_written() {
    let old = read("timeouts: {heartbeat: 1 min, drain: 20 s}").unwrap();
    let new = read(
        "timeouts: {heartbeat: 60 s, drain: 0}\nauthentication: {mechanisms: [PLAIN, ANONYMOUS]}\ntopology: {queues: [{name: q, arguments: {x-max-length: 5, note: 'a, b'}}]}",
    );
    assert_eq!(
        Config::difference(&old, &new.unwrap()),
        [
            "authentication.mechanisms: [PLAIN] -> [PLAIN, ANONYMOUS]",
            "timeouts.drain: 20 s -> 0",
            "topology.queues[q].arguments: added: {x-max-length: 5, note: \"a, b\"}",
            "topology.queues[q].name: added: q",
        ]
    );
}

#[test]
fn what_is_empty_counts_as_not_said() {
    let overrides = Overrides { config: Some("".into()), log: Some(String::new()), ..Overrides::default() };
    assert_eq!(load(&overrides).unwrap(), load(&Overrides::default()).unwrap());
}
