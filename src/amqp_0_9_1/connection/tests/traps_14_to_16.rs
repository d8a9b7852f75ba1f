//! Traps 14 to 16: consumers, qos, acknowledgements; and what a transaction does to the last.

use super::talk::{Talk, TestDelivery, as_table, table};
use super::{check, check_in};
use crate::codec::frame::{decode, encode_method};
use crate::connection::ConnectionConfig;
use crate::spec::{BasicProperties, basic, channel, tx};
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::session::{Event, Outcome, Request, Unsettled};
use fairlead_kernel::{ConsumerId, QueueId, Sequence, SessionId};

/// An open channel with consumer 1, whose tag is `t`.
fn consuming() -> Talk {
    let mut talk = Talk::open();
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    assert_eq!(talk.heard(), ["1 basic.consume-ok consumer_tag: \"t\""]);
    talk.asked();
    talk
}

fn unsettled(sequence: u64) -> Unsettled {
    Unsettled { queue: QueueId(1), sequence: Sequence(sequence), consumer: Some(ConsumerId(1)) }
}

fn settle(outcome: Outcome, sequences: &[u64]) -> Request {
    Request::Settle { outcome, deliveries: sequences.iter().map(|&n| unsettled(n)).collect() }
}

#[test]
fn trap_14_consumers_as_asked_for() {
    let mut talk = Talk::open();
    let arguments = table(|table| {
        table.put_i32("x-priority", 5);
    });
    let consume = basic::Consume {
        queue: "q",
        consumer_tag: "t",
        no_local: true,
        exclusive: true,
        arguments: as_table(&arguments),
        ..Default::default()
    };
    talk.send(1, &consume);
    let asked = talk.asked();
    let [Request::Subscribe { consumer: ConsumerId(1), queue, settings }] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!((queue.as_str(), settings.tag.as_str(), settings.priority), ("q", "t", 5));
    assert!(settings.acknowledge && settings.exclusive);
    assert!(!settings.no_local, "accepted, and without effect");
    let wrong = table(|table| {
        table.put_str("x-priority", "high");
    });
    check(
        |talk| {
            talk.send(1, &basic::Consume { queue: "q", arguments: as_table(&wrong), ..Default::default() })
        },
        &["1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
           \"expected integer, got longstr\" (60,20)"],
    );
}

#[test]
fn trap_14_exclusive_use_and_tags_used_twice() {
    let mut talk = Talk::open();
    talk.refuse(Refusal::InExclusiveUse("q".to_owned()));
    check_in(
        talk,
        |talk| talk.send(1, &basic::Consume { queue: "q", ..Default::default() }),
        &["1 channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use (60,20)"],
    );
    check_in(
        consuming(),
        |talk| talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() }),
        &["0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 't' (60,20)"],
    );
    // A tag is free again once its consumer is cancelled, and on other channels it always is.
    check_in(
        consuming(),
        |talk| {
            talk.send(1, &basic::Cancel { consumer_tag: "t", no_wait: false });
            talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
            talk.send(2, &channel::Open);
            talk.send(2, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
        },
        &[
            "1 basic.cancel-ok consumer_tag: \"t\"",
            "1 basic.consume-ok consumer_tag: \"t\"",
            "2 channel.open-ok",
            "2 basic.consume-ok consumer_tag: \"t\"",
        ],
    );
}

#[test]
fn trap_14_consumers_are_bounded() {
    let config = ConnectionConfig { consumers_max: 1, ..ConnectionConfig::default() };
    check_in(
        Talk::open_with(config),
        |talk| {
            talk.send(1, &basic::Consume { queue: "q", consumer_tag: "a", ..Default::default() });
            talk.send(1, &basic::Consume { queue: "q", consumer_tag: "b", ..Default::default() });
        },
        &[
            "1 basic.consume-ok consumer_tag: \"a\"",
            "0 connection.close 530 NOT_ALLOWED - reached maximum (1) of consumers per channel (60,20)",
        ],
    );
}

#[test]
fn trap_14_cancelled_by_the_server() {
    let gone = Event::ConsumerCancelled { session: SessionId(1), consumer: ConsumerId(1) };
    check_in(
        consuming(),
        |talk| talk.event(gone.clone()),
        &["1 basic.cancel consumer_tag: \"t\", no_wait: true"],
    );
    let mut without = Talk::local();
    without.start_ok(&[]);
    without.tune_and_open();
    without.send(1, &channel::Open);
    without.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    without.heard();
    check_in(without, |talk| talk.event(gone), &[]);
}

