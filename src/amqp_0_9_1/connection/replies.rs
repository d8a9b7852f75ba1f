//! What the engine was asked, and what its answer becomes.
//!
//! Answers come in order within a session. A channel that is ending gets none of them: its client is told of
//! the end instead.

use super::Connection;
use crate::channel::{Mode, State};
use crate::codec::EncodeMethod;
use crate::error::{Fault, ProtocolError, of_refusal};
use crate::spec::{basic, exchange, queue, tx};
use fairlead_kernel::ids::{ConsumerId, SessionId, Time};
use fairlead_kernel::refusal::{Refusal, Resource};
use fairlead_kernel::session::{Reply, Request};

/// An answer that is due.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) session: SessionId,
    /// The method that asked, for close's class-id and method-id.
    pub(super) id: u32,
    pub(super) then: Then,
}

/// What to do with an answer. `quiet` is the method's no-wait.
#[derive(Debug)]
pub(super) enum Then {
    Authenticated,
    VirtualHostEntered,
    ChannelClosed,
    ChannelFailed(Box<ProtocolError>),
    SessionEnded,
    ExchangeDeclared {
        quiet: bool,
    },
    ExchangeDeleted {
        quiet: bool,
    },
    ExchangeBound {
        quiet: bool,
    },
    ExchangeUnbound {
        quiet: bool,
    },
    QueueDeclared {
        quiet: bool,
    },
    QueueBound {
        quiet: bool,
    },
    QueueUnbound,
    QueuePurged {
        quiet: bool,
    },
    QueueDeleted {
        quiet: bool,
    },
    ReplyAddressChecked {
        name: String,
        quiet: bool,
    },
    Subscribed {
        consumer: ConsumerId,
        quiet: bool,
    },
    /// The tag is kept: the server's own cancel may come between, and the client's is answered all the same.
    Unsubscribed {
        consumer: ConsumerId,
        tag: Box<str>,
        quiet: bool,
    },
    Got,
    Committed,
    RolledBack,
}

impl Connection {
    /// Ask the engine, and remember what for.
    pub(super) fn ask(&mut self, session: SessionId, request: Request, id: u32, then: Then) {
        self.request(session, request);
        self.await_reply(session, id, then);
    }

    pub(super) fn await_reply(&mut self, session: SessionId, id: u32, then: Then) {
        self.awaiting.push_back(Awaiting { session, id, then });
    }

    /// The oldest answer due to `session`.
    pub(super) fn answered(&mut self, session: SessionId) -> Option<Awaiting> {
        let index = self.awaiting.iter().position(|awaiting| awaiting.session == session)?;
        let answered = self.awaiting.remove(index);
        if self.awaiting.is_empty() {
            self.awaiting.shrink_to(0);
        }
        answered
    }

    pub(super) fn handle_reply(&mut self, session: SessionId, result: Result<Reply, Refusal>, now: Time) {
        let Some(Awaiting { session, id, then }) = self.answered(session) else {
            debug_assert!(false, "an answer that nobody waits for");
            return;
        };
        match then {
            Then::Authenticated => self.authenticated(result, now),
            Then::VirtualHostEntered => self.virtual_host_entered(result, now),
            Then::ChannelClosed if self.is_open() => self.channel_closed(session.0),
            Then::ChannelFailed(error) if self.is_open() => self.channel_failed(session.0, &error),
            Then::ChannelClosed | Then::ChannelFailed(_) | Then::SessionEnded => {}
            other => {
                if let Err(fault) = self.finish(session.0, other, result) {
                    self.handle_error(ProtocolError::new(fault, session.0, id), now);
                }
            }
        }
        self.end_if_sessions_have();
    }

