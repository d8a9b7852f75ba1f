//! A client's side of a conversation: frames in as bytes, frames out as readable lines.

use super::engine::Engine;
use crate::codec::frame::{self, encode_body, encode_header, encode_method};
use crate::codec::{EncodeMethod, Payload, Table, TableWriter};
use crate::connection::{Batch, Connection, ConnectionConfig, OwnedPublish, Peer, ProtocolError};
use crate::spec::{BasicProperties, Method, basic, channel, connection};
use crate::translate::names::NameKey;
use fairlead_kernel::ids::{ConnectionId, ConsumerId, Origin, QueueId, Sequence, SessionId, Time};
use fairlead_kernel::message::{Body, Message, MessageView, Overlay};
use fairlead_kernel::output::Output;
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::session::{Delivery, Event, Publish, Reply, Request};
use std::io::IoSlice;
use std::sync::Arc;

/// When conversations begin.
pub(super) const START: Time = Time(1_700_000_000_000_000_000);

/// A publish as the engine would get it, copied.
#[derive(Debug, PartialEq)]
pub(super) struct Published {
    pub(super) session: u16,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) persistent: bool,
    pub(super) priority: u8,
    pub(super) time_to_live: Option<u64>,
    pub(super) mandatory: bool,
    pub(super) transacted: bool,
    pub(super) extra_keys: bool,
    pub(super) user_id: Option<String>,
    pub(super) confirm: Option<u64>,
    /// It did not lie whole in a read buffer.
    pub(super) owned: bool,
}

/// A peer on this machine; the connection's number is not that of anybody else.
pub(super) const NEAR: Peer = Peer { connection: ConnectionId(11), loopback: true, encrypted: false };

/// See the module's text.
pub(super) struct Talk {
    pub(super) connection: Connection,
    pub(super) engine: Engine,
    pub(super) published: Vec<Published>,
    pub(super) now: Time,
    pub(super) output: Output,
    pub(super) faults: Vec<ProtocolError>,
    /// Publishes that lie whole in a read take the short way.
    pub(super) short_way: bool,
}

impl Talk {
    /// A connection that has sent its start.
    pub(super) fn new(config: ConnectionConfig, peer: Peer) -> Talk {
        let connection = Connection::new(Arc::new(config), peer, START, NameKey([7; 16]));
        Talk {
            connection,
            engine: Engine::default(),
            published: Vec::new(),
            now: START,
            output: Output::default(),
            faults: Vec::new(),
            short_way: true,
        }
    }

    pub(super) fn local() -> Talk {
        Talk::new(ConnectionConfig::default(), NEAR)
    }

    /// Open, with channel 1, its client having the capabilities that matter.
    pub(super) fn open() -> Talk {
        Talk::open_with(ConnectionConfig::default())
    }

    pub(super) fn open_with(config: ConnectionConfig) -> Talk {
        let mut talk = Talk::new(config, NEAR);
        talk.start_ok(&["consumer_cancel_notify", "connection.blocked", "authentication_failure_close"]);
        talk.tune_and_open();
        talk.send(1, &channel::Open);
        talk.heard();
        talk.engine.asked.clear();
        talk
    }

    pub(super) fn start_ok(&mut self, capabilities: &[&str]) {
        let mut properties = TableWriter::new();
        properties.put_table("capabilities", |table| {
            for name in capabilities {
                table.put_bool(name, true);
            }
        });
        self.send(
            0,
            &connection::StartOk {
                client_properties: properties.as_table(),
                mechanism: "PLAIN",
                response: b"\0guest\0secret",
                locale: "en_US",
            },
        );
    }

