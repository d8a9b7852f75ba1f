//! Field tables and arrays, read in place.
//!
//! A `Table` or `Array` is a view of encoded bytes. They are walked once when a method or property list is decoded,
//! in all their depth and against the bounds below; the iterators then trust them. Spec: AMQP 0-9-1, clause
//! 4.2.5.5 "Field Tables".

use std::fmt;

use super::{DecodeError, Reader, Value};

/// How deep tables and arrays may be nested, the outermost counted as one.
pub const DEPTH_MAX: usize = 16;

/// The longest table, in bytes. Frames carry tables whole, so the default frame-max is as good as this bound; it holds
/// when frame-max is configured higher.
pub const BYTES_MAX: usize = 1 << 20;

/// A field table: names with values, in the order they came. A name may occur twice.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Table<'a> {
    content: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table without fields.
    pub const EMPTY: Table<'static> = Table { content: &[] };

    /// Checks `content`, the encoded fields without the 32-bit length before them.
    pub fn validate(content: &'a [u8]) -> Result<Self, DecodeError> {
        if content.len() > BYTES_MAX {
            return Err(DecodeError::TableTooLarge { size: content.len(), maximum: BYTES_MAX });
        }
        validate_fields(content, DEPTH_MAX)?;
        Ok(Self { content })
    }

    /// A table over content that was validated before. Iterating over any other content is safe, but ends at the
    /// first fault.
    #[inline]
    #[must_use]
    pub fn from_validated(content: &'a [u8]) -> Self {
        Self { content }
    }

    /// The encoded fields, without the length before them.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.content
    }

    /// True without fields.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// The fields in the order they came.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> TableIter<'a> {
        TableIter { reader: Reader::new(self.content) }
    }

    /// The first value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a str, Value<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

/// The fields of a [`Table`].
#[derive(Clone, Debug)]
pub struct TableIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a str, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let name = self.reader.shortstr().ok()?;
        Some((name, Value::read(&mut self.reader).ok()?))
    }
}

/// An array of values, each with a type of its own.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Array<'a> {
    content: &'a [u8],
}

impl<'a> Array<'a> {
    /// An array over content that was validated before, as [`Table::from_validated`].
    #[inline]
    #[must_use]
    pub fn from_validated(content: &'a [u8]) -> Self {
        Self { content }
    }

    /// The encoded values, without the length before them.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.content
    }

    /// True without values.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// The values in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> ArrayIter<'a> {
        ArrayIter { reader: Reader::new(self.content) }
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// The values of an [`Array`].
#[derive(Clone, Debug)]
pub struct ArrayIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        Value::read(&mut self.reader).ok()
    }
}

/// Walks the fields of a table of which `depth` more levels, itself included, are allowed.
fn validate_fields(content: &[u8], depth: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::new(content);
    while !reader.rest().is_empty() {
        reader.shortstr()?;
        validate_value(&mut reader, depth)?;
    }
    Ok(())
}

fn validate_values(content: &[u8], depth: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::new(content);
    while !reader.rest().is_empty() {
        validate_value(&mut reader, depth)?;
    }
    Ok(())
}

fn validate_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    let inner = depth - 1;
    match Value::read(reader)? {
        Value::Table(_) | Value::Array(_) if inner == 0 => Err(DecodeError::TooDeep { maximum: DEPTH_MAX }),
        Value::Table(table) => validate_fields(table.content, inner),
        Value::Array(array) => validate_values(array.content, inner),
        _ => Ok(()),
    }
}
