//! `cargo xtask tidy`: the house rules that neither the compiler nor clippy knows.
//!
//! Flow: the files that git knows and the crates that cargo knows -> one check a rule -> findings -> less what
//! `exceptions.txt` excepts, each with its reason -> printed; a fault that is left fails the command.

mod arrows;
mod exceptions;
mod files;
mod finding;
mod links;
mod source;
mod words;

use std::path::{Path, PathBuf};

use exceptions::Exceptions;
use files::Text;
use finding::{Finding, Weight};

/// Why the rules could not be checked, or that they are broken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or a program cannot be started.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A program that lists what there is to check failed.
    #[error("`{program}` failed: {words}")]
    Program {
        /// The command line.
        program: String,
        /// What it wrote to its standard error.
        words: String,
    },
    /// `cargo metadata` wrote something else than expected.
    #[error("cargo metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    /// There are faults; they have been printed.
    #[error("{0} faults; where a rule must be broken, xtask/tidy/exceptions.txt takes the reason")]
    Faults(usize),
}

/// Checks every rule on every file.
///
/// # Errors
/// [`Error::Faults`] when a rule is broken, the others when that cannot be told.
pub fn run() -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().map_err(|source| Error::Io { what: root, source })?;
    let paths = files::list(&root)?;
    let texts = files::read(&root, &paths)?;
    let crates = arrows::crates(&root)?;

    let (mut exceptions, mut findings) = Exceptions::parse(include_str!("exceptions.txt"));
    findings.extend(check(&texts, &paths, &crates));
    findings.retain(|finding| !exceptions.cover(finding));
    findings.extend(exceptions.unused());

    for finding in &findings {
        println!("{finding}");
    }
    let faults = findings.iter().filter(|finding| finding.weight == Weight::Fault).count();
    println!("tidy: {} files, {} crates, {faults} faults", texts.len(), crates.len());
    if faults == 0 { Ok(()) } else { Err(Error::Faults(faults)) }
}

fn check(texts: &[Text], paths: &[String], crates: &[arrows::Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in texts {
        findings.extend(source::length(text));
        findings.extend(source::head(text));
        findings.extend(words::check(text));
        findings.extend(links::check(text, paths));
    }
    let table = texts.iter().find(|text| text.path == arrows::PAGE).map_or("", |text| &text.text);
    findings.extend(arrows::check(table, crates));
    findings
}
