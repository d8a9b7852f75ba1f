//! Load generator and comparison for AMQP brokers.
//!
//! ```text
//! cli -> runner: scenario x round x target -> scenario::* -> flow, fairlead-client -> broker
//!                                              |
//!                            measure: CPU time, memory (machine) -> report: table, JSON
//! ```
//!
//! Everything runs in one thread, bound to one core; the broker is bound to another.

mod cli;
mod error;
mod flow;
mod folder;
mod http;
mod machine;
mod measure;
mod program;
mod progress;
mod relay;
mod report;
mod runner;
mod scenario;
mod settings;
mod target;

use clap::Parser;
use cli::{Arguments, Broker, Command, Common};
use error::Error;
use machine::Machine;
use machine::pin::Pinned;
use machine::process::Process;
use runner::{Row, Runner};
use scenario::Scenario;
use std::process::ExitCode;
use target::{FairleadBinary, Source};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::List => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => measure(sources(run.broker, Vec::new(), run.limit), &run.common),
        Command::Compare(compare) => {
            measure(sources(compare.broker, compare.peer, compare.limit), &compare.common)
        }
        Command::Limit(common) => measure(vec![Source::Relay], &common),
        Command::Relay => block_on(relay::run()).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn list() {
    for scenario in scenario::ALL {
        println!("{:<20} {}", scenario.name, scenario.summary);
    }
}

fn sources(broker: Broker, peers: Vec<fairlead_client::Address>, limit: bool) -> Vec<Source> {
    let mut sources = vec![match broker.binary {
        Some(path) => Source::Binary(FairleadBinary { path, arguments: broker.binary_arg }),
        None => Source::Url(broker.url),
    }];
    sources.extend(peers.into_iter().map(Source::Url));
    sources.extend(limit.then_some(Source::Relay));
    sources
}

fn measure(sources: Vec<Source>, common: &Common) -> Result<ExitCode, Error> {
    let scenarios = Scenario::select(&common.scenario)?;
    let machine = Machine::this()?;
    let pin = if common.no_pin { None } else { Some(common.cores) };
    if let Some(cores) = pin
        && (cores.broker == cores.generator || cores.broker.max(cores.generator) >= machine.processors)
    {
        return Err(Error::Usage(format!(
            "cores {} and {} cannot be used: expected two different ones (or --no-pin) of {}",
            cores.broker,
            cores.generator,
            machine.describe()
        )));
    }
    eprintln!("{}", machine.describe());
    let _pinned = pin.map(|cores| Pinned::new(Process::this(), cores.generator)).transpose()?;
    let runner = Runner {
        sources: &sources,
        scenarios: &scenarios,
        settings: &common.settings,
        core: pin.map(|cores| cores.broker),
    };
    let rows = block_on(runner.run())?;
    print(&rows, common, &machine)
}

fn print(rows: &[Row], common: &Common, machine: &Machine) -> Result<ExitCode, Error> {
    let ratios = report::ratios(rows);
    println!("{}", report::table::results(rows));
    if !ratios.is_empty() {
        println!("{}", report::table::ratios(&ratios));
    }
    if let Some(path) = &common.json {
        report::json::write(path, rows, &ratios, common, machine)?;
    }
    let failed = rows.iter().any(|row| row.outcome.is_err());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(Error::system("start a runtime"))?;
    LocalSet::new().block_on(&runtime, work)
}
