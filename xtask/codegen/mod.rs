//! `cargo xtask codegen`: public protocol XML in, the adapters' `spec/` folders out.
//!
//! Each protocol has a module that reads its XML and returns the files of its `spec/`; what is the same for all of
//! them, writing Rust source and bringing the folder up to date, is in `source` and `output`.

mod amqp_0_9_1;
mod output;
mod source;

use std::path::{Path, PathBuf};

/// Arguments of `cargo xtask codegen`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Write nothing; fail if a generated file is not what would be written.
    #[arg(long)]
    check: bool,
    /// The folder where the Debian package amqp-specs puts its XML.
    #[arg(long, default_value = "/usr/share/amqp/specs")]
    specs: PathBuf,
}

/// Why code could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The public XML is not installed.
    #[error("{0} is missing: install the Debian package amqp-specs, or name its folder with --specs")]
    NoSpecs(PathBuf),
    /// An input that is not XML.
    #[error("{path}: {source}")]
    Xml {
        /// The input.
        path: PathBuf,
        /// Where it fails.
        source: roxmltree::Error,
    },
    /// XML that does not say what the generator needs.
    #[error("{path}:{line}: {fault}")]
    Spec {
        /// The input.
        path: PathBuf,
        /// Its line, from 1.
        line: u32,
        /// What is wrong, and what was expected.
        fault: String,
    },
    /// rustfmt is missing or refuses the source.
    #[error("rustfmt: {0}")]
    Rustfmt(String),
    /// `--check` found differences.
    #[error("not current, run `cargo xtask codegen`: {}", .0.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    NotCurrent(Vec<PathBuf>),
}

/// One generated file.
pub struct File {
    /// Its name within `spec/`.
    name: String,
    /// Rust source, not yet formatted.
    source: String,
}

/// Generates the `spec/` of every adapter, or checks that they are current.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = amqp_0_9_1::generate(
        &arguments.specs.join("0-9-1-rabbit/amqp0-9-1.stripped.extended.xml"),
        &root.join("src/amqp_0_9_1/additions.xml"),
    )?;
    output::update(&root, Path::new("src/amqp_0_9_1/spec"), &files, arguments.check)
}
