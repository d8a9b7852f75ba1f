//! Time to live, of messages and of queues.

use super::harness::*;
use crate::command::{DropReason, NewEntry};
use crate::ids::{Sequence, Time};
use crate::message::DeathReason;
use crate::settings::{ConsumerSettings, Limits};

impl<L: crate::command::CommandLog> Bench<L> {
    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.after_milliseconds(milliseconds);
        self.tick();
    }

    fn after(&self, milliseconds: u64) -> Time {
        self.now.after_milliseconds(milliseconds)
    }
}

fn living<'a>(bench: &Bench, body: &'a str, milliseconds: u64) -> NewEntry<'a> {
    NewEntry { expires: bench.after(milliseconds), ..entry(body) }
}

#[test]
fn the_shorter_of_the_two_lives_counts() {
    let mut bench = Bench::limited(Limits { message_ttl: Some(50), ..Limits::default() });
    let entries = [living(&bench, "short", 20), living(&bench, "long", 80), entry("none")];
    bench.publish(&entries);
    assert_eq!(bench.effects.deadline, Some(bench.after(20)));
    bench.wait(20);
    assert_eq!((bench.queue.ready().messages, bench.effects.deadline), (2, Some(bench.after(30))));
    bench.wait(30);
    assert_eq!((bench.queue.ready().messages, bench.queue.counters().expired), (0, 3));
}

#[test]
fn only_the_head_expires_and_nothing_expired_is_delivered() {
    let mut bench = Bench::plain();
    let entries = [entry("first"), living(&bench, "second", 10), entry("third")];
    bench.publish(&entries);
    bench.wait(11);
    assert_eq!(bench.queue.ready().messages, 3, "it waits behind the first");
    bench.attach(1, &ConsumerSettings::default()).expect("nobody is there");
    assert_eq!(bench.bodies(), ["first", "third"]);
    assert_eq!(bench.queue.counters().expired, 1);
}

#[test]
fn no_time_at_all_is_delivered_at_once_or_not() {
    let mut bench = Bench::limited(Limits { message_ttl: Some(0), ..Limits::default() });
    bench.publish_bodies(&["nobody is there"]);
    assert_eq!(bench.queue.ready().messages, 0);
    bench.attach(1, &acking(1)).expect("nobody is there");
    bench.publish_bodies(&["taken", "too late"]);
    assert_eq!(bench.bodies(), ["taken"]);
    assert_eq!((bench.queue.ready().messages, bench.queue.counters().expired), (0, 2));
}

#[test]
fn a_returned_message_that_has_expired_goes() {
    let mut bench = Bench::plain();
    bench.attach(1, &acking(1)).expect("nobody is there");
    let entries = [living(&bench, "late", 10), entry("next")];
    bench.publish(&entries);
    assert_eq!(bench.bodies(), ["late"]);
    bench.wait(11);
    assert_eq!(bench.queue.unsettled().messages, 1, "what is held does not expire");
    bench.settle(1, "late", crate::session::Outcome::Released { delivered: true });
    assert_eq!(bench.bodies(), ["next"]);
}

#[test]
fn expired_messages_are_dead_lettered_in_short_steps() {
    let mut bench = Bench::limited(Limits {
        message_ttl: Some(10),
        dead_letter_exchange: Some("dead".to_owned()),
        ..Limits::default()
    });
    bench.publish(&vec![entry("x"); 2000]);
    bench.wait(10);
    assert!(bench.effects.more);
    let first = bench.dead_letters();
    assert_eq!((first.len(), bench.queue.leaving().messages), (1024, 1024));
    bench.effects.more = false;
    bench.tick();
    let second = bench.dead_letters();
    assert_eq!((second.len(), bench.effects.more), (2000 - 1024, false));
    assert_eq!(second[0].1, DeathReason::Expired);
    let all: Vec<Sequence> = first.iter().chain(&second).filter_map(|letter| letter.2).collect();
    bench.step(|queue, turn| queue.departed(&all, DropReason::Expired, turn)).expect("it exists");
    assert!(bench.queue.snapshot().entries.is_empty());
}

#[test]
fn each_level_has_a_head() {
    let order = crate::settings::Order::Priority { levels: 2 };
    let mut bench = Bench::new(&crate::settings::QueueSettings { order, ..Default::default() });
    let low = living(&bench, "low", 10);
    let high = NewEntry { priority: 1, ..entry("high") };
    bench.publish(&[low, high]);
    assert_eq!(bench.effects.deadline, Some(bench.after(10)));
    bench.wait(10);
    assert_eq!(bench.queue.ready().messages, 1);
}

#[test]
fn an_unused_queue_asks_to_go() {
    let mut bench = Bench::limited(Limits { expires: Some(100), ..Limits::default() });
    bench.publish_bodies(&["publishing is no use"]);
    assert_eq!(bench.effects.deadline, Some(START.after_milliseconds(100)));
    bench.wait(60);
    bench.get(true);
    bench.wait(60);
    assert!(!bench.effects.delete_me, "a get is a use");
    let slot = bench.attach(1, &acking(1)).expect("nobody is there");
    bench.wait(500);
    assert!(!bench.effects.delete_me, "a consumer is a use");
    bench.step(|queue, turn| queue.detach(slot, turn)).expect("it exists");
    bench.wait(60);
    bench.queue.touch(bench.now).expect("it exists");
    bench.wait(99);
    assert!(!bench.effects.delete_me, "a declaration is a use");
    bench.wait(1);
    assert!(bench.effects.delete_me);
}

#[test]
fn browsers_are_not_shown_what_has_expired() {
    let mut bench = Bench::plain();
    let (long, short) = (living(&bench, "long", 5000), living(&bench, "short", 1000));
    bench.publish(&[long, short, entry("for ever")]);
    bench.wait(1001);
    bench.attach(1, &ConsumerSettings { browse: true, ..ConsumerSettings::default() }).expect("nobody");
    assert_eq!(bench.bodies(), ["long", "for ever"]);
    assert_eq!(bench.queue.ready().messages, 3, "it goes when it comes to the head");
}
