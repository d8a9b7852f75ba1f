//! The engine without sockets: connections that tests drive, and what comes out of them.

mod consuming;
mod dead_letters;
mod declaring;
mod describing;
mod disk;
mod durable;
mod memory;
mod publishing;
mod settings;
mod storage;
mod transactions;

use crate::auth::Authentication;
use crate::{Broker, Connection, Endpoints, Settings};
use fairlead_kernel::message::{Body, HeadReader, HeadReaders};
use fairlead_kernel::session::{Delivery, Event, Mechanism, Outcome, Publish, Reply, Request, Unsettled};
use fairlead_kernel::settings::{Binding, ConsumerSettings, Destination};
use fairlead_kernel::settings::{MatchMode, QueueSettings};
use fairlead_kernel::{
    ConnectionId, ConsumerId, MessageView, Origin, QueueId, Refusal, Sequence, SessionId, Time, Value,
};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The session that tests use unless they say otherwise.
pub(super) const ONE: SessionId = SessionId(1);

/// Heads of tests: `name=value` pairs, comma-separated; `cc` and `bcc` name extra keys, `ttl` and `priority` are
/// what they say.
pub(super) struct Pairs;

impl Pairs {
    fn get<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
        let text = std::str::from_utf8(head).ok()?;
        text.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    }
}

impl HeadReader for Pairs {
    fn header(&self, head: &[u8], name: &str) -> Option<Value> {
        Pairs::get(head, name).map(|text| Value::Text(text.to_owned()))
    }

    fn headers(&self, head: &[u8]) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(head).unwrap_or_default();
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), Value::Text(value.to_owned()))).collect()
    }

    fn time_to_live(&self, head: &[u8]) -> Option<u64> {
        Pairs::get(head, "ttl")?.parse().ok()
    }

    fn extra_keys(&self, head: &[u8], hidden: bool) -> Vec<String> {
        let names: &[&str] = if hidden { &["cc", "bcc"] } else { &["cc"] };
        names.iter().filter_map(|name| Pairs::get(head, name)).map(str::to_owned).collect()
    }

    fn priority(&self, head: &[u8]) -> u8 {
        Pairs::get(head, "priority").and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// A delivery, owned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Delivered {
    pub(super) session: SessionId,
    pub(super) consumer: Option<ConsumerId>,
    pub(super) queue: QueueId,
    pub(super) sequence: Sequence,
    pub(super) redelivered: bool,
    pub(super) publisher: ConnectionId,
    pub(super) body: String,
}

impl Delivered {
    pub(super) fn unsettled(&self) -> Unsettled {
        Unsettled { queue: self.queue, sequence: self.sequence, consumer: self.consumer }
    }
}

/// A connection, and a clock that stands still until it is moved.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) now: Time,
    next_consumer: u32,
}

pub(super) fn broker_with(settings: Settings) -> Arc<Broker> {
    Broker::new(settings, HeadReaders { amqp_0_9_1: &Pairs }).unwrap()
}

pub(super) fn broker() -> Arc<Broker> {
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    broker_with(Settings { authentication, ..Settings::default() })
}

pub(super) fn endpoints() -> Endpoints {
    let address = "127.0.0.1:1".parse().unwrap();
    Endpoints { peer: address, local: address, loopback: true }
}

pub(super) fn publish<'a>(exchange: &'a str, key: &'a str, body: &'a str) -> Publish<'a> {
    Publish {
        session: ONE,
        message: MessageView {
            origin: Origin::Amqp091,
            persistent: false,
            publisher: ConnectionId(0),
            exchange,
            routing_key: key,
            head: b"",
            body: Body::Slice(body.as_bytes()),
            overlay: None,
            shared: None,
        },
        time_to_live: None,
        priority: 0,
        mandatory: false,
        transacted: false,
        extra_keys: false,
        user_id: None,
        confirm: None,
    }
}

pub(super) fn binding(source: &str, queue: &str, key: &str) -> Binding {
    Binding {
        source: source.to_owned(),
        destination: Destination::Queue(queue.to_owned()),
        key: key.to_owned(),
        match_mode: MatchMode::All,
        arguments: Vec::new(),
    }
}

impl Connection {
    /// The next delivery, unless events come before it.
    fn next_delivery(&mut self) -> Option<Delivery<'_>> {
        let mut found = None;
        self.walk_deliveries(|delivery| {
            found = Some(*delivery);
            ControlFlow::Break(())
        });
        found
    }
}

impl Client {
    pub(super) fn new(broker: &Arc<Broker>) -> Client {
        let now = broker.clock().now();
        let connection = broker.connect(endpoints(), now).unwrap();
        let mut client = Client { connection, now, next_consumer: 0 };
        let login = Request::Authenticate {
            mechanism: Mechanism::Plain,
            user: "guest".to_owned(),
            secret: b"guest".to_vec(),
        };
        client.ask(login).unwrap();
        client.ask(Request::OpenVirtualHost { name: "/".to_owned() }).unwrap();
        assert_eq!(client.connection.execute(ONE, Request::OpenSession, now), None);
        client
    }

