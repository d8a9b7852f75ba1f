//! A queue with one consumer: entries in, deliveries out, the consumer's credit given back.

use crate::{BODY, QUEUE, publishes};
use fairlead_amqp_0_9_1::translate::HEAD_READER;
use fairlead_kernel::command::{NewEntry, NoLog};
use fairlead_kernel::effect::{DeliveryBatch, DeliveryCursor, Effects, Slot};
use fairlead_kernel::message::{Body, HeadReaders, MessageView};
use fairlead_kernel::queue::{Attachment, NoWindows, Queue, Turn};
use fairlead_kernel::settings::{ConsumerSettings, Limits, QueueSettings};
use fairlead_kernel::{ConnectionId, ConsumerId, Origin, QueueId, SessionId, Time};
use std::hint::black_box;
use std::ops::ControlFlow;

/// As many bytes as one consumer's outbox holds.
const TRANSFER_WINDOW: u32 = 1 << 20;
/// As many publishes as a connection's task collects before it enters a queue.
const BATCH: usize = 512;
/// Some time, the same in all runs.
const NOW: Time = Time(1_700_000_000_000_000_000);

/// Runs so many rounds; gives the messages.
pub fn run(rounds: u32) -> Result<u64, String> {
    let (_, count) = publishes();
    let readers = HeadReaders { amqp_0_9_1: &HEAD_READER };
    let (settings, limits) = (QueueSettings::default(), Limits::default());
    let mut queue = Queue::new(QueueId(1), QUEUE.into(), &settings, &limits, readers, NOW);
    let mut effects = Effects::default();
    let consumer = ConsumerSettings::default();
    let attachment = Attachment {
        connection: ConnectionId(2),
        session: SessionId(1),
        consumer: ConsumerId(1),
        settings: &consumer,
        transfer_window: TRANSFER_WINDOW,
        shared_window: false,
    };
    let slot = queue.attach(&attachment, &mut turn(&mut effects)).map_err(|denial| denial.to_string())?;
    let mut outbox = DeliveryBatch::default();
    let mut delivered = 0;
    for _ in 0..rounds {
        let mut left = count as usize;
        while left > 0 {
            let entries = left.min(BATCH);
            left -= entries;
            effects.clear(usize::MAX);
            publish(&mut queue, entries, &mut effects)?;
            effects.drain_deliveries(|_, batch| outbox.append(batch));
            delivered += deliver(&mut queue, slot, &mut outbox, &mut effects)?;
        }
    }
    let messages = u64::from(rounds) * count;
    if delivered == messages {
        Ok(messages)
    } else {
        Err(format!("{delivered} of {messages} were delivered"))
    }
}

/// A turn at [`NOW`], of a queue without a log.
fn turn(effects: &mut Effects) -> Turn<'_, NoLog, NoWindows> {
    // Both are without content: a leaked one costs nothing.
    let (log, windows) = (Box::leak(Box::new(NoLog)), Box::leak(Box::new(NoWindows)));
    Turn { now: NOW, log, windows, effects }
}

fn publish(queue: &mut Queue, count: usize, effects: &mut Effects) -> Result<(), String> {
    let message = MessageView {
        origin: Origin::Amqp091,
        persistent: false,
        publisher: ConnectionId(1),
        exchange: "",
        routing_key: QUEUE,
        head: &[0, 0],
        body: Body::Slice(BODY),
        overlay: None,
        shared: None,
    };
    let entry = NewEntry { message: black_box(message), expires: Time(0), priority: 0 };
    let mut entries = vec![entry; count];
    queue.publish(&mut entries, &mut turn(effects)).map_err(|gone| gone.to_string())
}

fn deliver(
    queue: &mut Queue,
    slot: Slot,
    outbox: &mut DeliveryBatch,
    effects: &mut Effects,
) -> Result<u64, String> {
    let mut cursor = DeliveryCursor::default();
    let mut count = 0;
    while outbox.enter_run(&mut cursor) {
        outbox.walk_run(&mut cursor, usize::MAX, |delivery| {
            black_box(delivery);
            count += 1;
            ControlFlow::Continue(())
        });
    }
    let cost = outbox.runs().iter().map(|run| run.cost).sum();
    outbox.clear(usize::MAX);
    effects.clear(usize::MAX);
    queue.grant(slot, 0, cost, &mut turn(effects)).map_err(|gone| gone.to_string())?;
    Ok(count)
}
