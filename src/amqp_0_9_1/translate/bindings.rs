//! Bindings: where from, where to, and how arguments are matched.

use super::values::{to_map, to_value};
use crate::codec::{Table, Value as Field};
use crate::error::{Fault, Shown};
use fairlead_kernel::settings::{Binding, Destination, MatchMode};

/// What a binding leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExchangeOrQueue<'a> {
    Queue(&'a str),
    Exchange(&'a str),
}

/// The binding that queue.bind, exchange.bind and their opposites name.
pub(crate) fn binding(
    source: &str,
    destination: ExchangeOrQueue<'_>,
    key: &str,
    arguments: Table<'_>,
) -> Result<Binding, Fault> {
    Ok(Binding {
        source: source.to_owned(),
        destination: match destination {
            ExchangeOrQueue::Queue(name) => Destination::Queue(name.to_owned()),
            ExchangeOrQueue::Exchange(name) => Destination::Exchange(name.to_owned()),
        },
        key: key.to_owned(),
        match_mode: match_mode(arguments)?,
        arguments: to_map(arguments),
    })
}

/// The argument x-match. Only headers exchanges ask for it, and what kind the source is, is not known here:
/// a wrong one is refused for any exchange.
fn match_mode(arguments: Table<'_>) -> Result<MatchMode, Fault> {
    match arguments.get("x-match") {
        None | Some(Field::LongString(b"all")) => Ok(MatchMode::All),
        Some(Field::LongString(b"any")) => Ok(MatchMode::Any),
        Some(Field::LongString(b"all-with-x")) => Ok(MatchMode::AllWithX),
        Some(Field::LongString(b"any-with-x")) => Ok(MatchMode::AnyWithX),
        Some(Field::LongString(other)) => Err(Fault::precondition(format!(
            "Invalid x-match field value <<\"{}\">>; expected all, any, all-with-x, or any-with-x",
            String::from_utf8_lossy(other)
        ))),
        Some(other) => Err(Fault::precondition(format!(
            "Invalid x-match field type {} (value {}); expected longstr",
            other.type_name(),
            Shown(&to_value(other))
        ))),
    }
}
