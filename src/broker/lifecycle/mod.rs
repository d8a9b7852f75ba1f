//! A broker's life: start, reload, drain, end.
//!
//! Flow of [`run`]: settings -> engine -> listeners -> `Broker running` -> signals; SIGHUP reads the
//! configuration again, SIGTERM and SIGINT drain: no client is let in any more, those that are there are told
//! and get a bounded time, then the process ends.

mod file_limit;
mod service_manager;
mod storage;
mod translate;

use crate::config::{self, Config, Overrides};
use crate::logging::Levels;
use crate::net::listener;
use crate::net::server::Service;
use arc_swap::ArcSwap;
use fairlead_amqp_0_9_1::translate::HEAD_READER;
use fairlead_amqp_0_9_1::translate::names::NameKey;
use fairlead_engine::{Broker, Seldom, SettingsError};
use fairlead_kernel::message::HeadReaders;
use service_manager::Stage;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a drain looks whether all have gone.
const DRAIN_STEP: Duration = Duration::from_millis(10);

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system did not give what is needed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The system has no randomness to give, and names that can be guessed would be worse than none.
    #[error("no random bytes from the system: {0}")]
    Randomness(getrandom::Error),
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no data folder, and none could be made.
    #[error("data_dir: the folder {} cannot be made: {source}", folder.display())]
    DataFolder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is kept in the data folder cannot be used.
    #[error("data_dir: {}: {source}; {}", folder.display(), storage::what_to_do(source))]
    Journal {
        /// The data folder.
        folder: PathBuf,
        /// Why.
        source: fairlead_journal::Error,
    },
    /// A listener's address cannot be had.
    #[error("{key}: {source}{}", hint(source))]
    Listener {
        /// The key that gives the address.
        key: &'static str,
        /// Which address, and why.
        source: io::Error,
    },
}

