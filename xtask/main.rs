//! The project's own tools, run as `cargo xtask <command>`. This file only picks the command.

mod codegen;
mod fuzz;
mod instructions;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own tools.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the adapters' spec/ folders from the public AMQP XML.
    Codegen(codegen::Arguments),
    /// Run the fuzz targets, each for a time.
    Fuzz(fuzz::Arguments),
    /// Count the instructions that a message takes, by callgrind.
    Instructions(instructions::Arguments),
    /// Run seeds of the simulation.
    Sim(sim::Arguments),
    /// Set up what the tests need, and run them all.
    Test(test::Arguments),
    /// Check the house rules that neither the compiler nor clippy knows.
    Tidy,
}

fn main() -> ExitCode {
    let result: Result<(), Box<dyn std::error::Error>> = match Arguments::parse().command {
        Command::Codegen(arguments) => codegen::run(&arguments).map_err(Into::into),
        Command::Fuzz(arguments) => fuzz::run(&arguments).map_err(Into::into),
        Command::Instructions(arguments) => instructions::run(&arguments).map_err(Into::into),
        Command::Sim(arguments) => sim::run(&arguments).map_err(Into::into),
        Command::Test(arguments) => test::run(&arguments).map_err(Into::into),
        Command::Tidy => tidy::run().map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
