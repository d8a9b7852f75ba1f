//! What is measured: a broker at a URL, a fresh Fairlead from its binary, or the relay.

use crate::error::Error;
use crate::folder::Folder;
use crate::machine::listener::process_of;
use crate::machine::pin::{Pinned, started_on};
use crate::machine::process::Process;
use crate::program::Program;
use fairlead_client::{Address, Connection, Options};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Where a target comes from, and so which scenarios it can run.
#[derive(Clone, Debug)]
pub enum Source {
    /// A running broker.
    Url(Address),
    /// A Fairlead, started for the measurement.
    Binary(FairleadBinary),
    /// The relay, started for the measurement: it only moves messages.
    Relay,
}

impl Source {
    /// Finds or starts the target, on that core if one is given, and asks its name, so that a wrong address is told
    /// before anything is measured. `configuration` is for a Fairlead that is started.
    pub async fn open(&self, core: Option<usize>, configuration: Option<&str>) -> Result<Target, Error> {
        let mut target = match self {
            Self::Url(address) => Target::at(address.clone(), core)?,
            Self::Binary(binary) => Target::fairlead(binary, core, configuration)?,
            Self::Relay => Target::relay(core)?,
        };
        target.identify().await?;
        Ok(target)
    }
}

/// How to start a Fairlead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FairleadBinary {
    /// The program.
    pub path: PathBuf,
    /// What it is given beside its ports and data folder.
    pub arguments: Vec<String>,
}

/// A broker to be measured.
#[derive(Debug)]
pub struct Target {
    /// Its column's name.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// The process that listens there, if it is on this machine and may be looked at.
    pub process: Option<Process>,
    /// The port of its metrics and health, if it was started here and has one.
    pub http: Option<u16>,
    // In this order: the core is given back before the program ends, and that before its folder goes.
    _pinned: Option<Pinned>,
    program: Option<Program>,
    launch: Option<Launch>,
}

/// How a Fairlead was started, and so can be again.
#[derive(Debug)]
struct Launch {
    binary: FairleadBinary,
    core: Option<usize>,
    /// It has a configuration of its own in its folder.
    configured: bool,
    folder: Folder,
}

