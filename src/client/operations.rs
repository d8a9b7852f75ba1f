//! The methods that are one question and one answer, and those that have no answer.

use crate::{Connection, Error, Message};
use fairlead_amqp_0_9_1::codec::Table;
use fairlead_amqp_0_9_1::spec::{Method, basic, channel, confirm, exchange, queue};

/// A queue to be declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue<'a> {
    /// Its name; empty lets the broker choose one.
    pub name: &'a str,
    /// It survives a restart.
    pub durable: bool,
    /// For this connection only.
    pub exclusive: bool,
    /// It goes with its last consumer.
    pub auto_delete: bool,
    /// `x-` arguments.
    pub arguments: Table<'a>,
}

/// What a broker tells of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Ready messages.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// An exchange to be declared.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Its name.
    pub name: &'a str,
    /// `direct`, `topic`, ...
    pub kind: &'a str,
    /// It survives a restart.
    pub durable: bool,
    /// It goes with its last binding.
    pub auto_delete: bool,
}

/// A consumer to be started.
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// From which queue.
    pub queue: &'a str,
    /// The tag that its deliveries carry.
    pub tag: &'a str,
    /// Deliveries need no acknowledgement.
    pub no_ack: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
}

impl Connection {
    /// Opens a channel; its number is the caller's choice, from 1.
    pub async fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        self.call(channel, &channel::Open, &[channel::OpenOk::ID]).await?;
        Ok(())
    }

    /// Creates a queue, or checks that it is as wanted.
    pub async fn declare_queue(&mut self, channel: u16, queue: &Queue<'_>) -> Result<QueueState, Error> {
        self.declared(channel, &declaration(queue, false, false)).await
    }

    /// Asks for a queue's state; 404 if there is none.
    pub async fn inspect_queue(&mut self, channel: u16, name: &str) -> Result<QueueState, Error> {
        let queue = Queue { name, ..Queue::default() };
        self.declared(channel, &declaration(&queue, true, false)).await
    }

    /// Asks for a queue to be created without awaiting the answer: [`Connection::inspect_queue`] of the last one of
    /// many waits for all.
    pub async fn declare_queue_no_wait(&mut self, channel: u16, queue: &Queue<'_>) -> Result<(), Error> {
        self.send(channel, &declaration(queue, false, true)).await
    }

    async fn declared(&mut self, channel: u16, declare: &queue::Declare<'_>) -> Result<QueueState, Error> {
        let reply = self.call(channel, declare, &[queue::DeclareOk::ID]).await?;
        let Method::QueueDeclareOk(reply) = reply else { return Err(unexpected(&reply, "queue.declare-ok")) };
        Ok(QueueState {
            name: reply.queue.to_owned(),
            messages: reply.message_count,
            consumers: reply.consumer_count,
        })
    }

    /// Creates an exchange, or checks that it is as wanted.
    pub async fn declare_exchange(&mut self, channel: u16, exchange: &Exchange<'_>) -> Result<(), Error> {
        let declare = exchange::Declare {
            exchange: exchange.name,
            type_: exchange.kind,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            ..exchange::Declare::default()
        };
        self.call(channel, &declare, &[exchange::DeclareOk::ID]).await?;
        Ok(())
    }

    /// Deletes an exchange; one that does not exist is fine.
    pub async fn delete_exchange(&mut self, channel: u16, name: &str) -> Result<(), Error> {
        let delete = exchange::Delete { exchange: name, ..exchange::Delete::default() };
        self.call(channel, &delete, &[exchange::DeleteOk::ID]).await?;
        Ok(())
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&mut self, channel: u16, queue: &str, exchange: &str, key: &str) -> Result<(), Error> {
        let bind = queue::Bind { queue, exchange, routing_key: key, ..queue::Bind::default() };
        self.call(channel, &bind, &[queue::BindOk::ID]).await?;
        Ok(())
    }

    /// Asks for a binding without awaiting the answer.
    pub async fn bind_no_wait(
        &mut self,
        channel: u16,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), Error> {
        let bind = queue::Bind { queue, exchange, routing_key: key, no_wait: true, ..queue::Bind::default() };
        self.send(channel, &bind).await
    }

    /// Drops a queue's ready messages; gives their number.
    pub async fn purge(&mut self, channel: u16, queue: &str) -> Result<u32, Error> {
        let purge = queue::Purge { queue, no_wait: false };
        match self.call(channel, &purge, &[queue::PurgeOk::ID]).await? {
            Method::QueuePurgeOk(reply) => Ok(reply.message_count),
            other => Err(unexpected(&other, "queue.purge-ok")),
        }
    }

    /// Deletes a queue with its messages, and gives their number; one that does not exist is fine.
    pub async fn delete_queue(&mut self, channel: u16, queue: &str) -> Result<u32, Error> {
        let delete = queue::Delete { queue, ..queue::Delete::default() };
        match self.call(channel, &delete, &[queue::DeleteOk::ID]).await? {
            Method::QueueDeleteOk(reply) => Ok(reply.message_count),
            other => Err(unexpected(&other, "queue.delete-ok")),
        }
    }

    /// Asks for a queue's deletion without awaiting the answer.
    pub async fn delete_queue_no_wait(&mut self, channel: u16, queue: &str) -> Result<(), Error> {
        let delete = queue::Delete { queue, no_wait: true, ..queue::Delete::default() };
        self.send(channel, &delete).await
    }

    /// Bounds the deliveries that each further consumer of the channel may have unacknowledged; 0 is without bound.
    pub async fn qos(&mut self, channel: u16, prefetch: u16) -> Result<(), Error> {
        let qos = basic::Qos { prefetch_count: prefetch, ..basic::Qos::default() };
        self.call(channel, &qos, &[basic::QosOk::ID]).await?;
        Ok(())
    }

    /// Starts a consumer.
    pub async fn consume(&mut self, channel: u16, consumer: &Consumer<'_>) -> Result<(), Error> {
        let consume = basic::Consume {
            queue: consumer.queue,
            consumer_tag: consumer.tag,
            no_ack: consumer.no_ack,
            exclusive: consumer.exclusive,
            ..basic::Consume::default()
        };
        self.call(channel, &consume, &[basic::ConsumeOk::ID]).await?;
        Ok(())
    }

    /// Stops a consumer. What was delivered before is still in the read buffer.
    pub async fn cancel(&mut self, channel: u16, tag: &str) -> Result<(), Error> {
        let cancel = basic::Cancel { consumer_tag: tag, no_wait: false };
        self.call(channel, &cancel, &[basic::CancelOk::ID]).await?;
        Ok(())
    }

    /// Fetches one message, if there is one.
    pub async fn get(&mut self, channel: u16, queue: &str, no_ack: bool) -> Result<Option<Message>, Error> {
        let get = basic::Get { queue, no_ack };
        let message = match self.call(channel, &get, &[basic::GetOk::ID, basic::GetEmpty::ID]).await? {
            Method::BasicGetOk(reply) => Message::got(channel, &reply),
            Method::BasicGetEmpty(_) => return Ok(None),
            other => return Err(unexpected(&other, "basic.get-ok")),
        };
        self.content(message).await.map(Some)
    }

    /// Acknowledges a delivery; with `multiple`, all up to it.
    pub async fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) -> Result<(), Error> {
        self.send(channel, &basic::Ack { delivery_tag, multiple }).await
    }

    /// Has the broker confirm what is published on the channel from now on.
    pub async fn confirm_select(&mut self, channel: u16) -> Result<(), Error> {
        self.call(channel, &confirm::Select { nowait: false }, &[confirm::SelectOk::ID]).await?;
        Ok(())
    }
}

fn declaration<'a>(queue: &Queue<'a>, passive: bool, no_wait: bool) -> queue::Declare<'a> {
    queue::Declare {
        queue: queue.name,
        passive,
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        no_wait,
        arguments: queue.arguments,
    }
}

fn unexpected(found: &Method<'_>, expected: &'static str) -> Error {
    Error::Unexpected { found: found.name().to_owned(), expected }
}
