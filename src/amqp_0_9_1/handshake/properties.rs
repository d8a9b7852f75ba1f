//! Server-properties, and what the client's capabilities change.

use crate::codec::{Table, TableWriter, Value};
use crate::connection::ConnectionConfig;

/// What this broker can do beyond the specification.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The table of connection.start.
pub(crate) fn server_properties(config: &ConnectionConfig) -> TableWriter {
    let mut table = TableWriter::new();
    table.put_table("capabilities", |capabilities| {
        for name in CAPABILITIES {
            capabilities.put_bool(name, true);
        }
    });
    for (name, text) in &config.product {
        table.put_str(name, text);
    }
    table
}

/// The client's capabilities, as far as they change what we send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) consumer_cancel_notify: bool,
    pub(crate) connection_blocked: bool,
    pub(crate) authentication_failure_close: bool,
}

impl Capabilities {
    /// Those of client-properties.
    pub(crate) fn of(properties: Table<'_>) -> Capabilities {
        let table = properties.get("capabilities").and_then(|value| value.as_table()).unwrap_or_default();
        let has = |name: &str| table.get(name).and_then(|value: Value<'_>| value.as_bool()).unwrap_or(false);
        Capabilities {
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        }
    }
}
