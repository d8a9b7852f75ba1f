//! Methods of an open connection, class by class: what they ask of the engine, or what is wrong with them.

mod acknowledge;
mod consume;
mod exchange;
mod queue;
mod select;

use super::Connection;
use super::receive::not_implemented;
use crate::error::Fault;
use crate::spec::{Method, ReplyCode, access, basic, channel, connection};
use fairlead_kernel::ids::{SessionId, Time};
use fairlead_kernel::session::Request;

/// Whom a method is about: its channel, and its ids for the answer that closes.
#[derive(Clone, Copy, Debug)]
struct Asked {
    channel: u16,
    id: u32,
}

impl Asked {
    fn session(self) -> SessionId {
        SessionId(self.channel)
    }
}

impl Connection {
    /// A method on channel 0.
    pub(super) fn connection_method(&mut self, method: &Method<'_>, now: Time) -> Result<(), Fault> {
        match method {
            Method::ConnectionClose(_) => self.close_connection(now),
            // Nobody is asked again: a login holds as long as its connection.
            Method::ConnectionUpdateSecret(_) => self.send(0, &connection::UpdateSecretOk),
            other => {
                return Err(Fault::new(
                    ReplyCode::ChannelError,
                    format!("unexpected method {} in connection state running", other.name()),
                ));
            }
        }
        Ok(())
    }

    /// A method on an open channel; basic.publish does not come here.
    pub(super) fn channel_method(&mut self, number: u16, method: &Method<'_>) -> Result<(), Fault> {
        let asked = Asked { channel: number, id: method.id() };
        match method {
            Method::ChannelOpen(_) => {
                return Err(Fault::new(ReplyCode::ChannelError, "second 'channel.open' seen"));
            }
            Method::ChannelClose(_) => self.close_channel(number),
            Method::ChannelFlow(method) if !method.active => return Err(not_implemented("active=false")),
            Method::ChannelFlow(_) => self.send(number, &channel::FlowOk { active: true }),
            Method::AccessRequest(_) => self.send(number, &access::RequestOk { ticket: 1 }),

            Method::ExchangeDeclare(method) => return self.exchange_declare(asked, method),
            Method::ExchangeDelete(method) => self.exchange_delete(asked, method),
            Method::ExchangeBind(method) => return self.exchange_bind(asked, method),
            Method::ExchangeUnbind(method) => return self.exchange_unbind(asked, method),

            Method::QueueDeclare(method) => return self.queue_declare(asked, method),
            Method::QueueBind(method) => return self.queue_bind(asked, method),
            Method::QueueUnbind(method) => return self.queue_unbind(asked, method),
            Method::QueuePurge(method) => return self.queue_purge(asked, method),
            Method::QueueDelete(method) => return self.queue_delete(asked, method),

            Method::BasicQos(method) => return self.qos(asked, method),
            Method::BasicConsume(method) => return self.consume(asked, method),
            Method::BasicCancel(method) => self.cancel(asked, method),
            Method::BasicGet(method) => return self.get(asked, method),

            Method::BasicAck(method) => return self.ack(number, method),
            Method::BasicReject(method) => return self.reject(number, method),
            Method::BasicNack(method) => return self.nack(number, method),
            Method::BasicRecover(method) => {
                self.recover(number, method.requeue)?;
                self.send(number, &basic::RecoverOk);
            }
            Method::BasicRecoverAsync(method) => return self.recover(number, method.requeue),

            Method::TxSelect(_) => return self.tx_select(number),
            Method::TxCommit(_) => return self.tx_commit(asked),
            Method::TxRollback(_) => return self.tx_rollback(asked),
            Method::ConfirmSelect(method) => return self.confirm_select(number, method),

            // Some clients answer our basic.cancel although it does not ask for it.
            Method::BasicCancelOk(_) => {}
            other => return Err(misplaced(other)),
        }
        Ok(())
    }

    fn ask_for(&mut self, asked: Asked, request: Request, then: super::replies::Then) {
        self.ask(asked.session(), request, asked.id, then);
    }
}

/// A method that only servers send, or one of class connection on a channel.
#[cold]
fn misplaced(method: &Method<'_>) -> Fault {
    Fault::new(
        ReplyCode::CommandInvalid,
        format!("unexpected method {} from a client's channel", method.name()),
    )
}
