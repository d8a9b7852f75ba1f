//! The AMQP 0-9-1 protocol adapter, without sockets.
//!
//! Bytes of a connection become frames (`codec`), a method frame's payload becomes a typed method
//! (`spec`, generated from the public XML), and the way back goes through the same two rooms. Between them
//! stands `connection`, the state machine that the runtime drives: `handshake` is its youth, `channel` what it
//! remembers of each channel, and `translate` turns the protocol's words into the kernel's.

mod channel;
pub mod codec;
pub mod connection;
mod error;
mod handshake;
pub mod spec;
pub mod translate;
