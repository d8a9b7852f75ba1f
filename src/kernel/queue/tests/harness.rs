//! A queue with a log in memory, and what it has asked for in readable form.

use crate::command::{Apply, Command, CommandLog, NewEntry, RecordedCommand};
use crate::effect::{DeliveryCursor, Effects, Slot};
use crate::ids::{ConnectionId, ConsumerId, Origin, QueueId, Sequence, SessionId, Time};
use crate::message::{Body, DeathReason, HeadReader, HeadReaders, Message, MessageView};
use crate::queue::{Attachment, Delivered, Denial, Got, Queue, SharedWindows, Turn};
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, QueueSettings};
use crate::value::Value;
use std::collections::BTreeMap;

/// Reads heads of the form `name=value;name=value`; `ttl` and `cc` are what one would think.
pub(super) struct TestReader;

impl HeadReader for TestReader {
    fn header(&self, head: &[u8], name: &str) -> Option<Value> {
        self.headers(head).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    fn headers(&self, head: &[u8]) -> Vec<(String, Value)> {
        let text = std::str::from_utf8(head).expect("heads of tests are text");
        text.split(';')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), Value::Text(value.to_owned())))
            .collect()
    }

    fn time_to_live(&self, head: &[u8]) -> Option<u64> {
        self.header(head, "ttl")?.as_text()?.parse().ok()
    }

    fn extra_keys(&self, head: &[u8], _hidden: bool) -> Vec<String> {
        self.header(head, "cc").iter().filter_map(|value| value.as_text().map(str::to_owned)).collect()
    }

    fn priority(&self, _head: &[u8]) -> u8 {
        0
    }
}

pub(super) static READER: TestReader = TestReader;
pub(super) const READERS: HeadReaders = HeadReaders { amqp_0_9_1: &READER };

/// A log that keeps commands, and lets them be applied at once or later.
#[derive(Debug, Default)]
pub(super) struct MemoryLog {
    pub(super) commands: Vec<RecordedCommand>,
    /// From which command on they wait to be applied by the test, if they do.
    pub(super) later: Option<usize>,
    /// Whether messages are in a store: at 1, 2, 3, in the order in which they were recorded.
    pub(super) stores: bool,
    pub(super) stored: u64,
    pub(super) positions: Vec<u64>,
}

impl CommandLog for MemoryLog {
    fn record(&mut self, _queue: QueueId, command: &Command<'_>) -> Apply {
        self.commands.push(command.into());
        self.positions.clear();
        if let (true, Command::Enqueue { entries, .. } | Command::TxPart { entries, .. }) =
            (self.stores, command)
        {
            let first = self.stored + 1;
            self.stored += entries.len() as u64;
            self.positions.extend(first..=self.stored);
        }
        if self.later.is_some() { Apply::Later } else { Apply::Now }
    }

    fn positions(&self) -> &[u64] {
        &self.positions
    }
}

/// Windows of sessions.
#[derive(Debug, Default)]
pub(super) struct Windows(pub(super) BTreeMap<SessionId, u32>);

impl SharedWindows for Windows {
    fn take(&mut self, _connection: ConnectionId, session: SessionId) -> bool {
        let left = self.0.entry(session).or_default();
        let open = *left > 0;
        *left -= u32::from(open);
        open
    }
}

/// A delivery, in short: consumer, body, redelivered.
pub(super) type Seen = (u32, String, bool);

/// One queue and all it needs.
pub(super) struct Bench<L = MemoryLog> {
    pub(super) queue: Queue,
    pub(super) log: L,
    pub(super) windows: Windows,
    pub(super) effects: Effects,
    pub(super) now: Time,
    /// Sequences of deliveries, by consumer, oldest first.
    pub(super) held: BTreeMap<u32, Vec<(Sequence, String)>>,
    pub(super) slots: BTreeMap<u32, Slot>,
}

pub(super) fn text_of(message: &MessageView<'_>) -> String {
    let bytes: Vec<u8> = match message.body {
        Body::Slice(slice) => slice.to_vec(),
        Body::Segments(segments) => segments.concat(),
    };
    String::from_utf8(bytes).expect("bodies of tests are text")
}

pub(super) fn message<'a>(head: &'a str, body: &'a str) -> MessageView<'a> {
    MessageView {
        origin: Origin::Amqp091,
        persistent: false,
        publisher: ConnectionId(9),
        exchange: "from",
        routing_key: "key",
        head: head.as_bytes(),
        body: Body::Slice(body.as_bytes()),
        overlay: None,
        shared: None,
    }
}

pub(super) fn entry<'a>(body: &'a str) -> NewEntry<'a> {
    NewEntry { message: message("", body), expires: Time(0), priority: 0 }
}

impl Bench {
    pub(super) fn new(settings: &QueueSettings) -> Self {
        Bench::with_log(settings, MemoryLog::default())
    }

