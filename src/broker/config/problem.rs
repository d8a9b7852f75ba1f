//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: it is the built-in default.
    BuiltIn,
    /// In a file; lines and columns count from 1, columns in characters.
    File {
        /// Its path, as it was given.
        file: Arc<str>,
        /// Line.
        line: u64,
        /// Column.
        column: u64,
    },
    /// In a file, as a whole.
    WholeFile(Arc<str>),
    /// By a flag or an environment variable.
    Override(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::BuiltIn => f.write_str("built-in default"),
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::WholeFile(file) => f.write_str(file),
            Place::Override(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong; its text is `PLACE: key.path: what was wrong, what was expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Path of the key, empty for the file as a whole.
    pub key: String,
    /// What was wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, key, message } = self;
        if key.is_empty() { write!(f, "{place}: {message}") } else { write!(f, "{place}: {key}: {message}") }
    }
}

/// A configuration that cannot be used: everything that is wrong with it, one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.problems))]
pub struct ConfigError {
    /// At least one, in the order of the text.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> ConfigError {
        ConfigError { problems: vec![problem] }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
