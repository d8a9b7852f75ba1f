//! Why a measurement did not come about.

use std::io;
use std::path::PathBuf;

/// A failure, told to the one who measures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker, or the way to it.
    #[error("{target}: {source}")]
    Client {
        /// Which broker.
        target: String,
        /// What went wrong.
        source: fairlead_client::Error,
    },
    /// A file or directory, of `/proc` or ours.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A call of the operating system.
    #[error("cannot {action}: {source}")]
    System {
        /// Which.
        action: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A file of `/proc` that does not look as it should.
    #[error("{}: expected {expected}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A started program did not come up, or ended.
    #[error("{program} {fault}{output}")]
    Program {
        /// Which.
        program: String,
        /// What it did.
        fault: String,
        /// Its last lines, each after a line break.
        output: String,
    },
    /// What was sent did not come back.
    #[error("{target}: {missing} of {sent} messages had not arrived {seconds} s after the last was sent")]
    Missing {
        /// Which broker.
        target: String,
        /// How many are missing.
        missing: u64,
        /// How many were sent.
        sent: u64,
        /// How long they were waited for.
        seconds: u64,
    },
    /// No message came during the measured time.
    #[error("{target}: nothing arrived in {seconds} s")]
    Silence {
        /// Which broker.
        target: String,
        /// How long.
        seconds: f64,
    },
    /// It takes longer than anybody wants to wait.
    #[error("{target}: not done in {seconds} s")]
    TooLong {
        /// Which broker.
        target: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A message came back changed.
    #[error("{target}: a message came back changed: {fault}")]
    Changed {
        /// Which broker.
        target: String,
        /// How.
        fault: String,
    },
    /// A wrong word on the command line.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`: an I/O error of a call.
    pub fn system<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        |source| Self::System { action, source: source.into() }
    }
}
