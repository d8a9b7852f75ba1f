//! Between this protocol's words and the kernel's.
//!
//! ```text
//! table values            <-> kernel::Value            values
//! declare, bind, consume   -> kernel::settings         queues, exchanges, bindings, consumers
//! encoded properties       -> kernel::HeadReader       heads
//! kernel::Overlay          -> headers when delivering  overlay
//! ```

mod bindings;
mod consumers;
mod declared;
mod exchanges;
mod heads;
pub mod names;
mod overlay;
mod queues;
mod values;

pub use declared::{Declared, declared_binding, declared_exchange, declared_queue};
pub use heads::{HEAD_READER, Heads};
pub use values::{put_value, to_value};

pub(crate) use values::to_map as table_fields;

pub(crate) use bindings::{ExchangeOrQueue, binding};
pub(crate) use consumers::consumer_priority;
pub(crate) use exchanges::{exchange_settings, exchange_type_of};
pub(crate) use heads::{Inspected, inspect};
pub(crate) use overlay::{delivered_head, needs_rewriting};
pub(crate) use queues::queue_settings;
