//! A small AMQP 0-9-1 client on the adapter's codec, for the command line and the benchmark.
//!
//! ```text
//! Address ("amqp://...") -> Connection::open -> open_channel, declare_queue, bind, consume, get, ...   one reply awaited each
//! PublishTemplate -> many publishes in one buffer -> Connection::write -> socket
//! socket -> Connection::read -> next_frame: frames borrowed from the read buffer -> ContentProgress, ConfirmWindow
//! ```
//!
//! One task owns a connection and all its channels: there is no background task, and what is not read stays in the
//! socket, which is how a slow consumer holds its broker back. Heartbeats are negotiated off.

mod address;
mod confirms;
mod connection;
mod content;
mod error;
mod handshake;
mod inbox;
mod operations;
mod publish;

pub use address::{Address, AddressError};
pub use confirms::ConfirmWindow;
pub use connection::{Connection, Options};
pub use content::{ContentProgress, Message};
pub use error::{ClosedBy, Error};
pub use operations::{Consumer, Exchange, Queue, QueueState};
pub use publish::PublishTemplate;
