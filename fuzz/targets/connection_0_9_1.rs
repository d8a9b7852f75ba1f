//! The 0-9-1 connection machine under any sequence of frames, answers, deliveries and time: nothing panics,
//! everything it writes are frames that decode, and once it is closed it asks for nothing more.
#![no_main]

use fairlead_amqp_0_9_1::codec::{Payload, frame};
use fairlead_amqp_0_9_1::connection::{Batch, Connection, ConnectionConfig, Peer};
use fairlead_amqp_0_9_1::spec::Method;
use fairlead_amqp_0_9_1::translate::names::NameKey;
use fairlead_kernel::ids::{ConnectionId, Origin};
use fairlead_kernel::message::{Body, MessageView};
use fairlead_kernel::output::Output;
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::session::{Delivery, Event, Reply, Request};
use fairlead_kernel::{ConsumerId, QueueId, Refusal, Sequence, SessionId, Time};
use libfuzzer_sys::fuzz_target;
use std::io::IoSlice;
use std::sync::Arc;

/// Classes and methods that a client sends.
const METHODS: [(u16, u16); 32] = [
    (10, 11),
    (10, 21),
    (10, 31),
    (10, 40),
    (10, 50),
    (10, 51),
    (10, 70),
    (20, 10),
    (20, 20),
    (20, 21),
    (20, 40),
    (20, 41),
    (30, 10),
    (40, 10),
    (40, 20),
    (40, 30),
    (40, 40),
    (50, 10),
    (50, 20),
    (50, 30),
    (50, 40),
    (50, 50),
    (60, 10),
    (60, 20),
    (60, 30),
    (60, 40),
    (60, 70),
    (60, 80),
    (60, 90),
    (60, 110),
    (60, 120),
    (85, 10),
];
const TX: [(u16, u16); 3] = [(90, 10), (90, 20), (90, 30)];
/// Handshake of a client that opens channel 1, then the fuzzer goes on.
const HANDSHAKE: [(u16, &[u8]); 4] = [
    (0, b"\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US"),
    (0, b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\x3c"),
    (0, b"\0\x0a\0\x28\x01/\0\0"),
    (1, b"\0\x14\0\x0a\0"),
];

struct World {
    connection: Connection,
    output: Output,
    unanswered: Vec<(SessionId, Request)>,
    now: Time,
    delivered: u64,
}

impl World {
    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut bytes = vec![kind];
        bytes.extend(channel.to_be_bytes());
        bytes.extend(u32::try_from(payload.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes.push(0xce);
        let mut batch = Batch::default();
        let error = match frame::decode(&bytes, self.connection.frame_max()) {
            Ok(None) => return,
            Ok(Some((frame, _))) => self.connection.handle_frame(frame, self.now, &mut batch).err(),
            Err(error) => Some(error.into()),
        };
        batch.complete.clear();
        self.connection.finish_batch(&mut batch);
        if let Some(error) = error {
            self.connection.handle_error(error, self.now);
        }
        self.collect();
    }

    fn collect(&mut self) {
        while self.connection.poll_published().is_some() {}
        while let Some(request) = self.connection.poll_request() {
            match request.1 {
                Request::Settle { .. } | Request::OpenSession | Request::SetSessionWindow { .. } => {}
                _ => self.unanswered.push(request),
            }
        }
    }

    fn answer(&mut self, well: bool) {
        if self.unanswered.is_empty() {
            return;
        }
        let (session, request) = self.unanswered.remove(0);
        let result = match request {
            _ if !well => Err(Refusal::NotFound(Resource::Queue, "q".to_owned())),
            Request::Authenticate { user, .. } => Ok(Reply::Authenticated { user }),
            Request::DeclareQueue { name, .. } => Ok(Reply::Queue { name, messages: 1, consumers: 1 }),
            Request::CheckReplyAddress { token } => {
                Ok(Reply::Queue { name: token, messages: 0, consumers: 1 })
            }
            Request::DeleteQueue { .. } | Request::PurgeQueue { .. } => Ok(Reply::Removed { messages: 1 }),
            Request::Get { .. } => Ok(Reply::Empty),
            _ => Ok(Reply::Done),
        };
        self.connection.handle_event(Event::Reply { session, result }, self.now);
        self.collect();
    }

    fn deliver(&mut self, session: SessionId, consumer: ConsumerId) {
        self.delivered += 1;
        let message = MessageView {
            origin: Origin::Amqp091,
            persistent: false,
            publisher: ConnectionId(1),
            exchange: "x",
            routing_key: "k",
            head: b"\0\0",
            body: Body::Slice(b"body"),
            overlay: None,
            shared: None,
        };
        let delivery = Delivery {
            session,
            consumer: Some(consumer),
            queue: QueueId(1),
            sequence: Sequence(self.delivered),
            acknowledge: true,
            redelivered: false,
            delivery_count: 0,
            tell_delivery_count: false,
            remaining: 0,
            alike: false,
            message,
        };
        self.connection.deliver(&delivery, self.now, &mut self.output);
    }

    /// All that was written decodes.
    fn check_output(&mut self) {
        self.connection.poll_transmit(&mut self.output);
        let mut written = Vec::new();
        while self.output.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = self.output.slices(&mut slices);
            let count = slices[..filled].iter().map(|slice| slice.len()).sum();
            slices[..filled].iter().for_each(|slice| written.extend_from_slice(slice));
            self.output.advance(count, 0);
        }
        let mut rest = &written[..];
        while let Some((decoded, length)) = frame::decode(rest, 1 << 24).expect("our frames are frames") {
            if let Payload::Method(bytes) = decoded.payload {
                Method::decode(bytes).expect("our methods decode");
            }
            rest = &rest[length..];
        }
        assert!(rest.is_empty(), "a whole number of frames");
    }
}

fuzz_target!(|data: &[u8]| {
    let config = Arc::new(ConnectionConfig::default());
    let peer = Peer { connection: ConnectionId(1), loopback: true, encrypted: false };
    let mut world = World {
        connection: Connection::new(config, peer, Time(1), NameKey([7; 16])),
        output: Output::default(),
        unanswered: Vec::new(),
        now: Time(1),
        delivered: 0,
    };
    let Some((first, mut rest)) = data.split_first() else { return };
    if first & 1 == 1 {
        for (channel, payload) in HANDSHAKE {
            world.frame(1, channel, payload);
            world.answer(true);
        }
        assert!(world.connection.is_open());
    }
    while let [operation, detail, more @ ..] = rest {
        let length = usize::from(*detail).min(more.len());
        let channel = u16::from(operation >> 6);
        rest = more;
        match operation % 8 {
            0..=2 => {
                let Some((index, arguments)) = more[..length].split_first() else { continue };
                let all = METHODS.len() + TX.len();
                let (class, method) =
                    *METHODS.iter().chain(&TX).nth(usize::from(*index) % all).unwrap_or(&(0, 0));
                let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
                payload.extend_from_slice(arguments);
                rest = &more[length..];
                world.frame(1, channel, &payload);
            }
            3 => {
                let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, *detail % 16];
                payload.extend_from_slice(&more[..length]);
                rest = &more[length..];
                world.frame(2, channel, &payload);
            }
            4 => {
                rest = &more[length..];
                world.frame(3 + (operation >> 3) % 2 * 5, channel, &more[..length]);
            }
            5 => world.answer(detail % 4 != 0),
            6 => world.deliver(SessionId(channel), ConsumerId(u32::from(*detail) % 4)),
            _ => {
                world.now = Time(world.now.0 + u64::from(*detail) * 1_000_000_000);
                world.connection.handle_timeout(world.now);
                world.collect();
            }
        }
        world.check_output();
    }
    world
        .connection
        .handle_event(Event::Close { reason: fairlead_kernel::session::CloseReason::Shutdown }, world.now);
    world.collect();
    while !world.unanswered.is_empty() {
        world.answer(true);
    }
    world.connection.take_unsettled();
    world.check_output();
});
