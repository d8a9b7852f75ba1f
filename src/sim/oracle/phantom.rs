//! The second invariant: no phantoms. Whatever comes out was put in, as it comes out, into this queue, once; what was
//! rolled back was never put in.

use super::{Checked, Found, violated};
use crate::message::id_of;
use crate::model::{Model, QueueKey};
use fairlead_kernel::MessageView;
use std::collections::BTreeSet;

/// Which message that is, every byte of it held against what was published.
///
/// # Errors
/// None, or it has changed.
pub fn identify(model: &Model, view: &MessageView<'_>) -> Checked<u64> {
    let Some(id) = id_of(view.head) else {
        return Err(violated("phantom", format!("a head that nobody made: {:?}", view.head)));
    };
    let Some(message) = model.messages.get(&id) else {
        return Err(violated("phantom", format!("message {id} was never published")));
    };
    if view.head != message.head() || !message.has_body(view.body) || view.persistent != message.persistent {
        return Err(violated("phantom", format!("message {id} is not as it was published")));
    }
    if view.overlay.is_none() && (view.exchange != message.exchange || view.routing_key != message.key) {
        return Err(violated(
            "phantom",
            format!("message {id} comes from '{}', '{}'", view.exchange, view.routing_key),
        ));
    }
    Ok(id)
}

/// A message is delivered from a queue.
///
/// # Errors
/// It was never put there.
pub fn delivered(model: &Model, queue: QueueKey, message: u64, dead_letter: bool) -> Checked {
    let belongs = model.queues.get(&queue).is_some_and(|found| {
        if found.graveyard {
            dead_letter && may_have_come_to(model, &found.name, message)
        } else {
            !dead_letter && found.copies.contains_key(&message)
        }
    });
    if belongs {
        Ok(())
    } else {
        Err(violated("phantom", format!("message {message} was never put into {queue:?}")))
    }
}

/// Whether a message was in a queue whose dead letters go there. Queues that are gone are not known any more.
fn may_have_come_to(model: &Model, graveyard: &str, message: u64) -> bool {
    model
        .targets
        .get(&message)
        .into_iter()
        .flatten()
        .any(|key| model.queues.get(key).is_none_or(|queue| queue.graveyard_of() == Some(graveyard)))
}

/// A restart has found these.
///
/// # Errors
/// One was never put there, or not to be kept, or is there twice.
pub fn found(model: &Model, found: &Found) -> Checked {
    for (name, entries) in &found.queues {
        let Some(key) = model.latest(name) else { continue };
        let graveyard = model.queues.get(&key).is_some_and(|queue| queue.graveyard);
        let mut seen = BTreeSet::new();
        for entry in entries {
            delivered(model, key, entry.message, entry.dead_letter)?;
            if !model.messages.get(&entry.message).is_some_and(|message| message.persistent) {
                return Err(violated(
                    "phantom",
                    format!("transient message {} is in {name} after a restart", entry.message),
                ));
            }
            if !seen.insert(entry.message) && !graveyard {
                return Err(violated("phantom", format!("message {} is twice in {name}", entry.message)));
            }
        }
    }
    Ok(())
}
