//! exchange.declare's type and arguments.

use super::heads::property_as_header;
use super::values::to_value;
use crate::codec::{Table, Value as Field};
use crate::error::Fault;
use crate::spec::{ReplyCode, exchange};
use fairlead_kernel::settings::{Argument, ExchangeKind, ExchangeSettings};

const ALTERNATE: &str = "alternate-exchange";
const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

/// The types of this protocol.
const TYPES: [(&str, ExchangeKind); 6] = [
    ("direct", ExchangeKind::Direct),
    ("topic", ExchangeKind::Topic),
    ("fanout", ExchangeKind::Fanout),
    ("headers", ExchangeKind::Headers),
    ("x-consistent-hash", ExchangeKind::ConsistentHash),
    ("x-random", ExchangeKind::Random),
];

/// This protocol's name of the kernel's kind of that name.
pub(crate) fn exchange_type_of(kernel_name: &str) -> &str {
    TYPES.iter().find(|(_, kind)| kind.name() == kernel_name).map_or(kernel_name, |(name, _)| name)
}

/// What exchange.declare asks for.
pub(crate) fn exchange_settings(
    method: &exchange::Declare<'_>,
    vhost: &str,
) -> Result<ExchangeSettings, Fault> {
    // Spec: exchange.declare, field type, rule "support": an unknown type is 503, a connection exception.
    let Some(&(_, kind)) = TYPES.iter().find(|(name, _)| *name == method.type_) else {
        return Err(Fault::new(
            ReplyCode::CommandInvalid,
            format!("unknown exchange type '{}'", method.type_),
        ));
    };
    let place = Place { exchange: method.exchange, vhost };
    Ok(ExchangeSettings {
        kind,
        durable: method.durable,
        auto_delete: method.auto_delete,
        internal: method.internal,
        alternate: place.text(method.arguments, ALTERNATE)?,
        hash_header: place.hashed(method.arguments)?,
        arguments: method
            .arguments
            .iter()
            .map(|(name, field)| Argument {
                name: name.to_owned(),
                value: to_value(field),
                compared: [ALTERNATE, HASH_HEADER, HASH_PROPERTY].contains(&name),
            })
            .collect(),
    })
}

struct Place<'a> {
    exchange: &'a str,
    vhost: &'a str,
}

impl Place<'_> {
    /// What a consistent hash is taken of, if not the routing key: a header, or a property under a header's
    /// name that [`super::heads`] knows.
    fn hashed(&self, arguments: Table<'_>) -> Result<Option<String>, Fault> {
        let header = self.text(arguments, HASH_HEADER)?;
        let Some(property) = self.text(arguments, HASH_PROPERTY)? else { return Ok(header) };
        if header.is_some() {
            return Err(Fault::precondition("hash-header and hash-property are mutually exclusive"));
        }
        match property_as_header(&property) {
            Some(name) => Ok(Some(name)),
            None => Err(Fault::precondition(format!("Unsupported property: {property}"))),
        }
    }

    fn text(&self, arguments: Table<'_>, name: &str) -> Result<Option<String>, Fault> {
        match arguments.get(name) {
            None => Ok(None),
            Some(Field::LongString(bytes)) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            Some(other) => Err(Fault::precondition(format!(
                "invalid type '{}' for arg '{name}' in exchange '{}' in vhost '{}'",
                other.type_name(),
                self.exchange,
                self.vhost
            ))),
        }
    }
}
