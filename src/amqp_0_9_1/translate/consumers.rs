//! basic.consume's arguments.

use crate::codec::Table;
use crate::error::Fault;

/// The argument x-priority: 0 unless given; beyond 32 bits it is clamped.
pub(crate) fn consumer_priority(arguments: Table<'_>, queue: &str, vhost: &str) -> Result<i32, Fault> {
    let Some(field) = arguments.get("x-priority") else { return Ok(0) };
    let Some(number) = field.as_integer() else {
        return Err(Fault::precondition(format!(
            "invalid arg 'x-priority' for queue '{queue}' in vhost '{vhost}': \"expected integer, got {}\"",
            field.type_name()
        )));
    };
    Ok(number.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
}
