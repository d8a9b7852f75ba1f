//! A steady flow of messages through a broker, and what is counted of it.
//!
//! ```text
//! publisher --write a batch--> broker --deliver--> consumer
//!     ^                                               |
//!     +------ waits while the lane's window is full --+
//! ```
//!
//! A lane is one publisher with its consumers. The window bounds the messages between them, so that a broker is
//! measured while it moves messages and not while it stores a backlog.

mod confirmed;
mod consumer;
mod drain;
mod publisher;

pub use confirmed::{ConfirmedPublisher, NUMBER_SIZE};
pub use consumer::{Acknowledge, consume};
pub use drain::drain;
pub use publisher::{Batches, publish};

use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::Notify;

/// How the messages that several consumers took count as progress of their publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Each message goes to one of them.
    Sum,
    /// Each message goes to all of them.
    Slowest,
}

/// One publisher, its consumers, and the messages between them.
#[derive(Debug)]
pub struct Lane {
    published: Cell<u64>,
    received: Vec<Cell<u64>>,
    progress: Progress,
    window: u64,
    room: Notify,
}

impl Lane {
    /// A lane with that many consumers, and room for `window` messages on their way.
    pub fn new(consumers: usize, progress: Progress, window: u64) -> Rc<Self> {
        let received = vec![Cell::new(0); consumers];
        Rc::new(Self { published: Cell::new(0), received, progress, window, room: Notify::new() })
    }

    /// Messages that each consumer received.
    pub fn received(&self) -> impl Iterator<Item = u64> + '_ {
        self.received.iter().map(Cell::get)
    }

    fn on_their_way(&self) -> u64 {
        let done = match self.progress {
            Progress::Sum => self.received().sum(),
            Progress::Slowest => self.received().min().unwrap_or_default(),
        };
        self.published.get().saturating_sub(done)
    }

    /// Waits until `count` more messages fit the window; a batch beyond it fits when none is on its way.
    async fn wait_for_room(&self, count: u64) {
        while self.on_their_way() > self.window.saturating_sub(count) {
            self.room.notified().await;
        }
    }

    /// How many more messages the window has room for now.
    fn room(&self) -> u64 {
        self.window.saturating_sub(self.on_their_way())
    }

    fn add_published(&self, count: u64) {
        self.published.set(self.published.get() + count);
    }

    fn add_received(&self, consumer: usize, count: u64) {
        let cell = &self.received[consumer];
        cell.set(cell.get() + count);
        self.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a batch of `count` fits at once.
    fn fits(lane: &Lane, count: u64) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = lane.wait_for_room(count) => true,
                () = std::future::ready(()) => false,
            }
        })
    }

    #[test]
    fn the_window_counts_what_the_slowest_has_not_taken() {
        let lane = Lane::new(2, Progress::Slowest, 10);
        assert!(fits(&lane, 10));
        lane.add_published(10);
        assert!(!fits(&lane, 1));
        lane.add_received(0, 10);
        assert!(!fits(&lane, 1));
        lane.add_received(1, 4);
        assert!(fits(&lane, 4));
        assert!(!fits(&lane, 5));
    }

    #[test]
    fn the_window_counts_what_all_have_taken_together() {
        let lane = Lane::new(2, Progress::Sum, 10);
        lane.add_published(10);
        lane.add_received(0, 3);
        lane.add_received(1, 4);
        assert!(fits(&lane, 7));
        assert!(!fits(&lane, 8));
    }

    #[test]
    fn a_batch_larger_than_the_window_goes_alone() {
        let lane = Lane::new(1, Progress::Sum, 10);
        assert!(fits(&lane, 100));
        lane.add_published(1);
        assert!(!fits(&lane, 100));
    }
}
