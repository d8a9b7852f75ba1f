//! Parts of transactions: held until their end, then all or nothing.

use super::harness::*;
use crate::command::RecordedCommand;
use crate::ids::{QueueId, Sequence};
use crate::message::DeathReason;
use crate::queue::{Delivered, Denial, Queue};
use crate::refusal::Refusal;
use crate::session::Outcome;
use crate::settings::{Limits, Overflow, QueueSettings};

type Settlements = Vec<(Outcome, Vec<Delivered>)>;

fn prepare(bench: &mut Bench, transaction: u64, bodies: &[&str], settlements: Settlements) {
    let mut entries: Vec<_> = bodies.iter().map(|body| entry(body)).collect();
    bench
        .step(|queue, turn| queue.prepare_transaction(transaction, &mut entries, settlements, turn))
        .expect("it exists");
}

fn commit(bench: &mut Bench, transaction: u64) {
    bench.step(|queue, turn| queue.commit_transaction(transaction, turn)).expect("it exists");
}

fn delivered(bench: &Bench, body: &str) -> Delivered {
    let held = bench.held[&1].iter().find(|(_, held)| held == body).expect("it holds that message");
    (held.0, Some(bench.slots[&1]))
}

#[test]
fn nothing_happens_before_the_commit() {
    let mut bench =
        Bench::limited(Limits { dead_letter_exchange: Some("dead".to_owned()), ..Limits::default() });
    bench.attach(1, &acking(4)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c", "d", "next"]);
    bench.deliveries();
    let settlements = vec![
        (Outcome::Accepted, vec![delivered(&bench, "a"), delivered(&bench, "b")]),
        (Outcome::Rejected, vec![delivered(&bench, "c")]),
        (Outcome::Released { delivered: true }, vec![delivered(&bench, "d")]),
    ];
    prepare(&mut bench, 5, &["new"], settlements);
    assert_eq!((bench.bodies().len(), bench.queue.unsettled().messages), (0, 4));
    assert_eq!(bench.queue.ready().messages, 1);
    commit(&mut bench, 5);
    assert_eq!(
        bench.deliveries(),
        [(1, "d".to_owned(), true), (1, "next".to_owned(), false), (1, "new".to_owned(), false)]
    );
    assert_eq!(bench.dead_letters(), [("c".to_owned(), DeathReason::Rejected, Some(Sequence(3)))]);
    assert_eq!(bench.queue.counters().accepted, 2);
}

#[test]
fn a_rolled_back_part_leaves_deliveries_with_their_consumer() {
    let mut bench = Bench::plain();
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a", "b"]);
    bench.deliveries();
    let settlements = vec![(Outcome::Accepted, vec![delivered(&bench, "a")])];
    prepare(&mut bench, 5, &["new"], settlements);
    bench.step(|queue, turn| queue.roll_back_transaction(5, turn)).expect("it exists");
    commit(&mut bench, 5);
    assert_eq!((bench.bodies().len(), bench.queue.unsettled().messages), (0, 1));
    assert_eq!(bench.queue.ready().messages, 1);
    bench.settle(1, "a", Outcome::Accepted);
    assert_eq!(bench.bodies(), ["b"]);
}

#[test]
fn parts_of_one_transaction_add_up() {
    let mut bench = Bench::plain();
    prepare(&mut bench, 1, &["a"], Vec::new());
    prepare(&mut bench, 2, &["other"], Vec::new());
    prepare(&mut bench, 1, &["b"], Vec::new());
    bench.publish_bodies(&["between"]);
    commit(&mut bench, 1);
    commit(&mut bench, 2);
    let got: Vec<_> = std::iter::from_fn(|| bench.get(false)).map(|got| got.1).collect();
    assert_eq!(got, ["between", "a", "b", "other"]);
}

fn bounded(messages: u64) -> Bench {
    Bench::limited(Limits {
        max_messages: Some(messages),
        overflow: Some(Overflow::Reject),
        ..Limits::default()
    })
}

#[test]
fn a_part_that_has_no_room_is_refused_as_a_whole() {
    let mut bench = bounded(2);
    let mut entries = [entry("a"), entry("b"), entry("c")];
    let refused = bench.step(|queue, turn| queue.prepare_transaction(1, &mut entries, Vec::new(), turn));
    assert_eq!(refused, Err(Denial::Refused(Refusal::QueueFull("q".to_owned()))));
    assert_eq!((&bench.effects.refused[..], bench.queue.counters().refused), (&[2][..], 1));
    commit(&mut bench, 1);
    assert_eq!(bench.queue.ready().messages, 0);
}

#[test]
fn a_prepared_part_keeps_its_room() {
    let mut bench = bounded(2);
    prepare(&mut bench, 1, &["a"], Vec::new());
    bench.publish_bodies(&["b", "c"]);
    assert_eq!((&bench.effects.refused[..], bench.queue.ready().messages), (&[1][..], 1));
    bench.step(|queue, turn| queue.roll_back_transaction(1, turn)).expect("it exists");
    bench.publish_bodies(&["d"]);
    assert_eq!(bench.queue.ready().messages, 2);
}

#[test]
fn a_prepared_part_keeps_its_bytes() {
    let limits = Limits { max_bytes: Some(10), overflow: Some(Overflow::Reject), ..Limits::default() };
    let mut bench = Bench::limited(limits);
    prepare(&mut bench, 1, &["12345678"], Vec::new());
    bench.publish_bodies(&["12", "3"]);
    assert_eq!((&bench.effects.refused[..], bench.queue.ready().bytes), (&[1][..], 2));
    commit(&mut bench, 1);
    assert_eq!(bench.queue.ready().bytes, 10);
    bench.get(true);
    bench.publish_bodies(&["12"]);
    assert_eq!((bench.effects.refused.len(), bench.queue.ready().bytes), (0, 10));
}

#[test]
fn replay_drops_parts_without_a_commit() {
    let settings = QueueSettings::default();
    let mut bench = Bench::new(&settings);
    prepare(&mut bench, 1, &["a"], Vec::new());
    prepare(&mut bench, 2, &["b"], Vec::new());
    commit(&mut bench, 2);
    let replay = |commands: &[RecordedCommand]| {
        let mut queue = Queue::new(QueueId(7), "q".into(), &settings, &settings.limits, READERS, START);
        commands.iter().for_each(|command| command.with(|command| queue.apply(command, &[])));
        queue
    };
    let whole = replay(&bench.log.commands);
    assert_eq!((whole.ready().messages, whole.state_hash()), (1, bench.queue.state_hash()));
    assert_eq!(whole.snapshot().parts.len(), 1, "the open part is in the snapshot");
    let snapshot = replay(&bench.log.commands[..2]).snapshot();
    let mut restored = Queue::restore(QueueId(7), "q".into(), &settings, READERS, &snapshot, START);
    bench.log.commands[2].with(|command| restored.apply(command, &[]));
    assert_eq!(restored.state_hash(), whole.state_hash());
}