    /// Tell a channel's client what came of its method.
    fn finish(&mut self, number: u16, then: Then, result: Result<Reply, Refusal>) -> Result<(), Fault> {
        let Some(channel) = self.channels.get_mut(number) else { return Ok(()) };
        if channel.state != State::Open {
            return Ok(());
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(refusal) => match self.forgiven(number, &then, &refusal) {
                Some(reply) => reply,
                None => return Err(self.refused(&then, &refusal)),
            },
        };
        match then {
            Then::ExchangeDeclared { quiet } => self.tell(number, quiet, &exchange::DeclareOk),
            Then::ExchangeDeleted { quiet } => self.tell(number, quiet, &exchange::DeleteOk),
            Then::ExchangeBound { quiet } => self.tell(number, quiet, &exchange::BindOk),
            Then::ExchangeUnbound { quiet } => self.tell(number, quiet, &exchange::UnbindOk),
            Then::QueueBound { quiet } => self.tell(number, quiet, &queue::BindOk),
            Then::QueueUnbound => self.send(number, &queue::UnbindOk),
            Then::QueueDeclared { quiet } => self.queue_declared(number, quiet, reply),
            Then::QueuePurged { quiet } => {
                self.tell(number, quiet, &queue::PurgeOk { message_count: removed(&reply) });
            }
            Then::QueueDeleted { quiet } => {
                self.tell(number, quiet, &queue::DeleteOk { message_count: removed(&reply) });
            }
            Then::ReplyAddressChecked { name, quiet } => {
                self.tell(
                    number,
                    quiet,
                    &queue::DeclareOk { queue: &name, message_count: 0, consumer_count: 1 },
                );
            }
            Then::Subscribed { consumer, quiet } => self.subscribed(number, consumer, quiet),
            Then::Unsubscribed { consumer, tag, quiet } => self.unsubscribed(number, consumer, &tag, quiet),
            Then::Got => self.send(number, &basic::GetEmpty),
            Then::Committed => self.send(number, &tx::CommitOk),
            Then::RolledBack => self.rolled_back(number),
            Then::Authenticated
            | Then::VirtualHostEntered
            | Then::ChannelClosed
            | Then::ChannelFailed(_)
            | Then::SessionEnded => {}
        }
        Ok(())
    }

    fn tell(&mut self, number: u16, quiet: bool, method: &impl EncodeMethod) {
        if !quiet {
            self.send(number, method);
        }
    }

    /// Refusals that this protocol takes for success: what should not be there is not there.
    /// Consumers that were not to be are forgotten in any case.
    fn forgiven(&mut self, number: u16, then: &Then, refusal: &Refusal) -> Option<Reply> {
        if let (Then::Subscribed { consumer, .. }, Some(channel)) = (then, self.channels.get_mut(number)) {
            channel.consumers.remove(*consumer);
            channel.reply_address.take_if(|address| address.consumer == *consumer);
        }
        match (then, refusal) {
            (Then::ExchangeUnbound { .. } | Then::QueueUnbound, Refusal::NotFound(..)) => Some(Reply::Done),
            (Then::ExchangeDeleted { .. }, Refusal::NotFound(Resource::Exchange, _)) => Some(Reply::Done),
            (Then::QueueDeleted { .. }, Refusal::NotFound(Resource::Queue, _)) => {
                Some(Reply::Removed { messages: 0 })
            }
            _ => None,
        }
    }

    fn refused(&self, then: &Then, refusal: &Refusal) -> Fault {
        if let Then::ReplyAddressChecked { name, .. } = then {
            let gone = Refusal::NotFound(Resource::Queue, name.clone());
            return of_refusal(&gone, self.virtual_host(), self.user());
        }
        of_refusal(refusal, self.virtual_host(), self.user())
    }

    fn queue_declared(&mut self, number: u16, quiet: bool, reply: Reply) {
        let Reply::Queue { name, messages, consumers } = reply else {
            debug_assert!(false, "not an answer to DeclareQueue");
            return;
        };
        if let Some(channel) = self.channels.get_mut(number) {
            channel.last_queue = name.as_str().into();
        }
        let message_count = u32::try_from(messages).unwrap_or(u32::MAX);
        self.tell(
            number,
            quiet,
            &queue::DeclareOk { queue: &name, message_count, consumer_count: consumers },
        );
    }

    fn subscribed(&mut self, number: u16, consumer: ConsumerId, quiet: bool) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let Some(tag) = channel.consumers.tag(consumer).map(str::to_owned) else { return };
        self.tell(number, quiet, &basic::ConsumeOk { consumer_tag: &tag });
    }

    fn unsubscribed(&mut self, number: u16, consumer: ConsumerId, consumer_tag: &str, quiet: bool) {
        if let Some(channel) = self.channels.get_mut(number) {
            channel.reply_address.take_if(|address| address.consumer == consumer);
            channel.consumers.remove(consumer);
        }
        self.tell(number, quiet, &basic::CancelOk { consumer_tag });
    }

    fn rolled_back(&mut self, number: u16) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        if let Mode::Transaction(transaction) = &mut channel.mode {
            transaction.roll_back(&mut channel.unsettled);
        }
        self.send(number, &tx::RollbackOk);
    }
}

fn removed(reply: &Reply) -> u32 {
    match reply {
        Reply::Removed { messages } => u32::try_from(*messages).unwrap_or(u32::MAX),
        Reply::Done | Reply::Authenticated { .. } | Reply::Queue { .. } | Reply::Empty => 0,
    }
}
