//! Settings: logins, bounds, and reloads that happen or do not.

use super::durable::on_disk;
use super::*;
use crate::report::Source;
use crate::{DeclaredHost, SettingsError};
use fairlead_kernel::refusal::Bound;
use fairlead_kernel::settings::{Argument, Limits};
use fairlead_kernel::topology::PolicyDefinition;
use std::pin::pin;

fn login(connection: &mut Connection, user: &str, secret: &str, now: Time) -> Result<Reply, Refusal> {
    let request = Request::Authenticate {
        mechanism: Mechanism::Plain,
        user: user.to_owned(),
        secret: secret.as_bytes().to_vec(),
    };
    match connection.execute(SessionId(0), request, now) {
        Some(Event::Reply { result, .. }) => result,
        other => panic!("{other:?}"),
    }
}

fn with_users(users: &[(&str, &str)]) -> Settings {
    let users = users.iter().map(|(name, secret)| ((*name).to_owned(), secret.as_bytes().to_vec()));
    let authentication = Authentication { users: users.collect(), ..Authentication::default() };
    Settings { authentication, ..Settings::default() }
}

#[test]
fn users_change_with_a_reload() {
    let broker = broker_with(with_users(&[("ann", "1")]));
    let now = broker.clock().now();
    let connect =
        |user: &str, secret: &str| login(&mut broker.connect(endpoints(), now).unwrap(), user, secret, now);
    assert!(connect("ann", "1").is_ok());
    assert_eq!(connect("bob", "2"), Err(Refusal::LoginRefused));
    broker.reload(with_users(&[("bob", "2")])).unwrap();
    assert_eq!(connect("ann", "1"), Err(Refusal::LoginRefused));
    assert!(connect("bob", "2").is_ok());
}

#[test]
fn connections_are_bounded_in_all_and_by_user() {
    let settings = Settings { connections: 3, connections_per_user: 1, ..with_users(&[("ann", "1")]) };
    let broker = broker_with(settings);
    let now = broker.clock().now();
    let mut first = broker.connect(endpoints(), now).unwrap();
    let mut second = broker.connect(endpoints(), now).unwrap();
    let _third = broker.connect(endpoints(), now).unwrap();
    let too_many = |bound, limit| Refusal::TooMany { bound, limit };
    assert_eq!(broker.connect(endpoints(), now).unwrap_err(), too_many(Bound::Connections, 3));
    login(&mut first, "ann", "1", now).unwrap();
    assert_eq!(login(&mut second, "ann", "1", now), Err(too_many(Bound::UserConnections, 1)));
    drop(first);
    login(&mut second, "ann", "1", now).unwrap();
    broker.drain();
    assert_eq!(broker.connect(endpoints(), now).unwrap_err(), Refusal::ShuttingDown);
}

fn host(queues: &[&str], policies: Vec<PolicyDefinition>) -> DeclaredHost {
    let queues = queues.iter().map(|name| ((*name).to_owned(), QueueSettings::default())).collect();
    DeclaredHost { name: "/".to_owned(), queues, policies, ..DeclaredHost::default() }
}

fn declaring(host: DeclaredHost) -> Settings {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    Settings { authentication, virtual_hosts: vec![host], ..Settings::default() }
}

fn names(broker: &Broker) -> Vec<String> {
    broker.queues().iter().map(|report| report.name.to_string()).collect()
}

#[test]
fn what_is_declared_is_there_and_stays() {
    let broker = broker_with(declaring(host(&["a", "b"], vec![])));
    assert_eq!(names(&broker), ["a", "b"]);
    broker.reload(declaring(host(&["b", "c"], vec![]))).unwrap();
    assert_eq!(names(&broker), ["a", "b", "c"]);
    let mut client = Client::new(&broker);
    client.publish(&[publish("", "c", "x")]);
    assert_eq!(client.counts("c"), (1, 0));
}

#[test]
fn a_reload_that_cannot_be_done_changes_nothing() {
    let broker = broker_with(declaring(host(&["a"], vec![])));
    let policy = PolicyDefinition { name: "p".to_owned(), pattern: "(".to_owned(), ..Default::default() };
    let error = broker.reload(declaring(host(&["b"], vec![policy]))).unwrap_err();
    assert!(matches!(error, SettingsError::Pattern { .. }), "{error}");
    let mut bound = host(&["b"], vec![]);
    bound.bindings = vec![binding("missing", "b", "")];
    let error = broker.reload(declaring(bound)).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(names(&broker), ["a"]);
}

#[test]
fn a_reload_that_contradicts_what_lives_changes_nothing_and_names_it() {
    let broker = broker_with(declaring(host(&["a"], vec![])));
    let mut other = host(&["b"], vec![]);
    other.queues.push(("a".to_owned(), QueueSettings { durable: true, ..QueueSettings::default() }));
    let error = broker.reload(declaring(other)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "virtual host '/': queue 'a' cannot be declared: it exists with durable false, and durable true is declared"
    );
    assert_eq!(names(&broker), ["a"]);
}

