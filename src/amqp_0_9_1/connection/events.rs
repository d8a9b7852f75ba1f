//! What the engine tells: answers, confirms, returns, cancellations, and its own troubles.

use super::closing::Farewell;
use super::{Connection, Phase};
use crate::channel::{Mode, Settled, State};
use crate::codec::frame::encode_method;
use crate::error::{Fault, ProtocolError, forced_closure, of_refusal};
use crate::spec::{ReplyCode, basic, connection};
use fairlead_kernel::ids::{ConsumerId, SessionId, Time};
use fairlead_kernel::session::{CloseReason, Event};

impl Connection {
    /// Take what the engine tells.
    pub fn handle_event(&mut self, event: Event, now: Time) {
        self.timers.tell(now);
        match event {
            Event::Reply { session, result } => self.handle_reply(session, result, now),
            Event::Confirmed { session, from, to, accepted } => self.confirmed(session, from, to, accepted),
            Event::Returned { session, message } => self.returned(session, &message),
            Event::PublishRefused { session, refusal } => {
                let fault = of_refusal(&refusal, self.virtual_host(), self.user());
                self.handle_error(ProtocolError::new(fault, session.0, basic::Publish::ID), now);
            }
            Event::ConsumerCancelled { session, consumer } => self.consumer_cancelled(session, consumer),
            Event::Blocked { reason } => self.block(reason),
            Event::Unblocked => self.unblock(now),
            Event::SettlementTimeout { session, milliseconds } => {
                self.settlement_late(session.0, milliseconds, now)
            }
            Event::Close { reason } => self.close_for(&reason, now),
        }
    }

    fn confirmed(&mut self, session: SessionId, from: u64, to: u64, accepted: bool) {
        let SessionId(number) = session;
        let Connection { channels, replies, timers, .. } = self;
        let Some(channel) = channels.get_mut(number) else { return };
        let (State::Open, Mode::Confirm(confirms)) = (channel.state, &mut channel.mode) else { return };
        timers.sent();
        replies.inline(|out| {
            confirms.settle(from, to, |Settled { tag, multiple }| {
                if accepted {
                    encode_method(out, number, &basic::Ack { delivery_tag: tag, multiple });
                } else {
                    encode_method(out, number, &basic::Nack { delivery_tag: tag, multiple, requeue: false });
                }
            });
        });
    }

    fn consumer_cancelled(&mut self, session: SessionId, consumer: ConsumerId) {
        let SessionId(number) = session;
        let Some(channel) = self.channels.get_mut(number) else { return };
        let Some(gone) = channel.consumers.remove(consumer) else { return };
        channel.reply_address.take_if(|address| address.consumer == consumer);
        let told =
            self.opened.as_deref().is_some_and(|opened| opened.client.capabilities.consumer_cancel_notify);
        if told && self.channels.get_mut(number).is_some_and(|channel| channel.state == State::Open) {
            self.send(number, &basic::Cancel { consumer_tag: &gone.tag, no_wait: true });
        }
    }

    fn block(&mut self, reason: &'static str) {
        self.flow.blocked = Some(reason);
        if self.flow.publishes {
            self.tell_blocked(reason);
        }
    }

    fn tell_blocked(&mut self, reason: &'static str) {
        let listens =
            self.opened.as_deref().is_some_and(|opened| opened.client.capabilities.connection_blocked);
        if listens && self.is_open() && !self.flow.told {
            self.flow.told = true;
            self.send(0, &connection::Blocked { reason });
        }
    }

    fn unblock(&mut self, now: Time) {
        self.flow.blocked = None;
        if std::mem::take(&mut self.flow.stalled) {
            self.timers.postpone_acknowledgements(now.after(self.config.acknowledgement_timeout));
        }
        self.timers.received(now);
        if std::mem::take(&mut self.flow.told) && self.is_open() {
            self.send(0, &connection::Unblocked);
        }
    }

    /// The first publish of this connection, or one while publishers are held back.
    #[cold]
    pub(super) fn published_first(&mut self) {
        self.flow.publishes = true;
        if let Some(reason) = self.flow.blocked {
            self.tell_blocked(reason);
            self.flow.stalled = true;
        }
    }

    /// A delivery waited too long for its acknowledgement: its channel ends.
    pub(super) fn settlement_late(&mut self, number: u16, milliseconds: u64, now: Time) {
        let fault = Fault::precondition(format!(
            "delivery acknowledgement on channel {number} timed out. Timeout value used: {milliseconds} ms. The \
             broker's configuration sets it."
        ));
        self.handle_error(ProtocolError::new(fault, number, 0), now);
    }

    fn close_for(&mut self, reason: &CloseReason, now: Time) {
        if let Phase::Ending(_) | Phase::AwaitCloseOk | Phase::Closed = self.phase {
            return;
        }
        let text = match reason {
            CloseReason::Shutdown => forced_closure("shutdown"),
            CloseReason::Operator(text) => text.clone(),
        };
        let error = ProtocolError::new(Fault::new(ReplyCode::ConnectionForced, text), 0, 0);
        self.begin_ending(Farewell::Close(error), now);
    }
}
