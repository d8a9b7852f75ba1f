//! A cursor over encoded fields: each call takes one field off the front, or says what is wrong with it.
//!
//! Spec: AMQP 0-9-1, clause 4.2.5 "AMQP Data Fields". All integers are big-endian.

use super::{DecodeError, Table};

/// The fields that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet read.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Takes `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An octet.
    #[inline]
    pub fn octet(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[octet]| octet)
    }

    /// A short integer: 16 bits, unsigned.
    #[inline]
    pub fn short(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A long integer: 32 bits, unsigned.
    #[inline]
    pub fn long(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A long-long integer: 64 bits, unsigned.
    #[inline]
    pub fn longlong(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The bytes of a short string: an octet of length, then as many bytes.
    #[inline]
    pub fn shortstr_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let (&length, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        let (taken, rest) = rest.split_at_checked(usize::from(length)).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A short string, which must be UTF-8.
    #[inline]
    pub fn shortstr(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.shortstr_bytes()?;
        // Empty names and keys are common, and the general check is a call.
        if bytes.is_empty() {
            return Ok("");
        }
        std::str::from_utf8(bytes).map_err(|_| DecodeError::MalformedUtf8)
    }

    /// A long string: 32 bits of length, then as many bytes.
    #[inline]
    pub fn longstr(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.long()?;
        self.take(length as usize)
    }

    /// A field table, validated in all its depth.
    #[inline]
    pub fn table(&mut self) -> Result<Table<'a>, DecodeError> {
        let content = self.longstr()?;
        if content.is_empty() { Ok(Table::EMPTY) } else { Table::validate(content) }
    }

    /// Ends the reading: nothing may be left.
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}
