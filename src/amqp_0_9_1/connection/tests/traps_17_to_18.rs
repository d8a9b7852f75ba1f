//! Traps 17 and 18: what is not implemented, publishers held back, confirms.

use super::talk::{Talk, message};
use super::{check, check_in};
use crate::spec::{BasicProperties, basic, channel, confirm, tx};
use fairlead_kernel::SessionId;
use fairlead_kernel::session::Event;

#[test]
fn trap_17_what_is_not_implemented_ends_the_connection() {
    check(
        |talk| talk.send(1, &basic::Publish { immediate: true, ..Default::default() }),
        &["0 connection.close 540 NOT_IMPLEMENTED - immediate=true (60,40)"],
    );
    check(
        |talk| talk.send(1, &basic::Recover { requeue: false }),
        &["0 connection.close 540 NOT_IMPLEMENTED - requeue=false (60,110)"],
    );
    check(
        |talk| talk.send(1, &channel::Flow { active: false }),
        &["0 connection.close 540 NOT_IMPLEMENTED - active=false (20,20)"],
    );
    check(|talk| talk.send(1, &channel::Flow { active: true }), &["1 channel.flow-ok active: true"]);
}

#[test]
fn trap_17_publishers_are_told_of_low_memory_and_held_back() {
    let publish = |talk: &mut Talk| talk.publish("", "q", &BasicProperties::default(), b"x");
    let blocked = Event::Blocked { reason: "low on memory" };
    let told = "0 connection.blocked reason: \"low on memory\"";
    // One that only consumes is left alone.
    check(
        |talk| {
            talk.event(blocked.clone());
            talk.event(Event::Unblocked);
        },
        &[],
    );
    // One that has published is told, and read up to its next publish.
    let mut talk = Talk::open();
    publish(&mut talk);
    talk.event(blocked.clone());
    assert_eq!(talk.heard(), [told]);
    assert!(talk.connection.wants_input(), "acknowledgements are still taken");
    talk.send(1, &basic::Ack { delivery_tag: 0, multiple: true });
    publish(&mut talk);
    assert!(!talk.connection.wants_input());
    assert_eq!(talk.published.len(), 1);
    talk.event(Event::Unblocked);
    assert!(talk.connection.wants_input());
    assert_eq!(talk.heard(), ["0 connection.unblocked"]);
    // One that publishes for the first time is told then.
    check(
        |talk| {
            talk.event(blocked.clone());
            publish(talk);
            talk.event(Event::Unblocked);
        },
        &[told, "0 connection.unblocked"],
    );
}

#[test]
fn trap_17_a_publish_that_was_held_back_is_not_lost() {
    let mut talk = Talk::open();
    talk.event(Event::Blocked { reason: "low on memory" });
    let frames = super::talk::publish_frames(
        1,
        &basic::Publish { routing_key: "q", ..Default::default() },
        &BasicProperties::default(),
        b"held",
    );
    let method = frames.len() - (20 + 2) - (8 + 4);
    talk.feed(&frames[..method]);
    assert!(!talk.connection.wants_input());
    talk.event(Event::Unblocked);
    talk.feed(&frames[method..]);
    assert_eq!((talk.published.len(), talk.published[0].body.as_slice()), (1, &b"held"[..]));
}

/// Channel 1 in confirm mode, with publishes 1 to `count`.
fn confirming(count: u64) -> Talk {
    let mut talk = Talk::open();
    talk.publish("x", "before", &BasicProperties::default(), b"");
    talk.send(1, &confirm::Select { nowait: false });
    assert_eq!(talk.heard(), ["1 confirm.select-ok"]);
    for _ in 0..count {
        talk.publish("x", "k", &BasicProperties::default(), b"m");
    }
    let numbers: Vec<Option<u64>> = talk.published.iter().map(|publish| publish.confirm).collect();
    assert_eq!(numbers, std::iter::once(None).chain((1..=count).map(Some)).collect::<Vec<_>>());
    talk
}

fn confirmed(from: u64, to: u64, accepted: bool) -> Event {
    Event::Confirmed { session: SessionId(1), from, to, accepted }
}

#[test]
fn trap_18_confirms_count_from_the_select_and_may_come_out_of_order() {
    check_in(
        confirming(6),
        |talk| {
            talk.event(confirmed(3, 4, true));
            talk.event(confirmed(1, 1, true));
            talk.event(confirmed(2, 2, false));
            talk.event(confirmed(5, 6, true));
        },
        &[
            "1 basic.ack delivery_tag: 3, multiple: false",
            "1 basic.ack delivery_tag: 4, multiple: false",
            "1 basic.ack delivery_tag: 1, multiple: false",
            "1 basic.nack delivery_tag: 2, multiple: false, requeue: false",
            "1 basic.ack delivery_tag: 6, multiple: true",
        ],
    );
}

#[test]
fn trap_18_a_return_comes_before_its_ack() {
    check_in(
        confirming(1),
        |talk| {
            talk.event(Event::Returned { session: SessionId(1), message: message("k", b"back") });
            talk.event(confirmed(1, 1, true));
        },
        &[
            "1 basic.return reply_code: 312, reply_text: \"NO_ROUTE\", exchange: \"x\", routing_key: \"k\"",
            "1 header 4",
            "1 body back",
            "1 basic.ack delivery_tag: 1, multiple: false",
        ],
    );
}

#[test]
fn trap_18_confirm_and_tx_exclude_each_other() {
    let closed = |text: &str, ids: &str| format!("1 channel.close 406 PRECONDITION_FAILED - {text} ({ids})");
    let mut talk = Talk::open();
    talk.send(1, &confirm::Select { nowait: true });
    assert_eq!(talk.heard(), [""; 0]);
    check_in(
        talk,
        |talk| talk.send(1, &tx::Select),
        &[&closed("cannot switch from confirm to tx mode", "90,10")],
    );
    let mut talk = Talk::open();
    talk.send(1, &tx::Select);
    assert_eq!(talk.heard(), ["1 tx.select-ok"]);
    check_in(
        talk,
        |talk| talk.send(1, &confirm::Select { nowait: false }),
        &[&closed("cannot switch from tx to confirm mode", "85,10")],
    );
    check(|talk| talk.send(1, &tx::Commit), &[&closed("channel is not transactional", "90,20")]);
    check(|talk| talk.send(1, &tx::Rollback), &[&closed("channel is not transactional", "90,30")]);
}
