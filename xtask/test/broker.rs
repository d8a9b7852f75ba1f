//! A broker for a suite: the release binary on free ports of the loopback, with a data folder of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{TestError, io};

/// How long a start, or a stop, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Build the release binary; returns its path.
///
/// # Errors
/// It does not build.
pub fn build(root: &Path, logs: &Path) -> Result<PathBuf, TestError> {
    let log = logs.join("build.log");
    let status = logged(&log)?
        .apply(Command::new("cargo").args(["build", "--release", "--locked", "--package", "fairlead-broker"]))
        .current_dir(root)
        .status()
        .map_err(|source| io(Path::new("cargo"), source))?;
    if !status.success() {
        return Err(TestError::Step { what: "building the broker".to_owned(), log });
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/fairlead"))
}

/// A file that takes a program's output.
pub struct Log(File);

/// Open a log.
///
/// # Errors
/// The file's.
pub fn logged(path: &Path) -> Result<Log, TestError> {
    File::create(path).map(Log).map_err(|source| io(path, source))
}

impl Log {
    /// Let `command` write both of its outputs here.
    pub fn apply(self, command: &mut Command) -> &mut Command {
        if let Ok(copy) = self.0.try_clone() {
            command.stderr(copy);
        }
        command.stdout(self.0).stdin(Stdio::null())
    }
}

/// A running broker; it ends when this is dropped.
pub struct Broker {
    child: Child,
    /// For clients.
    pub amqp_url: String,
    /// For health, metrics and the API.
    pub http_url: String,
}

impl Broker {
    /// Start one and wait until it says that it runs.
    ///
    /// # Errors
    /// It did not start in time; with the last line that it wrote.
    pub fn start(binary: &Path, logs: &Path, name: &str) -> Result<Broker, TestError> {
        let data = logs.join(format!("{name}-data"));
        fs::create_dir_all(&data).map_err(|source| io(&data, source))?;
        let log = logs.join(format!("{name}-broker.log"));
        let child = logged(&log)?
            .apply(Command::new(binary).args([
                "--amqp",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--data-dir",
            ]))
            .arg(&data)
            .spawn()
            .map_err(|source| io(binary, source))?;
        let mut broker = Broker { child, amqp_url: String::new(), http_url: String::new() };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let lines = lines(&log)?;
            if lines.iter().any(|line| line.contains("Broker running")) {
                let port = after(&lines, "Listening on TCP/TCP6 port ")?;
                broker.amqp_url = format!("amqp://guest:guest@127.0.0.1:{port}/%2F");
                broker.http_url = format!("http://{}", after(&lines, "HTTP listening on ")?);
                return Ok(broker);
            }
            if !matches!(broker.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::yield_now();
        }
        Err(TestError::Broker(lines(&log)?.pop().unwrap_or_default()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Whatever it still holds is of no use to anybody.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn lines(log: &Path) -> Result<Vec<String>, TestError> {
    let file = File::open(log).map_err(|source| io(log, source))?;
    BufReader::new(file).lines().collect::<Result<_, _>>().map_err(|source| io(log, source))
}

/// The word behind `mark`, wherever it stands.
fn after(lines: &[String], mark: &str) -> Result<String, TestError> {
    lines
        .iter()
        .find_map(|line| line.split_once(mark)?.1.split_whitespace().next().map(str::to_owned))
        .ok_or_else(|| TestError::Broker(format!("it did not say \"{mark}\"")))
}
