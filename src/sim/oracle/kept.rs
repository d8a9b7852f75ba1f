//! The first invariant: every confirmed message is delivered, dead-lettered, expired by policy, or present. What is
//! known to be on disk for another reason is held to the same.

use super::{Checked, Found, violated};
use crate::model::{Copy, How, Model, Queue, QueueKey};
use fairlead_kernel::Time;

/// Whether a restart must find it, unless it left.
#[must_use]
pub fn must_be_there(copy: &Copy, durable: u64) -> bool {
    copy.persistent && copy.sure && (copy.durable || copy.op <= durable)
}

/// Whether its time is over, so that nobody is shown it.
#[must_use]
pub fn may_be_hidden(copy: &Copy, now: Time) -> bool {
    copy.persistent && copy.expires.is_some_and(|expires| expires <= now)
}

/// A restart has found these.
///
/// # Errors
/// A message is missing.
pub fn found(model: &Model, found: &Found, now: Time) -> Checked {
    let found_again = model.queues.iter().filter(|(key, _)| found.of(model, **key).is_some());
    found_again
        .filter(|(_, queue)| !queue.graveyard)
        .try_for_each(|(key, queue)| of_queue(model, found, (*key, queue), now))
}

fn of_queue(model: &Model, found: &Found, (key, queue): (QueueKey, &Queue), now: Time) -> Checked {
    let mut hidden = found.hidden.get(&queue.name).copied().unwrap_or(0);
    for (message, copy) in &queue.copies {
        if !must_be_there(copy, model.durable) || found.has(model, key, *message) || copy.may_be_gone {
            continue;
        }
        let died = match copy.left {
            None => copy.may_be_dead_at(now),
            Some(left) if left.how == How::Rejected => true,
            Some(_) => continue,
        };
        if !died {
            let words = format!(
                "message {message} is not in {key:?} any more; {} operations are on disk; {copy:?}",
                model.durable
            );
            return Err(violated("kept", words));
        }
        if is_buried(model, found, queue, (*message, copy)) {
            continue;
        }
        if !may_be_hidden(copy, now) || hidden == 0 {
            let words =
                format!("message {message} died in {key:?} and is not where its dead letters go; {copy:?}");
            return Err(violated("kept", words));
        }
        hidden -= 1;
    }
    Ok(())
}

/// Whether a dead message is where it should be, or may have been lost on its way as the rules have it.
fn is_buried(model: &Model, found: &Found, queue: &Queue, (message, copy): (u64, &Copy)) -> bool {
    let Some(name) = queue.graveyard_of() else { return true };
    let Some(key) = model.latest(name) else { return true };
    let Some(graveyard) = model.queues.get(&key) else { return true };
    // It was not there all the time.
    if graveyard.deleted.is_some() || graveyard.drained || graveyard.born > copy.op {
        return true;
    }
    found.has(model, key, message) || graveyard.settled.values().any(|(settled, _)| *settled == message)
}
