//! Class basic, settlements: ack, nack, reject, recover.
//!
//! Settlements of the same channel and outcome that come one after the other leave as one request, so that
//! a read buffer full of acknowledgements enters each queue once.

use super::super::Connection;
use super::super::receive::not_implemented;
use crate::channel::{Channel, Mode};
use crate::error::Fault;
use crate::spec::basic;
use fairlead_kernel::ids::SessionId;
use fairlead_kernel::session::{Outcome, Request, Unsettled};
use std::collections::VecDeque;

/// What requeue means: the delivery counts, and the message is flagged redelivered.
const REQUEUED: Outcome = Outcome::Released { delivered: true };

impl Connection {
    pub(in crate::connection) fn ack(&mut self, number: u16, method: &basic::Ack) -> Result<(), Fault> {
        self.settle(number, method.delivery_tag, method.multiple, Outcome::Accepted)
    }

    pub(super) fn reject(&mut self, number: u16, method: &basic::Reject) -> Result<(), Fault> {
        self.settle(number, method.delivery_tag, false, refused(method.requeue))
    }

    pub(super) fn nack(&mut self, number: u16, method: &basic::Nack) -> Result<(), Fault> {
        self.settle(number, method.delivery_tag, method.multiple, refused(method.requeue))
    }

    fn settle(&mut self, number: u16, tag: u64, multiple: bool, outcome: Outcome) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        if let Mode::Transaction(_) = channel.mode {
            return settle_in_transaction(channel, tag, multiple, outcome);
        }
        // Spec: basic.ack, field delivery-tag: zero with multiple means all, also when there is none.
        let all = multiple && tag == 0;
        let up_to = if all { channel.unsettled.last_tag() } else { tag };
        let Some(deliveries) = settlement(&mut self.requests, SessionId(number), outcome) else {
            return Ok(());
        };
        let before = deliveries.len();
        if multiple {
            channel.unsettled.take_up_to(up_to, deliveries);
        } else {
            deliveries.extend(channel.unsettled.take(tag));
        }
        let found = deliveries.len() > before;
        if deliveries.is_empty() {
            self.requests.pop_back();
        }
        if found || all { Ok(()) } else { Err(unknown_tag(tag)) }
    }

    /// Everything unacknowledged goes back to its queues. Spec: basic.recover.
    pub(super) fn recover(&mut self, number: u16, requeue: bool) -> Result<(), Fault> {
        if !requeue {
            return Err(not_implemented("requeue=false"));
        }
        self.settle(number, 0, true, REQUEUED)
    }
}

fn refused(requeue: bool) -> Outcome {
    if requeue { REQUEUED } else { Outcome::Rejected }
}

fn unknown_tag(tag: u64) -> Fault {
    Fault::precondition(format!("unknown delivery tag {tag}"))
}

/// The list of the last request if it settles the same way, else that of a new one.
fn settlement(
    requests: &mut VecDeque<(SessionId, Request)>,
    session: SessionId,
    outcome: Outcome,
) -> Option<&mut Vec<Unsettled>> {
    let goes_on = requests.back().is_some_and(|(last, request)| {
        *last == session && matches!(request, Request::Settle { outcome: same, .. } if *same == outcome)
    });
    if !goes_on {
        requests.push_back((session, Request::Settle { outcome, deliveries: Vec::new() }));
    }
    match requests.back_mut() {
        Some((_, Request::Settle { deliveries, .. })) => Some(deliveries),
        _ => None,
    }
}

/// Take what is settled out under its tags: a rollback brings it back.
fn settle_in_transaction(
    channel: &mut Channel,
    tag: u64,
    multiple: bool,
    outcome: Outcome,
) -> Result<(), Fault> {
    let all = multiple && tag == 0;
    let unsettled = &mut channel.unsettled;
    let tags: Vec<u64> = match multiple {
        true if tag > unsettled.last_tag() => Vec::new(),
        true => unsettled.tags_up_to(if all { u64::MAX } else { tag }).collect(),
        false => vec![tag],
    };
    let Mode::Transaction(transaction) = &mut channel.mode else { return Ok(()) };
    let list = transaction.settled_as(outcome);
    let before = list.len();
    list.extend(
        tags.into_iter()
            .filter_map(|tag| unsettled.take_with_time(tag).map(|(delivery, time)| (tag, delivery, time))),
    );
    if list.len() > before || all { Ok(()) } else { Err(unknown_tag(tag)) }
}
