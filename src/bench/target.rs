//! What is measured: a broker at a URL, a fresh Fairlead from its binary, or the relay.

use crate::error::Error;
use crate::machine::listener::process_of;
use crate::machine::pin::{Pinned, started_on};
use crate::machine::process::Process;
use crate::program::Program;
use fairlead_client::{Address, Connection, Options};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

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
    // In this order: the core is given back before the program ends.
    _pinned: Option<Pinned>,
    program: Option<Program>,
}

impl Target {
    /// A broker that runs already.
    fn at(address: Address, core: Option<usize>) -> Result<Self, Error> {
        let process = process_of(address.port)?.filter(|_| is_local(&address)).map(Process::new);
        let pinned = match (process, core) {
            (Some(process), Some(core)) => Some(Pinned::new(process, core)?),
            _ => None,
        };
        Ok(Self { name: address.to_string(), address, process, _pinned: pinned, program: None })
    }

    /// A fresh Fairlead on free ports, with a data folder that goes with it.
    fn fairlead(
        binary: &FairleadBinary,
        core: Option<usize>,
        configuration: Option<&str>,
    ) -> Result<Self, Error> {
        let program = start_fairlead(binary, core, configuration)?;
        let port = program.number_after("Listening on TCP/TCP6 port")?;
        Ok(Self::started("fairlead", port, program))
    }

    /// The relay, in a process of its own.
    fn relay(core: Option<usize>) -> Result<Self, Error> {
        let myself = std::env::current_exe().map_err(Error::system("find this program"))?;
        let mut command = Command::new(myself);
        command.arg("relay");
        let program = on_core(core, || Program::start(command, "relay ready", None))?;
        let port = program.number_after("listening on port")?;
        Ok(Self::started("relay", port, program))
    }

    fn started(name: &str, port: u16, program: Program) -> Self {
        let address = Address {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
        };
        let process = Some(program.process());
        Self { name: name.to_owned(), address, process, _pinned: None, program: Some(program) }
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

fn start_fairlead(
    binary: &FairleadBinary,
    core: Option<usize>,
    configuration: Option<&str>,
) -> Result<Program, Error> {
    let folder = new_folder()?;
    let mut command = Command::new(&binary.path);
    command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
    if let Some(configuration) = configuration {
        let path = folder.join("broker.yaml");
        std::fs::write(&path, configuration).map_err(|source| Error::File { path: path.clone(), source })?;
        command.arg("--config").arg(path);
    }
    command.args(&binary.arguments);
    on_core(core, || Program::start(command, "Broker running", Some(folder)))
}

/// A new folder beside other temporary files.
fn new_folder() -> Result<PathBuf, Error> {
    let parent = std::env::temp_dir();
    for number in 0..10_000 {
        let path = parent.join(format!("fairlead-bench-{}-{number}", std::process::id()));
        match create(&path) {
            Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| path),
        }
    }
    Err(Error::Usage(format!("{} is full of left-over folders", parent.display())))
}

fn create(path: &Path) -> Result<(), Error> {
    std::fs::create_dir(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
