//! A broker of one's own for a test: real binary, free ports, a data folder that goes with it.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a broker may take to start or to end.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often the log is looked at meanwhile.
const POLL: Duration = Duration::from_millis(5);
/// How long a broker may serve its test. Then it is killed, so that a client that waits for something that does not
/// come fails with its socket, and the test says so.
const LIFETIME: Duration = Duration::from_secs(120);

/// Why a broker is not running.
#[derive(Debug)]
pub enum StartError {
    /// There is no binary, and why.
    NoBinary(String),
    /// The folder or the process could not be made.
    Io(io::Error),
    /// It ended, or was not ready in time; this is its log.
    NotReady(String),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoBinary(why) => f.write_str(why),
            Self::Io(error) => write!(f, "the broker could not be started: {error}"),
            Self::NotReady(log) => write!(f, "the broker did not become ready; its log:\n{log}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running broker on loopback. It is killed, and its folder removed, when this value is dropped, in a panic too;
/// a panic also prints its log.
#[derive(Debug)]
pub struct Broker {
    process: Child,
    watch: Option<Watch>,
    folder: PathBuf,
    data: PathBuf,
    amqp_port: u16,
    http: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker with the defaults.
    ///
    /// # Errors
    /// When there is no binary, or it does not become ready.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with("")
    }

    /// Starts a broker with this configuration (YAML; empty for the defaults).
    ///
    /// # Errors
    /// When there is no binary, or it does not become ready.
    pub fn start_with(configuration: &str) -> Result<Self, StartError> {
        Self::start_at("127.0.0.1:0", configuration)
    }

    /// Runs the binary's `ctl` with these arguments against this broker.
    ///
    /// # Errors
    /// When it has no management port or the process cannot be run.
    pub fn ctl(&self, arguments: &[&str]) -> io::Result<Output> {
        let url = self.http_url().ok_or(io::ErrorKind::NotConnected)?;
        let binary = crate::binary::path().map_err(io::Error::other)?;
        Command::new(binary).arg("ctl").args(arguments).args(["--url", &url]).output()
    }

    /// Runs the binary with these arguments.
    ///
    /// # Errors
    /// When there is no binary or the process cannot be run.
    pub fn command(arguments: &[&str]) -> io::Result<Output> {
        let binary = crate::binary::path().map_err(io::Error::other)?;
        Command::new(binary).args(arguments).output()
    }

    /// Starts a broker that listens for AMQP at this address, whose port should be 0.
    ///
    /// # Errors
    /// When there is no binary, or it does not become ready.
    pub fn start_at(amqp: &str, configuration: &str) -> Result<Self, StartError> {
        Self::launch(amqp, configuration, None)
    }

    /// Starts a broker with the defaults on a data folder that there is, and that stays.
    ///
    /// # Errors
    /// When there is no binary, or it does not become ready.
    pub fn start_on(data: &Path) -> Result<Self, StartError> {
        Self::launch("127.0.0.1:0", "", Some(data))
    }

    fn launch(amqp: &str, configuration: &str, data: Option<&Path>) -> Result<Self, StartError> {
        let binary = crate::binary::path().map_err(StartError::NoBinary)?;
        let folder = new_folder()?;
        let mut command = Command::new(binary);
        if !configuration.is_empty() {
            let file = configuration_path(&folder);
            fs::write(&file, configuration)?;
            command.arg("--config").arg(file);
        }
        let log = File::create(log_path(&folder))?;
        command.args(["--amqp", amqp, "--http", "127.0.0.1:0"]);
        let data = data.map_or_else(|| folder.join("data"), Path::to_path_buf);
        command.arg("--data-dir").arg(&data);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn()?;
        let watch = Some(Watch::over(pid_of(&process)?));
        let mut broker = Self { process, watch, folder, data, amqp_port: 0, http: None };
        broker.await_ready()?;
        Ok(broker)
    }

    fn await_ready(&mut self) -> Result<(), StartError> {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            if log.contains("Broker running") {
                self.amqp_port = after(&log, "Listening on TCP/TCP6 port ").unwrap_or_default();
                self.http = after(&log, "HTTP listening on ");
                return if self.amqp_port == 0 { Err(StartError::NotReady(log)) } else { Ok(()) };
            }
            if self.process.try_wait()?.is_some() || Instant::now() > end {
                return Err(StartError::NotReady(self.log()));
            }
            sleep(POLL);
        }
    }

    /// The data folder. What lies beside it goes with this value too, unless the folder was there before.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The process' number.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The port for AMQP on 127.0.0.1.
    #[must_use]
    pub fn amqp_port(&self) -> u16 {
        self.amqp_port
    }

    /// The address for AMQP clients, as user `guest`.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.amqp_port)
    }

    /// The address of the management port, `http://HOST:PORT`; none if the log names none.
    #[must_use]
    pub fn http_url(&self) -> Option<String> {
        self.http.map(|address| format!("http://{address}"))
    }

    /// Writes this configuration in place of the one it was started with, which must not have been empty, and sends
    /// SIGHUP; returns what is logged from then on until the broker has taken it, or has not.
    ///
    /// # Errors
    /// When the file cannot be written, the process has gone, or no end of the reload is logged in time.
    pub fn reload(&self, configuration: &str) -> io::Result<String> {
        let before = self.log().len();
        fs::write(configuration_path(&self.folder), configuration)?;
        self.signal(Signal::HUP)?;
        self.await_log(|log| log[before..].contains("configuration ")).map(|log| log[before..].to_owned())
    }

    /// Waits until the log is as wanted; returns it.
    ///
    /// # Errors
    /// When it does not become so in time; the text is the log.
    pub fn await_log(&self, wanted: impl Fn(&str) -> bool) -> io::Result<String> {
        let end = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            if wanted(&log) {
                return Ok(log);
            }
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, log));
            }
            sleep(POLL);
        }
    }

    /// What the broker has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(log_path(&self.folder)).unwrap_or_default()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        kill_process(pid_of(&self.process)?, signal).map_err(Into::into)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// When the process has gone already, or does not end in time.
    pub fn terminate(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                // Its number may soon be another's.
                self.watch.take().map(Watch::end);
                return Ok(status);
            }
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the broker does not end"));
            }
            sleep(POLL);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // While the process has not been waited for, its number means nobody else.
        let overstayed = self.watch.take().is_some_and(Watch::end);
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
        if overstayed {
            eprintln!("the broker was killed after {} s", LIFETIME.as_secs());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Kills a broker that has lived too long.
#[derive(Debug)]
struct Watch {
    ended: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    fn over(process: Pid) -> Self {
        let (ended, end) = channel();
        let thread = spawn(move || {
            let overstayed = end.recv_timeout(LIFETIME) == Err(RecvTimeoutError::Timeout);
            if overstayed {
                let _ = kill_process(process, Signal::KILL);
            }
            overstayed
        });
        Self { ended, thread }
    }

    /// True if the broker was killed.
    fn end(self) -> bool {
        drop(self.ended);
        self.thread.join().unwrap_or(false)
    }
}

fn pid_of(process: &Child) -> io::Result<Pid> {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::other("no such process"))
}

fn configuration_path(folder: &Path) -> PathBuf {
    folder.join("broker.yaml")
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log")
}

/// A folder that no other test has.
fn new_folder() -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("fairlead-tests-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The word after a label in the log.
fn after<T: std::str::FromStr>(log: &str, label: &str) -> Option<T> {
    let (_, rest) = log.split_once(label)?;
    rest.split(|c: char| c.is_whitespace() || c == '"').next()?.parse().ok()
}
