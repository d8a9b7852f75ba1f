//! The queues and exchanges that a round declares, and their removal.

use super::watch::interruptible;
use crate::error::Error;
use crate::target::Target;
use fairlead_amqp_0_9_1::codec::TableWriter;
use fairlead_client::{Connection, Exchange, Queue};
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the rounds of this process, for names that no other round has.
static ROUND: AtomicU32 = AtomicU32::new(0);

/// What one round declares. Nothing is durable or exclusive unless a scenario says so.
#[derive(Debug)]
pub struct Objects {
    prefix: String,
    queues: Vec<String>,
    exchanges: Vec<String>,
}

impl Objects {
    /// Nothing yet.
    pub fn new() -> Self {
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("fairlead-bench.{}.{round}", std::process::id());
        Self { prefix, queues: Vec::new(), exchanges: Vec::new() }
    }

    /// The names of `count` queues, which are to be declared.
    pub fn name_queues(&mut self, count: usize) -> Vec<String> {
        let names: Vec<_> = (0..count).map(|number| format!("{}.{number:05}", self.prefix)).collect();
        self.queues.extend_from_slice(&names);
        names
    }

    /// Declares `count` queues and waits until the last is there.
    pub async fn queues(
        &mut self,
        connection: &mut Connection,
        count: usize,
    ) -> Result<Vec<String>, fairlead_client::Error> {
        let names = self.name_queues(count);
        for name in &names {
            connection.declare_queue_no_wait(1, &Queue { name, ..Queue::default() }).await?;
        }
        if let Some(last) = names.last() {
            connection.inspect_queue(1, last).await?;
        }
        Ok(names)
    }

    /// Declares `count` durable queues, classic or quorum ones, and waits for each.
    pub async fn durable_queues(
        &mut self,
        connection: &mut Connection,
        count: usize,
        quorum: bool,
    ) -> Result<Vec<String>, fairlead_client::Error> {
        let mut arguments = TableWriter::new();
        if quorum {
            arguments.put_str("x-queue-type", "quorum");
        }
        let names = self.name_queues(count);
        for name in &names {
            let queue = Queue { name, durable: true, arguments: arguments.as_table(), ..Queue::default() };
            connection.declare_queue(1, &queue).await?;
        }
        Ok(names)
    }

    /// Declares an exchange.
    pub async fn exchange(
        &mut self,
        connection: &mut Connection,
        kind: &str,
    ) -> Result<String, fairlead_client::Error> {
        let name = format!("{}.{kind}", self.prefix);
        self.exchanges.push(name.clone());
        let exchange = Exchange { name: &name, kind, durable: false, auto_delete: false };
        connection.declare_exchange(1, &exchange).await?;
        Ok(name)
    }

    /// Deletes all of it, over a connection of its own: a scenario's may be in any state.
    pub async fn remove(self, target: &Target) -> Result<(), Error> {
        let mut connection = target.connect(0).await?;
        let removal = async {
            for name in &self.exchanges {
                connection.delete_exchange(1, name).await?;
            }
            let (last, others) = match self.queues.split_last() {
                Some((last, others)) => (Some(last), others),
                None => (None, &[][..]),
            };
            for name in others {
                connection.delete_queue_no_wait(1, name).await?;
            }
            if let Some(last) = last {
                connection.delete_queue(1, last).await?;
            }
            connection.close().await
        };
        removal.await.map_err(|source| target.failed(source))
    }
}

/// Runs `work`, stops it on Ctrl-C, and removes what it declared in any case. Its own failure is told first.
pub async fn with_objects<T>(
    target: &Target,
    work: impl AsyncFnOnce(&mut Objects) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut objects = Objects::new();
    let result = interruptible(work(&mut objects)).await;
    let removed = objects.remove(target).await;
    let value = result?;
    removed?;
    Ok(value)
}
