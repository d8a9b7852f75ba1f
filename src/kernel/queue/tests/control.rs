//! Deleting, purging, moving.

use super::harness::*;
use crate::command::DropReason;
use crate::effect::Cancelled;
use crate::ids::{ConnectionId, ConsumerId, Sequence, SessionId};
use crate::queue::{Denial, Gone};
use crate::refusal::{Refusal, Resource};
use crate::session::Outcome;
use crate::settings::{ConsumerSettings, Limits, QueueSettings};

#[test]
fn deletion_asks_first_and_leaves_a_tombstone() {
    let mut bench = Bench::limited(Limits {
        dead_letter_exchange: Some("dead".to_owned()),
        expires: Some(10),
        ..Limits::default()
    });
    let slot = bench.attach(4, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["a", "b", "c"]);
    let delete = |bench: &mut Bench, unused, empty| bench.step(|q, turn| q.delete(unused, empty, turn));
    let in_use = Refusal::InUse(Resource::Queue, "q".to_owned());
    assert_eq!(delete(&mut bench, true, true), Err(Denial::Refused(in_use)));
    assert_eq!(delete(&mut bench, false, true), Err(Denial::Refused(Refusal::NotEmpty("q".to_owned()))));
    assert_eq!(delete(&mut bench, false, false), Ok(2), "ready messages that went");
    let cancelled =
        Cancelled { slot, connection: ConnectionId(4), session: SessionId(1), consumer: ConsumerId(4) };
    assert_eq!(bench.effects.cancelled, [cancelled]);
    assert!(bench.effects.dead_letters.is_empty(), "deletion dead-letters nothing");
    assert_eq!(bench.effects.deadline, None);
    assert!(bench.queue.is_gone());
    assert_eq!(delete(&mut bench, false, false), Err(Denial::Gone(Gone)));
    assert_eq!(bench.step(|queue, turn| queue.publish(&mut [entry("late")], turn)), Err(Gone));
    assert_eq!(bench.attach(5, &acking(1)), Err(Denial::Gone(Gone)));
    let settled = [(Sequence(1), Some(slot))];
    assert_eq!(bench.step(|q, turn| q.settle(&settled, Outcome::Accepted, turn)), Err(Gone));
    assert_eq!(bench.step(|queue, turn| queue.tick(turn)), Err(Gone));
    assert_eq!((bench.queue.ready().messages, bench.queue.unsettled().messages), (0, 0));
    assert!(bench.queue.snapshot().deleted);
}

#[test]
fn a_deletion_decided_but_not_applied_is_one_all_the_same() {
    let mut bench =
        Bench::with_log(&QueueSettings::default(), MemoryLog { later: Some(0), ..MemoryLog::default() });
    assert_eq!(bench.step(|queue, turn| queue.delete(false, false, turn)), Ok(0));
    assert_eq!(bench.step(|queue, turn| queue.publish(&mut [entry("late")], turn)), Err(Gone));
    assert!(!bench.queue.snapshot().deleted);
    let command = bench.log.commands[0].clone();
    command.with(|command| bench.queue.apply(command, &[]));
    assert!(bench.queue.snapshot().deleted);
}

#[test]
fn the_last_consumer_takes_an_auto_delete_queue_with_it() {
    let mut bench = Bench::new(&QueueSettings { auto_delete: true, ..QueueSettings::default() });
    bench.tick();
    assert!(!bench.effects.delete_me, "it never had a consumer");
    let first = bench.attach(1, &acking(1)).expect("nobody is alone");
    let second = bench.attach(2, &acking(1)).expect("nobody is alone");
    bench.step(|queue, turn| queue.detach(first, turn)).expect("it exists");
    assert!(!bench.effects.delete_me);
    bench.step(|queue, turn| queue.detach(second, turn)).expect("it exists");
    assert!(bench.effects.delete_me);
}

#[test]
fn a_purge_takes_ready_messages_that_were_there_when_it_began() {
    let mut bench = Bench::plain();
    bench.publish(&vec![entry("x"); 2500]);
    bench.attach(1, &acking(3)).expect("nobody is there");
    let before = bench.queue.next_sequence();
    let mut purged = bench.step(|queue, turn| queue.purge(before, turn)).expect("it exists");
    assert_eq!((purged, bench.effects.more), (1024, true));
    bench.publish_bodies(&["came later"]);
    while std::mem::take(&mut bench.effects.more) {
        purged += bench.step(|queue, turn| queue.purge(before, turn)).expect("it exists");
    }
    assert_eq!((purged, bench.queue.ready().messages, bench.queue.unsettled().messages), (2497, 1, 3));
    assert_eq!(bench.get(false).map(|got| got.1), Some("came later".to_owned()));
}

#[test]
fn messages_are_picked_by_a_filter_for_purging_and_moving() {
    let mut bench = Bench::plain();
    let bodies: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    bench.publish_bodies(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    bench.get(true);
    let mut picked = Vec::new();
    let mut next = Some(Sequence(0));
    let mut steps = 0;
    while let Some(from) = next {
        let (found, rest) = bench.queue.select(from, |message| text_of(message).ends_with("99"));
        picked.extend(found);
        next = rest;
        steps += 1;
    }
    assert_eq!((picked.len(), steps), (20, 2));
    let (purge, mover) = picked.split_at(5);
    assert_eq!(bench.step(|queue, turn| queue.purge_selected(purge, turn)), Ok(5));
    let moving = bench.step(|queue, turn| queue.move_out(mover, turn)).expect("it exists");
    let texts: Vec<_> = moving.iter().map(|m| text_of(&crate::Message::view(&m.message))).collect();
    assert_eq!((texts.len(), &texts[0][..], &texts[14][..]), (15, "599", "1999"));
    assert_eq!((bench.queue.ready().messages, bench.queue.leaving().messages), (1979, 15));
    let (gone, back) = mover.split_at(10);
    bench.step(|queue, turn| queue.departed(gone, DropReason::Moved, turn)).expect("it exists");
    bench.step(|queue, turn| queue.stay(back, turn)).expect("it exists");
    assert_eq!((bench.queue.ready().messages, bench.queue.leaving().messages), (1984, 0));
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    let left = bench.bodies();
    assert_eq!((left.len(), left.contains(&"1999".to_owned())), (1984, true));
    assert_eq!(left[0], "1");
}
