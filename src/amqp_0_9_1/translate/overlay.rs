//! What the broker has added to a message, told in headers when it is delivered.
//!
//! Most deliveries pass their properties through as they came; these are rebuilt only when there is
//! something to add or to hide.

use super::heads::headers_of;
use crate::codec::{Table, TableWriter};
use crate::spec::BasicProperties;
use crate::spec::basic_properties::HEADERS;
use fairlead_kernel::message::{Death, DeathReason, Overlay};

/// The header of hidden extra keys.
const BCC: &str = "BCC";

/// Headers that tell of deaths: ours replace what a publisher may have put there.
const DEATH_HEADERS: [&str; 7] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

const DELIVERY_COUNT: &str = "x-delivery-count";

/// Whether `head` cannot go out as it came; `tell_count` says that the delivery count is to be told.
#[inline]
pub(crate) fn needs_rewriting(head: &[u8], overlay: Option<&Overlay>, tell_count: bool) -> bool {
    if overlay.is_some() || tell_count {
        return true;
    }
    // The flags are the first two bytes: most heads have no headers at all.
    let has_headers = head.first().is_some_and(|flags| u16::from_be_bytes([*flags, 0]) & HEADERS != 0);
    has_headers && headers_of(head).is_some_and(|headers| headers.get(BCC).is_some())
}

/// The properties to deliver instead of `head`.
pub(crate) fn delivered_head(head: &[u8], overlay: Option<&Overlay>, delivery_count: Option<u16>) -> Vec<u8> {
    let nothing = Overlay::default();
    let overlay = overlay.unwrap_or(&nothing);
    let mut properties = BasicProperties::decode(head).unwrap_or_default();
    if overlay.expiry_removed {
        properties.expiration = None;
    }
    let headers = headers(properties.headers, overlay, delivery_count);
    if properties.headers.is_some() || !headers.as_table().is_empty() {
        properties.headers = Some(headers.as_table());
    }
    let mut out = Vec::with_capacity(head.len() + headers.as_table().as_bytes().len());
    properties.encode(&mut out);
    out
}

fn headers(given: Option<Table<'_>>, overlay: &Overlay, delivery_count: Option<u16>) -> TableWriter {
    let mut headers = TableWriter::new();
    for (name, value) in given.unwrap_or_default() {
        let hidden = name == BCC
            || (name == "CC" && overlay.extra_keys_removed)
            || (!overlay.deaths.is_empty() && DEATH_HEADERS.contains(&name))
            || (delivery_count.is_some() && name == DELIVERY_COUNT);
        if !hidden {
            headers.put(name, value);
        }
    }
    if let Some(last) = overlay.deaths.first() {
        headers.put_array("x-death", |array| {
            for death in &overlay.deaths {
                array.push_table(|table| put_death(table, death));
            }
        });
        if let Some((queue, reason, exchange)) = &overlay.first_death {
            put_marks(&mut headers, "first", queue, *reason, exchange);
        }
        put_marks(&mut headers, "last", &last.queue, last.reason, &last.exchange);
    }
    if let Some(count) = delivery_count {
        headers.put_i64(DELIVERY_COUNT, count.into());
    }
    headers
}

fn put_marks(headers: &mut TableWriter, which: &str, queue: &str, reason: DeathReason, exchange: &str) {
    headers.put_str(&format!("x-{which}-death-exchange"), exchange);
    headers.put_str(&format!("x-{which}-death-queue"), queue);
    headers.put_str(&format!("x-{which}-death-reason"), reason_name(reason));
}

fn put_death(table: &mut TableWriter, death: &Death) {
    table.put_i64("count", i64::try_from(death.count).unwrap_or(i64::MAX));
    table.put_str("reason", reason_name(death.reason));
    table.put_str("queue", &death.queue);
    table.put_timestamp("time", death.time.seconds());
    table.put_str("exchange", &death.exchange);
    table.put_array("routing-keys", |keys| {
        for key in &death.routing_keys {
            keys.push_str(key);
        }
    });
    if let Some(expiry) = death.original_expiry {
        table.put_str("original-expiration", &expiry.to_string());
    }
}

fn reason_name(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Expired => "expired",
        DeathReason::Rejected => "rejected",
        DeathReason::Displaced => "maxlen",
        DeathReason::DeliveryLimit => "delivery_limit",
    }
}
