//! The configuration: a YAML file over embedded defaults, under environment variables and flags.
//!
//! Flow: texts -> [`node`] (a tree that knows its places; defaults, file and overrides laid over each other)
//! -> [`section`] (typed reading, every fault collected) -> [`Config`], which also remembers each value in
//! one form, so that a reload can tell what changed.

mod access;
mod arguments;
mod declared;
mod difference;
mod draft;
mod journal;
mod limits;
mod memory;
mod node;
mod overrides;
mod policies;
mod problem;
mod section;
#[cfg(test)]
mod tests;
mod units;
mod values;

pub use access::{Authentication, Mechanism, User};
pub use declared::Topology;
pub use journal::Journal;
pub use limits::{Limits, Timeouts};
pub use memory::{MemoryMarks, machine_memory};
pub use overrides::Overrides;
pub use policies::VhostPolicy;
pub use problem::{ConfigError, Place, Problem};

use node::{Node, Value};
use section::{Effective, Reading, Section};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use values::{address, boolean, choice, integer, name, text, unexpected};

/// The file with every key and its default.
pub const DEFAULTS: &str = include_str!("../../../config/broker.yaml");

/// What the broker runs with. All values are within their bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come in.
    pub listeners: Listeners,
    /// The broker's folder.
    pub data_dir: PathBuf,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much peers may make us hold.
    pub limits: Limits,
    /// How much memory messages may take.
    pub memory: MemoryMarks,
    /// How what is kept is laid out on the disk.
    pub journal: Journal,
    /// How clients show who they are.
    pub authentication: Authentication,
    /// Who may come in.
    pub users: Vec<User>,
    /// What is logged, and how.
    pub logging: Logging,
    /// What /metrics shows.
    pub metrics: Metrics,
    /// Limits by name.
    pub policies: Vec<VhostPolicy>,
    /// What is declared.
    pub topology: Topology,
    effective: Effective,
}

/// Addresses to listen on; port 0 is a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// AMQP.
    pub amqp: SocketAddr,
    /// Metrics, health and management.
    pub http: SocketAddr,
    /// AMQP connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, with colours on a terminal.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// How lines look.
    pub format: LogFormat,
    /// Directives that tracing-subscriber's `EnvFilter` takes.
    pub level: String,
}

/// What /metrics shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Queues with series of their own.
    pub queues_in_detail: u32,
}

/// Reads the configuration: the defaults, the file that `overrides` names, if one, and the other overrides.
/// For a reload, call it again with the same overrides.
///
/// # Errors
/// Everything that is wrong, each with its place; or that the file cannot be read.
pub fn load(overrides: &Overrides) -> Result<Config, ConfigError> {
    let mut tree = node::parse(None, DEFAULTS)?;
    if let Some(file) = overrides.file() {
        tree.overlay(parse_file(file)?);
    }
    overrides.apply(&mut tree);
    from_tree(&tree)
}

fn from_tree(tree: &Node) -> Result<Config, ConfigError> {
    let (mut config, effective) = Reading::read(tree, Config::read)?;
    config.effective = effective;
    Ok(config)
}

fn parse_file(path: &Path) -> Result<Node, Problem> {
    let name: Arc<str> = path.to_string_lossy().into();
    match fs::read_to_string(path) {
        Ok(text) => parse_text(&name, &text),
        Err(error) => {
            let message = format!("cannot be read: {error}");
            Err(Problem { place: Place::WholeFile(name), key: String::new(), message })
        }
    }
}

/// A tree that can lie over the defaults: a mapping, or nothing.
fn parse_text(name: &Arc<str>, text: &str) -> Result<Node, Problem> {
    let node = node::parse(Some(name), text)?;
    if matches!(node.value, Value::Null | Value::Map(_)) {
        return Ok(node);
    }
    let message = unexpected(&node.value, "a mapping of keys to values");
    Err(Problem { place: node.place, key: String::new(), message })
}

impl Config {
    fn read(root: &Section) -> Config {
        let limits = root.section("limits", Limits::read);
        let bounds = limits.topology();
        let topology = root.section("topology", |section| Topology::read(section, bounds));
        Config {
            listeners: root.section("listeners", Listeners::read),
            data_dir: root.required("data_dir", text).into(),
            timeouts: root.section("timeouts", Timeouts::read),
            limits,
            memory: root.section("memory", MemoryMarks::read),
            journal: root.section("journal", Journal::read),
            authentication: root.section("authentication", Authentication::read),
            users: access::read_users(root),
            logging: root.section("logging", Logging::read),
            metrics: root.section("metrics", Metrics::read),
            policies: policies::read_policies(root, &topology.vhosts),
            topology,
            effective: Effective::new(),
        }
    }
}

impl Listeners {
    fn read(section: &Section) -> Listeners {
        let any = || SocketAddr::from(([0, 0, 0, 0], 0));
        let listeners = Listeners {
            amqp: section.optional("amqp", address).unwrap_or_else(any),
            http: section.optional("http", address).unwrap_or_else(any),
            proxy_protocol: section.required("proxy_protocol", boolean),
        };
        let (amqp, http) = (listeners.amqp, listeners.http);
        if overlap(amqp, http) {
            let text = format!("amqp is {amqp} and http {http}, expected addresses that can be had at once");
            section.conflict(["amqp", "http"], text);
        }
        listeners
    }
}

/// Whether two listeners would want the same: "[::]" takes all addresses, "0.0.0.0" those of IPv4.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |one: SocketAddr, other: SocketAddr| {
        one.ip() == other.ip() || (one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4()))
    };
    one.port() != 0 && one.port() == other.port() && (takes(one, other) || takes(other, one))
}

impl Logging {
    fn read(section: &Section) -> Logging {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json), ("auto", LogFormat::Auto)];
        let logging = Logging {
            format: section.required("format", choice(&formats)),
            level: section.required("level", name),
        };
        if let Err(error) = crate::logging::filter(&logging.level) {
            section.fault(
                "level",
                format!("{error}, expected one as info, or by module as info,fairlead_engine=debug"),
            );
        }
        logging
    }
}

impl Metrics {
    fn read(section: &Section) -> Metrics {
        Metrics { queues_in_detail: section.required("queues_in_detail", integer(0..=1_000_000)) }
    }
}
