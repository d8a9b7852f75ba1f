//! What can go wrong between this client and a broker.

use fairlead_amqp_0_9_1::codec::{DecodeError, FrameError};
use std::io;

/// How far a close reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// `channel.close`: the connection goes on.
    Channel(u16),
    /// `connection.close`: everything ends.
    Connection,
}

/// A failed operation. Except for [`ClosedBy::Channel`], the connection is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No TCP connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The broker closed the socket without a word.
    #[error("the broker closed the socket {0}")]
    EndOfStream(&'static str),
    /// The broker does not speak AMQP 0-9-1 and offers another protocol header.
    #[error("the broker does not speak AMQP 0-9-1; it offers the header {0:?}")]
    ProtocolRefused([u8; 8]),
    /// The broker offers no PLAIN.
    #[error("the broker does not offer SASL PLAIN, only `{0}`")]
    NoPlain(String),
    /// The broker closed a channel or the connection.
    #[error("the broker closed {by:?}: {code} {text} (method {class_id},{method_id})")]
    Closed {
        /// What was closed.
        by: ClosedBy,
        /// Reply code.
        code: u16,
        /// Reply text.
        text: String,
        /// The class of the method at fault, 0 if none.
        class_id: u16,
        /// The method at fault, 0 if none.
        method_id: u16,
    },
    /// A frame that is none.
    #[error("the broker sent a malformed frame: {0}")]
    Frame(#[from] FrameError),
    /// A method that cannot be decoded.
    #[error("the broker sent a malformed method: {0}")]
    Decode(#[from] DecodeError),
    /// A method, or a part of a content, that does not belong here.
    #[error("the broker sent {found} where {expected} was expected")]
    Unexpected {
        /// What came.
        found: String,
        /// What should have come.
        expected: &'static str,
    },
    /// A confirm for a message that was never published, or was confirmed before.
    #[error("the broker confirmed delivery tag {0}, which is not waiting for a confirm")]
    UnknownConfirm(u64),
    /// More than the client holds came before an awaited reply, or as one message.
    #[error("the broker sent more than {maximum} bytes before {expected}")]
    TooMuch {
        /// The bound in bytes.
        maximum: u64,
        /// What was awaited.
        expected: &'static str,
    },
}

impl Error {
    /// True for a close by the broker with this reply code.
    #[must_use]
    pub fn is_closed_with(&self, expected: u16) -> bool {
        matches!(self, Self::Closed { code, .. } if *code == expected)
    }
}
