//! What a configuration declares in this protocol's words: the same arguments, checked by the same rules, as if a
//! client had sent them.

use super::values::table_of;
use super::{ExchangeOrQueue, binding, exchange_settings, exchange_type_of, queue_settings};
use crate::spec::{exchange, queue};
use fairlead_kernel::Value;
use fairlead_kernel::settings::{Binding, Destination, ExchangeKind, ExchangeSettings, QueueSettings};

/// A queue or an exchange by name.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its virtual host.
    pub vhost: &'a str,
    /// Outlives a restart.
    pub durable: bool,
    /// Deleted when its last consumer, or binding, goes.
    pub auto_delete: bool,
    /// `x-` arguments and the like.
    pub arguments: &'a [(String, Value)],
}

/// A queue's settings.
///
/// # Errors
/// An argument is wrong; the text that a client would get.
pub fn declared_queue(declared: &Declared<'_>, quorum_queues: bool) -> Result<QueueSettings, String> {
    let arguments = table_of(declared.arguments);
    let method = queue::Declare {
        queue: declared.name,
        passive: false,
        durable: declared.durable,
        exclusive: false,
        auto_delete: declared.auto_delete,
        no_wait: false,
        arguments: arguments.as_table(),
    };
    queue_settings(&method, declared.name, declared.vhost, quorum_queues).map_err(|fault| fault.text)
}

/// An exchange's settings.
///
/// # Errors
/// As for a queue.
pub fn declared_exchange(
    declared: &Declared<'_>,
    kind: ExchangeKind,
    internal: bool,
) -> Result<ExchangeSettings, String> {
    let arguments = table_of(declared.arguments);
    let method = exchange::Declare {
        exchange: declared.name,
        type_: exchange_type_of(kind.name()),
        passive: false,
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        internal,
        no_wait: false,
        arguments: arguments.as_table(),
    };
    exchange_settings(&method, declared.vhost).map_err(|fault| fault.text)
}

/// A binding.
///
/// # Errors
/// As for a queue.
pub fn declared_binding(
    source: &str,
    destination: &Destination,
    key: &str,
    arguments: &[(String, Value)],
) -> Result<Binding, String> {
    let arguments = table_of(arguments);
    let destination = match destination {
        Destination::Queue(name) => ExchangeOrQueue::Queue(name),
        Destination::Exchange(name) => ExchangeOrQueue::Exchange(name),
    };
    binding(source, destination, key, arguments.as_table()).map_err(|fault| fault.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_kernel::settings::MatchMode;

    fn declared(arguments: &[(String, Value)]) -> Declared<'_> {
        Declared { name: "n", vhost: "/", durable: true, auto_delete: false, arguments }
    }

    #[test]
    fn arguments_mean_what_a_client_would_mean() {
        let arguments = [("x-max-length".to_owned(), Value::Int64(7))];
        let queue = declared_queue(&declared(&arguments), false).unwrap();
        assert_eq!((queue.limits.max_messages, queue.durable, queue.exclusive), (Some(7), true, None));
        let arguments = [("alternate-exchange".to_owned(), Value::Text("other".to_owned()))];
        let exchange = declared_exchange(&declared(&arguments), ExchangeKind::Topic, true).unwrap();
        assert_eq!((exchange.kind, exchange.internal), (ExchangeKind::Topic, true));
        assert_eq!(exchange.alternate.as_deref(), Some("other"));
        let arguments = [("x-match".to_owned(), Value::Text("any".to_owned()))];
        let destination = Destination::Queue("q".to_owned());
        let binding = declared_binding("x", &destination, "k", &arguments).unwrap();
        assert_eq!((binding.match_mode, binding.destination), (MatchMode::Any, destination));
    }

    #[test]
    fn a_wrong_argument_is_named() {
        let arguments = [("x-max-length".to_owned(), Value::Int64(-1))];
        let error = declared_queue(&declared(&arguments), false).unwrap_err();
        assert!(error.contains("x-max-length"), "{error}");
    }
}