impl Launch {
    fn start(&self) -> Result<Program, Error> {
        let mut command = Command::new(&self.binary.path);
        command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"]).arg(self.data());
        if self.configured {
            command.arg("--config").arg(self.configuration());
        }
        command.args(&self.binary.arguments);
        on_core(self.core, || Program::start(command, "Broker running"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("broker.yaml")
    }
}

impl Target {
    /// A broker that runs already.
    fn at(address: Address, core: Option<usize>) -> Result<Self, Error> {
        let process = process_of(address.port)?.filter(|_| is_local(&address)).map(Process::new);
        let pinned = match (process, core) {
            (Some(process), Some(core)) => Some(Pinned::new(process, core)?),
            _ => None,
        };
        Ok(Self {
            name: address.to_string(),
            address,
            process,
            http: None,
            _pinned: pinned,
            program: None,
            launch: None,
        })
    }

    /// A fresh Fairlead on free ports, with a data folder that goes with it.
    fn fairlead(
        binary: &FairleadBinary,
        core: Option<usize>,
        configuration: Option<&str>,
    ) -> Result<Self, Error> {
        let launch = Launch {
            binary: binary.clone(),
            core,
            configured: configuration.is_some(),
            folder: Folder::new()?,
        };
        if let Some(configuration) = configuration {
            let path = launch.configuration();
            std::fs::write(&path, configuration).map_err(|source| Error::File { path, source })?;
        }
        let program = launch.start()?;
        let mut target = Self::started("fairlead", 0, &program);
        target.launch = Some(launch);
        target.runs(program)?;
        Ok(target)
    }

    /// Takes over a Fairlead that has just been started.
    fn runs(&mut self, program: Program) -> Result<(), Error> {
        self.address.port = program.number_after("Listening on TCP/TCP6 port")?;
        // An argument may have given it another address, or none.
        self.http = program.number_after("HTTP listening on 127.0.0.1:").ok();
        self.process = Some(program.process());
        self.program = Some(program);
        Ok(())
    }

    /// The relay, in a process of its own.
    fn relay(core: Option<usize>) -> Result<Self, Error> {
        let myself = std::env::current_exe().map_err(Error::system("find this program"))?;
        let mut command = Command::new(myself);
        command.arg("relay");
        let program = on_core(core, || Program::start(command, "relay ready"))?;
        let mut target = Self::started("relay", program.number_after("listening on port")?, &program);
        target.program = Some(program);
        Ok(target)
    }

    fn started(name: &str, port: u16, program: &Program) -> Self {
        let address = Address {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
        };
        let process = Some(program.process());
        Self {
            name: name.to_owned(),
            address,
            process,
            http: None,
            _pinned: None,
            program: None,
            launch: None,
        }
    }

    /// The folder of a Fairlead that was started here; what it keeps is in it.
    pub fn folder(&self) -> Option<&Path> {
        self.launch.as_ref().map(|launch| launch.folder.path())
    }

    /// The core that a Fairlead that was started here is bound to, if it is to one.
    pub fn core(&self) -> Option<usize> {
        self.launch.as_ref()?.core
    }

    /// The data folder of a Fairlead that was started here.
    pub fn data(&self) -> Result<PathBuf, Error> {
        self.launch.as_ref().map(Launch::data).ok_or_else(not_ours)
    }

    /// Ends a Fairlead that was started here, by SIGKILL. Nothing can be asked of it until it is started again.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.program.as_mut().ok_or_else(not_ours)?.kill()
    }

    /// Starts a Fairlead that was killed again, on what it has kept.
    pub fn start_again(&mut self) -> Result<(), Error> {
        let program = self.launch.as_ref().ok_or_else(not_ours)?.start()?;
        self.runs(program)
    }

    /// The moment just before it was started, if it was started here.
    pub fn started_at(&self) -> Option<Instant> {
        self.program.as_ref().map(|program| program.started)
    }

    /// Whether it says that it is a Fairlead.
    pub fn is_fairlead(&self) -> bool {
        self.name.to_ascii_lowercase().starts_with("fairlead")
    }

    /// Takes the broker's product for its name.
    async fn identify(&mut self) -> Result<(), Error> {
        let connection = self.connect(0).await?;
        if !connection.server().is_empty() {
            self.name = connection.server().to_owned();
        }
        connection.close().await.map_err(|source| self.failed(source))
    }

    /// How long it took from its start until it was ready, if it was started here.
    pub fn start_milliseconds(&self) -> Option<f64> {
        self.program.as_ref().map(|program| program.start_time.as_secs_f64() * 1e3)
    }

    /// Opens a connection with channel 1. `number` spreads many connections over loopback addresses.
    pub async fn connect(&self, number: usize) -> Result<Connection, Error> {
        let options = Options {
            source: self.source(number),
            name: format!("fairlead-bench {number}"),
            ..Options::default()
        };
        let opened = async {
            let mut connection = Connection::open(&self.address, &options).await?;
            connection.open_channel(1).await?;
            Ok(connection)
        };
        opened.await.map_err(|source| self.failed(source))
    }

    /// A client's error, with this target's name.
    pub fn failed(&self, source: fairlead_client::Error) -> Error {
        Error::Client { target: self.name.clone(), source }
    }

    /// One loopback address has some 28,000 ports, fewer while closed connections linger in them.
    fn source(&self, number: usize) -> Option<IpAddr> {
        const EACH: usize = 5_000;
        let host: Ipv4Addr = self.address.host.parse().ok()?;
        let last = 2 + number / EACH;
        (host.is_loopback() && number >= EACH).then(|| Ipv4Addr::new(127, 0, 0, last.min(250) as u8).into())
    }
}

fn is_local(address: &Address) -> bool {
    address.host == "localhost" || address.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn on_core<T>(core: Option<usize>, start: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    match core {
        Some(core) => started_on(core, start)?,
        None => start(),
    }
}

fn not_ours() -> Error {
    Error::Usage(
        "only a Fairlead that is started for the measurement (--binary) can be killed and started again"
            .to_owned(),
    )
}
