//! The command line: what `fairlead` is asked to do.
//!
//! Flow: arguments and environment -> [`Arguments`]; without a command the broker starts, `check-config`
//! looks at a configuration, `ctl` asks a running broker over HTTP, `journal` looks at what is kept.

mod api;
mod ctl;
mod journal;
mod table;

use api::CtlError;

use crate::config::{self, Overrides};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// What the process ends with when its arguments or its configuration are wrong.
pub const USAGE: u8 = 2;

/// An AMQP message broker.
///
/// Without a command it starts the broker; it needs no configuration. Each flag takes the place of a key of
/// the configuration file, and can be given as an environment variable.
#[derive(Debug, Parser)]
#[command(name = "fairlead", version)]
pub struct Arguments {
    /// In place of keys of the configuration.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Something else than starting the broker.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Something else than starting the broker.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look whether a configuration can be used, without starting
    CheckConfig {
        /// The YAML file; the one of --config if not given
        file: Option<PathBuf>,
    },
    /// Ask or tell a running broker
    Ctl(ctl::Ctl),
    /// Look at what a stopped broker keeps, or copy what a running one does
    Journal(journal::Journal),
}

impl Command {
    /// Does it; the answer goes to standard output, what is wrong to standard error.
    pub fn run(self, overrides: Overrides) -> ExitCode {
        match self {
            Command::CheckConfig { file } => check_config(file, overrides),
            Command::Ctl(ctl) => report(ctl.run()),
            Command::Journal(journal) => journal.run(overrides),
        }
    }
}

fn check_config(file: Option<PathBuf>, mut overrides: Overrides) -> ExitCode {
    overrides.config = file.or(overrides.config);
    match config::load(&overrides) {
        Ok(_) => {
            match overrides.file() {
                Some(file) => println!("{}: the configuration is valid", file.display()),
                None => println!("the built-in configuration is valid"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(USAGE)
        }
    }
}

fn report(result: Result<String, CtlError>) -> ExitCode {
    match result {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_and_commands() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        let given = parse("fairlead --config f.yaml --data-dir d --amqp 127.0.0.1:0 --http [::1]:0").unwrap();
        assert_eq!(given.overrides.config, Some(PathBuf::from("f.yaml")));
        assert_eq!(given.overrides.http.as_deref(), Some("[::1]:0"));
        assert!(given.command.is_none());
        assert!(matches!(
            parse("fairlead check-config f.yaml").unwrap().command,
            Some(Command::CheckConfig { file: Some(_) })
        ));
        for ctl in [
            "list queues",
            "--json list consumers",
            "list consumers --json --url http://127.0.0.1:1",
            "list channels --vhost v",
            "purge q",
            "purge q --vhost v --json",
            "close 127.0.0.1:1 --reason enough",
        ] {
            assert!(parse(&format!("fairlead ctl {ctl}")).is_ok(), "{ctl}");
        }
        for journal in [
            "verify",
            "verify --data-dir d --json",
            "dump --json",
            "stats --data-dir d",
            "snapshot d --url http://127.0.0.1:1 --json",
        ] {
            assert!(parse(&format!("fairlead journal {journal}")).is_ok(), "{journal}");
        }
        for wrong in [
            "ctl list users",
            "ctl purge",
            "journal",
            "journal snapshot",
            "journal verify d",
            "start",
            "--amqp",
        ] {
            assert_eq!(
                parse(&format!("fairlead {wrong}")).unwrap_err().exit_code(),
                i32::from(USAGE),
                "{wrong}"
            );
        }
    }
}
