//! queue.declare's arguments, each checked where it is read.

use super::values::to_value;
use crate::codec::{Table, Value as Field};
use crate::error::Fault;
use crate::spec::queue;
use fairlead_kernel::ids::ConnectionId;
use fairlead_kernel::settings::{Argument, Limits, Order, Overflow, QueueKind, QueueSettings};

/// Longest time that a timer argument may say, in milliseconds.
const MILLISECONDS_MAX: i64 = 0xffff_ffff;

/// Octets of an exchange's name or of a routing key: both are short strings in every delivery.
const SHORT_STRING_MAX: usize = 255;

/// Highest x-max-priority: levels are 0 to it.
const PRIORITY_MAX: i64 = 255;

/// Arguments whose meaning the broker knows: a redeclaration must repeat them.
const COMPARED: [&str; 15] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-delivery-limit",
    "x-last-value-key",
    "x-group-key",
    "x-browse-only",
    "x-queue-mode",
];

/// What queue.declare asks for.
pub(crate) fn queue_settings(
    method: &queue::Declare<'_>,
    name: &str,
    vhost: &str,
    quorum: bool,
) -> Result<QueueSettings, Fault> {
    let arguments = Arguments { table: method.arguments, queue: name, vhost, quorum };
    let kind = arguments.kind()?;
    let limits = arguments.limits(kind)?;
    arguments.check_mode()?;
    Ok(QueueSettings {
        kind,
        durable: method.durable,
        auto_delete: method.auto_delete,
        exclusive: method.exclusive.then_some(ConnectionId(0)),
        order: arguments.order()?,
        browse_only: arguments.flag("x-browse-only")?,
        single_active_consumer: arguments.flag("x-single-active-consumer")?,
        group_header: arguments.text("x-group-key")?,
        limits,
        arguments: method
            .arguments
            .iter()
            .map(|(name, field)| Argument {
                name: name.to_owned(),
                value: to_value(field),
                compared: COMPARED.contains(&name),
            })
            .collect(),
    })
}

struct Arguments<'a> {
    table: Table<'a>,
    queue: &'a str,
    vhost: &'a str,
    /// Whether there are quorum queues.
    quorum: bool,
}

