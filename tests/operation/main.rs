//! What an operator sees of a broker: reloads, who closed a connection and why, and what is kept on the disk.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed test is what these are for"
)]

mod closing;
mod ctl;
mod journal;
mod reload;
mod socket;