#[test]
fn what_differs_is_said_in_words() {
    let limited = |arguments: &[(&str, fairlead_kernel::Value)]| QueueSettings {
        arguments: arguments
            .iter()
            .map(|(name, value)| Argument { name: (*name).to_owned(), value: value.clone(), compared: true })
            .collect(),
        ..QueueSettings::default()
    };
    let one = limited(&[("x-max-length", fairlead_kernel::Value::Int64(1))]);
    let text = limited(&[("x-overflow", fairlead_kernel::Value::Text("drop-head".to_owned()))]);
    for (lives, declared, expect) in [
        (
            QueueSettings::default(),
            one.clone(),
            "it exists without x-max-length, and x-max-length 1 is declared",
        ),
        (one.clone(), QueueSettings::default(), "it exists with x-max-length 1, and is declared without it"),
        (
            text.clone(),
            QueueSettings::default(),
            "it exists with x-overflow \"drop-head\", and is declared without it",
        ),
    ] {
        let with = |settings| {
            let mut host = host(&[], vec![]);
            host.queues.push(("a".to_owned(), settings));
            declaring(host)
        };
        let error = broker_with(with(lives)).reload(with(declared)).unwrap_err().to_string();
        assert!(error.ends_with(expect), "{error}");
    }
    // A client's own queue is in the way, too.
    let broker = broker_with(declaring(host(&[], vec![])));
    let mut client = Client::new(&broker);
    let own = QueueSettings { exclusive: Some(fairlead_kernel::ConnectionId(0)), ..QueueSettings::default() };
    client.declare("a", own).unwrap();
    let error = broker.reload(declaring(host(&["a"], vec![]))).unwrap_err().to_string();
    assert!(error.ends_with("queue 'a' is exclusive to another connection"), "{error}");
}

#[test]
fn a_policy_applies_to_queues_that_live() {
    let broker = broker_with(declaring(host(&["logs"], vec![])));
    let mut client = Client::new(&broker);
    let batch: Vec<_> = (0..5).map(|_| publish("", "logs", "x")).collect();
    client.publish(&batch);
    let policy = PolicyDefinition {
        name: "short".to_owned(),
        pattern: "^logs$".to_owned(),
        limits: Limits { max_messages: Some(2), ..Limits::default() },
        ..PolicyDefinition::default()
    };
    broker.reload(declaring(host(&[], vec![policy]))).unwrap();
    assert_eq!(client.counts("logs"), (2, 0));
    assert_eq!(broker.queues()[0].policy.as_deref(), Some("short"));
    broker.reload(declaring(host(&[], vec![]))).unwrap();
    client.publish(&batch);
    assert_eq!(client.counts("logs"), (7, 0));
}

#[test]
fn operators_see_and_do() {
    let broker = broker_with(declaring(host(&["q"], vec![])));
    let mut client = Client::new(&broker);
    client.publish(&[publish("", "q", "x")]);
    client.consume("q", acknowledging(Some(1)));
    client.connection.describe(crate::Description { user: "guest".to_owned(), ..Default::default() });
    let (overview, consumers) = (broker.overview(), broker.consumers());
    assert_eq!((overview.connections, overview.queues, overview.messages_unacknowledged), (1, 1, 1));
    assert_eq!((&*consumers[0].queue, consumers[0].settings.window), ("q", Some(1)));
    let name = broker.connections()[0].name.clone();
    client.publish(&[publish("", "q", "y")]);
    assert_eq!(on_disk(&mut pin!(Source::purge(&*broker, "/", "q").unwrap().on_disk())), Some(Ok(1)));
    assert!(broker.close_connection(&name, "enough"));
    assert!(matches!(client.connection.next_urgent(), Some(Event::Close { .. })), "before deliveries");
    assert!(!broker.close_connection("nobody", "enough"));
}

#[test]
fn who_came_in_while_the_broker_began_to_drain_is_closed_too() {
    for _ in 0..40 {
        let broker = broker_with(declaring(host(&[], vec![])));
        let mut connections = std::thread::scope(|scope| {
            let coming = scope.spawn(|| {
                let connect = || broker.connect(endpoints(), broker.clock().now());
                std::iter::from_fn(|| connect().ok()).collect::<Vec<_>>()
            });
            while broker.connection_count() == 0 {
                std::hint::spin_loop();
            }
            broker.drain();
            coming.join().unwrap()
        });
        for connection in &mut connections {
            assert!(matches!(connection.next_urgent(), Some(Event::Close { .. })));
        }
    }
}
