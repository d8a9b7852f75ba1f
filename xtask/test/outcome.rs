//! Counting cases, and telling the failures that are known from those that are new.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use super::{TestError, io};

/// What a suite's run gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Cases that passed.
    pub passed: usize,
    /// Names of cases that failed.
    pub failed: BTreeSet<String>,
    /// Cases skipped by their own markers.
    pub skipped: usize,
    /// Failures that are known.
    pub known: usize,
    /// Suites that could not be set up.
    pub not_set_up: usize,
}

impl Outcome {
    /// Of a suite that could not be run to its end.
    #[must_use]
    pub fn of_failure(suite: &str, error: &TestError) -> Outcome {
        println!("{suite}: FAILED: {error}");
        Outcome { failed: BTreeSet::from([format!("the {suite} suite")]), ..Outcome::default() }
    }

    /// Move failures that are known out of the failures, and name the known ones that did not fail.
    #[must_use]
    pub fn judged(mut self, suite: &str, known: &KnownFailures) -> Outcome {
        for (case, reason) in known.of(suite) {
            if self.failed.remove(case) {
                self.known += 1;
            } else {
                println!("{suite}: {case} passes now, take it off the list of known failures ({reason})");
            }
        }
        for case in &self.failed {
            println!("{suite}: FAILED {case}");
        }
        self
    }

    /// Put a suite's cases to these.
    pub fn add(&mut self, suite: &str, other: Outcome) {
        self.passed += other.passed;
        self.failed.extend(other.failed.iter().map(|case| format!("{suite} {case}")));
        self.skipped += other.skipped;
        self.known += other.known;
        self.not_set_up += other.not_set_up;
    }

    /// Nothing failed that was not known to.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Known failures do not pass: they stand with the skipped, and are named in the file.
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped + self.known + self.not_set_up
        )
    }
}

/// Cases that fail today, by suite, with their reason.
#[derive(Debug, Default)]
pub struct KnownFailures(BTreeMap<String, BTreeMap<String, String>>);

impl KnownFailures {
    /// Read the list: lines of `suite case  # reason`; empty lines and those that begin with `#` are passed
    /// over.
    ///
    /// # Errors
    /// The file's, or the first line that has another form.
    pub fn read(path: &Path) -> Result<KnownFailures, TestError> {
        let text = fs::read_to_string(path).map_err(|source| io(path, source))?;
        let mut known = KnownFailures::default();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once("  # ").and_then(|(name, reason)| {
                name.trim().split_once(' ').map(|(suite, case)| (suite, case.trim(), reason.trim()))
            });
            let (suite, case, reason) = parts.ok_or(TestError::KnownFailures(number + 1))?;
            known.0.entry(suite.to_owned()).or_default().insert(case.to_owned(), reason.to_owned());
        }
        Ok(known)
    }

    fn of(&self, suite: &str) -> impl Iterator<Item = (&String, &String)> {
        self.0.get(suite).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_failure_is_set_apart_and_others_are_not() {
        let reasons = BTreeMap::from([("a".to_owned(), "why".to_owned())]);
        let known = KnownFailures(BTreeMap::from([("python".to_owned(), reasons)]));
        let failed = |names: &[&str]| Outcome {
            passed: 1,
            failed: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Outcome::default()
        };
        assert!(failed(&["a"]).judged("python", &known).is_good());
        assert!(!failed(&["a", "b"]).judged("python", &known).is_good());
        assert!(failed(&[]).judged("python", &known).is_good());
        assert!(failed(&[]).judged("go", &known).is_good());
    }
}
