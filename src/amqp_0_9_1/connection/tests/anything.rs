//! Sequences of anything: methods in any order, frames in any place, answers of both kinds, time that passes.
//!
//! Whatever comes, the machine does not panic, sends only whole frames, closes with codes of the
//! specification, is still once it is closed, and does the same again from the same start.

use super::talk::{Published, Talk, TestDelivery, as_table, message, publish_frames, table};
use crate::codec::frame::{self, encode_body, encode_header, encode_heartbeat, encode_method};
use crate::codec::{Payload, Table};
use crate::connection::ConnectionConfig;
use crate::spec::{
    BasicProperties, Method, ReplyCode, basic, channel, confirm, connection, exchange, queue, tx,
};
use fairlead_kernel::refusal::{Refusal, Resource};
use fairlead_kernel::session::{CloseReason, Event, Outcome, Request};
use fairlead_kernel::{ConsumerId, SessionId};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Method(u16, Asked),
    Header(u16, u16, u64),
    Body(u16, u8),
    Heartbeat(u16),
    Bytes(Vec<u8>),
    /// So many whole messages, each with a body of that size and one of some properties.
    Publishes(u16, u8, u8, u8),
    /// What came so far comes in one read.
    Read,
    /// The engine will refuse what it is asked next.
    Refuse(u8),
    Deliver(u16, u32, bool),
    Confirm(u16, bool),
    Event(u16, u8),
    Wait(u32),
}

/// A method with the fields that matter to the machine.
#[derive(Clone, Copy, Debug)]
struct Asked {
    which: u8,
    flag: bool,
    other: bool,
    number: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..32_u8, any::<bool>(), any::<bool>(), 0..6_u8).prop_map(|(which, flag, other, number)| Asked {
        which,
        flag,
        other,
        number,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || prop_oneof![6 => 1..=2_u16, 1 => 0..=4_u16];
    prop_oneof![
        12 => (channel(), asked()).prop_map(|(channel, asked)| Step::Method(channel, asked)),
        4 => (channel(), prop_oneof![9 => Just(60_u16), 1 => any::<u16>()], 0..4_u64)
            .prop_map(|(channel, class, size)| Step::Header(channel, class, size)),
        4 => (channel(), 0..4_u8).prop_map(|(channel, size)| Step::Body(channel, size)),
        1 => (0..2_u16).prop_map(Step::Heartbeat),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Step::Bytes),
        4 => (channel(), 0..5_u8, 0..4_u8, 0..5_u8)
            .prop_map(|(channel, count, size, which)| Step::Publishes(channel, count, size, which)),
        8 => Just(Step::Read),
        2 => (0..6_u8).prop_map(Step::Refuse),
        3 => (channel(), 0..4_u32, any::<bool>()).prop_map(|(channel, consumer, ack)| Step::Deliver(channel, consumer, ack)),
        2 => (channel(), any::<bool>()).prop_map(|(channel, accepted)| Step::Confirm(channel, accepted)),
        1 => (channel(), 0..7_u8).prop_map(|(channel, which)| Step::Event(channel, which)),
        1 => (0..100_000_u32).prop_map(Step::Wait),
    ]
}

/// A publisher that mostly does what it may, on a channel of some mode.
fn publishing() -> impl Strategy<Value = Vec<Step>> {
    let method = |which, number| Step::Method(1, Asked { which, flag: true, other: false, number });
    // confirm.select, tx.select, consume of replies, or nothing.
    let begin = prop_oneof![
        Just(vec![method(30, 0)]),
        Just(vec![method(28, 0)]),
        Just(vec![method(18, 4)]),
        Just(vec![]),
    ];
    let publishes = || {
        (0..5_u8, 0..3_u8, 0..60_u8)
            .prop_map(|(count, size, which)| Step::Publishes(1, count, size, which % 12))
    };
    let then = prop_oneof![
        6 => publishes(),
        4 => Just(Step::Read),
        1 => (1..=1_u16, 3..5_u8).prop_map(|(channel, which)| Step::Event(channel, which)),
        1 => (Just(1_u16), any::<bool>()).prop_map(|(channel, accepted)| Step::Confirm(channel, accepted)),
        1 => Just(method(29, 0)),
    ];
    (begin, proptest::collection::vec(then, 0..40)).prop_map(|(mut steps, more)| {
        steps.extend(more);
        steps.push(Step::Read);
        steps
    })
}

