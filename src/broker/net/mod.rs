//! Sockets: from an accepted stream to bytes in and out of an adapter.
//!
//! Flow: `server` accepts from a `listener`; `proxy_protocol` (if configured) and `sniff` read the first bytes
//! within a deadline; `pump` then moves frames until the end, with read memory lent by `input`, through the
//! connection's `protocol`.

mod amqp_0_9_1;
mod input;
pub mod listener;
mod protocol;
mod proxy_protocol;
mod pump;
pub mod server;
mod sniff;
mod timer;
