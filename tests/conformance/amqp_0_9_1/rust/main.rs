//! AMQP 0-9-1 cases on lapin. Each has a broker of its own, or the one at AMQP_URL.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed test is what these are for"
)]

mod declare;
mod messages;
mod operation;
mod steps;
mod stock_lines_run;
