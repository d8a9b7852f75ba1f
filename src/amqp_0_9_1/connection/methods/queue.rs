//! Class queue. Spec: AMQP 0-9-1 reference, class queue.

use super::super::Connection;
use super::super::replies::Then;
use super::Asked;
use super::exchange::reserved;
use crate::error::Fault;
use crate::spec::{ReplyCode, queue};
use crate::translate::names::{REPLY_TO, REPLY_TO_PREFIX, RESERVED_PREFIX};
use crate::translate::{ExchangeOrQueue, binding, queue_settings};
use fairlead_kernel::session::Request;

impl Connection {
    pub(super) fn queue_declare(&mut self, asked: Asked, method: &queue::Declare<'_>) -> Result<(), Fault> {
        let quiet = method.no_wait;
        if method.queue == REPLY_TO || method.queue.starts_with(REPLY_TO_PREFIX) {
            self.check_reply_address(asked, method.queue, quiet);
            return Ok(());
        }
        let (name, settings) = if method.passive {
            (method.queue.to_owned(), None)
        } else {
            // Spec: queue.declare, rules "default-name" and "reserved-prefix".
            let name = match method.queue {
                "" => self.names.next("amq.gen-"),
                name if name.starts_with(RESERVED_PREFIX) => return Err(reserved("queue", name)),
                name => name.to_owned(),
            };
            let settings = queue_settings(method, &name, self.virtual_host(), self.config.quorum_queues)?;
            (name, Some(Box::new(settings)))
        };
        self.ask_for(asked, Request::DeclareQueue { name, settings }, Then::QueueDeclared { quiet });
        Ok(())
    }

    /// The pseudo-queue of direct reply-to is always there, an address as long as its consumer.
    fn check_reply_address(&mut self, asked: Asked, name: &str, quiet: bool) {
        match name.strip_prefix(REPLY_TO_PREFIX) {
            Some(token) => {
                let request = Request::CheckReplyAddress { token: token.to_owned() };
                self.ask_for(asked, request, Then::ReplyAddressChecked { name: name.to_owned(), quiet });
            }
            None if quiet => {}
            None => {
                self.send(
                    asked.channel,
                    &queue::DeclareOk { queue: name, message_count: 0, consumer_count: 1 },
                );
            }
        }
    }

    pub(super) fn queue_bind(&mut self, asked: Asked, method: &queue::Bind<'_>) -> Result<(), Fault> {
        let queue = self.queue_or_last(asked.channel, method.queue)?;
        let key = key_or_queue(method.queue, method.routing_key, &queue);
        let request =
            Request::Bind(binding(method.exchange, ExchangeOrQueue::Queue(&queue), key, method.arguments)?);
        self.ask_for(asked, request, Then::QueueBound { quiet: method.no_wait });
        Ok(())
    }

    pub(super) fn queue_unbind(&mut self, asked: Asked, method: &queue::Unbind<'_>) -> Result<(), Fault> {
        let queue = self.queue_or_last(asked.channel, method.queue)?;
        let key = key_or_queue(method.queue, method.routing_key, &queue);
        let request =
            Request::Unbind(binding(method.exchange, ExchangeOrQueue::Queue(&queue), key, method.arguments)?);
        self.ask_for(asked, request, Then::QueueUnbound);
        Ok(())
    }

    pub(super) fn queue_purge(&mut self, asked: Asked, method: &queue::Purge<'_>) -> Result<(), Fault> {
        let name = self.queue_or_last(asked.channel, method.queue)?;
        self.ask_for(asked, Request::PurgeQueue { name }, Then::QueuePurged { quiet: method.no_wait });
        Ok(())
    }

    pub(super) fn queue_delete(&mut self, asked: Asked, method: &queue::Delete<'_>) -> Result<(), Fault> {
        let name = self.queue_or_last(asked.channel, method.queue)?;
        let request = Request::DeleteQueue { name, if_unused: method.if_unused, if_empty: method.if_empty };
        self.ask_for(asked, request, Then::QueueDeleted { quiet: method.no_wait });
        Ok(())
    }

    /// An empty name is the queue declared last on the channel. Spec: queue.bind, rule "queue-known".
    pub(super) fn queue_or_last(&mut self, number: u16, name: &str) -> Result<String, Fault> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        match self.channels.get_mut(number) {
            Some(channel) if !channel.last_queue.is_empty() => Ok(channel.last_queue.to_string()),
            _ => Err(Fault::new(ReplyCode::NotFound, "no previously declared queue")),
        }
    }
}

/// With neither queue nor key given, the last queue's name is the key too.
fn key_or_queue<'a>(given_queue: &str, key: &'a str, queue: &'a str) -> &'a str {
    if given_queue.is_empty() && key.is_empty() { queue } else { key }
}