    pub(super) fn tune_and_open(&mut self) {
        self.send(0, &connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 });
        self.send(0, &connection::Open { virtual_host: "/" });
    }

    /// The client sends a method.
    pub(super) fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        let mut bytes = Vec::new();
        encode_method(&mut bytes, channel, method);
        self.feed(&bytes);
    }

    /// The engine will refuse what is asked next.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.engine.script.push_back(Err(refusal));
    }

    /// The engine will give this answer next.
    pub(super) fn answer(&mut self, reply: Reply) {
        self.engine.script.push_back(Ok(reply));
    }

    /// The client publishes on channel 1.
    pub(super) fn publish(
        &mut self,
        exchange: &str,
        key: &str,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) {
        let bytes = publish_frames(
            1,
            &basic::Publish { exchange, routing_key: key, ..Default::default() },
            properties,
            body,
        );
        self.feed(&bytes);
    }

    /// One read of the socket.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.read(bytes);
    }

    /// One read of the socket, handled as the runtime does; gives how many bytes were taken.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut batch = Batch::default();
        let mut at = 0;
        while self.connection.wants_input() && !self.connection.is_closed() {
            if self.short_way {
                // An odd bound, so that it is met within reads.
                at += self.connection.handle_whole_publishes(&bytes[at..], self.now, &mut batch, 3);
            }
            let step = match frame::decode(&bytes[at..], self.connection.frame_max()) {
                Ok(None) => break,
                Ok(Some((frame, length))) => {
                    at += length;
                    self.connection.handle_frame(frame, self.now, &mut batch)
                }
                Err(error) => {
                    at = bytes.len();
                    Err(error.into())
                }
            };
            if let Err(error) = step {
                self.faults.push(error.clone());
                self.connection.handle_error(error, self.now);
            }
            if self.connection.has_request() {
                self.flush(&mut batch);
            }
        }
        self.flush(&mut batch);
        self.connection.finish_batch(&mut batch);
        drop(batch);
        self.carry_out();
        at
    }

    fn flush(&mut self, batch: &mut Batch<'_>) {
        self.published.extend(batch.complete.drain(..).map(|publish| copy(&publish, false)));
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(publish) = self.connection.poll_published() {
            let publish: OwnedPublish = publish;
            self.published.push(copy(&publish.as_publish(), true));
        }
        while let Some((session, request)) = self.connection.poll_request() {
            if let Some(event) = self.engine.execute(session, request) {
                self.connection.handle_event(event, self.now);
            }
        }
    }

    /// The engine tells something.
    pub(super) fn event(&mut self, event: Event) {
        self.connection.handle_event(event, self.now);
        self.carry_out();
    }

    /// Time passes.
    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.after_milliseconds(milliseconds);
        self.connection.handle_timeout(self.now);
        self.carry_out();
    }

    /// The engine delivers a message; without a consumer it answers a get.
    pub(super) fn deliver(&mut self, delivery: &TestDelivery<'_>) {
        let mut output = std::mem::take(&mut self.output);
        self.connection.deliver(&delivery.as_delivery(), self.now, &mut output);
        self.output = output;
        self.carry_out();
    }

    /// All that the client was sent since the last look, a line a frame.
    pub(super) fn heard(&mut self) -> Vec<String> {
        let bytes = self.heard_bytes();
        let mut lines = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (frame, length) = frame::decode(&bytes[at..], 1 << 20).unwrap().expect("whole frames only");
            lines.push(line(frame.channel, &frame.payload));
            at += length;
        }
        lines
    }

    pub(super) fn heard_bytes(&mut self) -> Vec<u8> {
        self.connection.poll_transmit(&mut self.output);
        let mut bytes = Vec::new();
        while self.output.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.output.slices(&mut slices);
            let count = slices[..filled].iter().map(|slice| slice.len()).sum();
            bytes.extend(slices[..filled].iter().flat_map(|slice| slice.iter().copied()));
            self.output.advance(count, 1024);
        }
        bytes
    }

    /// What the engine was asked since the last look.
    pub(super) fn asked(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.engine.asked).into_iter().map(|(_, request)| request).collect()
    }
}

/// A delivery with the usual values.
#[derive(Clone, Copy)]
pub(super) struct TestDelivery<'a> {
    pub(super) session: u16,
    pub(super) consumer: Option<u32>,
    pub(super) sequence: u64,
    pub(super) acknowledge: bool,
    pub(super) redelivered: bool,
    pub(super) delivery_count: u16,
    pub(super) remaining: u64,
    pub(super) key: &'a str,
    pub(super) head: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) overlay: Option<&'a Overlay>,
    pub(super) alike: bool,
}

impl Default for TestDelivery<'_> {
    fn default() -> Self {
        TestDelivery {
            session: 1,
            consumer: Some(1),
            sequence: 1,
            acknowledge: true,
            redelivered: false,
            delivery_count: 0,
            remaining: 0,
            key: "k",
            head: &[0, 0],
            body: b"body",
            overlay: None,
            alike: false,
        }
    }
}

impl TestDelivery<'_> {
    fn as_delivery(&self) -> Delivery<'_> {
        Delivery {
            session: SessionId(self.session),
            consumer: self.consumer.map(ConsumerId),
            queue: QueueId(1),
            sequence: Sequence(self.sequence),
            acknowledge: self.acknowledge,
            redelivered: self.redelivered,
            delivery_count: self.delivery_count,
            tell_delivery_count: self.delivery_count > 0,
            remaining: self.remaining,
            alike: self.alike,
            message: MessageView {
                origin: Origin::Amqp091,
                persistent: false,
                publisher: Default::default(),
                exchange: "x",
                routing_key: self.key,
                head: self.head,
                body: Body::Slice(self.body),
                overlay: self.overlay,
                shared: None,
            },
        }
    }
}

