//! What can be wrong with a peer's bytes, and the reply code and text that each fault deserves.
//!
//! `FrameError` concerns the envelope of a frame, `DecodeError` what stands within it. Both close the
//! connection. Their `Display` is the text after the reply code's name, as RabbitMQ words it where it has one.

use std::fmt;

use crate::spec::ReplyCode;

/// The first bytes of a refused frame's payload, for the text that names the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadSnippet {
    bytes: [u8; PayloadSnippet::LENGTH],
    shown: u8,
    complete: bool,
}

impl PayloadSnippet {
    /// How many octets of a payload are shown at most.
    pub const LENGTH: usize = 16;

    /// The first octets of `payload`.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let shown = payload.len().min(Self::LENGTH);
        let mut bytes = [0; Self::LENGTH];
        bytes[..shown].copy_from_slice(&payload[..shown]);
        Self { bytes, shown: shown as u8, complete: shown == payload.len() }
    }
}

/// `all octets = <<1,2>>`, or `first 16 octets = <<...>>` when there are more.
impl fmt::Display for PayloadSnippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.complete { "all octets = " } else { "first 16 octets = " })?;
        write_erlang_binary(f, &self.bytes[..usize::from(self.shown)])
    }
}

/// Clients' tests compare these texts, so bytes look as in Erlang: `<<"text">>` or `<<1,2,255>>`.
fn write_erlang_binary(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("<<")?;
    if !bytes.is_empty() && bytes.iter().all(|b| matches!(b, b' '..=b'~')) {
        f.write_str("\"")?;
        for &byte in bytes {
            if matches!(byte, b'"' | b'\\') {
                f.write_str("\\")?;
            }
            write!(f, "{}", char::from(byte))?;
        }
        f.write_str("\"")?;
    } else {
        for (index, byte) in bytes.iter().enumerate() {
            write!(f, "{}{byte}", if index == 0 { "" } else { "," })?;
        }
    }
    f.write_str(">>")
}

/// A frame whose envelope is wrong. Always 501 FRAME_ERROR, and the connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is longer than the negotiated frame-max allows.
    #[error("type {frame_type}, all octets = <<>>: {{frame_too_large,{size},{maximum}}}")]
    TooLarge {
        /// The frame's type octet.
        frame_type: u8,
        /// The frame's channel.
        channel: u16,
        /// The payload's size as the frame gives it, in bytes.
        size: u32,
        /// The largest payload, in bytes: frame-max less the eight bytes of the envelope.
        maximum: u32,
    },
    /// The octet behind the payload is not `frame-end` (206).
    #[error("type {frame_type}, {payload}: {{invalid_frame_end_marker,{octet}}}")]
    WrongEnd {
        /// The frame's type octet.
        frame_type: u8,
        /// The frame's channel.
        channel: u16,
        /// The octet found.
        octet: u8,
        /// The payload's first octets.
        payload: PayloadSnippet,
    },
    /// The type is none of the four, or the payload is too short for its type.
    #[error("type {frame_type}, {payload}: unknown_frame")]
    Unknown {
        /// The frame's type octet.
        frame_type: u8,
        /// The frame's channel.
        channel: u16,
        /// The payload's first octets.
        payload: PayloadSnippet,
    },
}

impl FrameError {
    /// 501 FRAME_ERROR. Spec: AMQP 0-9-1, clause 4.2.3 "General Frame Format".
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        ReplyCode::FrameError
    }

    /// The channel that the frame named.
    #[must_use]
    pub fn channel(&self) -> u16 {
        match *self {
            Self::TooLarge { channel, .. }
            | Self::WrongEnd { channel, .. }
            | Self::Unknown { channel, .. } => channel,
        }
    }
}

/// A method, property list or field table that cannot be decoded. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No method has these ids.
    #[error("unknown method ({class_id},{method_id})")]
    UnknownMethod {
        /// The class id found.
        class_id: u16,
        /// The method id found.
        method_id: u16,
    },
    /// The bytes end within a field.
    #[error("cannot decode: the last field is cut short")]
    Truncated,
    /// Bytes are left behind the last field.
    #[error("cannot decode: {0} octets behind the last field")]
    Trailing(usize),
    /// A short string or a table's field name is not UTF-8.
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8,
    /// Property flags that class basic does not have, or a second word of flags.
    #[error("unknown property flags in {0:#06x}")]
    UnknownPropertyFlags(u16),
    /// A field table has a value of a type that does not exist.
    #[error("unknown field table type octet {0}")]
    UnknownFieldType(u8),
    /// Tables and arrays are nested too deep.
    #[error("field table is nested deeper than {maximum} levels")]
    TooDeep {
        /// The bound: [`super::table::DEPTH_MAX`].
        maximum: usize,
    },
    /// A table is too long.
    #[error("field table of {size} octets is longer than {maximum}")]
    TableTooLarge {
        /// The table's length, in bytes.
        size: usize,
        /// The bound: [`super::table::BYTES_MAX`].
        maximum: usize,
    },
}

impl DecodeError {
    /// 501 for what cannot be parsed, 502 for fields with illegal values, 540 for unknown methods.
    /// Spec: AMQP 0-9-1, clause 1.2 "Class Constants" (reply codes).
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::UnknownMethod { .. } => ReplyCode::NotImplemented,
            Self::Truncated | Self::Trailing(_) | Self::MalformedUtf8 => ReplyCode::FrameError,
            Self::UnknownPropertyFlags(_)
            | Self::UnknownFieldType(_)
            | Self::TooDeep { .. }
            | Self::TableTooLarge { .. } => ReplyCode::SyntaxError,
        }
    }
}
