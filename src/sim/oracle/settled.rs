//! The fourth invariant: what was settled does not come back, in this life at once, in the next ones once its
//! settlement is on disk. And what may have been delivered before says so.

use super::{Checked, Found, violated};
use crate::model::{Model, QueueKey};
use fairlead_kernel::Sequence;

/// A message is delivered from a queue.
///
/// # Errors
/// It was settled, or somebody holds it, or it came back and does not say so.
pub fn delivered(
    model: &Model,
    key: QueueKey,
    message: u64,
    sequence: Sequence,
    redelivered: bool,
) -> Checked {
    let Some(queue) = model.queues.get(&key) else { return Ok(()) };
    if queue.settled.get(&sequence).is_some_and(|(settled, _)| *settled == message) {
        return Err(violated(
            "settled",
            format!("message {message} of {key:?} was settled, and is delivered"),
        ));
    }
    let Some(copy) = queue.copies.get(&message) else { return Ok(()) };
    if let Some(left) = copy.left {
        return Err(violated(
            "settled",
            format!("message {message} left {key:?} as {left:?}, and is delivered"),
        ));
    }
    if let Some(holder) = copy.holder {
        return Err(violated(
            "settled",
            format!("client {holder} holds message {message} of {key:?}, and another gets it"),
        ));
    }
    if copy.returned && !redelivered {
        return Err(violated(
            "settled",
            format!("message {message} of {key:?} came back, and is not flagged"),
        ));
    }
    Ok(())
}

/// A restart has found these.
///
/// # Errors
/// The settlement of one was on disk, or it had been delivered and does not say so.
pub fn found(model: &Model, found: &Found) -> Checked {
    let durable = model.durable;
    for (name, entries) in &found.queues {
        let Some((key, queue)) = model.latest(name).and_then(|key| Some((key, model.queues.get(&key)?)))
        else {
            continue;
        };
        for entry in entries {
            let message = entry.message;
            let settled = queue.settled.get(&entry.sequence).filter(|(settled, _)| *settled == message);
            let copy = queue.copies.get(&message);
            let left = settled.map(|(_, op)| *op).or(copy.and_then(|copy| copy.left).map(|left| left.op));
            if let Some(op) = left.filter(|op| *op <= durable) {
                let words = format!(
                    "message {message} left {key:?} by operation {op}, and is there again; {durable} are on disk"
                );
                return Err(violated("settled", words));
            }
            let delivered = copy.and_then(|copy| copy.delivered).filter(|op| *op <= durable);
            if let Some(op) = delivered.filter(|_| !entry.redelivered) {
                let words = format!(
                    "message {message} of {key:?} was delivered by operation {op}, and is not flagged; {durable} are on disk"
                );
                return Err(violated("settled", words));
            }
        }
    }
    Ok(())
}
