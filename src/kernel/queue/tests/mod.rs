//! Tests of the queue: by feature, against a model, and of the log.

mod against_model;
mod anything;
mod basics;
mod batches;
mod consumers;
mod control;
mod death;
mod expiry;
mod groups;
mod harness;
mod limits;
mod memory;
mod model;
mod orders;
mod paging;
mod transactions;
