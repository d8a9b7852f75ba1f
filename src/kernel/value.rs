//! A typed value of a header or an argument, wide enough for the field tables of all three protocols.

use serde::{Deserialize, Serialize};

/// A value with its type kept, so that it can be given back as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Void,
    /// True or false.
    Boolean(bool),
    /// Signed, 8 bits.
    Int8(i8),
    /// Unsigned, 8 bits.
    UInt8(u8),
    /// Signed, 16 bits.
    Int16(i16),
    /// Unsigned, 16 bits.
    UInt16(u16),
    /// Signed, 32 bits.
    Int32(i32),
    /// Unsigned, 32 bits.
    UInt32(u32),
    /// Signed, 64 bits.
    Int64(i64),
    /// Unsigned, 64 bits.
    UInt64(u64),
    /// IEEE 754, 32 bits.
    Float32(f32),
    /// IEEE 754, 64 bits.
    Float64(f64),
    /// `mantissa / 10^scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// The digits as a whole number.
        mantissa: i32,
    },
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// Text. What came as text but is not UTF-8 is `Bytes`.
    Text(String),
    /// Bytes without an encoding.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Names with values, in the order they came.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The number, for any integer type that fits 64 signed bits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Value::Int8(v) => Some(v.into()),
            Value::UInt8(v) => Some(v.into()),
            Value::Int16(v) => Some(v.into()),
            Value::UInt16(v) => Some(v.into()),
            Value::Int32(v) => Some(v.into()),
            Value::UInt32(v) => Some(v.into()),
            Value::Int64(v) => Some(v),
            Value::UInt64(v) => i64::try_from(v).ok(),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a text or of bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text.as_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether two values mean the same: integers by value whatever their width, text and bytes by their
    /// bytes, all else by type and value.
    #[must_use]
    pub fn means_same(&self, other: &Value) -> bool {
        match (self.as_integer(), other.as_integer()) {
            (Some(left), Some(right)) => left == right,
            (None, None) => match (self.as_bytes(), other.as_bytes()) {
                (Some(left), Some(right)) => left == right,
                _ => self == other,
            },
            _ => false,
        }
    }
}
