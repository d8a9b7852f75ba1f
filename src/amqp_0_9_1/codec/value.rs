//! One value of a field table or array, borrowed from its encoded bytes.

use super::{Array, DecodeError, Reader, Table};

/// A value with its type as the peer sent it. The type octets are those that RabbitMQ and its clients use, which
/// differ from the grammar of clause 4.2.1 (`s` is a 16-bit integer, `l` and `L` are both signed).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `t`
    Boolean(bool),
    /// `b`
    Int8(i8),
    /// `B`
    UInt8(u8),
    /// `s`
    Int16(i16),
    /// `u`
    UInt16(u16),
    /// `I`
    Int32(i32),
    /// `i`
    UInt32(u32),
    /// `l`, and `L` when read
    Int64(i64),
    /// `f`
    Float32(f32),
    /// `d`
    Float64(f64),
    /// `D`: `mantissa / 10^scale`
    Decimal {
        /// Digits behind the point.
        scale: u8,
        /// The digits as a whole number.
        mantissa: i32,
    },
    /// `S`: a long string, UTF-8 by custom only
    LongString(&'a [u8]),
    /// `x`
    Bytes(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `T`: seconds since the Unix epoch
    Timestamp(u64),
    /// `F`
    Table(Table<'a>),
    /// `V`
    Void,
}

impl<'a> Value<'a> {
    /// Takes one value, type octet first. Nested tables and arrays are measured, not looked into.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.octet()? {
            b't' => Self::Boolean(reader.octet()? != 0),
            b'b' => Self::Int8(reader.octet()? as i8),
            b'B' => Self::UInt8(reader.octet()?),
            b's' => Self::Int16(reader.short()? as i16),
            b'u' => Self::UInt16(reader.short()?),
            b'I' => Self::Int32(reader.long()? as i32),
            b'i' => Self::UInt32(reader.long()?),
            b'l' | b'L' => Self::Int64(reader.longlong()? as i64),
            b'f' => Self::Float32(f32::from_bits(reader.long()?)),
            b'd' => Self::Float64(f64::from_bits(reader.longlong()?)),
            b'D' => Self::Decimal { scale: reader.octet()?, mantissa: reader.long()? as i32 },
            b'S' => Self::LongString(reader.longstr()?),
            b'x' => Self::Bytes(reader.longstr()?),
            b'A' => Self::Array(Array::from_validated(reader.longstr()?)),
            b'T' => Self::Timestamp(reader.longlong()?),
            b'F' => Self::Table(Table::from_validated(reader.longstr()?)),
            b'V' => Self::Void,
            other => return Err(DecodeError::UnknownFieldType(other)),
        })
    }

    /// The type's name as RabbitMQ's error texts have it: `longstr`, `signedint`, `bool` and so on.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "bool",
            Self::Int8(_) => "byte",
            Self::UInt8(_) => "unsignedbyte",
            Self::Int16(_) => "short",
            Self::UInt16(_) => "unsignedshort",
            Self::Int32(_) => "signedint",
            Self::UInt32(_) => "unsignedint",
            Self::Int64(_) => "long",
            Self::Float32(_) => "float",
            Self::Float64(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongString(_) => "longstr",
            Self::Bytes(_) => "binary",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Void => "void",
        }
    }

    /// The number, of any integer type.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Self::Int8(v) => Some(v.into()),
            Self::UInt8(v) => Some(v.into()),
            Self::Int16(v) => Some(v.into()),
            Self::UInt16(v) => Some(v.into()),
            Self::Int32(v) => Some(v.into()),
            Self::UInt32(v) => Some(v.into()),
            Self::Int64(v) => Some(v),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Boolean(v) => Some(v),
            _ => None,
        }
    }

    /// The text of a long string, if it is one and UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::LongString(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<Table<'a>> {
        match *self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        match *self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }
}
