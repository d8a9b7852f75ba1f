//! Where the broker's binary is: `FAIRLEAD_BIN`, or built here, once a test process.
//!
//! `cargo test` does not build another package's binary, and a stale one would test the past, so the build is
//! asked for again; it takes a moment when nothing has changed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the binary `fairlead`, or why there is none.
pub fn path() -> Result<PathBuf, String> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PATH.get_or_init(|| env::var_os("FAIRLEAD_BIN").map_or_else(build, |path| Ok(path.into()))).clone()
}

/// Builds the broker in the profile and target folder that this test was built in.
fn build() -> Result<PathBuf, String> {
    let this_test = env::current_exe().map_err(|error| format!("no path of this test: {error}"))?;
    // <target>/<profile>/deps/<test>, or <target>/<profile>/examples/<example>
    let profile_folder = this_test.ancestors().nth(2).ok_or("this test lies in no target folder")?;
    let target_folder = profile_folder.parent().ok_or("this test lies in no target folder")?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command.args(["build", "--quiet", "--package", "fairlead-broker", "--target-dir"]).arg(target_folder);
    if profile_folder.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let output = command.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("the broker does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(profile_folder.join("fairlead"))
}