    /// A connection that has not said who it is.
    pub(super) fn new_raw(broker: &Arc<Broker>) -> Connection {
        broker.connect(endpoints(), broker.clock().now()).unwrap()
    }

    /// A request on the usual session, and its answer, wherever that comes.
    pub(super) fn ask(&mut self, request: Request) -> Result<Reply, Refusal> {
        self.ask_on(ONE, request)
    }

    pub(super) fn ask_on(&mut self, session: SessionId, request: Request) -> Result<Reply, Refusal> {
        let mut event = self.connection.execute(session, request, self.now);
        while event.is_none() {
            while self.connection.next_delivery().is_some() {}
            event = Some(self.connection.next_event().expect("an answer"));
        }
        match event {
            Some(Event::Reply { session: answered, result }) if answered == session => result,
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(super) fn tell(&mut self, request: Request) {
        assert_eq!(self.connection.execute(ONE, request, self.now), None);
    }

    pub(super) fn declare(&mut self, name: &str, settings: QueueSettings) -> Result<Reply, Refusal> {
        self.ask(Request::DeclareQueue { name: name.to_owned(), settings: Some(Box::new(settings)) })
    }

    /// Ready messages and consumers.
    pub(super) fn counts(&mut self, queue: &str) -> (u64, u32) {
        match self.ask(Request::DeclareQueue { name: queue.to_owned(), settings: None }) {
            Ok(Reply::Queue { messages, consumers, .. }) => (messages, consumers),
            other => panic!("{other:?}"),
        }
    }

    /// The same as an operator sees it, without touching what waits for this connection.
    pub(super) fn counts_without_walking(&self, queue: &str) -> (u64, u64) {
        let reports = crate::report::Source::queues(&*self.connection.broker);
        let report = reports.iter().find(|report| &*report.name == queue).unwrap();
        (report.ready, report.consumers)
    }

    pub(super) fn consume(&mut self, queue: &str, settings: ConsumerSettings) -> ConsumerId {
        self.next_consumer += 1;
        let consumer = ConsumerId(self.next_consumer);
        let request = Request::Subscribe { consumer, queue: queue.to_owned(), settings: Box::new(settings) };
        self.ask(request).unwrap();
        consumer
    }

    pub(super) fn publish(&mut self, publishes: &[Publish<'_>]) -> Vec<Event> {
        let mut publishes = publishes.to_vec();
        publishes.iter_mut().for_each(|publish| publish.message.publisher = self.connection.id());
        let mut events = Vec::new();
        self.connection.publish_batch(&publishes, self.now, &mut events);
        self.connection.tell_confirms(&mut events);
        events
    }

    /// Everything that waits for the connection.
    pub(super) fn receive(&mut self) -> (Vec<Delivered>, Vec<Event>) {
        let (mut deliveries, mut events) = (Vec::new(), Vec::new());
        loop {
            if let Some(event) = self.connection.next_event() {
                events.push(event);
            } else if let Some(delivery) = self.connection.next_delivery() {
                let body = match delivery.message.body {
                    Body::Slice(slice) => slice.to_vec(),
                    Body::Segments(segments) => segments.concat(),
                };
                deliveries.push(Delivered {
                    session: delivery.session,
                    consumer: delivery.consumer,
                    queue: delivery.queue,
                    sequence: delivery.sequence,
                    redelivered: delivery.redelivered,
                    publisher: delivery.message.publisher,
                    body: String::from_utf8(body).unwrap(),
                });
            } else {
                break;
            }
        }
        self.connection.delivered(self.now);
        (deliveries, events)
    }

    /// The bodies that wait.
    pub(super) fn bodies(&mut self) -> Vec<String> {
        self.receive().0.into_iter().map(|delivery| delivery.body).collect()
    }

    pub(super) fn settle(&mut self, outcome: Outcome, deliveries: &[Delivered]) {
        let deliveries = deliveries.iter().map(Delivered::unsettled).collect();
        self.tell(Request::Settle { outcome, deliveries });
    }

    /// One message by Get, acknowledged.
    pub(super) fn get(&mut self, queue: &str) -> Option<Delivered> {
        let request = Request::Get { queue: queue.to_owned(), acknowledge: true };
        match self.connection.execute(ONE, request, self.now) {
            None => self.receive().0.pop(),
            Some(Event::Reply { result: Ok(Reply::Empty), .. }) => None,
            other => panic!("{other:?}"),
        }
    }
}

/// A consumer that acknowledges.
pub(super) fn acknowledging(window: Option<u32>) -> ConsumerSettings {
    ConsumerSettings { acknowledge: true, window, ..ConsumerSettings::default() }
}

/// A consumer that does not.
pub(super) fn settled() -> ConsumerSettings {
    ConsumerSettings::default()
}

/// The queue is deleted, and the topology does not know it yet: what a task finds that comes in between.
pub(super) fn go_without_a_word(client: &mut Client, queue: &str) -> QueueId {
    let connection = &client.connection;
    let id = connection.opened().unwrap().topology().queue_for(queue, connection.id()).unwrap().id();
    let cell = connection.broker.queues.get(id).unwrap();
    connection.enter(&cell, client.now, |q| q.queue.delete(false, false, &mut q.turn)).unwrap();
    id
}