impl StartError {
    /// Whether it is the configuration that is wrong, and not the machine.
    pub fn is_of_the_configuration(&self) -> bool {
        match self {
            StartError::Settings(_) => true,
            StartError::System(_)
            | StartError::Randomness(_)
            | StartError::DataFolder { .. }
            | StartError::Journal { .. }
            | StartError::Listener { .. } => false,
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse { "; another program listens there" } else { "" }
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Run a broker until it is told to stop.
///
/// # Errors
/// It could not start.
pub fn run(config: Config, overrides: &Overrides, levels: &Levels) -> Result<ExitCode, StartError> {
    let files = file_limit::raise();
    tracing::info!(files, "limit of open files");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(live(config, overrides, levels));
    end(runtime);
    code
}

/// Tasks that have not ended by now are dropped.
fn end(runtime: Runtime) {
    runtime.shutdown_timeout(Duration::from_millis(100));
}

async fn live(mut config: Config, overrides: &Overrides, levels: &Levels) -> Result<ExitCode, StartError> {
    let mut signals = Signals::new()?;
    make_data_folder(&config.data_dir)?;
    let readers = HeadReaders { amqp_0_9_1: &HEAD_READER };
    let (broker, journal) =
        storage::open(&config.data_dir, translate::journal(&config), translate::settings(&config), readers)?;
    say_what_is_off(&config);
    let (service, accepting) = listen(&config, &broker)?;
    let http = serve_http(&config, &broker)?;
    let janitor = tokio::spawn(Arc::clone(&broker).run_janitor());
    service_manager::notify(Stage::Ready);
    tracing::info!("Broker running");
    while signals.next().await == Told::Reload {
        reload(&mut config, overrides, &service, levels);
    }
    service_manager::notify(Stage::Stopping);
    accepting.abort();
    drain(&broker, config.timeouts.drain, &mut signals).await;
    janitor.abort();
    // Health and metrics answer until the last client has gone.
    http.abort();
    journal.finish(&broker);
    tracing::info!("Broker stopped");
    Ok(ExitCode::SUCCESS)
}

fn make_data_folder(folder: &Path) -> Result<(), StartError> {
    fs::create_dir_all(folder)
        .map_err(|source| StartError::DataFolder { folder: folder.to_path_buf(), source })
}

fn say_what_is_off(config: &Config) {
    if !config.authentication.required {
        tracing::warn!("SASL disabled: No Authentication Performed");
    }
}

/// What connections are made of, and the task that accepts them.
fn listen(config: &Config, broker: &Arc<Broker>) -> Result<(Arc<Service>, JoinHandle<()>), StartError> {
    let amqp = listener::listen(config.listeners.amqp)
        .map_err(|source| StartError::Listener { key: "listeners.amqp", source })?;
    let service = Arc::new(Service {
        broker: Arc::clone(broker),
        amqp_0_9_1: ArcSwap::from_pointee(translate::amqp_0_9_1(config)),
        name_key: name_key()?,
        proxy_protocol: config.listeners.proxy_protocol,
        turned_away: Seldom::default(),
    });
    tracing::info!("Listening on TCP/TCP6 port {}", amqp.local_addr()?.port());
    let accepting = tokio::spawn(Arc::clone(&service).accept(amqp));
    Ok((service, accepting))
}

/// A secret that only this process knows.
fn name_key() -> Result<NameKey, StartError> {
    let mut key = NameKey([0; 16]);
    getrandom::fill(&mut key.0).map_err(StartError::Randomness)?;
    Ok(key)
}

/// Metrics, health and management, until the task is aborted.
fn serve_http(config: &Config, broker: &Arc<Broker>) -> Result<JoinHandle<()>, StartError> {
    let http = listener::listen(config.listeners.http)
        .map_err(|source| StartError::Listener { key: "listeners.http", source })?;
    tracing::info!("HTTP listening on {}", http.local_addr()?);
    let host = rustix::system::uname();
    let options = fairlead_management::Options {
        node: format!("fairlead@{}", host.nodename().to_string_lossy()).into(),
        queue_metrics: config.metrics.queues_in_detail as usize,
    };
    let source = Arc::clone(broker);
    Ok(tokio::spawn(fairlead_management::serve(http, source, options)))
}

/// Read the configuration again: all of it that a running broker can take, or nothing.
fn reload(config: &mut Config, overrides: &Overrides, service: &Service, levels: &Levels) {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let monotonic_microseconds =
        monotonic.tv_sec.unsigned_abs() * 1_000_000 + monotonic.tv_nsec.unsigned_abs() / 1000;
    service_manager::notify(Stage::Reloading { monotonic_microseconds });
    match try_reload(config, overrides, service) {
        Err(error) => tracing::error!("configuration not reloaded, nothing has changed: {error}"),
        Ok(lines) => tell_changes(&lines, &config.logging.level, levels),
    }
    service_manager::notify(Stage::Ready);
}

/// The level changes before or after the lines about the reload, so that they are seen if either shows them.
fn tell_changes(lines: &[String], level: &str, levels: &Levels) {
    let set = || {
        if let Err(error) = levels.set(level) {
            tracing::error!(%error, "logging.level is left as it was");
        }
    };
    let shown_before = tracing::enabled!(tracing::Level::INFO);
    if !shown_before {
        set();
    }
    for line in lines {
        tracing::info!("reloaded {line}");
    }
    tracing::info!(changes = lines.len(), "configuration reloaded");
    if shown_before {
        set();
    }
}

fn try_reload(
    config: &mut Config,
    overrides: &Overrides,
    service: &Service,
) -> Result<Vec<String>, ReloadError> {
    let new = config::load(overrides)?;
    service.broker.reload(translate::settings(&new))?;
    service.amqp_0_9_1.store(Arc::new(translate::amqp_0_9_1(&new)));
    let lines = Config::difference(config, &new);
    *config = new;
    Ok(lines)
}

/// Close all clients, and wait until they have gone, or `time` is over, or the process is told to stop once more.
async fn drain(broker: &Broker, time: Duration, signals: &mut Signals) {
    tracing::info!(connections = broker.connection_count(), "draining");
    broker.drain();
    let end = Instant::now() + time;
    while broker.connection_count() > 0 {
        tokio::select! {
            () = sleep(DRAIN_STEP) => {}
            () = sleep_until(end) => {
                tracing::warn!(connections = broker.connection_count(), "the time to drain is over");
                return;
            }
            told = signals.next() => if told == Told::Stop {
                tracing::warn!(connections = broker.connection_count(), "told to stop once more: not waiting");
                return;
            }
        }
    }
}

/// What the process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }
}
