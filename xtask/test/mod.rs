//! `cargo xtask test`: sets up what the tests need, builds the broker, and runs the workspace's own tests and
//! every foreign client's suite, each against a fresh broker.
//!
//! What cannot be set up is named and skipped; under `CI=true` that is a failure. Cases that fail today and
//! are known to are in `known_failures.txt` with their reason: they are counted apart, and one that passes
//! is named, to be taken off. The last line is the count.

mod broker;
mod outcome;
mod set_up;
mod suites;
mod within;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use outcome::{KnownFailures, Outcome};
use suites::{Suite, Target};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A file or a program could not be used.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// A step that everything else needs did not work.
    #[error("{what} failed; its output is in {log}")]
    Step {
        /// Which.
        what: String,
        /// Where.
        log: PathBuf,
    },
    /// A suite did not end.
    #[error("{what} did not end within {} s; its output is in {log}", suites::TIME.as_secs())]
    Endless {
        /// Which.
        what: String,
        /// Where.
        log: PathBuf,
    },
    /// The machine has not what a suite needs.
    #[error("{name} is missing (Debian packages: {packages})")]
    Missing {
        /// What.
        name: &'static str,
        /// What brings it.
        packages: String,
    },
    /// The broker did not come up.
    #[error("the broker did not start: {0}")]
    Broker(String),
    /// Cases failed, or could not be run under CI.
    #[error("tests failed")]
    Failed,
    /// A line of the list that is not `suite case  # reason`.
    #[error("known_failures.txt:{0}: expected `suite case  # reason`")]
    KnownFailures(usize),
}

/// Run the tests.
#[derive(Args)]
pub struct Arguments {
    /// Only this suite.
    #[arg(long, value_parser = ["rust", "python", "javascript", "go", "system_calls", "walkthroughs", "durability"])]
    suite: Option<String>,
    /// Run the clients' suites against this broker instead of ours, for example amqp://guest:guest@127.0.0.1:5672/.
    #[arg(long)]
    peer: Option<String>,
}

/// Run them all.
///
/// # Errors
/// What could not be done, or that cases failed.
pub fn run(arguments: &Arguments) -> Result<(), TestError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let logs = root.join("target/test-logs");
    std::fs::create_dir_all(&logs).map_err(|source| io(&logs, source))?;
    let known = KnownFailures::read(&root.join("tests/conformance/known_failures.txt"))?;
    let binary;
    let (suites, target): (&[Suite], _) = match &arguments.peer {
        Some(url) => (&suites::AGAINST_PEER, Target::Peer(url)),
        None => {
            println!("build the broker ...");
            binary = broker::build(&root, &logs)?;
            (&suites::ALL, Target::Fresh(&binary))
        }
    };
    let mut total = Outcome::default();
    for suite in
        suites.iter().filter(|suite| arguments.suite.as_deref().is_none_or(|only| only == suite.name))
    {
        println!("{}: set up ...", suite.name);
        if let Err(error) = (suite.set_up)(&root, &logs) {
            println!("{}: cannot be set up, skipped: {error}", suite.name);
            total.not_set_up += 1;
            continue;
        }
        println!("{}: run ...", suite.name);
        let begun = Instant::now();
        let outcome = match suite.run(&root, &logs, &target) {
            Ok(outcome) if arguments.peer.is_none() => outcome.judged(suite.name, &known),
            Ok(outcome) => outcome.judged(suite.name, &KnownFailures::default()),
            Err(error) => Outcome::of_failure(suite.name, &error),
        };
        if !outcome.is_good() {
            show_end(&logs.join(format!("{}.log", suite.name)));
        }
        println!("{}: {outcome} ({} s)", suite.name, begun.elapsed().as_secs());
        total.add(suite.name, outcome);
    }
    println!("{total}");
    match total.is_good() && !(ci && total.not_set_up > 0) {
        true => Ok(()),
        false => Err(TestError::Failed),
    }
}

/// Print the end of a log: where only this output is kept, it must say what happened.
fn show_end(log: &Path) {
    const LINES: usize = 60;
    println!("the end of {}:", log.display());
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        println!("    {line}");
    }
}

fn io(what: &Path, source: std::io::Error) -> TestError {
    TestError::Io { what: what.display().to_string(), source }
}
