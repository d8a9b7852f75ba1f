//! `cargo xtask instructions`: how many instructions a message takes in codec, kernel and the engine without sockets,
//! counted by callgrind on fixed input, so that a change shows whatever else the machine is doing.
//!
//! Each stage of the broker's example `instructions` is run with few rounds and with many; the difference has no start
//! in it. The figures are held against those that docs/performance.md records.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;

const STAGES: [&str; 3] = ["codec", "kernel", "engine"];
/// Rounds of the two runs of a stage.
const ROUNDS: [u32; 2] = [10, 110];
/// Where the last figures are recorded, as rows `| STAGE | FIGURE | ...`.
const RECORD: &str = "docs/performance.md";
/// A figure so many percent above its record needs a reason.
const ALLOWED_PERCENT: u64 = 5;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum InstructionsError {
    /// A file or a program could not be used.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The example did not compile.
    #[error("the example does not build; see the compiler's words above")]
    Build,
    /// A run did not say what is needed of it.
    #[error("{stage} with {rounds} rounds gave no count; it said:\n{said}")]
    NoCount {
        /// The stage.
        stage: &'static str,
        /// Its rounds.
        rounds: u32,
        /// All its output.
        said: String,
    },
    /// A figure has grown beyond what is allowed without a reason.
    #[error("{0} takes over {ALLOWED_PERCENT} % more instructions than {RECORD} records")]
    Grown(&'static str),
}

/// Count instructions.
#[derive(Args)]
pub struct Arguments {
    /// Fail if a stage takes over 5 % more than is recorded.
    #[arg(long)]
    check: bool,
}

/// Build, count and compare.
///
/// # Errors
/// What could not be done; with `--check` also the first stage that has grown.
pub fn run(arguments: &Arguments) -> Result<(), InstructionsError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let build = ["build", "--release", "--locked", "--quiet", "--package", "fairlead-broker"];
    let built =
        Command::new("cargo").args(build).args(["--example", "instructions"]).current_dir(&root).status();
    if !built.map_err(|source| io("cargo", source))?.success() {
        return Err(InstructionsError::Build);
    }
    let program = target.join("release/examples/instructions");
    let record = root.join(RECORD);
    let record = fs::read_to_string(&record).map_err(|source| io(RECORD, source))?;
    let mut grown = None;
    for stage in STAGES {
        let [few, many] = ROUNDS.map(|rounds| count(&program, stage, rounds));
        let ((instructions_few, messages_few), (instructions_many, messages_many)) = (few?, many?);
        let each = (instructions_many - instructions_few) / (messages_many - messages_few).max(1);
        match recorded(&record, stage) {
            None => println!("{stage:<7} {each:>6} instructions a message, none recorded"),
            Some(before) => {
                println!("{stage:<7} {each:>6} instructions a message, {before} recorded");
                if each * 100 > before * (100 + ALLOWED_PERCENT) {
                    grown = grown.or(Some(stage));
                }
            }
        }
    }
    match grown {
        Some(stage) if arguments.check => Err(InstructionsError::Grown(stage)),
        _ => Ok(()),
    }
}

/// Instructions and messages of one run.
fn count(program: &Path, stage: &'static str, rounds: u32) -> Result<(u64, u64), InstructionsError> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([stage, &rounds.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| io("valgrind (Debian package valgrind)", source))?;
    let (words, report) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let instructions = collected(&report);
    match (instructions, words.trim().parse()) {
        (Some(instructions), Ok(messages)) if output.status.success() => Ok((instructions, messages)),
        _ => Err(InstructionsError::NoCount { stage, rounds, said: format!("{words}{report}") }),
    }
}

/// The number behind `Collected :` in callgrind's report.
fn collected(report: &str) -> Option<u64> {
    report.split_once("Collected :")?.1.split_whitespace().next()?.parse().ok()
}

/// The figure in the table row of `stage`.
fn recorded(page: &str, stage: &str) -> Option<u64> {
    let row =
        page.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(stage)?.strip_prefix(" | "))?;
    row.split(' ').next()?.parse().ok()
}

fn io(what: &str, source: std::io::Error) -> InstructionsError {
    InstructionsError::Io { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_records_are_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 5798360\n==1==\n"), Some(5_798_360));
        assert_eq!(collected("==1== Segmentation fault"), None);
        let page = "# Speed\n\n| stage | instructions | |\n|---|---|---|\n| codec | 550 | frames |\n| kernel | about 3 |\n";
        assert_eq!(
            [recorded(page, "codec"), recorded(page, "kernel"), recorded(page, "cod")],
            [Some(550), None, None]
        );
    }
}