impl Arguments<'_> {
    #[cold]
    fn fault(&self, argument: &str, what: &str) -> Fault {
        Fault::precondition(format!(
            "invalid arg '{argument}' for queue '{}' in vhost '{}': {what}",
            self.queue, self.vhost
        ))
    }

    fn kind(&self) -> Result<QueueKind, Fault> {
        match self.text("x-queue-type")?.as_deref() {
            None | Some("classic") => Ok(QueueKind::Classic),
            Some("quorum") if self.quorum => Ok(QueueKind::Quorum),
            Some(other) => Err(self.fault("x-queue-type", &format!("\"unsupported queue type '{other}'\""))),
        }
    }

    fn limits(&self, kind: QueueKind) -> Result<Limits, Fault> {
        let dead_letter_exchange = self.name("x-dead-letter-exchange")?;
        let dead_letter_key = self.text("x-dead-letter-routing-key")?;
        for (argument, text) in [
            ("x-dead-letter-exchange", &dead_letter_exchange),
            ("x-dead-letter-routing-key", &dead_letter_key),
        ] {
            if text.as_ref().is_some_and(|text| text.len() > SHORT_STRING_MAX) {
                return Err(self.fault(argument, "\"longer than 255 octets\""));
            }
        }
        if dead_letter_key.is_some() && dead_letter_exchange.is_none() {
            return Err(self.fault("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        Ok(Limits {
            max_messages: self.number("x-max-length", 0, i64::MAX)?,
            max_bytes: self.number("x-max-length-bytes", 0, i64::MAX)?,
            overflow: self.overflow()?,
            message_ttl: self.number("x-message-ttl", 0, MILLISECONDS_MAX)?,
            expires: self.number("x-expires", 1, MILLISECONDS_MAX)?,
            dead_letter_exchange,
            dead_letter_key,
            delivery_limit: self.delivery_limit(kind)?,
        })
    }

    fn overflow(&self) -> Result<Option<Overflow>, Fault> {
        match self.text("x-overflow")?.as_deref() {
            None => Ok(None),
            Some("drop-head") => Ok(Some(Overflow::DropHead)),
            Some("reject-publish") => Ok(Some(Overflow::Reject)),
            Some("reject-publish-dlx") => Ok(Some(Overflow::RejectDeadLetter)),
            Some(_) => Err(self.fault("x-overflow", "invalid_overflow")),
        }
    }

    /// Only quorum queues have a limit: 20 unless given, none for -1.
    fn delivery_limit(&self, kind: QueueKind) -> Result<Option<u32>, Fault> {
        match (self.table.get("x-delivery-limit"), kind) {
            (None, QueueKind::Classic) => Ok(None),
            (None, QueueKind::Quorum) => Ok(Some(20)),
            (Some(_), QueueKind::Classic) => Err(Fault::precondition(format!(
                "invalid arg 'x-delivery-limit' for queue '{}' in vhost '{}' of queue type rabbit_classic_queue",
                self.queue, self.vhost
            ))),
            (Some(field), QueueKind::Quorum) if field.as_integer() == Some(-1) => Ok(None),
            (Some(_), QueueKind::Quorum) => {
                let limit = self.number("x-delivery-limit", 0, u32::MAX.into())?;
                Ok(limit.map(|limit| limit as u32))
            }
        }
    }

    fn order(&self) -> Result<Order, Fault> {
        if let Some(key) = self.text("x-last-value-key")? {
            if self.table.get("x-max-priority").is_some() {
                return Err(self.fault("x-max-priority", "\"not supported together with x-last-value-key\""));
            }
            return Ok(Order::LastValue { key });
        }
        match self.number("x-max-priority", 0, PRIORITY_MAX)? {
            None | Some(0) => Ok(Order::Fifo),
            Some(highest) => Ok(Order::Priority { levels: highest as u16 + 1 }),
        }
    }

    /// x-queue-mode means nothing here, yet a wrong value is a mistake of the client's.
    fn check_mode(&self) -> Result<(), Fault> {
        match self.text("x-queue-mode")?.as_deref() {
            None | Some("default" | "lazy") => Ok(()),
            Some(_) => Err(self.fault("x-queue-mode", "invalid_queue_mode")),
        }
    }

    fn number(&self, name: &str, minimum: i64, maximum: i64) -> Result<Option<u64>, Fault> {
        let Some(field) = self.table.get(name) else { return Ok(None) };
        let Some(number) = field.as_integer() else {
            return Err(self.fault(name, &format!("\"expected integer, got {}\"", field.type_name())));
        };
        if number < 0 {
            return Err(self.fault(name, &format!("{{value_negative,{number}}}")));
        }
        if number < minimum {
            return Err(self.fault(name, &format!("{{value_zero,{number}}}")));
        }
        if number > maximum {
            let problem = if maximum == PRIORITY_MAX { "max_value_exceeded" } else { "value_too_large" };
            return Err(self.fault(name, &format!("{{{problem},{number}}}")));
        }
        Ok(Some(number.unsigned_abs()))
    }

    fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.table.get(name) {
            None => Ok(None),
            Some(Field::LongString(bytes)) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            Some(other) => Err(self.fault(name, &format!("{{unacceptable_type,{}}}", other.type_name()))),
        }
    }

    /// The name of an exchange: a wrong type has a text of its own.
    fn name(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.table.get(name) {
            Some(field) if !matches!(field, Field::LongString(_)) => Err(Fault::precondition(format!(
                "invalid type '{}' for arg '{name}' in queue '{}' in vhost '{}'",
                field.type_name(),
                self.queue,
                self.vhost
            ))),
            _ => self.text(name),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.table.get(name) {
            None => Ok(false),
            Some(Field::Boolean(flag)) => Ok(flag),
            Some(other) => Err(self.fault(name, &format!("{{unacceptable_type,{}}}", other.type_name()))),
        }
    }
}
