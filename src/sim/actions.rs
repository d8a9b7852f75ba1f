//! What happens, one thing at a time, as the seed has it.

use crate::client::Mode;
use crate::message::Message;
use crate::model::{Exchange, QueueKey};
use crate::oracle::Checked;
use crate::world::World;
use fairlead_kernel::session::Outcome;
use fairlead_kernel::settings::{Limits, Order, Overflow, QueueKind, QueueSettings};

/// Exchanges: each name always has the same properties.
const EXCHANGES: [(&str, Exchange); 5] = [
    ("x0", Exchange { is_fanout: false, durable: true, auto_delete: false }),
    ("x1", Exchange { is_fanout: true, durable: true, auto_delete: false }),
    ("x2", Exchange { is_fanout: true, durable: false, auto_delete: false }),
    ("x3", Exchange { is_fanout: false, durable: true, auto_delete: true }),
    ("x4", Exchange { is_fanout: true, durable: true, auto_delete: false }),
];
/// Queues: those with a q are durable, those with a t are not.
const QUEUES: [&str; 7] = ["q0", "q1", "q2", "q3", "q4", "t0", "t1"];
/// Where dead letters go.
const GRAVEYARDS: [&str; 2] = ["dead0", "dead1"];
const KEYS: [&str; 2] = ["k0", "k1"];

