//! The broker without its sockets: a publishing and a consuming connection, each an adapter and the engine's side
//! of it, driven as the pump drives them.

use crate::amqp_0_9_1::Amqp091;
use crate::{QUEUE, publishes};
use fairlead_amqp_0_9_1::codec::{EncodeMethod, Frame, Payload, frame};
use fairlead_amqp_0_9_1::connection::{Connection as Adapter, ConnectionConfig, Peer};
use fairlead_amqp_0_9_1::spec::{Method, basic, channel, connection, queue};
use fairlead_amqp_0_9_1::translate::HEAD_READER;
use fairlead_amqp_0_9_1::translate::names::NameKey;
use fairlead_engine::auth::Authentication;
use fairlead_engine::counters::Counter;
use fairlead_engine::{Broker, Connection, Endpoints, Settings};
use fairlead_kernel::Time;
use fairlead_kernel::message::HeadReaders;
use fairlead_kernel::output::Output;
use std::hint::black_box;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// As much output as the pump holds.
const OUTPUT_BOUND: usize = 256 * 1024;
/// Some time, the same in all runs.
const NOW: Time = Time(1_700_000_000_000_000_000);

/// Runs so many rounds; gives the messages.
pub fn run(rounds: u32) -> Result<u64, String> {
    let readers = HeadReaders { amqp_0_9_1: &HEAD_READER };
    let authentication = Authentication { disabled: true, ..Authentication::default() };
    let settings = Settings { authentication, ..Settings::default() };
    let broker = Broker::new(settings, readers).map_err(|fault| fault.to_string())?;
    let mut consumer = Side::open(&broker)?;
    let declare = queue::Declare { queue: QUEUE, ..queue::Declare::default() };
    consumer.call(&declare)?;
    let consume = basic::Consume { queue: QUEUE, no_ack: true, ..basic::Consume::default() };
    consumer.call(&consume)?;
    let mut publisher = Side::open(&broker)?;
    let (bytes, count) = publishes();
    for _ in 0..rounds {
        publisher.take(black_box(&bytes));
        consumer.turn();
    }
    let messages = u64::from(rounds) * count;
    let delivered = broker.counters().get(Counter::DeliveredSettled);
    if delivered == messages {
        Ok(messages)
    } else {
        Err(format!("{delivered} of {messages} were delivered"))
    }
}

/// One connection.
struct Side {
    protocol: Amqp091,
    engine: Connection,
    output: Output,
    /// What was written last.
    last_answer: Vec<u8>,
}

impl Side {
    /// Logged in, with channel 1 open.
    fn open(broker: &Arc<Broker>) -> Result<Side, String> {
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
        let endpoints = Endpoints { peer: place, local: place, loopback: true };
        let engine = broker.connect(endpoints, NOW).map_err(|refusal| refusal.to_string())?;
        let config = Arc::new(ConnectionConfig::default());
        let peer = Peer { connection: engine.id(), loopback: true, encrypted: false };
        let adapter = Adapter::new(config, peer, NOW, NameKey([1; 16]));
        let protocol = Amqp091::new(adapter, Arc::clone(broker), Arc::clone(engine.entry()));
        let mut side = Side { protocol, engine, output: Output::default(), last_answer: Vec::new() };
        let login = connection::StartOk {
            mechanism: "PLAIN",
            response: b"\0guest\0guest",
            locale: "en_US",
            ..connection::StartOk::default()
        };
        side.say(0, &login)?;
        side.say(0, &connection::TuneOk { channel_max: 2047, frame_max: 131_072, heartbeat: 0 })?;
        side.say(0, &connection::Open { virtual_host: "/" })?;
        side.call(&channel::Open)?;
        if side.protocol.is_authenticated() { Ok(side) } else { Err("the login was refused".to_owned()) }
    }

    /// A method on channel 1.
    fn call(&mut self, method: &impl EncodeMethod) -> Result<(), String> {
        self.say(1, method)
    }

    fn say(&mut self, channel: u16, method: &impl EncodeMethod) -> Result<(), String> {
        let mut bytes = Vec::new();
        frame::encode_method(&mut bytes, channel, method);
        self.last_answer.clear();
        let handled = self.take(&bytes);
        let answer = frame::decode(&self.last_answer, 131_072).ok().flatten();
        let refused = match answer {
            Some((Frame { payload: Payload::Method(method), .. }, _)) => {
                let method = Method::decode(method).map_err(|fault| fault.to_string())?;
                matches!(method, Method::ConnectionClose(_) | Method::ChannelClose(_))
                    .then(|| format!("{method:?}"))
            }
            _ => None,
        };
        match refused {
            Some(refusal) => Err(refusal),
            None if handled < bytes.len() => Err("a method was not taken".to_owned()),
            None => Ok(()),
        }
    }

    /// What the pump does with what it has read; gives how much of it was handled.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut handled = 0;
        while handled < bytes.len() {
            let count = self.protocol.handle(&bytes[handled..], &mut self.engine, NOW);
            if count == 0 {
                break;
            }
            handled += count;
            self.turn();
        }
        handled
    }

    /// What the pump does with its outbox, and the socket with its output.
    fn turn(&mut self) {
        let mut answers = 0;
        while self.engine.is_filled() {
            if let Some(event) = self.engine.next_event() {
                self.protocol.handle_event(event, NOW);
                self.protocol.carry_out(&mut self.engine, NOW);
            } else if !self.protocol.deliver(
                &mut self.engine,
                NOW,
                &mut self.output,
                OUTPUT_BOUND,
                &mut answers,
            ) {
                break;
            }
            self.protocol.transmit(&mut self.output);
            self.engine.delivered(NOW);
            self.written();
        }
        self.protocol.transmit(&mut self.output);
        self.written();
    }

    fn written(&mut self) {
        let mut slices = [IoSlice::new(&[])];
        if self.output.slices(&mut slices) > 0 && slices[0].len() < 4096 {
            self.last_answer.extend_from_slice(&slices[0]);
        }
        black_box(&slices);
        self.output.advance(self.output.pending(), OUTPUT_BOUND);
    }
}
