//! The broker: configuration, listener, connections and command line.

mod cli;
mod config;
mod lifecycle;
mod logging;
mod net;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli::Arguments { overrides, command } = cli::Arguments::parse();
    if let Some(command) = command {
        return command.run(overrides);
    }
    let config = match config::load(&overrides) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(cli::USAGE);
        }
    };
    let levels = match logging::start(&config.logging) {
        Ok(levels) => levels,
        Err(error) => {
            eprintln!("error: cannot start logging: {error}");
            return ExitCode::FAILURE;
        }
    };
    match lifecycle::run(config, &overrides, &levels) {
        Ok(code) => code,
        Err(error) => {
            logging::tell_end(&error);
            if error.is_of_the_configuration() { ExitCode::from(cli::USAGE) } else { ExitCode::FAILURE }
        }
    }
}