/// A message as [`Event::Returned`] has it.
pub(super) fn message(key: &str, body: &'static [u8]) -> Arc<Message> {
    Arc::new(Message {
        origin: Origin::Amqp091,
        persistent: false,
        publisher: Default::default(),
        exchange: "x".into(),
        routing_key: key.into(),
        head: vec![0, 0].into(),
        body: vec![bytes::Bytes::from_static(body)],
        overlay: None,
    })
}

/// Method, header and body frames of a publish.
pub(super) fn publish_frames(
    channel: u16,
    method: &basic::Publish<'_>,
    properties: &BasicProperties<'_>,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_method(&mut bytes, channel, method);
    encode_header(&mut bytes, channel, 60, body.len() as u64, &encoded(properties));
    for piece in body.chunks(1000) {
        encode_body(&mut bytes, channel, piece);
    }
    bytes
}

pub(super) fn encoded(properties: &BasicProperties<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    properties.encode(&mut bytes);
    bytes
}

/// A table as its encoded fields.
pub(super) fn table(build: impl FnOnce(&mut TableWriter)) -> Vec<u8> {
    let mut table = TableWriter::new();
    build(&mut table);
    table.into_bytes()
}

pub(super) fn as_table(bytes: &[u8]) -> Table<'_> {
    Table::from_validated(bytes)
}

fn copy(publish: &Publish<'_>, owned: bool) -> Published {
    assert_eq!(publish.message.publisher, NEAR.connection);
    assert_eq!(publish.message.shared.map(|shared| shared.publisher), owned.then_some(NEAR.connection));
    Published {
        session: publish.session.0,
        exchange: publish.message.exchange.to_owned(),
        routing_key: publish.message.routing_key.to_owned(),
        head: publish.message.head.to_vec(),
        body: match publish.message.body {
            Body::Slice(slice) => slice.to_vec(),
            Body::Segments(segments) => segments.concat(),
        },
        persistent: publish.message.persistent,
        priority: publish.priority,
        time_to_live: publish.time_to_live,
        mandatory: publish.mandatory,
        transacted: publish.transacted,
        extra_keys: publish.extra_keys,
        user_id: publish.user_id.map(str::to_owned),
        confirm: publish.confirm,
        owned,
    }
}

/// `1 queue.declare-ok queue: "q", message_count: 0, consumer_count: 0`; closes are shorter.
fn line(channel: u16, payload: &Payload<'_>) -> String {
    let what = match payload {
        Payload::Method(bytes) => match Method::decode(bytes).unwrap() {
            Method::ConnectionClose(close) => {
                let connection::Close { reply_code, reply_text, class_id, method_id } = close;
                format!("connection.close {reply_code} {reply_text} ({class_id},{method_id})")
            }
            Method::ChannelClose(close) => {
                let channel::Close { reply_code, reply_text, class_id, method_id } = close;
                format!("channel.close {reply_code} {reply_text} ({class_id},{method_id})")
            }
            method => described(&method),
        },
        Payload::Header { body_size, properties, .. } => {
            let properties = BasicProperties::decode(properties).unwrap();
            format!("header {body_size} {}", properties_line(&properties))
        }
        Payload::Body(bytes) if bytes.len() > 20 => format!("body of {}", bytes.len()),
        Payload::Body(bytes) => format!("body {}", String::from_utf8_lossy(bytes)),
        Payload::Heartbeat => "heartbeat".to_owned(),
    };
    format!("{channel} {}", what.trim_end())
}

fn described(method: &Method<'_>) -> String {
    let text = format!("{method:?}");
    let fields = text.split_once("{ ").map_or("", |(_, rest)| rest.trim_end_matches([')', '}', ' ']));
    format!("{} {fields}", method.name())
}

fn properties_line(properties: &BasicProperties<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(headers) = properties.headers {
        let fields = crate::translate::table_fields(headers);
        parts.extend(fields.iter().map(|(name, value)| format!("{name}={value:?}")));
    }
    if let Some(text) = properties.reply_to {
        parts.push(format!("reply-to={}", String::from_utf8_lossy(text)));
    }
    if let Some(text) = properties.expiration {
        parts.push(format!("expiration={}", String::from_utf8_lossy(text)));
    }
    parts.join(" ")
}
