//! The command line.

use crate::settings::Settings;
use clap::{Args, Parser, Subcommand};
use fairlead_client::Address;
use std::path::PathBuf;

/// Load generator and comparison for AMQP 0-9-1 brokers.
///
/// Brokers on this machine are found by their port and bound to one core, the generator to another. CPU time and
/// memory are those of the broker's process.
#[derive(Debug, Parser)]
#[command(name = "fairlead-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the scenarios
    List,
    /// Measure one broker
    Run(Run),
    /// Measure a broker and its peers alternately, in one call
    Compare(Compare),
    /// Measure the relay, which only copies: what this machine and this generator allow at most
    Limit(Common),
    /// Be the relay
    #[command(hide = true)]
    Relay,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub broker: Broker,
    /// Measure the relay too
    #[arg(long)]
    pub limit: bool,
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    #[command(flatten)]
    pub broker: Broker,
    /// A broker to measure beside it; may be given more than once
    #[arg(long, required = true, value_name = "URL")]
    pub peer: Vec<Address>,
    /// Measure the relay too
    #[arg(long)]
    pub limit: bool,
    #[command(flatten)]
    pub common: Common,
}

/// The broker that is measured.
#[derive(Args, Debug)]
pub struct Broker {
    /// A running broker: amqp://user:password@host:port/vhost
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672", value_name = "URL")]
    pub url: Address,
    /// A Fairlead to start instead, on free ports; memory is then measured on fresh ones
    #[arg(long, conflicts_with = "url", value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// An argument for it, such as --binary-arg=--config=FILE; may be given more than once
    #[arg(long, requires = "binary", allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub binary_arg: Vec<String>,
}

/// Arguments of all measurements.
#[derive(Args, Debug)]
pub struct Common {
    /// A scenario's name, or the beginning of several [default: all but those that `list` calls "only when named"]
    #[arg(long, value_name = "NAME")]
    pub scenario: Vec<String>,
    /// Write all figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The cores of broker and generator
    #[arg(long, default_value = "0,1", value_parser = cores, value_name = "BROKER,GENERATOR")]
    pub cores: Cores,
    /// Bind nothing to a core
    #[arg(long, conflicts_with = "cores")]
    pub no_pin: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// Where broker and generator run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The broker's core.
    pub broker: usize,
    /// The generator's core.
    pub generator: usize,
}

fn cores(text: &str) -> Result<Cores, String> {
    let numbers = text.split_once(',').and_then(|(broker, generator)| {
        Some(Cores { broker: broker.trim().parse().ok()?, generator: generator.trim().parse().ok()? })
    });
    numbers.ok_or_else(|| "expected two numbers such as 0,1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_comparison_reads_as_documented() {
        let words = ["fairlead-bench", "compare", "--peer", "amqp://127.0.0.1:5673", "--limit", "--ack"];
        let Command::Compare(compare) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("not a comparison")
        };
        assert_eq!(compare.peer[0].port, 5673);
        assert!(compare.limit && compare.common.settings.ack);
        assert_eq!(compare.common.cores, Cores { broker: 0, generator: 1 });
    }
}
