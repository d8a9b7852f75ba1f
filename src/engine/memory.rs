//! The memory that messages take, against the mark above which publishers are stopped.
//!
//! Queues tell how their memory changed once a batch. Crossing a mark is only noted here; the janitor
//! announces it, so that announcements come in order.

use crate::settings::Settings;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The reason given to clients, as RabbitMQ words it.
pub const LOW_ON_MEMORY: &str = "low on memory";

/// The gauge; all in bytes.
#[derive(Debug)]
pub struct Memory {
    used: AtomicI64,
    page_out_above: AtomicU64,
    stop_above: AtomicU64,
    /// What a queue may hold.
    queue: u64,
}

/// What a queue may hold when memory is short, in bytes.
const QUEUE_LEAST: u64 = 64 * 1024;

impl Memory {
    /// With the marks of these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Memory {
        Memory {
            used: AtomicI64::new(0),
            page_out_above: AtomicU64::new(settings.memory_page_out_above),
            stop_above: AtomicU64::new(settings.memory_stop_above),
            queue: settings.queue_memory,
        }
    }

    /// Bytes of messages that a queue may hold now, if the disk has them too.
    #[inline]
    #[must_use]
    pub fn queue_budget(&self) -> usize {
        let short = self.used() > self.page_out_above.load(Ordering::Relaxed);
        let budget = if short { self.queue.min(QUEUE_LEAST) } else { self.queue };
        usize::try_from(budget).unwrap_or(usize::MAX)
    }

    /// Bytes held for messages.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed).try_into().unwrap_or(0)
    }

    /// The mark.
    #[must_use]
    pub fn stop_above(&self) -> u64 {
        self.stop_above.load(Ordering::Relaxed)
    }

    /// Move the marks to where these settings have them.
    pub fn set_marks(&self, settings: &Settings) {
        self.page_out_above.store(settings.memory_page_out_above, Ordering::Relaxed);
        self.stop_above.store(settings.memory_stop_above, Ordering::Relaxed);
    }

    /// Something grew by `difference` bytes, or shrank.
    #[inline]
    pub fn change(&self, difference: i64) {
        if difference != 0 {
            self.used.fetch_add(difference, Ordering::Relaxed);
        }
    }

    /// Whether publishers are to be stopped, given whether they are: they go on only well below the
    /// mark, so that they are not stopped and started for every message.
    #[must_use]
    pub fn alarm(&self, stopped: bool) -> bool {
        let mark = self.stop_above();
        let mark = if stopped { mark - mark / 16 } else { mark };
        self.used() > mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_ends_well_below_the_mark() {
        let memory = Memory::new(&Settings { memory_stop_above: 1600, ..Settings::default() });
        memory.change(1600);
        assert!(!memory.alarm(false));
        memory.change(1);
        assert!(memory.alarm(false));
        memory.change(-100);
        assert!(memory.alarm(true) && !memory.alarm(false));
        memory.change(-1);
        assert!(!memory.alarm(true));
    }
}
