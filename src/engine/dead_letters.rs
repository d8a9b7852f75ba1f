//! What a step of a queue leaves to be done when no queue is locked: dead letters, and queues that go.
//!
//! Dead letters line up in their queue while it is locked. Whoever makes the first one wait has them in hand until
//! all are sent, so that those of one queue arrive in the order in which they died, whatever other tasks do to it
//! meanwhile. They are published like any message, grouped by target queue; when the targets hold them the source
//! drops its entries. Targets may displace messages in turn: that is another round, not a recursion, and after
//! a few rounds the janitor goes on.

use crate::Broker;
use crate::counters::Counter;
use crate::queue_cell::QueueCell;
use crate::scratch::Scratch;
use fairlead_kernel::command::{DropReason, NewEntry};
use fairlead_kernel::effect::DeadLetter;
use fairlead_kernel::message::{DeathReason, Message};
use fairlead_kernel::queue::would_cycle;
use fairlead_kernel::router::Routable;
use fairlead_kernel::{QueueId, Sequence, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rounds of one turn; the last one of each queue finds that all are sent.
const ROUNDS: usize = 5;

/// Dead letters of one queue that one round sends at most.
const ROUND: usize = 1024;

/// A dead letter and the queue it leaves.
type Letter = (Arc<QueueCell>, DeadLetter);

impl Broker {
    /// Do what the steps so far have left. No lock may be held.
    #[inline]
    pub(crate) fn follow_up(&self, scratch: &mut Scratch, now: Time) {
        if !scratch.letters.is_empty() || !scratch.deletions.is_empty() {
            self.follow_up_all(scratch, now);
        }
    }

    #[cold]
    fn follow_up_all(&self, scratch: &mut Scratch, now: Time) {
        for _ in 0..ROUNDS {
            for cell in std::mem::take(&mut scratch.deletions) {
                // In use again, or deleted by somebody else: fine either way.
                let _ = self.delete_in(scratch, &cell, (true, false), now);
            }
            if scratch.letters.is_empty() {
                return;
            }
            let sources = std::mem::take(&mut scratch.letters);
            let letters = take_letters(sources, scratch, ROUND);
            self.send_letters(&letters, scratch, now);
        }
        if !scratch.letters.is_empty() {
            self.letters.lock().extend(scratch.letters.drain(..));
            self.janitor.poke();
        }
    }

    /// Go on with dead letters that earlier turns left; true if there are more.
    pub(crate) fn send_left_letters(&self, now: Time) -> bool {
        let sources: Vec<Arc<QueueCell>> = {
            let mut left = self.letters.lock();
            let some = left.len().min(crate::broker::TURN);
            left.drain(..some).collect()
        };
        if sources.is_empty() {
            return false;
        }
        Scratch::with(|scratch| {
            // Each has some, and together they are not too many.
            let share = (crate::broker::TURN / sources.len()).max(1);
            let letters = take_letters(sources, scratch, share);
            self.send_letters(&letters, scratch, now);
            self.follow_up(scratch, now);
        });
        !self.letters.lock().is_empty()
    }

    fn send_letters(&self, letters: &[Letter], scratch: &mut Scratch, now: Time) {
        let mut targets: BTreeMap<QueueId, (Arc<QueueCell>, Vec<usize>)> = BTreeMap::new();
        for (index, (source, letter)) in letters.iter().enumerate() {
            let cells = self.targets_of(source, letter, scratch);
            if cells.is_empty() {
                self.counters.add(Counter::DeadLettersDropped, 1);
            } else {
                self.counters.add(Counter::DeadLettered, 1);
            }
            for cell in cells {
                targets.entry(cell.id()).or_insert_with(|| (cell, Vec::new())).1.push(index);
            }
        }
        for (cell, of_target) in targets.into_values() {
            let mut entries: Vec<NewEntry<'_>> =
                of_target.iter().map(|index| self.letter_entry(&letters[*index].1.message)).collect();
            cell.enter(self, scratch, now, |q| {
                // A queue that refuses it, or has gone, loses it: nobody waits for a dead letter.
                let _ = q.queue.publish(&mut entries, &mut q.turn);
            });
        }
        self.depart(letters, scratch, now);
    }

    /// The queues that a dead letter goes to, without those that would send it round in a circle.
    fn targets_of(
        &self,
        source: &QueueCell,
        letter: &DeadLetter,
        scratch: &mut Scratch,
    ) -> Vec<Arc<QueueCell>> {
        let message = &letter.message;
        let reader = self.readers.of(message.origin);
        let extra = match &message.overlay {
            Some(overlay) if !overlay.extra_keys_removed => reader.extra_keys(&message.head, false),
            _ => Vec::new(),
        };
        let mut keys: Vec<&str> = vec![&message.routing_key];
        keys.extend(extra.iter().map(String::as_str));
        let routable = Routable { keys: &keys, reader, head: &message.head, seed: self.clock.seed() };
        scratch.targets.clear();
        let topology = source.host.topology();
        if topology.route_internally(&message.exchange, &routable, &mut scratch.targets).is_none() {
            return Vec::new();
        }
        let queues = self.queues.load();
        let cycles = |name: &str| message.overlay.as_ref().is_some_and(|overlay| would_cycle(overlay, name));
        let cells = scratch.targets.queues().iter().filter_map(|id| queues.get(id));
        cells.filter(|cell| !cycles(&cell.name)).cloned().collect()
    }

    fn letter_entry<'m>(&self, message: &'m Arc<Message>) -> NewEntry<'m> {
        let priority = self.readers.of(message.origin).priority(&message.head);
        // Its own expiry died with it; the target's time to live counts anew.
        NewEntry { message: Message::view(message), expires: Time(0), priority }
    }

    /// The sources drop what has been sent.
    fn depart(&self, letters: &[Letter], scratch: &mut Scratch, now: Time) {
        type Departures<'a> = BTreeMap<(QueueId, DeathReason), (&'a Arc<QueueCell>, Vec<Sequence>)>;
        let mut sources = Departures::new();
        for (source, letter) in letters {
            if let Some(sequence) = letter.sequence {
                let (_, sequences) =
                    sources.entry((source.id(), letter.reason)).or_insert_with(|| (source, Vec::new()));
                sequences.push(sequence);
            }
        }
        for ((_, reason), (source, sequences)) in sources {
            let reason = match reason {
                DeathReason::Expired => DropReason::Expired,
                DeathReason::Rejected => DropReason::Rejected,
                DeathReason::Displaced => DropReason::Displaced,
                DeathReason::DeliveryLimit => DropReason::DeliveryLimit,
            };
            source.enter(self, scratch, now, |q| {
                // Gone, with all it held.
                let _ = q.queue.departed(&sequences, reason, &mut q.turn);
            });
        }
    }
}

/// At most so many dead letters of each source. Those that gave some stay in hand.
fn take_letters(sources: Vec<Arc<QueueCell>>, scratch: &mut Scratch, most: usize) -> Vec<Letter> {
    let mut letters = Vec::new();
    for source in sources {
        let some = source.take_letters(most);
        if !some.is_empty() {
            letters.extend(some.into_iter().map(|letter| (Arc::clone(&source), letter)));
            scratch.letters.push(source);
        }
    }
    letters
}
