//! What a check says: which rule, where, and what was expected.

use std::fmt;

/// The rules, by the names that `exceptions.txt` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Which crate may use which.
    Arrow,
    /// An exception that is not understood or not needed.
    Exception,
    /// A module says at its head what it is.
    Head,
    /// A file is one thing of a readable length.
    Length,
    /// A relative link leads to a file of the project.
    Link,
    /// What is left open is an issue, not a word in a file.
    Open,
    /// No path of somebody's machine.
    Path,
}

impl Rule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Arrow, Self::Head, Self::Length, Self::Link, Self::Open, Self::Path]
            .into_iter()
            .find(|rule| rule.name() == name)
    }

    /// As in `exceptions.txt`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Exception => "exception",
            Self::Head => "head",
            Self::Length => "length",
            Self::Link => "link",
            Self::Open => "open",
            Self::Path => "path",
        }
    }
}

/// Whether the command fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It does.
    Fault,
    /// It does not; somebody may want to look.
    Note,
}

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// Fault or note.
    pub weight: Weight,
    /// The file, from the project's root.
    pub file: String,
    /// The line, from 1; 0 is the file as a whole.
    pub line: usize,
    /// What an exception names: the file, or for an arrow `client -> kernel`.
    pub subject: String,
    /// What is wrong, and what was expected.
    pub text: String,
}

impl Finding {
    /// A fault in a file, excepted by the file's path.
    pub fn fault(rule: Rule, file: &str, line: usize, text: impl Into<String>) -> Self {
        let (file, subject) = (file.to_owned(), file.to_owned());
        Self { rule, weight: Weight::Fault, file, line, subject, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}", self.line)?;
        }
        let weight = if self.weight == Weight::Note { " (note)" } else { "" };
        write!(formatter, ": {}{weight}: {}", self.rule.name(), self.text)
    }
}