    pub(super) fn plain() -> Self {
        Bench::new(&QueueSettings::default())
    }

    pub(super) fn limited(limits: Limits) -> Self {
        Bench::new(&QueueSettings { limits, ..QueueSettings::default() })
    }
}

/// When tests begin.
pub(super) const START: Time = Time(1_000_000_000_000);

impl<L: CommandLog> Bench<L> {
    pub(super) fn with_log(settings: &QueueSettings, log: L) -> Self {
        let now = START;
        Bench {
            queue: Queue::new(QueueId(7), "q".into(), settings, &settings.limits, READERS, now),
            log,
            windows: Windows::default(),
            effects: Effects::default(),
            now,
            held: BTreeMap::new(),
            slots: BTreeMap::new(),
        }
    }

    /// Make a step.
    pub(super) fn step<R>(&mut self, step: impl FnOnce(&mut Queue, &mut Turn<'_, L, Windows>) -> R) -> R {
        let mut turn = Turn {
            now: self.now,
            log: &mut self.log,
            windows: &mut self.windows,
            effects: &mut self.effects,
        };
        step(&mut self.queue, &mut turn)
    }

    pub(super) fn publish(&mut self, entries: &[NewEntry<'_>]) {
        let mut entries = entries.to_vec();
        self.step(|queue, turn| queue.publish(&mut entries, turn)).expect("the queue exists");
    }

    pub(super) fn publish_bodies(&mut self, bodies: &[&str]) {
        let entries: Vec<_> = bodies.iter().map(|body| entry(body)).collect();
        self.publish(&entries);
    }

    pub(super) fn attach(&mut self, consumer: u32, settings: &ConsumerSettings) -> Result<Slot, Denial> {
        self.attach_with(consumer, settings, 1 << 20, false)
    }

    pub(super) fn attach_with(
        &mut self,
        consumer: u32,
        settings: &ConsumerSettings,
        transfer_window: u32,
        shared_window: bool,
    ) -> Result<Slot, Denial> {
        let attachment = Attachment {
            connection: ConnectionId(u64::from(consumer)),
            session: SessionId(1),
            consumer: ConsumerId(consumer),
            settings,
            transfer_window,
            shared_window,
        };
        let slot = self.step(|queue, turn| queue.attach(&attachment, turn))?;
        self.slots.insert(consumer, slot);
        Ok(slot)
    }

    pub(super) fn tick(&mut self) {
        self.step(|queue, turn| queue.tick(turn)).expect("the queue exists");
    }

    /// What has been delivered since last asked, consumer by consumer.
    pub(super) fn deliveries(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        let held = &mut self.held;
        self.effects.drain_deliveries(|_, batch| {
            let mut cursor = DeliveryCursor::default();
            while let Some(delivery) = batch.next(&mut cursor) {
                let consumer = delivery.consumer.expect("it is for a consumer").0;
                let body = text_of(&delivery.message);
                held.entry(consumer).or_default().push((delivery.sequence, body.clone()));
                seen.push((consumer, body, delivery.redelivered));
            }
            assert!(batch.is_walked(&cursor));
        });
        seen
    }

    /// Bodies delivered since last asked.
    pub(super) fn bodies(&mut self) -> Vec<String> {
        self.deliveries().into_iter().map(|(_, body, _)| body).collect()
    }

    /// Settle what a consumer holds of the given body.
    pub(super) fn settle(&mut self, consumer: u32, body: &str, outcome: Outcome) {
        let held = self.held.get_mut(&consumer).expect("it has got something");
        let at = held.iter().position(|(_, held)| held == body).expect("it holds that message");
        let (sequence, _) = held.remove(at);
        let delivered: Delivered = (sequence, self.slots.get(&consumer).copied());
        self.step(|queue, turn| queue.settle(&[delivered], outcome, turn)).expect("the queue exists");
    }

    pub(super) fn get(&mut self, acknowledge: bool) -> Option<(Sequence, String, bool, u64)> {
        let got =
            self.step(|queue, turn| queue.get(SessionId(1), acknowledge, turn)).expect("the queue exists");
        let mut cursor = DeliveryCursor::default();
        let found = self.effects.got.next(&mut cursor).map(|delivery| {
            (delivery.sequence, text_of(&delivery.message), delivery.redelivered, delivery.remaining)
        });
        assert_eq!(got == Got::Found, found.is_some());
        self.effects.got.clear(usize::MAX);
        found
    }

    pub(super) fn dead_letters(&mut self) -> Vec<(String, DeathReason, Option<Sequence>)> {
        self.effects
            .dead_letters
            .drain(..)
            .map(|letter| (text_of(&Message::view(&letter.message)), letter.reason, letter.sequence))
            .collect()
    }
}

/// A consumer that settles, with that window.
pub(super) fn acking(window: u32) -> ConsumerSettings {
    ConsumerSettings { acknowledge: true, window: Some(window), ..ConsumerSettings::default() }
}