/// The method's payload.
fn encoded(asked: Asked) -> Vec<u8> {
    const NAMES: [&str; 6] = ["", "q", "amq.direct", "amq.foo", "amq.rabbitmq.reply-to", "t"];
    let Asked { flag, other, number, .. } = asked;
    let name = NAMES[usize::from(number)];
    let arguments = Table::EMPTY;
    let delivery_tag = u64::from(number);
    let method: Method<'_> = match asked.which {
        0..=2 => channel::Open.into(),
        3 => channel::Flow { active: flag }.into(),
        4 => channel::Close { reply_code: 200, reply_text: name, class_id: 0, method_id: 0 }.into(),
        5 | 6 => channel::CloseOk.into(),
        7 => exchange::Declare {
            exchange: name,
            type_: if flag { "direct" } else { "odd" },
            passive: other,
            ..Default::default()
        }
        .into(),
        8 => exchange::Delete { exchange: name, if_unused: flag, no_wait: other }.into(),
        9 => exchange::Bind { destination: name, no_wait: flag, ..Default::default() }.into(),
        10 => exchange::Unbind { source: name, no_wait: flag, ..Default::default() }.into(),
        11 | 12 => queue::Declare { queue: name, passive: flag, no_wait: other, ..Default::default() }.into(),
        13 => queue::Bind { queue: name, no_wait: flag, arguments, ..Default::default() }.into(),
        14 => queue::Unbind { queue: name, ..Default::default() }.into(),
        15 => queue::Purge { queue: name, no_wait: flag }.into(),
        16 => queue::Delete { queue: name, no_wait: flag, ..Default::default() }.into(),
        17 => basic::Qos { prefetch_count: u16::from(number), global: flag, prefetch_size: 0 }.into(),
        18 | 19 => basic::Consume {
            queue: name,
            consumer_tag: if other { "t" } else { "" },
            no_ack: flag,
            ..Default::default()
        }
        .into(),
        20 => basic::Cancel { consumer_tag: name, no_wait: flag }.into(),
        21..=23 => {
            basic::Publish { exchange: name, routing_key: name, mandatory: flag, immediate: false }.into()
        }
        24 => basic::Get { queue: name, no_ack: flag }.into(),
        25 => basic::Ack { delivery_tag, multiple: flag }.into(),
        26 => basic::Nack { delivery_tag, multiple: flag, requeue: other }.into(),
        27 => basic::Recover { requeue: number > 0 }.into(),
        28 => tx::Select.into(),
        29 => {
            if flag {
                tx::Commit.into()
            } else {
                tx::Rollback.into()
            }
        }
        30 => confirm::Select { nowait: flag }.into(),
        _ => connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 }.into(),
    };
    let mut bytes = Vec::new();
    crate::codec::EncodeMethod::encode(&method, &mut bytes);
    bytes
}

/// A frame around a payload.
fn method_frame(channel: u16, payload: &[u8]) -> Vec<u8> {
    struct Raw<'a>(&'a [u8]);
    impl crate::codec::EncodeMethod for Raw<'_> {
        fn encode(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.0);
        }
    }
    let mut bytes = Vec::new();
    encode_method(&mut bytes, channel, &Raw(payload));
    bytes
}

/// Whole messages, one behind the other.
fn publishes(channel: u16, count: u8, size: u8, which: u8) -> Vec<u8> {
    let forged = table(|table| {
        table.put_str("CC", "no array");
    });
    let properties = match which {
        0 => BasicProperties { expiration: Some(b"50"), priority: Some(3), ..Default::default() },
        1 => BasicProperties { reply_to: Some(b"amq.rabbitmq.reply-to"), ..Default::default() },
        2 => BasicProperties { headers: Some(as_table(&forged)), ..Default::default() },
        _ => BasicProperties::default(),
    };
    let method =
        basic::Publish { exchange: "x", routing_key: "k", mandatory: which == 3, immediate: which == 4 };
    let body = [0; 4];
    (0..count)
        .flat_map(|_| publish_frames(channel, &method, &properties, &body[..usize::from(size)]))
        .collect()
}

