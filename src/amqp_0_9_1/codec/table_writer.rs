//! Builds field tables and arrays, field by field, as encoded bytes.

use super::{Array, Table, Value, put_longstr, put_shortstr};

/// A field table under construction. Names longer than 255 bytes are cut, as [`put_shortstr`] says.
#[derive(Clone, Debug, Default)]
pub struct TableWriter {
    content: Vec<u8>,
}

impl TableWriter {
    /// A table without fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field.
    pub fn put(&mut self, name: &str, value: Value<'_>) -> &mut Self {
        put_shortstr(&mut self.content, name);
        put_value(&mut self.content, value);
        self
    }

    /// Appends a boolean field.
    pub fn put_bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.put(name, Value::Boolean(value))
    }

    /// Appends a signed 32-bit field.
    pub fn put_i32(&mut self, name: &str, value: i32) -> &mut Self {
        self.put(name, Value::Int32(value))
    }

    /// Appends a signed 64-bit field.
    pub fn put_i64(&mut self, name: &str, value: i64) -> &mut Self {
        self.put(name, Value::Int64(value))
    }

    /// Appends a long string field.
    pub fn put_str(&mut self, name: &str, value: &str) -> &mut Self {
        self.put(name, Value::LongString(value.as_bytes()))
    }

    /// Appends a timestamp field, in seconds since the Unix epoch.
    pub fn put_timestamp(&mut self, name: &str, seconds: u64) -> &mut Self {
        self.put(name, Value::Timestamp(seconds))
    }

    /// Appends a nested table that `build` fills.
    pub fn put_table(&mut self, name: &str, build: impl FnOnce(&mut TableWriter)) -> &mut Self {
        put_shortstr(&mut self.content, name);
        nest_table(&mut self.content, build);
        self
    }

    /// Appends an array that `build` fills.
    pub fn put_array(&mut self, name: &str, build: impl FnOnce(&mut ArrayWriter)) -> &mut Self {
        put_shortstr(&mut self.content, name);
        nest_array(&mut self.content, build);
        self
    }

    /// The table as it stands.
    #[must_use]
    pub fn as_table(&self) -> Table<'_> {
        Table::from_validated(&self.content)
    }

    /// The encoded fields, without a length before them: what [`Table::from_validated`] takes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.content
    }
}

/// An array under construction.
#[derive(Clone, Debug, Default)]
pub struct ArrayWriter {
    content: Vec<u8>,
}

impl ArrayWriter {
    /// An array without values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a value.
    pub fn push(&mut self, value: Value<'_>) -> &mut Self {
        put_value(&mut self.content, value);
        self
    }

    /// Appends a long string.
    pub fn push_str(&mut self, value: &str) -> &mut Self {
        self.push(Value::LongString(value.as_bytes()))
    }

    /// Appends a table that `build` fills.
    pub fn push_table(&mut self, build: impl FnOnce(&mut TableWriter)) -> &mut Self {
        nest_table(&mut self.content, build);
        self
    }

    /// Appends an array that `build` fills.
    pub fn push_array(&mut self, build: impl FnOnce(&mut ArrayWriter)) -> &mut Self {
        nest_array(&mut self.content, build);
        self
    }

    /// The array as it stands.
    #[must_use]
    pub fn as_array(&self) -> Array<'_> {
        Array::from_validated(&self.content)
    }
}

fn nest_table(out: &mut Vec<u8>, build: impl FnOnce(&mut TableWriter)) {
    let mut nested = TableWriter::new();
    build(&mut nested);
    put_value(out, Value::Table(nested.as_table()));
}

fn nest_array(out: &mut Vec<u8>, build: impl FnOnce(&mut ArrayWriter)) {
    let mut nested = ArrayWriter::new();
    build(&mut nested);
    put_value(out, Value::Array(nested.as_array()));
}

/// Appends type octet and value.
fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Boolean(v) => put_typed(out, b't', [u8::from(v)]),
        Value::Int8(v) => put_typed(out, b'b', v.to_be_bytes()),
        Value::UInt8(v) => put_typed(out, b'B', [v]),
        Value::Int16(v) => put_typed(out, b's', v.to_be_bytes()),
        Value::UInt16(v) => put_typed(out, b'u', v.to_be_bytes()),
        Value::Int32(v) => put_typed(out, b'I', v.to_be_bytes()),
        Value::UInt32(v) => put_typed(out, b'i', v.to_be_bytes()),
        Value::Int64(v) => put_typed(out, b'l', v.to_be_bytes()),
        Value::Float32(v) => put_typed(out, b'f', v.to_be_bytes()),
        Value::Float64(v) => put_typed(out, b'd', v.to_be_bytes()),
        Value::Decimal { scale, mantissa } => {
            put_typed(out, b'D', [scale]);
            out.extend_from_slice(&mantissa.to_be_bytes());
        }
        Value::LongString(v) => put_sized(out, b'S', v),
        Value::Bytes(v) => put_sized(out, b'x', v),
        Value::Array(v) => put_sized(out, b'A', v.as_bytes()),
        Value::Timestamp(v) => put_typed(out, b'T', v.to_be_bytes()),
        Value::Table(v) => put_sized(out, b'F', v.as_bytes()),
        Value::Void => out.push(b'V'),
    }
}

fn put_typed<const N: usize>(out: &mut Vec<u8>, type_octet: u8, bytes: [u8; N]) {
    out.push(type_octet);
    out.extend_from_slice(&bytes);
}

fn put_sized(out: &mut Vec<u8>, type_octet: u8, bytes: &[u8]) {
    out.push(type_octet);
    put_longstr(out, bytes);
}
