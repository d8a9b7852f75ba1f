//! What can go wrong, by who meets it: whoever opens a folder, appends, reads, or runs the writer.

use std::io;

use crate::ids::Position;

/// Why a journal cannot be opened, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("{action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file of the folder.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error("the data folder is in use by {}", holder.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// Its process id, when the lock file says so.
        holder: Option<u32>,
    },
    /// What was on disk once is not there now. Restore the file from a copy, or the folder from a backup.
    #[error("{file} is damaged at offset {offset}: expected {expected}")]
    Corrupt {
        /// Which file.
        file: String,
        /// Bytes from its beginning.
        offset: u64,
        /// What should be there, and what is.
        expected: String,
    },
    /// A segment that is still needed is not in the folder.
    #[error("{file} is missing: {why}")]
    Missing {
        /// The file's name.
        file: String,
        /// What needs it.
        why: String,
    },
    /// Written by a newer program.
    #[error("{file} is of format {found}; this program knows formats up to {known}")]
    Version {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Options that contradict each other.
    #[error("{0}")]
    Options(String),
    /// The owner of a stream cannot make sense of what it is given back.
    #[error("the record at position {position} is not understood: {reason}")]
    Rejected {
        /// Which record.
        position: Position,
        /// In the owner's words.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        move |source| Self::Io { action, file, source }
    }
}

/// What the owner of a stream says when it cannot take a record back: the reason, for the error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected(pub String);

/// Why an append was not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room on the disk but for what makes room.
    #[error("the disk is full: only what frees space is taken")]
    Full,
    /// Too much waits for the disk already.
    #[error("{pending} bytes wait for the disk, at most {limit} may")]
    Busy {
        /// What waits.
        pending: u64,
        /// The bound.
        limit: u64,
    },
    /// A record is bounded; a larger thing is several records.
    #[error("a record of {length} bytes, at most {limit} are possible")]
    TooLarge {
        /// Bytes of payload.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// A write or a sync failed: nothing will be durable any more.
    #[error("the journal has failed")]
    Failed,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a record cannot be had. Other records can.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk refused.
    #[error("reading {file}: {source}")]
    Io {
        /// Which file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{file} is damaged at offset {offset}: expected {expected}")]
    Corrupt {
        /// Which file.
        file: String,
        /// Bytes from its beginning.
        offset: u64,
        /// What should be there, and what is.
        expected: String,
    },
    /// No segment has it: it was released, or never appended.
    #[error("position {0} is in no segment")]
    NotFound(Position),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { file, source } => Self::Io { action: "reading", file, source },
            ReadError::Corrupt { file, offset, expected } => Self::Corrupt { file, offset, expected },
            ReadError::NotFound(position) => Self::Missing {
                file: "a segment".to_owned(),
                why: format!("position {position} should be in it"),
            },
        }
    }
}
