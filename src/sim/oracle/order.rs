//! The fifth invariant: first in, first out, per producer and queue, except for flagged redeliveries; and after a
//! crash a queue has no holes: nothing is there that a producer sent after something that is lost.

use super::kept::must_be_there;
use super::{Checked, Found, violated};
use crate::model::{Model, Queue, QueueKey};
use fairlead_kernel::settings;
use fairlead_kernel::{ConsumerId, Time};
use std::collections::BTreeMap;

/// Who gets what from where: a consumer (none for Get) and its queue.
type Stream = (Option<ConsumerId>, QueueKey);

/// The last message of each producer and level that a stream has had.
#[derive(Debug, Default)]
pub struct Order(BTreeMap<(Stream, u64, u8), u64>);

fn level(model: &Model, queue: &Queue, message: u64) -> (u64, u8) {
    let Some(message) = model.messages.get(&message) else { return (0, 0) };
    let level = match &queue.settings.order {
        settings::Order::Priority { levels } => {
            u16::from(message.priority).min(levels.saturating_sub(1)) as u8
        }
        settings::Order::Fifo | settings::Order::LastValue { .. } => 0,
    };
    (message.producer, level)
}

/// A message is delivered for the first time.
///
/// # Errors
/// The same producer's later one came before it.
pub fn delivered(order: &mut Order, model: &Model, stream: Stream, message: u64) -> Checked {
    let Some(queue) = model.queues.get(&stream.1).filter(|queue| !queue.graveyard) else { return Ok(()) };
    let (producer, level) = level(model, queue, message);
    let last = order.0.insert((stream, producer, level), message);
    match last.filter(|last| *last >= message) {
        Some(last) => {
            Err(violated("order", format!("message {message} of {:?} comes after {last}", stream.1)))
        }
        None => Ok(()),
    }
}

/// A restart has found these.
///
/// # Errors
/// They are out of order, or one is lost that was sent before one that is there.
pub fn found(model: &Model, found: &Found, now: Time) -> Checked {
    for (name, entries) in &found.queues {
        let Some((key, queue)) = model.latest(name).and_then(|key| Some((key, model.queues.get(&key)?)))
        else {
            continue;
        };
        if queue.graveyard {
            continue;
        }
        let mut last: BTreeMap<(u64, u8), u64> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.redelivered) {
            if let Some(last) = last.insert(level(model, queue, entry.message), entry.message)
                && last >= entry.message
            {
                return Err(violated(
                    "order",
                    format!("message {} of {key:?} is behind {last}", entry.message),
                ));
            }
        }
        no_holes(model, (key, queue), found, now)?;
    }
    Ok(())
}

fn no_holes(model: &Model, (key, queue): (QueueKey, &Queue), found: &Found, now: Time) -> Checked {
    let newest = queue.copies.iter().rev().filter(|(message, _)| found.has(model, key, **message));
    let Some(newest) = newest.map(|(_, copy)| copy.op).max() else { return Ok(()) };
    for (message, copy) in &queue.copies {
        let surely_there = copy.persistent && copy.sure && copy.left.is_none() && !copy.may_be_gone;
        let lost = surely_there && !copy.may_be_dead_at(now) && !found.has(model, key, *message);
        // Those that must be there are another invariant's.
        if lost && copy.op < newest && !must_be_there(copy, model.durable) {
            let words =
                format!("message {message} of {key:?} is lost, and one of operation {newest} is there");
            return Err(violated("order", words));
        }
    }
    Ok(())
}
