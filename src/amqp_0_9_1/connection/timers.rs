//! Deadlines of a connection: handshake and close, heartbeats both ways, acknowledgements that are late.

use super::{Connection, Phase};
use crate::channel::Channel;
use crate::codec::frame::encode_heartbeat;
use fairlead_kernel::ids::Time;
use std::time::Duration;

/// What is due when.
#[derive(Debug)]
pub(super) struct Timers {
    /// The time that the caller last gave.
    now: Time,
    /// When the handshake, or the wait for a close-ok, has taken too long.
    deadline: Option<Time>,
    /// Zero is off.
    heartbeat: Duration,
    last_received: Time,
    last_sent: Time,
    /// When the oldest unacknowledged delivery is to be looked for.
    acknowledgements: Option<Time>,
}

impl Timers {
    pub(super) fn new(now: Time, handshake: Duration) -> Timers {
        Timers {
            now,
            deadline: Some(now.after(handshake)),
            heartbeat: Duration::ZERO,
            last_received: now,
            last_sent: now,
            acknowledgements: None,
        }
    }

    #[inline]
    pub(super) fn received(&mut self, now: Time) {
        self.now = now;
        self.last_received = now;
    }

    #[inline]
    pub(super) fn heard(&mut self, time: Time) {
        self.last_received = self.last_received.max(time);
    }

    #[inline]
    pub(super) fn tell(&mut self, now: Time) {
        self.now = now;
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    #[inline]
    pub(super) fn sent(&mut self) {
        self.last_sent = self.now;
    }

    pub(super) fn set_heartbeat(&mut self, seconds: u16) {
        self.heartbeat = Duration::from_secs(seconds.into());
    }

    pub(super) fn set_deadline(&mut self, at: Time) {
        self.deadline = Some(at);
    }

    pub(super) fn clear_deadline(&mut self) {
        self.deadline = None;
    }

    pub(super) fn is_overdue(&self, now: Time) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The next check of acknowledgements, unless one is set already.
    #[inline]
    pub(super) fn watch_acknowledgements(&mut self, timeout: Duration) {
        if self.acknowledgements.is_none() && !timeout.is_zero() {
            self.acknowledgements = Some(self.now.after(timeout));
        }
    }

    pub(super) fn acknowledgements_are_due(&self, now: Time) -> bool {
        self.acknowledgements.is_some_and(|at| at <= now)
    }

    /// Acknowledgements that are watched are not looked for before `at`.
    pub(super) fn postpone_acknowledgements(&mut self, at: Time) {
        self.acknowledgements = self.acknowledgements.map(|_| at);
    }

    pub(super) fn set_acknowledgements(&mut self, at: Option<Time>) {
        self.acknowledgements = at;
    }

    /// Half an interval without a frame of ours: the peer gets its sign of life in time.
    fn heartbeat_due(&self) -> Option<Time> {
        (!self.heartbeat.is_zero()).then(|| self.last_sent.after(self.heartbeat / 2))
    }

    /// Spec: clause 4.2.7 "Heartbeat Frames": two intervals of silence mean that the peer is gone.
    fn silence_due(&self) -> Option<Time> {
        (!self.heartbeat.is_zero()).then(|| self.last_received.after(self.heartbeat * 2))
    }

    pub(super) fn must_send_heartbeat(&self, now: Time) -> bool {
        self.heartbeat_due().is_some_and(|due| due <= now)
    }

    pub(super) fn peer_is_silent(&self, now: Time) -> bool {
        self.silence_due().is_some_and(|due| due <= now)
    }

    pub(super) fn next(&self, listens: bool) -> Option<Time> {
        let silence = if listens { self.silence_due() } else { None };
        [self.deadline, self.heartbeat_due(), silence, self.acknowledgements].into_iter().flatten().min()
    }
}

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.is_closed() {
            return None;
        }
        self.timers.next(self.listens_for_silence())
    }

    /// Do what is due at `now`; calling it too often does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.timers.tell(now);
        if self.is_closed() {
            return;
        }
        if self.timers.is_overdue(now) || (self.listens_for_silence() && self.timers.peer_is_silent(now)) {
            self.phase = Phase::Closed;
            return;
        }
        if self.timers.must_send_heartbeat(now) {
            self.timers.sent();
            self.replies.inline(encode_heartbeat);
        }
        if self.timers.acknowledgements_are_due(now) {
            self.check_acknowledgements(now);
        }
    }

    /// The peer has shown at `time` that it is there, by bytes of any kind, or by taking ours.
    pub fn heard(&mut self, time: Time) {
        self.timers.heard(time);
    }

    /// A peer that is not read cannot be heard.
    fn listens_for_silence(&self) -> bool {
        !self.flow.stalled
    }

    /// Close channels whose oldest delivery has waited too long, and look again when the next one will have.
    fn check_acknowledgements(&mut self, now: Time) {
        let timeout = self.config.acknowledgement_timeout;
        if self.flow.stalled {
            // It is not read: an acknowledgement may lie in its socket.
            return self.timers.set_acknowledgements(Some(now.after(timeout)));
        }
        let due = |time: Time| time.after(timeout);
        let oldest = |channel: &Channel| channel.unsettled.oldest().map(due);
        let late: Vec<u16> = self
            .channels
            .iter()
            .filter(|channel| oldest(channel).is_some_and(|due| due <= now))
            .map(|channel| channel.number)
            .collect();
        let next = self.channels.iter().filter_map(oldest).filter(|due| *due > now).min();
        self.timers.set_acknowledgements(next);
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        for number in late {
            self.settlement_late(number, milliseconds, now);
        }
    }
}
