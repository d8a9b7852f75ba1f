//! What was declared, and the declaration answered, is there after a restart; what was deleted stays deleted; nothing
//! transient is there.

use super::{Checked, Found, violated};
use crate::model::{Entity, Model};

/// A restart has found these.
///
/// # Errors
/// Something is missing, or there again, or was never declared so.
pub fn found(model: &Model, found: &Found) -> Checked {
    for (entity, history) in &model.history {
        let there = is_there(model, found, entity);
        if !history.allows(there, model.durable) {
            let word = if there { "is there again" } else { "is lost" };
            let words = format!("{entity:?} {word}; {} operations are on disk; {history:?}", model.durable);
            return Err(violated("declared", words));
        }
    }
    let unknown = |entity: &Entity| !model.history.contains_key(entity);
    for name in found.queues.keys() {
        let entity = model.latest(name).map(|key| Entity::Queue(key, name.clone()));
        if entity.as_ref().is_none_or(unknown) {
            return Err(violated("declared", format!("nobody made a durable queue {name}")));
        }
    }
    for (name, exchange) in &found.exchanges {
        if unknown(&Entity::Exchange(name.clone())) {
            return Err(violated("declared", format!("nobody made a durable exchange {name}")));
        }
        if model.exchanges.get(name).is_some_and(|declared| declared != exchange) {
            return Err(violated("declared", format!("exchange {name} is another: {exchange:?}")));
        }
    }
    for (source, queue, key) in &found.bindings {
        if unknown(&Entity::Binding(source.clone(), queue.clone(), key.clone())) {
            return Err(violated(
                "declared",
                format!("nobody made a durable binding {source} to {queue} by {key}"),
            ));
        }
    }
    Ok(())
}

fn is_there(model: &Model, found: &Found, entity: &Entity) -> bool {
    match entity {
        Entity::Exchange(name) => found.exchanges.contains_key(name),
        Entity::Queue(key, _) => found.of(model, *key).is_some(),
        Entity::Binding(source, queue, key) => {
            found.bindings.contains(&(source.clone(), queue.clone(), key.clone()))
        }
    }
}
