//! What holds publishers back: messages in memory, room on the disk, and records that wait for the disk.
//!
//! The first two are alarms: crossing a mark is only noted where it happens, and the janitor announces it, so that
//! announcements come in order and every client hears a reason. The third lasts as long as a few syncs: connections
//! whose own records wait are not read meanwhile, and are told nothing.

use crate::Broker;
use crate::connection::Connection;
use crate::counters::Counter;
use crate::memory::LOW_ON_MEMORY;
use fairlead_journal::Space;
use fairlead_kernel::session::Event;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

/// The reason given to clients, as RabbitMQ words it.
pub const LOW_ON_DISK: &str = "low on disk";
/// The same, for both at once.
const LOW_ON_BOTH: &str = "low on memory & disk";

/// Bits of the flags: which alarm there is.
const MEMORY: u8 = 1;
const LOW: u8 = 2;
const FULL: u8 = 4;

/// The alarms, and the bound of what may wait for the disk.
#[derive(Debug)]
pub(crate) struct Pressure {
    flags: AtomicU8,
    /// In bytes.
    pending_most: AtomicU64,
}

impl Pressure {
    pub(crate) fn new(pending_most: u64) -> Pressure {
        Pressure { flags: AtomicU8::new(0), pending_most: AtomicU64::new(pending_most) }
    }

    fn has(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }

    /// Whether there is too little memory.
    pub(crate) fn memory(&self) -> bool {
        self.has(MEMORY)
    }

    /// Room on the disk, as it was announced last.
    pub(crate) fn disk(&self) -> Space {
        match self.flags.load(Ordering::Relaxed) & (LOW | FULL) {
            0 => Space::Enough,
            LOW => Space::Low,
            _ => Space::Full,
        }
    }

    /// Why publishers are stopped, if they are.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match (self.memory(), self.disk()) {
            (false, Space::Enough) => None,
            (true, Space::Enough) => Some(LOW_ON_MEMORY),
            (false, Space::Low | Space::Full) => Some(LOW_ON_DISK),
            (true, Space::Low | Space::Full) => Some(LOW_ON_BOTH),
        }
    }

    fn set(&self, memory: bool, disk: Space) {
        let disk = match disk {
            Space::Enough => 0,
            Space::Low => LOW,
            Space::Full => FULL,
        };
        self.flags.store((u8::from(memory) * MEMORY) | disk, Ordering::Relaxed);
    }

    /// Bytes that may wait for the disk while publishers are read.
    pub(crate) fn pending_most(&self) -> u64 {
        self.pending_most.load(Ordering::Relaxed)
    }

    /// Move that bound.
    pub(crate) fn set_pending_most(&self, bytes: u64) {
        self.pending_most.store(bytes, Ordering::Relaxed);
    }
}

impl Broker {
    /// Stop publishers, or let them go on, as memory and disk ask for.
    pub(crate) fn announce_pressure(&self) {
        let (before, stopped) = (self.pressure.reason(), self.pressure.memory());
        let memory = self.memory.alarm(stopped);
        let (disk_before, disk) = (self.pressure.disk(), self.disk_space());
        self.pressure.set(memory, disk);
        if memory != stopped {
            self.log_memory(memory);
        }
        if disk != disk_before {
            self.log_disk(disk_before, disk);
        }
        match self.pressure.reason() {
            reason if reason == before => {}
            Some(reason) => self.connections.tell(&Event::Blocked { reason }),
            None => self.connections.tell(&Event::Unblocked),
        }
    }

    fn disk_space(&self) -> Space {
        self.store.as_ref().map_or(Space::Enough, |store| store.space())
    }

    fn log_memory(&self, alarm: bool) {
        let (used, mark) = (self.memory.used(), self.memory.stop_above());
        if alarm {
            self.counters.add(Counter::MemoryAlarms, 1);
            tracing::warn!(used, mark, "memory alarm: publishers are stopped");
        } else {
            tracing::info!(used, mark, "memory alarm is over: publishers go on");
        }
    }

    fn log_disk(&self, before: Space, space: Space) {
        let (free, mark) = self.store.as_ref().map_or((0, 0), |store| store.room());
        if before == Space::Enough {
            self.counters.add(Counter::DiskAlarms, 1);
        }
        match space {
            Space::Enough => tracing::info!(free, mark, "disk alarm is over: publishers go on"),
            Space::Low => tracing::warn!(free, mark, "disk alarm: publishers are stopped"),
            Space::Full => tracing::warn!(
                free,
                mark,
                "the disk is full: publishers are stopped, and what waits for the disk is written when there is room"
            ),
        }
    }
}

impl Connection {
    /// Ready when the peer may be read: not while more waits for the disk than may, and records of this connection
    /// are among it. The task is woken when the disk has come on.
    pub fn poll_caught_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(recorded) = self.recorded else { return Poll::Ready(()) };
        let Some(store) = &self.broker.store else { return Poll::Ready(()) };
        let most = self.broker.pressure.pending_most();
        let ready = || store.is_durable(recorded) || !store.is_behind(most);
        if !ready() {
            store.wake_when_further(self.id, context.waker());
            // The disk may have come on between the look and the note.
            if !ready() {
                if !std::mem::replace(&mut self.waits_for_disk, true) {
                    self.broker.counters.add(Counter::JournalWaits, 1);
                    tracing::debug!(connection = self.entry.name(), "a publisher waits for the disk");
                }
                return Poll::Pending;
            }
            store.wake_no_more(self.id);
        }
        self.waits_for_disk = false;
        self.recorded = self.recorded.filter(|recorded| !store.is_durable(*recorded));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alarm_has_its_reason() {
        let pressure = Pressure::new(1);
        for (memory, disk, reason) in [
            (false, Space::Enough, None),
            (true, Space::Enough, Some("low on memory")),
            (false, Space::Low, Some("low on disk")),
            (false, Space::Full, Some("low on disk")),
            (true, Space::Full, Some("low on memory & disk")),
        ] {
            pressure.set(memory, disk);
            assert_eq!(pressure.reason(), reason);
            assert_eq!((pressure.memory(), pressure.disk()), (memory, disk));
        }
    }
}
