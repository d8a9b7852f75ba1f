//! What a client asks for, and the model's part in it: what is asked is in force at once for everybody, and certain to
//! stay when it has been answered.

use super::{Ask, Client, Context, Held, Mode, Pending, SESSION, settled};
use crate::bug::Bug;
use crate::model::{Entity, Exchange, QueueKey, Transaction};
use crate::oracle::Checked;
use fairlead_kernel::ConsumerId;
use fairlead_kernel::session::{Outcome, Request};
use fairlead_kernel::settings::{
    Binding, ConsumerSettings, Destination, ExchangeKind, ExchangeSettings, MatchMode, QueueSettings,
};

impl Client {
    /// Whether it may ask for something.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.pending.is_none()
    }

    fn ask(&mut self, request: Request, ask: Ask, context: &mut Context<'_>) -> Checked {
        let op = context.model.op;
        context.trace.note(format_args!("{op}: client {} asks {request:?}", self.number));
        self.pending = Some(Pending { op, ask });
        match self.connection.execute(SESSION, request, context.now) {
            Some(event) => self.on_event(event, false, context),
            None => Ok(()),
        }
    }

    /// Declare a queue, or the same again.
    ///
    /// # Errors
    /// An invariant is violated; so everywhere below.
    pub fn declare_queue(
        &mut self,
        name: &str,
        settings: &QueueSettings,
        graveyard: bool,
        context: &mut Context<'_>,
    ) -> Checked {
        context.model.next_op();
        let key = match context.model.queue(name) {
            Some((key, _)) => key,
            None => context.model.declare_queue(name, settings.clone(), graveyard),
        };
        let mut settings = settings.clone();
        if context.bug == Bug::QueueNotKept {
            settings.durable = false;
        }
        let request = Request::DeclareQueue { name: name.to_owned(), settings: Some(Box::new(settings)) };
        self.ask(request, Ask::Declared(Entity::Queue(key, name.to_owned())), context)
    }

    /// Delete a queue.
    pub fn delete_queue(&mut self, key: QueueKey, name: &str, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        context.model.delete_queue(key);
        let name = name.to_owned();
        let request = match context.bug {
            Bug::DeletionForgotten => Request::PurgeQueue { name: name.clone() },
            _ => Request::DeleteQueue { name: name.clone(), if_unused: false, if_empty: false },
        };
        self.ask(request, Ask::Declared(Entity::Queue(key, name)), context)
    }

    /// Delete a queue that is not there: to be answered when that is certain.
    pub fn delete_queue_again(&mut self, name: &str, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        let ask = match context.model.latest(name) {
            Some(key) => Ask::Declared(Entity::Queue(key, name.to_owned())),
            None => Ask::Anything,
        };
        let request = Request::DeleteQueue { name: name.to_owned(), if_unused: false, if_empty: false };
        self.ask(request, ask, context)
    }

    /// Declare an exchange, or the same again.
    pub fn declare_exchange(&mut self, name: &str, exchange: Exchange, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        context.model.declare_exchange(name, exchange);
        let settings = ExchangeSettings {
            kind: if exchange.is_fanout { ExchangeKind::Fanout } else { ExchangeKind::Direct },
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: false,
            alternate: None,
            hash_header: None,
            arguments: Vec::new(),
        };
        let request = Request::DeclareExchange { name: name.to_owned(), settings: Some(settings) };
        self.ask(request, Ask::Declared(Entity::Exchange(name.to_owned())), context)
    }

    /// Delete an exchange, there or not.
    pub fn delete_exchange(&mut self, name: &str, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        context.model.delete_exchange(name);
        let request = Request::DeleteExchange { name: name.to_owned(), if_unused: false };
        self.ask(request, Ask::Declared(Entity::Exchange(name.to_owned())), context)
    }

    /// Bind, or unbind.
    pub fn bind(
        &mut self,
        (source, queue, key): (&str, &str, &str),
        bind: bool,
        context: &mut Context<'_>,
    ) -> Checked {
        context.model.next_op();
        let entity = Entity::Binding(source.to_owned(), queue.to_owned(), key.to_owned());
        let binding = Binding {
            source: source.to_owned(),
            destination: Destination::Queue(queue.to_owned()),
            key: key.to_owned(),
            match_mode: MatchMode::All,
            arguments: Vec::new(),
        };
        if bind {
            context.model.bind(source, queue, key);
            self.ask(Request::Bind(binding), Ask::Declared(entity), context)
        } else {
            context.model.unbind(source, queue, key);
            self.ask(Request::Unbind(binding), Ask::Declared(entity), context)
        }
    }

    /// Purge a queue; `unused` when nobody can hold any of its messages.
    pub fn purge(&mut self, key: QueueKey, name: &str, unused: bool, context: &mut Context<'_>) -> Checked {
        let op = context.model.next_op();
        if let Some(queue) = context.model.queues.get_mut(&key) {
            queue.purge(op, unused);
            queue.drained |= queue.graveyard;
        }
        self.ask(Request::PurgeQueue { name: name.to_owned() }, Ask::Anything, context)
    }

    /// Get a message.
    pub fn get(
        &mut self,
        key: QueueKey,
        name: &str,
        acknowledge: bool,
        context: &mut Context<'_>,
    ) -> Checked {
        context.model.next_op();
        if !acknowledge && let Some(queue) = context.model.queues.get_mut(&key) {
            // Until it is seen, it may be any.
            queue.copies.values_mut().for_each(|copy| copy.may_be_gone = true);
            queue.drained |= queue.graveyard;
        }
        let request = Request::Get { queue: name.to_owned(), acknowledge };
        self.ask(request, Ask::Get { queue: key }, context)
    }

    /// Start a consumer.
    pub fn subscribe(
        &mut self,
        key: QueueKey,
        name: &str,
        acknowledge: bool,
        window: Option<u32>,
        context: &mut Context<'_>,
    ) -> Checked {
        context.model.next_op();
        if !acknowledge && let Some(queue) = context.model.queues.get_mut(&key) {
            queue.drain();
        }
        self.last_consumer += 1;
        let consumer = ConsumerId(self.last_consumer);
        self.consumers.insert(consumer, key);
        let settings = ConsumerSettings { acknowledge, window, ..ConsumerSettings::default() };
        let request = Request::Subscribe { consumer, queue: name.to_owned(), settings: Box::new(settings) };
        self.ask(request, Ask::Anything, context)
    }

    /// Stop a consumer.
    pub fn unsubscribe(&mut self, consumer: ConsumerId, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        self.ask(Request::Unsubscribe { consumer }, Ask::Unsubscribe { consumer }, context)
    }

    /// Commit the transaction.
    pub fn commit(&mut self, context: &mut Context<'_>) -> Checked {
        let op = context.model.next_op();
        let published = std::mem::take(&mut self.publishes);
        let settlements = std::mem::take(&mut self.settlements);
        let index = context.model.transactions.len();
        published.iter().for_each(|id| context.model.publish(*id, context.now, Some(index)));
        let mut accepted = Vec::new();
        for (outcome, held) in &settlements {
            for one in held {
                settled(*outcome, one, context.model);
            }
            if *outcome == Outcome::Accepted {
                accepted.extend(held.iter().map(|held| (held.queue, held.message)));
            }
        }
        context.trace.note(format_args!(
            "{op}: client {} commits transaction {index}: {published:?}, {settlements:?}",
            self.number,
        ));
        let pieces = if context.bug == Bug::TransactionInPieces { published.clone() } else { Vec::new() };
        context.model.transactions.push(Transaction { op, published, accepted, answered: false });
        for id in pieces {
            let message = context.model.messages.get(&id).cloned();
            self.send(message.as_slice(), &[None], false, context);
        }
        let unsettled = |held: Vec<Held>| held.into_iter().map(|held| held.unsettled).collect();
        let settlements = settlements.into_iter().map(|(outcome, held)| (outcome, unsettled(held))).collect();
        self.ask(Request::Commit { settlements }, Ask::Commit(index), context)
    }

    /// Roll the transaction back: its publishes are forgotten, its deliveries are held again.
    pub fn roll_back(&mut self, context: &mut Context<'_>) -> Checked {
        context.model.next_op();
        debug_assert_eq!(self.mode, Mode::Transactions);
        self.publishes.clear();
        self.held.extend(std::mem::take(&mut self.settlements).into_iter().flat_map(|(_, held)| held));
        let request = match context.bug {
            Bug::RollbackCommits => Request::Commit { settlements: Vec::new() },
            _ => Request::Rollback,
        };
        self.ask(request, Ask::Anything, context)
    }
}