fn refusal(which: u8) -> Refusal {
    match which {
        0 => Refusal::NotFound(Resource::Queue, "q".to_owned()),
        1 => Refusal::NotFound(Resource::Exchange, "x".to_owned()),
        2 => Refusal::Locked("q".to_owned()),
        3 => Refusal::DefaultExchange,
        4 => Refusal::NoReplyConsumer,
        _ => Refusal::ShuttingDown,
    }
}

/// What the test knows of a channel, to keep an engine's promises.
#[derive(Default)]
struct Known {
    published: u64,
    confirmed: u64,
    consumers: Vec<u32>,
}

struct Run {
    talk: Talk,
    known: BTreeMap<u16, Known>,
    sent: Vec<u8>,
    asked: Vec<Request>,
    published: Vec<Published>,
    unread: Vec<u8>,
}

impl Run {
    fn new() -> Run {
        let config = ConnectionConfig { message_size_max: 2, heartbeat: 60, ..ConnectionConfig::default() };
        Run {
            talk: Talk::open_with(config),
            known: BTreeMap::from([(1, Known::default())]),
            sent: Vec::new(),
            asked: Vec::new(),
            published: Vec::new(),
            unread: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        let bytes = &mut self.unread;
        match step {
            Step::Method(channel, asked) => return bytes.extend(method_frame(*channel, &encoded(*asked))),
            Step::Header(channel, class, size) => {
                return encode_header(bytes, *channel, *class, *size, &[0, 0]);
            }
            Step::Body(channel, size) => return encode_body(bytes, *channel, &[0; 4][..usize::from(*size)]),
            Step::Heartbeat(0) => return encode_heartbeat(bytes),
            Step::Heartbeat(_) => return bytes.extend([8, 0, 1, 0, 0, 0, 0, 206]),
            Step::Bytes(payload) => return bytes.extend(method_frame(1, payload)),
            Step::Publishes(channel, count, size, which) => {
                return bytes.extend(publishes(*channel, *count, *size, *which));
            }
            Step::Read => self.read(),
            Step::Refuse(which) => self.talk.refuse(refusal(*which)),
            Step::Deliver(channel, consumer, acknowledge) => self.deliver(*channel, *consumer, *acknowledge),
            Step::Confirm(channel, accepted) => self.confirm(*channel, *accepted),
            Step::Event(channel, which) => self.event(SessionId(*channel), *which),
            Step::Wait(milliseconds) => self.talk.wait(u64::from(*milliseconds)),
        }
        self.look();
    }

    /// As many frames as are wanted; the rest stays for the next read.
    fn read(&mut self) {
        let bytes = std::mem::take(&mut self.unread);
        let taken = self.talk.read(&bytes);
        self.unread.extend_from_slice(&bytes[taken..]);
    }

    /// Remember what was asked and published; what was sent must be whole frames with codes of the specification.
    fn look(&mut self) {
        for (number, request) in std::mem::take(&mut self.talk.engine.asked) {
            match &request {
                Request::OpenSession => drop(self.known.insert(number, Known::default())),
                Request::CloseSession { .. } => drop(self.known.remove(&number)),
                Request::Subscribe { consumer, .. } => {
                    self.known.entry(number).or_default().consumers.push(consumer.0);
                }
                _ => {}
            }
            self.asked.push(request);
        }
        for publish in self.talk.published.drain(..) {
            if let Some(confirm) = publish.confirm {
                self.known.entry(publish.session).or_default().published = confirm;
            }
            self.published.push(publish);
        }
        let closed = self.talk.connection.is_closed();
        let bytes = self.talk.heard_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (frame, length) = frame::decode(&bytes[at..], 1 << 17).unwrap().expect("a whole frame");
            if let Payload::Method(payload) = frame.payload {
                match Method::decode(payload).expect("a method of the specification") {
                    Method::ChannelClose(close) => {
                        let code =
                            ReplyCode::from_code(close.reply_code).expect("a code of the specification");
                        assert!(!code.closes_connection());
                    }
                    Method::ConnectionClose(close) => {
                        assert!(ReplyCode::from_code(close.reply_code).is_some());
                    }
                    _ => {}
                }
            }
            at += length;
        }
        self.sent.extend_from_slice(&bytes);
        if closed {
            assert!(self.talk.connection.poll_timeout().is_none());
        }
    }

