//! A transaction is there as a whole or not at all, its publishes and what it acknowledged alike, in all its queues.

use super::kept::must_be_there;
use super::{Checked, Found, violated};
use crate::model::{Model, Transaction};
use fairlead_kernel::Time;

/// A restart has found these.
///
/// # Errors
/// A transaction is there in part, or one that was answered is not.
pub fn found(model: &Model, found: &Found, now: Time) -> Checked {
    for (number, transaction) in model.transactions.iter().enumerate() {
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        published(model, found, (number, transaction, now), &mut there, &mut missing);
        accepted(model, found, (transaction, now), &mut there, &mut missing);
        let answered = transaction.answered || transaction.op <= model.durable;
        if let Some(missing) = missing.first() {
            if let Some(there) = there.first() {
                let words = format!("transaction {number} is there in part: {there}, but {missing}");
                return Err(violated("whole", words));
            }
            if answered {
                return Err(violated("whole", format!("transaction {number} was answered: {missing}")));
            }
        }
    }
    Ok(())
}

type Evidence = Vec<String>;

fn published(
    model: &Model,
    found: &Found,
    (number, transaction, now): (usize, &Transaction, Time),
    there: &mut Evidence,
    missing: &mut Evidence,
) {
    for message in &transaction.published {
        for key in model.targets.get(message).into_iter().flatten() {
            let Some(queue) = model.queues.get(key) else { continue };
            let Some(copy) = queue.copies.get(message).filter(|copy| copy.transaction == Some(number)) else {
                continue;
            };
            if found.of(model, *key).is_none() || !copy.persistent {
                continue;
            }
            if found.has(model, *key, *message) {
                there.push(format!("message {message} is in {key:?}"));
            } else if copy.sure && copy.left.is_none() && !copy.may_be_gone && !copy.may_be_dead_at(now) {
                missing.push(format!("message {message} is not in {key:?}"));
            }
        }
    }
}

fn accepted(
    model: &Model,
    found: &Found,
    (transaction, now): (&Transaction, Time),
    there: &mut Evidence,
    missing: &mut Evidence,
) {
    for (key, message) in &transaction.accepted {
        let Some(queue) = model.queues.get(key).filter(|queue| !queue.graveyard) else { continue };
        let Some(copy) = queue.copies.get(message) else { continue };
        if found.of(model, *key).is_none() {
            continue;
        }
        if found.has(model, *key, *message) {
            missing.push(format!("message {message} of {key:?}, which it acknowledged, is there"));
        } else if must_be_there(copy, model.durable)
            && queue.settings.limits.max_messages.is_none()
            && !copy.may_be_gone
            && !copy.may_be_dead_at(now)
        {
            // Nothing else can have taken it.
            there.push(format!("message {message} of {key:?} is acknowledged"));
        }
    }
}
