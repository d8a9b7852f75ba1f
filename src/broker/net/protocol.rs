//! The protocols that a connection may speak, behind one face: each is an adapter without a socket, driven by
//! the pump between its input, the engine and its output.

use crate::net::amqp_0_9_1::Amqp091;
use fairlead_engine::{Connection, Description};
use fairlead_kernel::Time;
use fairlead_kernel::output::Output;
use fairlead_kernel::session::Event;

/// A connection's protocol.
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp091(Box<Amqp091>),
}

macro_rules! each {
    ($self:ident, $adapter:ident => $call:expr) => {
        match $self {
            Protocol::Amqp091($adapter) => $call,
        }
    };
}

impl Protocol {
    /// Whether frames may be handled.
    pub fn wants_input(&self) -> bool {
        each!(self, adapter => adapter.wants_input())
    }

    /// Bytes of a frame at most, envelope included.
    pub fn frame_max(&self) -> usize {
        each!(self, adapter => adapter.frame_max())
    }

    /// Whether the peer has said who it is, and was let in.
    pub fn is_authenticated(&self) -> bool {
        each!(self, adapter => adapter.is_authenticated())
    }

    /// Whether nothing more will come or be taken.
    pub fn is_closed(&self) -> bool {
        each!(self, adapter => adapter.is_closed())
    }

    /// Why the connection ends, if that is our doing.
    pub fn why_ended(&self) -> Option<&str> {
        each!(self, adapter => adapter.why_ended())
    }

    /// Handle the complete frames at the start of `bytes`, and what they ask of the engine; returns how many
    /// bytes they were.
    pub fn handle(&mut self, bytes: &[u8], engine: &mut Connection, now: Time) -> usize {
        each!(self, adapter => adapter.handle(bytes, engine, now))
    }

    /// Take what the engine tells.
    pub fn handle_event(&mut self, event: Event, now: Time) {
        each!(self, adapter => adapter.handle_event(event, now));
    }

    /// Carry out what events or deliveries have made the adapter ask for.
    pub fn carry_out(&mut self, engine: &mut Connection, now: Time) {
        each!(self, adapter => adapter.carry_out(engine, now));
    }

    /// Encode deliveries until there is none or `output` holds `bound` bytes; false if there was none. Bytes
    /// that answer a request are added to `answers`.
    pub fn deliver(
        &mut self,
        engine: &mut Connection,
        now: Time,
        output: &mut Output,
        bound: usize,
        answers: &mut usize,
    ) -> bool {
        each!(self, adapter => adapter.deliver(engine, now, output, bound, answers))
    }

    /// Append what is to be written besides deliveries; returns how many bytes.
    pub fn transmit(&mut self, output: &mut Output) -> usize {
        each!(self, adapter => adapter.transmit(output))
    }

    /// When [`Protocol::handle_timeout`] is wanted.
    pub fn poll_timeout(&self) -> Option<Time> {
        each!(self, adapter => adapter.poll_timeout())
    }

    /// Do what is due, and what that asks of the engine.
    pub fn handle_timeout(&mut self, engine: &mut Connection, now: Time) {
        each!(self, adapter => adapter.handle_timeout(engine, now));
    }

    /// Why publishers are held back, if they are. Asked each turn: the event that tells of a change may wait behind
    /// deliveries that the peer does not read.
    pub fn hold_publishes(&mut self, reason: Option<&'static str>, now: Time) {
        each!(self, adapter => adapter.hold_publishes(reason, now));
    }

    /// The peer has shown at `time` that it is there.
    pub fn heard(&mut self, time: Time) {
        each!(self, adapter => adapter.heard(time));
    }

    /// Whether what operators see has changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        each!(self, adapter => adapter.take_changed())
    }

    /// What operators see.
    pub fn describe(&self) -> Description {
        each!(self, adapter => adapter.describe())
    }

    /// The connection has ended: the engine gets back what it held.
    pub fn end(&mut self, engine: &mut Connection, now: Time) {
        each!(self, adapter => adapter.end(engine, now));
    }
}
