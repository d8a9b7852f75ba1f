//! Routing and queue semantics, pure and deterministic.
//!
//! What flows through: an adapter turns bytes into [`session::Publish`]es and [`session::Request`]s; the
//! engine routes them through a [`topology::Topology`] snapshot and enters each [`queue::Queue`] once per
//! batch; a queue answers with [`command::Command`]s (what a log must hold) and [`effect::Effects`] (what
//! others must be told). There is no I/O, no clock and no randomness here: time, ids and seeds are
//! arguments, so that a log replayed on another machine gives the same state.

pub mod command;
pub mod effect;
pub mod ids;
pub mod message;
pub mod output;
pub mod queue;
pub mod refusal;
pub mod router;
pub mod session;
pub mod settings;
pub mod topology;
pub mod value;

pub use ids::{ConnectionId, ConsumerId, Origin, QueueId, Sequence, SessionId, Time};
pub use message::{Body, HeadReader, Message, MessageView, Overlay};
pub use refusal::Refusal;
pub use value::Value;