#[test]
fn trap_14_cancels_of_both_sides_may_cross() {
    let mut talk = consuming();
    let mut bytes = Vec::new();
    encode_method(&mut bytes, 1, &basic::Cancel { consumer_tag: "t", no_wait: false });
    let (frame, _) = decode(&bytes, 1 << 17).unwrap().unwrap();
    talk.connection.handle_frame(frame, talk.now, &mut Default::default()).unwrap();
    // The queue goes while the engine is asked.
    talk.connection
        .handle_event(Event::ConsumerCancelled { session: SessionId(1), consumer: ConsumerId(1) }, talk.now);
    assert_eq!(talk.heard(), ["1 basic.cancel consumer_tag: \"t\", no_wait: true"]);
    check_in(talk, |talk| talk.feed(&[]), &["1 basic.cancel-ok consumer_tag: \"t\""]);
}

#[test]
fn trap_15_prefetch_is_for_consumers_to_come_or_for_the_channel() {
    let mut talk = Talk::open();
    let window = |talk: &mut Talk, tag: &str, no_ack: bool| {
        talk.send(1, &basic::Consume { queue: "q", consumer_tag: tag, no_ack, ..Default::default() });
        match talk.asked().pop() {
            Some(Request::Subscribe { settings, .. }) => settings.window,
            other => panic!("{other:?}"),
        }
    };
    let bound = ConnectionConfig::default().unsettled_max;
    assert_eq!(window(&mut talk, "a", false), Some(bound), "no prefetch, yet not without bound");
    talk.send(1, &basic::Qos { prefetch_count: 5, ..Default::default() });
    assert_eq!(window(&mut talk, "b", false), Some(5));
    assert_eq!(window(&mut talk, "c", true), None, "nothing to acknowledge, nothing to count");
    talk.heard();
    talk.send(1, &basic::Qos { prefetch_count: 7, global: true, prefetch_size: 0 });
    assert_eq!(talk.asked(), [Request::SetSessionWindow { window: Some(7) }]);
    talk.send(1, &basic::Qos { prefetch_count: 0, global: true, prefetch_size: 0 });
    assert_eq!(talk.asked(), [Request::SetSessionWindow { window: None }]);
    assert_eq!(window(&mut talk, "d", false), Some(5), "both hold at once");
    talk.heard();
    check_in(
        talk,
        |talk| talk.send(1, &basic::Qos { prefetch_size: 1, ..Default::default() }),
        &["0 connection.close 540 NOT_IMPLEMENTED - prefetch_size!=0 (1) (60,10)"],
    );
}

#[test]
fn trap_15_quorum_queues_refuse_a_window_of_the_channel() {
    let mut talk = Talk::open();
    talk.refuse(Refusal::SessionWindow("q".to_owned()));
    check_in(
        talk,
        |talk| talk.send(1, &basic::Consume { queue: "q", ..Default::default() }),
        &[
            "0 connection.close 540 NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos (60,20)",
        ],
    );
}

/// Channel 1 with deliveries 1 to 5, of sequences 1 to 5.
fn with_five() -> Talk {
    let mut talk = consuming();
    for sequence in 1..=5 {
        talk.deliver(&TestDelivery { sequence, ..Default::default() });
    }
    let heard = talk.heard();
    assert_eq!(
        heard[..3],
        [
            "1 basic.deliver consumer_tag: \"t\", delivery_tag: 1, redelivered: false, exchange: \"x\", routing_key: \"k\"",
            "1 header 4",
            "1 body body",
        ]
    );
    talk
}

#[test]
fn trap_16_acknowledgements_settle_each_delivery_once() {
    let ack = |delivery_tag, multiple| basic::Ack { delivery_tag, multiple };
    let mut talk = with_five();
    talk.send(1, &ack(3, false));
    assert_eq!(talk.asked(), [settle(Outcome::Accepted, &[3])]);
    talk.send(1, &ack(4, true));
    assert_eq!(talk.asked(), [settle(Outcome::Accepted, &[1, 2, 4])]);
    talk.send(1, &ack(0, true));
    assert_eq!(talk.asked(), [settle(Outcome::Accepted, &[5])]);
    talk.send(1, &ack(0, true));
    assert_eq!((talk.asked(), talk.heard()), (vec![], vec![]), "all, even if there is none");
    for (delivery_tag, multiple) in [(3, false), (6, false), (6, true), (0, false), (u64::MAX, true)] {
        check_in(
            {
                let mut talk = with_five();
                talk.send(1, &ack(3, false));
                talk
            },
            |talk| talk.send(1, &ack(delivery_tag, multiple)),
            &[&format!(
                "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag {delivery_tag} (60,80)"
            )],
        );
    }
}

#[test]
fn trap_16_tags_are_of_their_channel_and_shared_with_get() {
    let mut talk = with_five();
    talk.send(1, &basic::Get { queue: "q", no_ack: false });
    // The scripted engine says "empty"; the other answer of a get is a delivery.
    assert_eq!(talk.heard(), ["1 basic.get-empty"]);
    talk.send(2, &channel::Open);
    talk.heard();
    check_in(
        talk,
        |talk| talk.send(2, &basic::Ack { delivery_tag: 1, multiple: false }),
        &["2 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1 (60,80)"],
    );
}

