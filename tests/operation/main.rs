//! What an operator sees of a running broker: reloads, and who closed a connection and why.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed test is what these are for"
)]

mod closing;
mod ctl;
mod reload;
mod socket;
