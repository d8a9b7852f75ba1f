//! One pass over an encoded property list: validates all of it, and finds what the broker itself asks for.
//!
//! Messages keep their properties as they came; [`scan`] tells the few fields that routing and queues need, and where
//! the others lie. [`crate::spec::BasicProperties`] decodes all fields for those who change them. Spec: AMQP
//! 0-9-1, clause 4.2.6.1 "The Content Header".

use super::{DecodeError, Reader};
use crate::spec::basic_properties::{
    APP_ID, CONTENT_ENCODING, CONTENT_TYPE, CORRELATION_ID, DELIVERY_MODE, EXPIRATION, HEADERS, MESSAGE_ID,
    PRIORITY, REPLY_TO, RESERVED, TIMESTAMP, TYPE, USER_ID,
};

/// Flags that mean no property of class basic; the lowest announces a second word of flags, of which it has none.
const UNKNOWN_FLAGS: u16 = 0b11;

/// A range of the encoded properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

impl Span {
    /// The bytes of the span, empty if `properties` are not those it was found in.
    #[inline]
    #[must_use]
    pub fn of(self, properties: &[u8]) -> &[u8] {
        properties.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What [`scan`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The property flags.
    pub flags: u16,
    /// 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// As the publisher sent it, not clamped.
    pub priority: Option<u8>,
    /// The content of the headers table, without its length: for [`super::Table::from_validated`].
    pub headers: Option<Span>,
    /// The text of the expiration.
    pub expiration: Option<Span>,
    /// The text of the user id.
    pub user_id: Option<Span>,
    /// The text of the reply-to.
    pub reply_to: Option<Span>,
}

/// Validates encoded property flags and list, and tells what the broker needs of them.
#[inline]
pub fn scan(properties: &[u8]) -> Result<Scan, DecodeError> {
    // Most high-rate publishers set no property, or only the delivery mode.
    match *properties {
        [0, 0] => Ok(Scan::default()),
        [0x10, 0, mode] => Ok(Scan { flags: DELIVERY_MODE, delivery_mode: Some(mode), ..Scan::default() }),
        _ => scan_list(properties),
    }
}

fn scan_list(properties: &[u8]) -> Result<Scan, DecodeError> {
    let mut reader = Reader::new(properties);
    let flags = reader.short()?;
    if flags & UNKNOWN_FLAGS != 0 {
        return Err(DecodeError::UnknownPropertyFlags(flags));
    }
    let mut found = Scan { flags, ..Scan::default() };
    let mut list = List { reader, flags, total: properties.len() };
    list.skip(CONTENT_TYPE)?;
    list.skip(CONTENT_ENCODING)?;
    if flags & HEADERS != 0 {
        let table = list.reader.table()?;
        found.headers = Some(list.span_before(table.as_bytes().len()));
    }
    found.delivery_mode = list.octet(DELIVERY_MODE)?;
    found.priority = list.octet(PRIORITY)?;
    list.skip(CORRELATION_ID)?;
    found.reply_to = list.shortstr(REPLY_TO)?;
    found.expiration = list.shortstr(EXPIRATION)?;
    list.skip(MESSAGE_ID)?;
    if flags & TIMESTAMP != 0 {
        list.reader.longlong()?;
    }
    list.skip(TYPE)?;
    found.user_id = list.shortstr(USER_ID)?;
    list.skip(APP_ID)?;
    list.skip(RESERVED)?;
    list.reader.finish()?;
    Ok(found)
}

/// The property list while it is read.
struct List<'a> {
    reader: Reader<'a>,
    flags: u16,
    total: usize,
}

impl List<'_> {
    /// The span of the `length` bytes read last.
    #[inline]
    fn span_before(&self, length: usize) -> Span {
        let end = self.total - self.reader.rest().len();
        Span { start: (end - length) as u32, end: end as u32 }
    }

    #[inline]
    fn shortstr(&mut self, flag: u16) -> Result<Option<Span>, DecodeError> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        let length = self.reader.shortstr_bytes()?.len();
        Ok(Some(self.span_before(length)))
    }

    #[inline]
    fn skip(&mut self, flag: u16) -> Result<(), DecodeError> {
        if self.flags & flag != 0 {
            self.reader.shortstr_bytes()?;
        }
        Ok(())
    }

    #[inline]
    fn octet(&mut self, flag: u16) -> Result<Option<u8>, DecodeError> {
        if self.flags & flag == 0 { Ok(None) } else { self.reader.octet().map(Some) }
    }
}