impl World {
    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.random.below(of.len() as u64) as usize]) }
    }

    /// Graveyards are there from the beginning, for seeds that are to have dead letters.
    pub(crate) fn dig_graves(&mut self) -> Checked {
        for name in GRAVEYARDS {
            let settings = self.new_settings(name);
            self.with_client(0, |client, context| client.declare_queue(name, &settings, true, context))?;
            self.settle_down();
            self.with_client(0, |client, context| client.receive(1, context))?;
        }
        Ok(())
    }

    /// One thing.
    pub(crate) fn act(&mut self) -> Checked {
        if self.random.one_in(self.plan.crash_one_in) {
            return self.restart();
        }
        if self.random.one_in(self.plan.fault_one_in) {
            self.arm();
            return Ok(());
        }
        match self.random.below(100) {
            0..=12 => {
                self.step_writer();
                Ok(())
            }
            13..=16 => {
                self.look_after_storage();
                Ok(())
            }
            17..=20 => {
                self.settle_down();
                Ok(())
            }
            21..=23 => {
                self.step_keeper();
                Ok(())
            }
            24 => {
                self.rest();
                Ok(())
            }
            25..=27 => {
                let long = if self.random.one_in(8) { 3000 } else { 60 };
                let milliseconds = self.random.below(long);
                self.pass_time(milliseconds);
                Ok(())
            }
            28 if self.random.one_in(4) => self.shut_down(),
            28 => {
                self.add_room();
                Ok(())
            }
            29..=30 => self.come_or_go(),
            _ => self.client_acts(),
        }
    }

    fn come_or_go(&mut self) -> Checked {
        let there = self.life.as_ref().map_or(0, |life| life.clients.len());
        if there == 0 || (there < 6 && self.random.one_in(2)) {
            return self.connect();
        }
        let index = self.random.below(there as u64) as usize;
        self.disconnect(index);
        Ok(())
    }

    fn client_acts(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        if life.clients.is_empty() {
            return self.connect();
        }
        let index = self.random.below(life.clients.len() as u64) as usize;
        let free = self.life.as_ref().is_some_and(|life| life.clients[index].is_free());
        if !free || self.random.one_in(4) {
            let most = 1 + self.random.below(30) as usize;
            return self.with_client(index, |client, context| client.receive(most, context)).map(drop);
        }
        match self.random.below(68) {
            0..=24 => self.publish(index),
            25..=36 => self.settle(index),
            37..=41 => self.get(index),
            42..=46 => self.consume(index),
            47..=52 => self.declare_queue(index),
            53 => self.delete_queue(index),
            54..=56 => self.change_exchange(index),
            57..=60 => self.change_binding(index),
            61 => self.purge(index),
            _ => self.end_transaction(index),
        }
    }

    /// A live queue, for its name and number.
    fn pick_queue(&mut self, graveyards: bool) -> Option<(String, QueueKey)> {
        let live = self.model.names.iter();
        let live: Vec<(&String, QueueKey)> = live
            .filter(|(_, key)| graveyards || !self.model.queues.get(key).is_some_and(|queue| queue.graveyard))
            .map(|(name, key)| (name, *key))
            .collect();
        if live.is_empty() {
            return None;
        }
        let (name, key) = live[self.random.below(live.len() as u64) as usize];
        Some((name.clone(), key))
    }

    fn new_message(&mut self, producer: u64) -> Option<Message> {
        let exchanges: Vec<String> = self.model.exchanges.keys().cloned().collect();
        let (exchange, key) = if exchanges.is_empty() || self.random.one_in(2) {
            (String::new(), self.pick_queue(false)?.0)
        } else {
            let exchange = exchanges[self.random.below(exchanges.len() as u64) as usize].clone();
            (exchange, self.pick(&KEYS)?.to_owned())
        };
        let length = match self.random.below(12) {
            0 => 0,
            1 => self.random.below(self.plan.body_most),
            _ => self.random.below(200),
        };
        let message = Message {
            id: 0,
            producer,
            exchange,
            key,
            persistent: !self.random.one_in(5),
            time_to_live: self.random.one_in(12).then(|| self.random.below(300)),
            priority: if self.random.one_in(3) { self.random.below(7) as u8 } else { 0 },
            length: length as usize,
        };
        Some(self.model.new_message(message))
    }

    fn publish(&mut self, index: usize) -> Checked {
        let Some(producer) = self.life.as_ref().map(|life| life.clients[index].number) else { return Ok(()) };
        let count = if self.random.one_in(3) { 1 + self.random.below(8) } else { 1 };
        let messages: Vec<Message> = (0..count).filter_map(|_| self.new_message(producer)).collect();
        self.summary.published += messages.len() as u64;
        self.with_client(index, |client, context| client.publish(&messages, context)).map(drop)
    }

    fn settle(&mut self, index: usize) -> Checked {
        self.with_client(index, |client, context| {
            if client.held.is_empty() {
                return client.receive(20, context);
            }
            let outcome = match context.random.below(8) {
                0 => Outcome::Rejected,
                1 | 2 => Outcome::Released { delivered: true },
                _ => Outcome::Accepted,
            };
            let from = context.random.below(client.held.len() as u64) as usize;
            let count = 1 + context.random.below(6) as usize;
            let to = (from + count).min(client.held.len());
            let held = client.held.drain(from..to).collect();
            client.settle(outcome, held, context);
            Ok(())
        })
        .map(drop)
    }

    fn get(&mut self, index: usize) -> Checked {
        let Some((name, key)) = self.pick_queue(true) else { return Ok(()) };
        let acknowledge = !self.random.one_in(4);
        self.with_client(index, |client, context| {
            client.get(key, &name, acknowledge, context)?;
            client.receive(20, context)
        })
        .map(drop)
    }

    fn consume(&mut self, index: usize) -> Checked {
        let consumers =
            self.life.as_ref().map(|life| life.clients[index].consumers.clone()).unwrap_or_default();
        if consumers.len() >= 3 || (!consumers.is_empty() && self.random.one_in(3)) {
            let all: Vec<_> = consumers.keys().copied().collect();
            let Some(consumer) = self.pick(&all) else { return Ok(()) };
            return self
                .with_client(index, |client, context| client.unsubscribe(consumer, context))
                .map(drop);
        }
        let Some((name, key)) = self.pick_queue(true) else { return Ok(()) };
        let acknowledge = !self.random.one_in(6);
        let window = acknowledge.then(|| 1 + self.random.below(10) as u32);
        self.with_client(index, |client, context| client.subscribe(key, &name, acknowledge, window, context))
            .map(drop)
    }

    fn new_settings(&mut self, name: &str) -> QueueSettings {
        let durable = !name.starts_with('t');
        if GRAVEYARDS.contains(&name) {
            return QueueSettings { durable, ..QueueSettings::default() };
        }
        let mut limits = Limits::default();
        match self.random.below(8) {
            0 => limits.max_messages = Some(3 + self.random.below(12)),
            1 => {
                limits.max_messages = Some(3 + self.random.below(12));
                limits.overflow = Some(Overflow::Reject);
            }
            2 => limits.message_ttl = Some(20 + self.random.below(400)),
            3 => limits.delivery_limit = Some(self.random.below(3) as u32),
            _ => {}
        }
        if self.random.one_in(3) {
            limits.dead_letter_exchange = Some(String::new());
            limits.dead_letter_key = self.pick(&GRAVEYARDS).map(str::to_owned);
        }
        let order = if self.random.one_in(6) { Order::Priority { levels: 5 } } else { Order::Fifo };
        let kind = if self.random.one_in(8) { QueueKind::Quorum } else { QueueKind::Classic };
        QueueSettings { kind, durable, order, limits, ..QueueSettings::default() }
    }

    fn declare_queue(&mut self, index: usize) -> Checked {
        let graveyard = self.random.one_in(4);
        let picked = if graveyard { self.pick(&GRAVEYARDS) } else { self.pick(&QUEUES) };
        let Some(name) = picked else { return Ok(()) };
        let settings = match self.model.queue(name) {
            Some((_, queue)) => queue.settings.clone(),
            None if self.model.name_is_free(name) => self.new_settings(name),
            None => {
                return self
                    .with_client(index, |client, context| client.delete_queue_again(name, context))
                    .map(drop);
            }
        };
        self.with_client(index, |client, context| client.declare_queue(name, &settings, graveyard, context))
            .map(drop)
    }

    fn delete_queue(&mut self, index: usize) -> Checked {
        let Some((name, key)) = self.pick_queue(true) else { return Ok(()) };
        self.with_client(index, |client, context| client.delete_queue(key, &name, context)).map(drop)
    }

    fn change_exchange(&mut self, index: usize) -> Checked {
        let Some((name, exchange)) = self.pick(&EXCHANGES) else { return Ok(()) };
        let delete = self.random.one_in(4);
        self.with_client(index, |client, context| {
            if delete {
                client.delete_exchange(name, context)
            } else {
                client.declare_exchange(name, exchange, context)
            }
        })
        .map(drop)
    }

    fn change_binding(&mut self, index: usize) -> Checked {
        let Some((queue, _)) = self.pick_queue(false) else { return Ok(()) };
        let exchanges: Vec<String> = self.model.exchanges.keys().cloned().collect();
        let (Some(key), false) = (self.pick(&KEYS), exchanges.is_empty()) else { return Ok(()) };
        let source = exchanges[self.random.below(exchanges.len() as u64) as usize].clone();
        let bind = !self.random.one_in(4);
        self.with_client(index, |client, context| client.bind((&source, &queue, key), bind, context))
            .map(drop)
    }

    fn purge(&mut self, index: usize) -> Checked {
        let Some((name, key)) = self.pick_queue(true) else { return Ok(()) };
        let in_use = |life: &crate::world::Life| {
            life.clients.iter().any(|client| {
                client.consumers.values().any(|queue| *queue == key)
                    || client.held.iter().any(|held| held.queue == key)
                    || !client.is_free()
                    || !client.settlements.is_empty()
            })
        };
        let unused = self.life.as_ref().is_some_and(|life| !in_use(life));
        self.with_client(index, |client, context| client.purge(key, &name, unused, context)).map(drop)
    }

    /// Commit, if all of it can be taken: a queue that refuses would refuse it all.
    fn end_transaction(&mut self, index: usize) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        let client = &life.clients[index];
        if client.mode != Mode::Transactions {
            return self.publish(index);
        }
        let can_be_taken =
            client.publishes.iter().filter_map(|id| self.model.messages.get(id)).all(|message| {
                let routed = self.model.route(&message.exchange, &message.key);
                let refuses = |key: &QueueKey| {
                    self.model
                        .queues
                        .get(key)
                        .is_some_and(|queue| queue.settings.limits.overflow == Some(Overflow::Reject))
                };
                (message.exchange.is_empty() || self.model.exchanges.contains_key(&message.exchange))
                    && !routed.iter().any(refuses)
            });
        let commit = can_be_taken && !self.random.one_in(4);
        self.summary.transactions += u64::from(commit);
        if !commit {
            return self.with_client(index, |client, context| client.roll_back(context)).map(drop);
        }
        self.with_client(index, |client, context| client.commit(context))?;
        if self.random.one_in(6) {
            // Where a transaction can come apart.
            let steps = self.random.below(4);
            (0..steps).for_each(|_| _ = self.step_writer());
            return self.restart();
        }
        Ok(())
    }
}
