//! Deadlines and heartbeats.

use super::talk::{START, Talk, TestDelivery};
use crate::codec::frame::encode_heartbeat;
use crate::connection::ConnectionConfig;
use crate::spec::{basic, channel, connection};
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::session::{CloseReason, Event};
use std::time::Duration;

/// Open, with a heartbeat of 10 s.
fn beating() -> Talk {
    let mut talk = Talk::local();
    talk.start_ok(&["connection.blocked"]);
    talk.send(0, &connection::TuneOk { channel_max: 10, frame_max: 4096, heartbeat: 10 });
    talk.send(0, &connection::Open { virtual_host: "/" });
    talk.send(1, &channel::Open);
    talk.heard();
    talk
}

fn heartbeat(talk: &mut Talk) {
    let mut bytes = Vec::new();
    encode_heartbeat(&mut bytes);
    talk.feed(&bytes);
}

#[test]
fn a_handshake_has_a_bound_in_time() {
    let mut talk = Talk::local();
    talk.start_ok(&[]);
    assert_eq!(talk.connection.poll_timeout(), Some(START.after_milliseconds(10_000)));
    talk.wait(9_999);
    assert!(!talk.connection.is_closed());
    talk.wait(1);
    assert!(talk.connection.is_closed());
    let mut open = Talk::open();
    assert_eq!(open.connection.poll_timeout(), None);
    open.wait(100_000_000);
    assert!(open.connection.is_open());
}

#[test]
fn our_heartbeat_is_sent_when_nothing_else_is() {
    let mut talk = beating();
    assert_eq!(talk.connection.poll_timeout(), Some(START.after_milliseconds(5_000)));
    talk.wait(5_000);
    assert_eq!(talk.heard(), ["0 heartbeat"]);
    talk.wait(4_000);
    heartbeat(&mut talk);
    talk.send(1, &channel::Flow { active: true });
    talk.heard();
    talk.wait(1_000);
    assert_eq!(talk.heard(), [""; 0], "an answer was sent a second ago");
    talk.wait(4_000);
    assert_eq!(talk.heard(), ["0 heartbeat"]);
}

#[test]
fn a_peer_that_is_silent_for_two_intervals_is_gone() {
    let mut talk = beating();
    talk.wait(15_000);
    heartbeat(&mut talk);
    talk.wait(19_999);
    assert!(talk.connection.is_open());
    talk.wait(1);
    assert!(talk.connection.is_closed());
}

#[test]
fn a_peer_that_is_not_read_cannot_be_silent() {
    let mut talk = beating();
    talk.event(Event::Blocked { reason: "low on memory" });
    talk.send(1, &basic::Publish::default());
    talk.wait(1_000_000);
    assert!(talk.connection.is_open());
    talk.event(Event::Unblocked);
    talk.wait(19_999);
    assert!(talk.connection.is_open());
    talk.connection.heard(talk.now);
    talk.wait(19_999);
    assert!(talk.connection.is_open());
    talk.wait(1);
    assert!(talk.connection.is_closed());
}

#[test]
fn an_acknowledgement_is_not_late_while_nobody_reads() {
    let config =
        ConnectionConfig { acknowledgement_timeout: Duration::from_secs(30), ..ConnectionConfig::default() };
    let mut talk = Talk::open_with(config);
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.deliver(&TestDelivery { sequence: 1, ..Default::default() });
    talk.event(Event::Blocked { reason: "low on memory" });
    talk.send(1, &basic::Publish::default());
    talk.heard();
    talk.wait(100_000);
    assert_eq!(talk.heard(), [""; 0], "the acknowledgement may lie behind the publish");
    talk.event(Event::Unblocked);
    talk.wait(29_999);
    assert_eq!(talk.heard(), ["0 connection.unblocked"], "there is time to read it");
    talk.wait(1);
    assert!(talk.heard()[0].starts_with("1 channel.close 406"));
}

#[test]
fn a_close_waits_for_its_answer_up_to_a_bound() {
    let mut talk = Talk::open();
    talk.event(Event::Close { reason: CloseReason::Shutdown });
    talk.heard();
    talk.send(1, &channel::Open);
    talk.feed(b"what is no frame at all, and its end is wrong");
    assert_eq!(talk.heard(), [""; 0]);
    talk.wait(9_999);
    assert!(!talk.connection.is_closed());
    talk.wait(1);
    assert!(talk.connection.is_closed());
}

#[test]
fn closes_of_both_sides_may_cross() {
    let mut talk = Talk::open();
    talk.event(Event::Close { reason: CloseReason::Shutdown });
    talk.heard();
    talk.send(0, &connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    assert_eq!(talk.heard(), ["0 connection.close-ok"]);
    talk.send(0, &connection::CloseOk);
    assert!(talk.connection.is_closed());
}

#[test]
fn a_connection_can_be_closed_at_any_phase() {
    let close = connection::Close { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
    let phases: [fn(&mut Talk); 3] = [
        |_| (),
        |talk| talk.start_ok(&[]),
        |talk| {
            talk.start_ok(&[]);
            talk.send(0, &connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 });
        },
    ];
    for phase in phases {
        let mut talk = Talk::local();
        phase(&mut talk);
        talk.heard();
        talk.send(0, &close);
        assert_eq!(talk.heard(), ["0 connection.close-ok"]);
        assert!(talk.connection.is_closed());
    }
}

#[test]
fn methods_out_of_the_handshakes_order_end_the_connection() {
    let check = |phase: fn(&mut Talk), send: fn(&mut Talk), expect: &str| {
        let mut talk = Talk::local();
        phase(&mut talk);
        talk.heard();
        send(&mut talk);
        assert_eq!(talk.heard(), [format!("0 connection.close {expect}")]);
    };
    check(
        |_| (),
        |talk| talk.send(0, &connection::Open { virtual_host: "/" }),
        "504 CHANNEL_ERROR - unexpected method in connection state starting (10,40)",
    );
    check(
        |_| (),
        |talk| talk.send(1, &channel::Open),
        "505 UNEXPECTED_FRAME - frame on channel 1 before the connection is open (20,10)",
    );
    check(
        |talk| talk.start_ok(&[]),
        |talk| talk.start_ok(&[]),
        "504 CHANNEL_ERROR - unexpected method in connection state tuning (10,11)",
    );
    check(
        |talk| {
            talk.start_ok(&[]);
            talk.send(0, &connection::TuneOk { channel_max: 1, frame_max: 4096, heartbeat: 0 });
        },
        |talk| talk.send(0, &connection::SecureOk { response: b"" }),
        "504 CHANNEL_ERROR - unexpected method in connection state opening (10,21)",
    );
    check(
        |_| (),
        |talk| talk.feed(&[3, 0, 0, 0, 0, 0, 0, 206]),
        "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead (0,0)",
    );
    check(
        |_| (),
        |talk| talk.feed(&[1, 0, 0, 0, 0, 0x20, 1]),
        "501 FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,8193,8184} (0,0)",
    );
}

#[test]
fn a_refusal_that_comes_when_the_connection_is_ending_is_not_told() {
    let mut talk = Talk::open();
    talk.send(1, &basic::Consume { queue: "q", consumer_tag: "t", ..Default::default() });
    talk.heard();
    talk.event(Event::Close { reason: CloseReason::Shutdown });
    talk.heard();
    talk.event(Event::PublishRefused {
        session: fairlead_kernel::SessionId(1),
        refusal: Refusal::DefaultExchange,
    });
    talk.deliver(&TestDelivery::default());
    talk.event(Event::Unblocked);
    assert_eq!(talk.heard(), [""; 0]);
}
