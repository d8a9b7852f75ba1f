//! Field table values to kernel values and back, types kept.

use crate::codec::{Array, Table, TableWriter, Value as Field};
use fairlead_kernel::Value;

/// An owned value of a field.
#[must_use]
pub fn to_value(field: Field<'_>) -> Value {
    match field {
        Field::Boolean(v) => Value::Boolean(v),
        Field::Int8(v) => Value::Int8(v),
        Field::UInt8(v) => Value::UInt8(v),
        Field::Int16(v) => Value::Int16(v),
        Field::UInt16(v) => Value::UInt16(v),
        Field::Int32(v) => Value::Int32(v),
        Field::UInt32(v) => Value::UInt32(v),
        Field::Int64(v) => Value::Int64(v),
        Field::Float32(v) => Value::Float32(v),
        Field::Float64(v) => Value::Float64(v),
        Field::Decimal { scale, mantissa } => Value::Decimal { scale, mantissa },
        Field::LongString(v) => text_or_bytes(v),
        Field::Bytes(v) => Value::Bytes(v.to_vec()),
        Field::Array(v) => Value::List(v.iter().map(to_value).collect()),
        Field::Timestamp(v) => Value::Timestamp(v),
        Field::Table(v) => Value::Map(to_map(v)),
        Field::Void => Value::Void,
    }
}

/// The fields of a table, in order.
pub(crate) fn to_map(table: Table<'_>) -> Vec<(String, Value)> {
    table.iter().map(|(name, field)| (name.to_owned(), to_value(field))).collect()
}

fn text_or_bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes)
        .map_or_else(|_| Value::Bytes(bytes.to_vec()), |text| Value::Text(text.to_owned()))
}

/// Append a kernel value to a table. Unsigned 64-bit numbers beyond the signed ones, which this protocol
/// does not have, become decimal text.
pub fn put_value(table: &mut TableWriter, name: &str, value: &Value) {
    let mut text = String::new();
    let mut nested = Vec::new();
    table.put(name, field_of(value, &mut text, &mut nested));
}

/// The field of `value`; `text` and `nested` hold what has to be made for it.
fn field_of<'a>(value: &'a Value, text: &'a mut String, nested: &'a mut Vec<u8>) -> Field<'a> {
    match value {
        Value::Void => Field::Void,
        Value::Boolean(v) => Field::Boolean(*v),
        Value::Int8(v) => Field::Int8(*v),
        Value::UInt8(v) => Field::UInt8(*v),
        Value::Int16(v) => Field::Int16(*v),
        Value::UInt16(v) => Field::UInt16(*v),
        Value::Int32(v) => Field::Int32(*v),
        Value::UInt32(v) => Field::UInt32(*v),
        Value::Int64(v) => Field::Int64(*v),
        Value::UInt64(v) => match i64::try_from(*v) {
            Ok(v) => Field::Int64(v),
            Err(_) => {
                *text = v.to_string();
                Field::LongString(text.as_bytes())
            }
        },
        Value::Float32(v) => Field::Float32(*v),
        Value::Float64(v) => Field::Float64(*v),
        Value::Decimal { scale, mantissa } => Field::Decimal { scale: *scale, mantissa: *mantissa },
        Value::Timestamp(v) => Field::Timestamp(*v),
        Value::Text(v) => Field::LongString(v.as_bytes()),
        Value::Bytes(v) => Field::Bytes(v),
        Value::List(values) => {
            *nested = array_of(values);
            Field::Array(Array::from_validated(nested))
        }
        Value::Map(fields) => {
            *nested = table_of(fields).into_bytes();
            Field::Table(Table::from_validated(nested))
        }
    }
}

/// A table of kernel values.
pub(crate) fn table_of(fields: &[(String, Value)]) -> TableWriter {
    let mut table = TableWriter::new();
    for (name, value) in fields {
        put_value(&mut table, name, value);
    }
    table
}

fn array_of(values: &[Value]) -> Vec<u8> {
    let mut array = crate::codec::ArrayWriter::new();
    for value in values {
        let mut text = String::new();
        let mut nested = Vec::new();
        array.push(field_of(value, &mut text, &mut nested));
    }
    array.as_array().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_the_way_there_and_back() {
        let values = vec![
            Value::Void,
            Value::Boolean(true),
            Value::Int8(-1),
            Value::UInt8(200),
            Value::Int16(-300),
            Value::UInt16(60_000),
            Value::Int32(-70_000),
            Value::UInt32(4_000_000_000),
            Value::Int64(-5_000_000_000),
            Value::Float32(1.5),
            Value::Float64(-2.25),
            Value::Decimal { scale: 2, mantissa: 314 },
            Value::Timestamp(1_700_000_000),
            Value::Text("grün".to_owned()),
            Value::Bytes(vec![0, 255]),
        ];
        let nested = Value::Map(vec![("list".to_owned(), Value::List(values.clone()))]);
        for value in values.into_iter().chain([nested]) {
            let mut table = TableWriter::new();
            put_value(&mut table, "k", &value);
            assert_eq!(table.as_table().get("k").map(to_value), Some(value));
        }
    }

    #[test]
    fn numbers_that_the_protocol_lacks_become_text() {
        let mut table = TableWriter::new();
        put_value(&mut table, "small", &Value::UInt64(7));
        put_value(&mut table, "large", &Value::UInt64(u64::MAX));
        let read = |name| table.as_table().get(name).map(to_value);
        assert_eq!(read("small"), Some(Value::Int64(7)));
        assert_eq!(read("large"), Some(Value::Text(u64::MAX.to_string())));
    }
}
