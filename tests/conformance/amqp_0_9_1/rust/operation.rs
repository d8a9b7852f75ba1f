//! What only a broker of one's own can show: memory alarms, time-outs, policies, reload, shutdown.
//! Run against a broker that is already there, these are skipped by name.

use fairlead_tests::Broker;
use futures_lite::StreamExt;
use lapin::options::QueuePurgeOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ErrorKind, Event};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::steps::{
    assert_refused, bodies, connect, consume, declare_queue, delivery, depth, publish, send, short, soon,
    wait_depth,
};

async fn channel(broker: &Broker) -> (Connection, Channel) {
    let connection = connect(&broker.amqp_url()).await;
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// The next event of a connection that `wanted` makes something of.
async fn event<T>(connection: &Connection, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    let mut events = Box::pin(connection.events_listener());
    let find = async {
        loop {
            let event = events.next().await.expect("an open connection");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    soon(what, find).await
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_17_publishers_are_blocked_by_the_memory_alarm_and_unblocked() {
    let broker = Broker::start_with("memory:\n  page_out_above: 1 MiB\n  stop_publishers_above: 1 MiB\n")
        .expect("a broker");
    let (publisher, publishing) = channel(&broker).await;
    let (_consumer, other) = channel(&broker).await;
    let queue = short("backlog");
    other.queue_declare(queue.clone(), Default::default(), FieldTable::default()).await.unwrap();
    let blocked = event(&publisher, "connection.blocked", |event| match event {
        Event::ConnectionBlocked(reason) => Some(reason),
        _ => None,
    });
    // A publisher that is held back may wait for ever; what it was told ends this.
    let filling = async {
        loop {
            publish(&publishing, "", "backlog", &[0; 65_536], BasicProperties::default()).await;
        }
    };
    assert_eq!(futures_lite::future::or(blocked, filling).await, "low on memory");

    let unblocked = event(&publisher, "connection.unblocked", |event| {
        matches!(event, Event::ConnectionUnblocked).then_some(())
    });
    let purging = other.queue_purge(queue, QueuePurgeOptions::default());
    let ((), purged) = futures_lite::future::zip(unblocked, purging).await;
    purged.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_are_blocked_for_the_disk_and_others_go_on() {
    // No disk has as much.
    let broker = Broker::start_with("journal: {stop_publishers_below: 16 TiB}").expect("a broker");
    broker.await_log(|log| log.contains("WARN disk alarm: publishers are stopped")).expect("an alarm");
    let (publisher, publishing) = channel(&broker).await;
    let (_consumer, consuming) = channel(&broker).await;
    let queue = declare_queue(&consuming, FieldTable::default()).await;
    let blocked = event(&publisher, "connection.blocked", |event| match event {
        Event::ConnectionBlocked(reason) => Some(reason),
        _ => None,
    });
    let publishing = publish(&publishing, "", queue.as_str(), b"taken", BasicProperties::default());
    let (reason, _) = futures_lite::future::zip(blocked, publishing).await;
    assert_eq!(reason, "low on disk");
    // What was begun waits in its socket; a connection that does not publish is served.
    consume(&consuming, &queue, true, FieldTable::default()).await;
    assert_eq!(depth(&consuming, &queue).await, 0);
}

/// A value of `/metrics`.
fn metric(broker: &Broker, name: &str) -> u64 {
    let address = broker.http_url().unwrap().replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_without_confirms_waits_for_the_disk_and_loses_nothing() {
    const MESSAGES: u32 = 16;
    let configuration = "journal: {pending: 1 MiB}\ntopology: {queues: [{name: backlog}]}\n";
    let broker = Broker::start_with(configuration).expect("a broker");
    let (_publisher, publishing) = channel(&broker).await;
    let (_other, other) = channel(&broker).await;
    // Each is more than may wait.
    let body = vec![7; 3 << 20];
    for _ in 0..MESSAGES {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        publish(&publishing, "", "backlog", &body, persistent).await;
    }
    wait_depth(&other, &short("backlog"), MESSAGES).await;
    assert!(metric(&broker, "fairlead_journal_waits_total") > 0);
    assert_eq!(metric(&broker, "fairlead_disk_alarms_total"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_25_a_delivery_left_unacknowledged_closes_its_channel() {
    let broker = Broker::start_with("timeouts:\n  acknowledgement: 1 s\n").expect("a broker");
    let (_connection, channel) = channel(&broker).await;
    let queue = declare_queue(&channel, FieldTable::default()).await;
    send(&channel, &queue, &["m"]).await;
    let mut consumer = consume(&channel, &queue, false, FieldTable::default()).await;
    delivery(&mut consumer).await;
    let closed = soon("channel.close", consumer.next()).await.expect("the reason of the end");
    let text = "delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms.";
    assert_refused(closed, 406, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_25_shutdown_tells_clients_with_320_and_ends_with_0() {
    let mut broker = Broker::start().expect("a broker");
    let (connection, _channel) = channel(&broker).await;
    broker.signal(Signal::TERM).unwrap();
    let error = event(&connection, "connection.close", |event| match event {
        Event::Error(error) if matches!(error.kind(), ErrorKind::ProtocolError(_)) => Some(error),
        _ => None,
    })
    .await;
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_refused::<()>(Err(error), 320, text);
    assert!(broker.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_anybody_may_come_in() {
    let broker = Broker::start_with("authentication:\n  required: false\n").expect("a broker");
    assert!(broker.log().contains("SASL disabled: No Authentication Performed"));
    for url in [
        broker.amqp_url().replace("guest:guest", "anybody:anything"),
        format!("amqp://127.0.0.1:{}/%2f?auth_mechanism=anonymous", broker.amqp_port()),
    ] {
        let channel = connect(&url).await.create_channel().await.unwrap();
        declare_queue(&channel, FieldTable::default()).await;
    }
}

const LIMIT_OF_2: &str = r#"
policies:
  - name: short
    pattern: "^limited"
    apply_to: queues
    definition: {max-length: 2}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn policy_limits_the_queues_that_match() {
    let broker = Broker::start_with(LIMIT_OF_2).expect("a broker");
    let (_connection, channel) = channel(&broker).await;
    for name in ["limited", "free"] {
        let queue = short(name);
        channel.queue_declare(queue.clone(), Default::default(), FieldTable::default()).await.unwrap();
        send(&channel, &queue, &["1", "2", "3"]).await;
    }
    wait_depth(&channel, &short("free"), 3).await;
    assert_eq!(bodies(&channel, &short("limited"), 2).await, ["2", "3"]);
    assert_eq!(depth(&channel, &short("limited")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_topology_is_there_at_the_start() {
    let topology = r#"
topology:
  exchanges:
    - {name: orders, type: topic}
  queues:
    - {name: invoices, arguments: {x-max-priority: 4}}
  bindings:
    - {source: orders, destination: invoices, routing_key: "eu.*"}
"#;
    let broker = Broker::start_with(topology).expect("a broker");
    let (_connection, channel) = channel(&broker).await;
    publish(&channel, "orders", "us.ohio", b"1", BasicProperties::default()).await;
    publish(&channel, "orders", "eu.delft", b"2", BasicProperties::default()).await;
    assert_eq!(bodies(&channel, &short("invoices"), 1).await, ["2"]);
}
