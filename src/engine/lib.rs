//! The broker as a library: topology, queues and sessions, without sockets.
//!
//! What flows through: a connection's task hands its publishes in batches and its requests one by one to its
//! [`Connection`]; the engine routes on the topology's snapshot, enters each queue once a batch, and puts
//! deliveries into the outboxes of other connections, whose tasks walk them. A janitor does what time asks for.
//!
//! Locks have ranks: topology writer, then queue, then leaf (outbox, timers). One of a rank at a time; a leaf
//! takes nothing; none is held across an await. Wakers are called when no lock is held.

pub mod auth;
mod broker;
mod clock;
mod connection;
mod connections;
pub mod counters;
mod dead_letters;
mod explain;
mod held_back;
mod janitor;
mod memory;
pub mod outbox;
mod pressure;
mod publish;
mod published;
mod queue_cell;
mod registry;
mod reload;
mod replies;
pub mod report;
mod requests;
mod routes;
mod scratch;
mod seldom;
mod settings;
mod settle;
mod store;
mod subscriptions;
mod transaction;
mod vhost;
mod windows;

#[cfg(test)]
mod tests;

pub use broker::Broker;
pub use clock::{Clock, ClockHand};
pub use connection::Connection;
pub use connections::{ConsumerDescription, Description, Endpoints, Entry, SessionDescription};
pub use explain::explain;
pub use memory::LOW_ON_MEMORY;
pub use pressure::LOW_ON_DISK;
pub use reload::SettingsError;
pub use replies::REPLY_PREFIX;
pub use seldom::Seldom;
pub use settings::{DeclaredHost, Settings};
pub use store::{Described, Describer, Detail, missing};
pub use store::{Fatal, JOURNAL_FOLDER, OpenError, Opened, Snapshot, SnapshotError, Storage};
