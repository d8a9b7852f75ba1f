//! `cargo xtask fuzz`: builds every fuzz target with libFuzzer's coverage flags on the stable compiler and
//! runs each for a time, from the committed corpus. New finds go to a folder under target/, not to git; a
//! crash prints its input's path and fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;

/// What `cargo fuzz` would give a nightly compiler, without the sanitizers: there is no unsafe code in what
/// is fuzzed, so a panic is what a fault looks like.
const COVERAGE_FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// An explicit target keeps the flags off build scripts.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum FuzzError {
    /// A file or a program could not be used.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The targets did not compile.
    #[error("the fuzz targets do not build; see the compiler's words above")]
    Build,
    /// No such target.
    #[error("no fuzz target '{0}'; they are the files of fuzz/targets")]
    NoTarget(String),
    /// A target found a fault.
    #[error("fuzz target '{target}' failed; its log is {log}")]
    Fault {
        /// Which.
        target: String,
        /// Where its output is, the failing input's path included.
        log: String,
    },
}

/// Run the fuzz targets.
#[derive(Args)]
pub struct Arguments {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
}

/// Build and run.
///
/// # Errors
/// The first target that fails, by name.
pub fn run(arguments: &Arguments) -> Result<(), FuzzError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("fuzz");
    let mut targets = targets(&folder.join("targets"))?;
    if let Some(only) = &arguments.target {
        targets.retain(|target| target == only);
        if targets.is_empty() {
            return Err(FuzzError::NoTarget(only.clone()));
        }
    }
    let built = build(&folder)?;
    for target in &targets {
        run_target(&folder, &built, target, Duration::from_secs(arguments.seconds))?;
    }
    Ok(())
}

/// The names of the files in `folder`, in order.
fn targets(folder: &Path) -> Result<Vec<String>, FuzzError> {
    let entries = fs::read_dir(folder).map_err(|source| io(folder, source))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn build(folder: &Path) -> Result<PathBuf, FuzzError> {
    let output = folder.join("target");
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--target", PLATFORM])
        .current_dir(folder)
        .env("RUSTFLAGS", COVERAGE_FLAGS)
        .env("CARGO_TARGET_DIR", &output)
        .status()
        .map_err(|source| io(Path::new("cargo"), source))?;
    if status.success() { Ok(output.join(PLATFORM).join("release")) } else { Err(FuzzError::Build) }
}

fn run_target(folder: &Path, built: &Path, target: &str, time: Duration) -> Result<(), FuzzError> {
    let finds = folder.join("target/corpus").join(target);
    fs::create_dir_all(&finds).map_err(|source| io(&finds, source))?;
    let log = folder.join("target").join(format!("{target}.log"));
    let log_file = fs::File::create(&log).map_err(|source| io(&log, source))?;
    println!("fuzz {target}: {} s ...", time.as_secs());
    let status = Command::new(built.join(target))
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-artifact_prefix={}/", finds.display()))
        .args(["-max_len=8192", "-timeout=10", "-print_final_stats=1"])
        .arg(&finds)
        .arg(folder.join("corpus").join(target))
        .stderr(log_file)
        .status()
        .map_err(|source| io(&built.join(target), source))?;
    let words = fs::read_to_string(&log).map_err(|source| io(&log, source))?;
    let runs = words.lines().find(|line| line.starts_with("Done ")).unwrap_or("no closing line");
    println!("fuzz {target}: {runs}");
    if status.success() {
        Ok(())
    } else {
        Err(FuzzError::Fault { target: target.to_owned(), log: log.display().to_string() })
    }
}

fn io(what: &Path, source: std::io::Error) -> FuzzError {
    FuzzError::Io { what: what.display().to_string(), source }
}
