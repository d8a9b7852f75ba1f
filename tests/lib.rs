//! Tests that drive a real broker with real clients.
//!
//! [`Broker`] starts the broker's binary for one test; the cases themselves lie in conformance/, a folder a
//! protocol with a folder a client's language beneath it.

mod binary;
mod broker;

pub use binary::path as binary;
pub use broker::{Broker, StartError};
