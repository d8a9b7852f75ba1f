//! Flags, and the environment variables that stand in for them.

use super::node::Node;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use std::path::{Path, PathBuf};

/// What is said on the command line or in the environment; each takes the place of a key of the file. What is empty,
/// as a variable that a script has cleared, counts as not said.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// Read the configuration from this YAML file
    #[arg(long, value_name = "FILE", env = "FAIRLEAD_CONFIG", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config: Option<PathBuf>,
    /// Keep the broker's data in this folder
    #[arg(long, value_name = "DIR", env = "FAIRLEAD_DATA_DIR")]
    pub data_dir: Option<String>,
    /// Listen for AMQP here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "FAIRLEAD_AMQP")]
    pub amqp: Option<String>,
    /// Listen for HTTP (metrics, health, management) here; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", env = "FAIRLEAD_HTTP")]
    pub http: Option<String>,
    /// Log from this level on: error, warn, info, debug, trace, or by module
    #[arg(long, value_name = "LEVEL", env = "FAIRLEAD_LOG")]
    pub log: Option<String>,
    /// Log as text, json or auto
    #[arg(long, value_name = "FORMAT", env = "FAIRLEAD_LOG_FORMAT")]
    pub log_format: Option<String>,
}

impl Overrides {
    /// The configuration's file, if one is named.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.config.as_deref().filter(|file| !file.as_os_str().is_empty())
    }

    /// Lays what is said over `tree`, to be checked together with it.
    pub(super) fn apply(&self, tree: &mut Node) {
        let said = [
            (&self.data_dir, &["data_dir"][..], "--data-dir or FAIRLEAD_DATA_DIR"),
            (&self.amqp, &["listeners", "amqp"], "--amqp or FAIRLEAD_AMQP"),
            (&self.http, &["listeners", "http"], "--http or FAIRLEAD_HTTP"),
            (&self.log, &["logging", "level"], "--log or FAIRLEAD_LOG"),
            (&self.log_format, &["logging", "format"], "--log-format or FAIRLEAD_LOG_FORMAT"),
        ];
        for (text, path, by) in said {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                tree.set(path, Node::given(text.clone(), by));
            }
        }
    }
}