    fn deliver(&mut self, session: u16, consumer: u32, acknowledge: bool) {
        let known = self.known.get(&session).is_some_and(|known| known.consumers.contains(&consumer));
        if known {
            let delivery =
                TestDelivery { session, consumer: Some(consumer), acknowledge, ..Default::default() };
            self.talk.deliver(&delivery);
        }
    }

    /// Confirm the next two publishes, in the wrong order if there are two.
    fn confirm(&mut self, number: u16, accepted: bool) {
        let Some(known) = self.known.get_mut(&number) else { return };
        let due = known.published - known.confirmed;
        let from = known.confirmed + 1;
        known.confirmed += due.min(2);
        let session = SessionId(number);
        if due > 1 {
            self.talk.event(Event::Confirmed { session, from: from + 1, to: from + 1, accepted: true });
        }
        if due > 0 {
            self.talk.event(Event::Confirmed { session, from, to: from, accepted });
        }
    }

    fn event(&mut self, session: SessionId, which: u8) {
        let event = match which {
            0 => Event::Returned { session, message: message("k", b"body") },
            1 => Event::PublishRefused { session, refusal: Refusal::Internal("x".to_owned()) },
            2 => Event::ConsumerCancelled { session, consumer: ConsumerId(1) },
            3 => Event::Blocked { reason: "low on memory" },
            4 => Event::Unblocked,
            5 => Event::SettlementTimeout { session, milliseconds: 1 },
            _ => Event::Close { reason: CloseReason::Shutdown },
        };
        self.talk.event(event);
    }
}

fn run(steps: &[Step], short_way: bool) -> Run {
    let mut run = Run::new();
    run.talk.short_way = short_way;
    for step in steps {
        run.take(step);
    }
    run
}

proptest! {
    #[test]
    fn anything_may_happen_and_happens_the_same_twice(steps in proptest::collection::vec(step(), 0..60)) {
        let (first, second) = (run(&steps, true), run(&steps, true));
        prop_assert_eq!(&first.sent, &second.sent);
        prop_assert_eq!(&first.asked, &second.asked);
        prop_assert_eq!(&first.published, &second.published);
        prop_assert_eq!(first.talk.connection.describe(), second.talk.connection.describe());
    }

    #[test]
    fn the_short_way_leads_where_the_long_one_does(steps in publishing()) {
        let (short, long) = (run(&steps, true), run(&steps, false));
        prop_assert_eq!(&short.sent, &long.sent);
        prop_assert_eq!(&short.asked, &long.asked);
        prop_assert_eq!(&short.published, &long.published);
    }

    #[test]
    fn every_delivery_is_settled_or_given_back_once(steps in proptest::collection::vec(step(), 0..60)) {
        let mut run = Run::new();
        // Sequences number the deliveries, so that each is known by it.
        let mut given = 0;
        for step in &steps {
            match step {
                Step::Deliver(session, _, _) if run.known.get(session).is_some_and(|known| !known.consumers.is_empty()) => {
                    given += 1;
                    let consumer = run.known[session].consumers[0];
                    run.talk.deliver(&TestDelivery { session: *session, consumer: Some(consumer), sequence: given, ..Default::default() });
                    run.look();
                }
                other => run.take(other),
            }
        }
        let mut back: Vec<u64> = Vec::new();
        for request in &run.asked {
            match request {
                Request::Settle { outcome: Outcome::Accepted | Outcome::Rejected | Outcome::Released { .. }, deliveries } => {
                    back.extend(deliveries.iter().map(|delivery| delivery.sequence.0));
                }
                Request::CloseSession { unsettled } => back.extend(unsettled.iter().map(|delivery| delivery.sequence.0)),
                Request::Commit { settlements } => {
                    back.extend(settlements.iter().flat_map(|(_, list)| list.iter().map(|delivery| delivery.sequence.0)));
                }
                _ => {}
            }
        }
        back.extend(run.talk.connection.take_unsettled().iter().flat_map(|(_, list)| list.iter().map(|delivery| delivery.sequence.0)));
        back.sort_unstable();
        prop_assert_eq!(back, (1..=given).collect::<Vec<_>>());
    }
}
