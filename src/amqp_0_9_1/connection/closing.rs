//! Ends: of a channel or of the connection, by a fault, by the peer or by the broker.
//!
//! First the engine ends the sessions, so that what was unacknowledged is back in its queues, then the peer is
//! told. Until it has answered everything of its is dropped; that wait has a bound.

use super::replies::Then;
use super::{Connection, Phase};
use crate::channel::State;
use crate::error::{ProtocolError, Scope};
use crate::spec::{channel, connection};
use fairlead_kernel::ids::{SessionId, Time};
use fairlead_kernel::session::Request;

/// The connection's sessions are ending.
#[derive(Debug)]
pub(super) struct Ending {
    farewell: Farewell,
}

/// What the peer is told when all sessions have ended.
#[derive(Debug)]
pub(super) enum Farewell {
    /// It asked for the close.
    CloseOk,
    /// We close.
    Close(ProtocolError),
}

impl Connection {
    /// The next fault that has closed a channel or the connection, for whoever keeps count.
    pub fn poll_fault(&mut self) -> Option<ProtocolError> {
        self.faults.pop_front()
    }

    /// Act on a fault: close its channel, or the connection.
    pub fn handle_error(&mut self, error: ProtocolError, now: Time) {
        self.timers.tell(now);
        match (&self.phase, error.scope) {
            (Phase::Open, Scope::Channel(number)) => self.fail_channel(number, error),
            // Everything behind a close is dropped, also what makes no sense.
            (Phase::Ending(_) | Phase::AwaitCloseOk | Phase::Silent | Phase::Closed, _) => {}
            _ => {
                self.faults.push_back(error.clone());
                self.begin_ending(Farewell::Close(error), now);
            }
        }
    }

    /// Close a channel because of `error`.
    fn fail_channel(&mut self, number: u16, error: ProtocolError) {
        if self.end_session(number) {
            self.faults.push_back(error.clone());
            let then = Then::ChannelFailed(Box::new(error));
            self.await_reply(SessionId(number), 0, then);
        }
    }

    /// Ask the engine to end a channel's session; false if that has happened.
    fn end_session(&mut self, number: u16) -> bool {
        let Some(channel) = self.channels.get_mut(number) else { return false };
        if channel.state != State::Open {
            return false;
        }
        channel.state = State::Ending;
        let held = channel.content.take().map_or(0, |content| content.held());
        let unsettled = channel.take_unsettled();
        self.incomplete_bytes -= held;
        self.request(SessionId(number), Request::CloseSession { unsettled });
        true
    }

    /// The peer closes a channel.
    pub(super) fn close_channel(&mut self, number: u16) {
        if self.end_session(number) {
            self.await_reply(SessionId(number), channel::Close::ID, Then::ChannelClosed);
        } else {
            // Both sides closed at once: each answers the other's.
            self.send(number, &channel::CloseOk);
        }
    }

    /// The session of a failed channel has ended: now the peer may know.
    pub(super) fn channel_failed(&mut self, number: u16, error: &ProtocolError) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        channel.state = State::Closing;
        let (class_id, method_id) = (error.class_id, error.method_id);
        let (reply_code, reply_text) = (error.code.code(), error.reply_text());
        self.send(number, &channel::Close { reply_code, reply_text: &reply_text, class_id, method_id });
    }

    /// The session of a channel that its client closed has ended.
    pub(super) fn channel_closed(&mut self, number: u16) {
        self.channels.remove(number);
        self.send(number, &channel::CloseOk);
    }

    /// End all sessions, then say `farewell`.
    pub(super) fn begin_ending(&mut self, farewell: Farewell, now: Time) {
        self.timers.set_deadline(now.after(self.config.close_timeout));
        self.phase = Phase::Ending(Ending { farewell });
        self.flow.stalled = false;
        let numbers: Vec<u16> = self.channels.iter().map(|channel| channel.number).collect();
        for number in numbers {
            if self.end_session(number) {
                self.await_reply(SessionId(number), 0, Then::SessionEnded);
            }
        }
        self.end_if_sessions_have();
    }

    /// In Ending: say farewell when the last answer of the engine is here.
    pub(super) fn end_if_sessions_have(&mut self) {
        if !self.awaiting.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Ending(Ending { farewell: Farewell::CloseOk }) => self.send(0, &connection::CloseOk),
            Phase::Ending(Ending { farewell: Farewell::Close(error) }) => {
                self.phase = Phase::AwaitCloseOk;
                let (class_id, method_id) = (error.class_id, error.method_id);
                let (reply_code, reply_text) = (error.code.code(), error.reply_text());
                self.send(0, &connection::Close { reply_code, reply_text: &reply_text, class_id, method_id });
            }
            other => self.phase = other,
        }
    }

    /// The peer asks for the connection's end.
    pub(super) fn close_connection(&mut self, now: Time) {
        self.begin_ending(Farewell::CloseOk, now);
    }
}
