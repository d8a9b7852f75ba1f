//! `cargo xtask sim`: builds the simulation in its own profile, fast and with every assertion in, and runs it.

use std::path::Path;
use std::process::Command;

use clap::Args;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// cargo could not be started.
    #[error("cargo: {0}")]
    Cargo(#[from] std::io::Error),
    /// It does not build, or a seed fails.
    #[error("the simulation failed; its words are above")]
    Failed,
}

/// Run seeds of the simulation.
#[derive(Args)]
pub struct Arguments {
    /// What `fairlead-sim` takes: `--seeds N`, `--from S`, `--seed X --trace`, `--twice`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Build and run.
///
/// # Errors
/// See [`SimError`].
pub fn run(arguments: &Arguments) -> Result<(), SimError> {
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--locked", "--profile", "sim", "--package", "fairlead-sim", "--"])
        .args(&arguments.arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()?;
    if status.success() { Ok(()) } else { Err(SimError::Failed) }
}
