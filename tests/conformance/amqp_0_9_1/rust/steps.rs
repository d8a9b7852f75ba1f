//! Steps that the cases share: a client, unique names, waiting with a deadline, expected refusals.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fairlead_tests::Broker;
use futures_lite::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ErrorKind, ExchangeKind};
use tokio::time::{sleep, timeout};

pub const DEADLINE: Duration = Duration::from_secs(15);

/// A client's view of a broker: the one at AMQP_URL, or one started for this test.
pub struct Client {
    pub url: String,
    pub connection: Connection,
    // Dropped last: a field's place is the order of its end.
    _broker: Option<Broker>,
}

impl Client {
    pub async fn start() -> Self {
        let (url, broker) = match std::env::var("AMQP_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let broker = Broker::start().expect("the broker starts");
                (broker.amqp_url(), Some(broker))
            }
        };
        let connection = connect(&url).await;
        Self { url, connection, _broker: broker }
    }

    pub async fn channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel")
    }

    /// A channel in confirm mode.
    pub async fn confirming(&self) -> Channel {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirm.select-ok");
        channel
    }
}

pub async fn connect(url: &str) -> Connection {
    soon("connection.open-ok", Connection::connect(url, ConnectionProperties::default()))
        .await
        .expect("a connection")
}

/// A name that no other test uses.
pub fn unique(kind: &str) -> ShortString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    short(&format!("conformance.{kind}.{}.{number}", std::process::id()))
}

pub fn short(text: &str) -> ShortString {
    ShortString::from(text)
}

pub fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

pub fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(short(name), value.clone());
    }
    table
}

/// An exclusive queue, which goes with its connection.
pub async fn declare_queue(channel: &Channel, arguments: FieldTable) -> ShortString {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let name = unique("queue");
    channel.queue_declare(name.clone(), options, arguments).await.expect("queue.declare-ok");
    name
}

/// A transient exchange that goes with its last binding.
pub async fn declare_exchange(channel: &Channel, kind: ExchangeKind, arguments: FieldTable) -> ShortString {
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    let name = unique("exchange");
    channel.exchange_declare(name.clone(), kind, options, arguments).await.expect("exchange.declare-ok");
    name
}

pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(short(exchange), short(key), options, body, properties)
        .await
        .expect("basic.publish");
}

pub async fn send(channel: &Channel, queue: &ShortString, bodies: &[&str]) {
    for body in bodies {
        publish(channel, "", queue.as_str(), body.as_bytes(), BasicProperties::default()).await;
    }
}

/// Polls basic.get until a message is there.
pub async fn get_one(channel: &Channel, queue: &ShortString, no_ack: bool) -> Delivery {
    let attempt = async {
        loop {
            let got =
                channel.basic_get(queue.clone(), BasicGetOptions { no_ack }).await.expect("an answer to get");
            match got {
                Some(message) => return message.delivery,
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    soon("a message", attempt).await
}

pub async fn bodies(channel: &Channel, queue: &ShortString, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(String::from_utf8(get_one(channel, queue, true).await.data).expect("text"));
    }
    bodies
}

pub async fn depth(channel: &Channel, queue: &ShortString) -> u32 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.clone(), options, FieldTable::default()).await;
    declared.expect("queue.declare-ok").message_count()
}

pub async fn wait_depth(channel: &Channel, queue: &ShortString, count: u32) {
    let waiting = async {
        while depth(channel, queue).await != count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the queue's depth", waiting).await;
}

pub async fn consume(
    channel: &Channel,
    queue: &ShortString,
    no_ack: bool,
    arguments: FieldTable,
) -> Consumer {
    let options = BasicConsumeOptions { no_ack, ..Default::default() };
    channel.basic_consume(queue.clone(), short(""), options, arguments).await.expect("basic.consume-ok")
}

pub async fn delivery(consumer: &mut Consumer) -> Delivery {
    soon("a delivery", consumer.next()).await.expect("an open consumer").expect("a delivery")
}

/// The future's value, or a failed test at the deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Asserts that the broker refused with this code, and a text that contains `text`.
pub fn assert_refused<T: Debug>(result: lapin::Result<T>, code: u16, text: &str) {
    let error = result.expect_err("a refusal");
    let ErrorKind::ProtocolError(refusal) = error.kind() else { panic!("not a refusal: {error}") };
    let (got, message) = (refusal.get_id(), refusal.get_message());
    assert!(got == code && message.as_str().contains(text), "expected {code} {text}, got {got} {message}");
}