#[test]
fn trap_16_rejects_and_requeues() {
    let mut talk = with_five();
    talk.send(1, &basic::Reject { delivery_tag: 1, requeue: false });
    talk.send(1, &basic::Nack { delivery_tag: 3, multiple: true, requeue: true });
    talk.send(1, &basic::Recover { requeue: true });
    talk.send(1, &basic::RecoverAsync { requeue: true });
    let back = Outcome::Released { delivered: true };
    assert_eq!(talk.asked(), [settle(Outcome::Rejected, &[1]), settle(back, &[2, 3]), settle(back, &[4, 5])]);
    assert_eq!(talk.heard(), ["1 basic.recover-ok"]);
}

#[test]
fn trap_16_a_read_full_of_acknowledgements_is_one_request() {
    let mut talk = with_five();
    let mut frames = Vec::new();
    for delivery_tag in 1..=4 {
        encode_method(&mut frames, 1, &basic::Ack { delivery_tag, multiple: false });
    }
    encode_method(&mut frames, 1, &basic::Reject { delivery_tag: 5, requeue: false });
    talk.feed(&frames);
    assert_eq!(talk.asked(), [settle(Outcome::Accepted, &[1, 2, 3, 4]), settle(Outcome::Rejected, &[5])]);
}

#[test]
fn trap_16_what_is_unsettled_goes_back_with_its_channel() {
    let mut talk = with_five();
    talk.send(1, &basic::Ack { delivery_tag: 2, multiple: false });
    talk.asked();
    talk.send(1, &channel::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    let left = [1, 3, 4, 5].map(unsettled).to_vec();
    assert_eq!(
        (talk.asked(), talk.heard()),
        (vec![Request::CloseSession { unsettled: left }], vec!["1 channel.close-ok".to_owned()])
    );
    // The engine had one more on its way.
    talk.deliver(&TestDelivery { sequence: 6, ..Default::default() });
    assert_eq!(talk.heard(), [""; 0]);
    assert_eq!(talk.asked(), [settle(Outcome::Released { delivered: false }, &[6])]);
}

#[test]
fn trap_16_unacknowledged_gets_are_bounded() {
    let config = ConnectionConfig { unsettled_max: 1, ..ConnectionConfig::default() };
    let mut talk = Talk::open_with(config);
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.deliver(&TestDelivery::default());
    talk.heard();
    check_in(
        talk,
        |talk| talk.send(1, &basic::Get { queue: "q", no_ack: false }),
        &[
            "1 channel.close 406 PRECONDITION_FAILED - channel 1 has 1 unacknowledged deliveries, the maximum is 1 \
           (60,70)",
        ],
    );
}

#[test]
fn trap_18_transactions_hold_publishes_and_acknowledgements() {
    let mut talk = with_five();
    talk.send(1, &tx::Select);
    talk.publish("x", "k", &BasicProperties::default(), b"m");
    assert!(talk.published[0].transacted);
    talk.send(1, &basic::Ack { delivery_tag: 2, multiple: true });
    talk.send(1, &basic::Reject { delivery_tag: 4, requeue: false });
    assert_eq!(talk.asked(), [], "nothing before the commit");
    talk.send(1, &tx::Rollback);
    talk.send(1, &basic::Ack { delivery_tag: 2, multiple: true });
    talk.send(1, &basic::Ack { delivery_tag: 4, multiple: false });
    talk.send(1, &basic::Nack { delivery_tag: 3, multiple: false, requeue: true });
    talk.send(1, &tx::Commit);
    let list = |numbers: &[u64]| numbers.iter().map(|&n| unsettled(n)).collect::<Vec<_>>();
    assert_eq!(
        talk.asked(),
        [
            Request::Rollback,
            Request::Commit {
                settlements: vec![
                    (Outcome::Accepted, list(&[1, 2, 4])),
                    (Outcome::Released { delivered: true }, list(&[3])),
                ]
            },
        ]
    );
    assert_eq!(talk.heard(), ["1 tx.select-ok", "1 tx.rollback-ok", "1 tx.commit-ok"]);
    talk.send(1, &basic::Ack { delivery_tag: 5, multiple: false });
    assert_eq!(
        talk.connection.take_unsettled(),
        [(SessionId(1), list(&[5]))],
        "an open transaction rolls back with its connection"
    );
}

#[test]
fn trap_18_unknown_tags_in_a_transaction() {
    for (delivery_tag, multiple) in [(6, false), (6, true), (0, false)] {
        let mut talk = with_five();
        talk.send(1, &tx::Select);
        talk.heard();
        check_in(
            talk,
            |talk| talk.send(1, &basic::Ack { delivery_tag, multiple }),
            &[&format!(
                "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag {delivery_tag} (60,80)"
            )],
        );
    }
}
