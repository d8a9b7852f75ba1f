//! Dead letters: the message's history is brought up to date, and it is addressed to its new exchange.

use super::contents::Spot;
use super::{Queue, Turn};
use crate::effect::DeadLetter;
use crate::ids::Time;
use crate::message::{Death, DeathReason, HeadReader, Message, MessageView, Overlay};
use std::sync::Arc;

/// Where and why a message died.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeathCertificate<'a> {
    pub(super) queue: &'a str,
    pub(super) reason: DeathReason,
    pub(super) time: Time,
    /// Where it goes.
    pub(super) exchange: &'a str,
    /// With which key; its own if `None`.
    pub(super) key: Option<&'a str>,
}

/// The message as it is published to the dead-letter exchange. Head and body are shared if they were.
pub(super) fn bury(
    message: &MessageView<'_>,
    reader: &dyn HeadReader,
    certificate: &DeathCertificate<'_>,
) -> Arc<Message> {
    let mut overlay = message.overlay.cloned().unwrap_or_default();
    let at = overlay
        .deaths
        .iter()
        .position(|death| *death.queue == *certificate.queue && death.reason == certificate.reason);
    let death = match at {
        Some(at) => {
            let mut death = overlay.deaths.remove(at);
            death.count += 1;
            death
        }
        None => first_such_death(message, &overlay, reader, certificate),
    };
    overlay.deaths.insert(0, death);
    overlay
        .first_death
        .get_or_insert_with(|| (certificate.queue.into(), certificate.reason, message.exchange.into()));
    overlay.expiry_removed = true;
    overlay.extra_keys_removed |= certificate.key.is_some();
    let mut dead = Arc::unwrap_or_clone(message.to_shared());
    dead.exchange = certificate.exchange.into();
    if let Some(key) = certificate.key {
        dead.routing_key = key.into();
    }
    dead.overlay = Some(Box::new(overlay));
    Arc::new(dead)
}

fn first_such_death(
    message: &MessageView<'_>,
    overlay: &Overlay,
    reader: &dyn HeadReader,
    certificate: &DeathCertificate<'_>,
) -> Death {
    let mut routing_keys = vec![message.routing_key.into()];
    if !overlay.extra_keys_removed {
        routing_keys.extend(reader.extra_keys(message.head, false).into_iter().map(Into::into));
    }
    let original_expiry = if overlay.expiry_removed { None } else { reader.time_to_live(message.head) };
    Death {
        count: 1,
        reason: certificate.reason,
        queue: certificate.queue.into(),
        time: certificate.time,
        exchange: message.exchange.into(),
        routing_keys,
        original_expiry,
    }
}

/// Whether a dead letter that is about to enter `queue` goes round in a circle that no consumer's rejection
/// takes part in: such a message is dropped.
#[must_use]
pub fn would_cycle(overlay: &Overlay, queue: &str) -> bool {
    match overlay.deaths.iter().position(|death| *death.queue == *queue) {
        Some(at) => overlay.deaths[..=at].iter().all(|death| death.reason != DeathReason::Rejected),
        None => false,
    }
}

impl Queue {
    /// The message on its way to the dead-letter exchange.
    pub(super) fn dead_message(
        &self,
        message: &MessageView<'_>,
        reason: DeathReason,
        time: Time,
    ) -> Arc<Message> {
        let certificate = DeathCertificate {
            queue: &self.name,
            reason,
            time,
            exchange: self.state.limits.dead_letter_exchange.as_deref().unwrap_or_default(),
            key: self.state.limits.dead_letter_key.as_deref(),
        };
        bury(message, self.readers.of(message.origin), &certificate)
    }

    /// Ask for an entry to be dead-lettered; it is leaving from now on. Its message is here.
    pub(super) fn bury<L, W>(&mut self, spot: Spot, reason: DeathReason, turn: &mut Turn<'_, L, W>) {
        if let Some(message) = self.state.contents.message(spot) {
            let message = self.dead_message(&message, reason, turn.now);
            let sequence = Some(self.state.contents.at(spot).sequence);
            turn.effects.dead_letters.push(DeadLetter { queue: self.id, sequence, reason, message });
            self.counters.dead_lettered += 1;
        }
        self.state.contents.leave(spot);
    }
}
