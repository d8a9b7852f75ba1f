//! What the suites need on the machine: looked for, installed by apt where this is root, else named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TestError;
use super::broker::logged;
use super::suites::FOLDER;

/// Something that a suite needs.
struct Need {
    /// For whoever has to install it.
    name: &'static str,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

const PYTHON: Need = Need {
    name: "Python 3.10 or newer with venv",
    packages: &["python3", "python3-venv"],
    is_there: || {
        works("python3", &["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"])
    },
};
const STRACE: Need = Need {
    name: "strace that may trace its children",
    packages: &["strace"],
    is_there: || works("strace", &["-D", "-f", "-e", "trace=fdatasync", "true"]),
};
const NODE: Need = Need {
    name: "Node.js 18 or newer with npm",
    packages: &["nodejs", "npm"],
    is_there: || {
        works("node", &["-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"])
            && works("npm", &["-v"])
    },
};
const GO: Need = Need {
    name: "Go 1.21 or newer",
    packages: &["golang-go"],
    // From 1.21 on, Go fetches the toolchain that go.mod asks for.
    is_there: || go_version().is_some_and(|version| version >= (1, 21)),
};

/// For the suites that need nothing but Rust.
pub fn nothing(_: &Path, _: &Path) -> Result<(), TestError> {
    Ok(())
}

/// The folder of the Python environment.
pub fn python_environment(root: &Path) -> PathBuf {
    root.join("target/test-python")
}

/// A Python environment with the pinned packages.
///
/// # Errors
/// What is missing, or the step that did not work.
pub fn python(root: &Path, logs: &Path) -> Result<(), TestError> {
    need(&PYTHON, logs)?;
    let folder = python_environment(root);
    step(logs, "python-venv", Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let requirements = root.join(FOLDER).join("python/requirements.txt");
    let mut pip = Command::new(folder.join("bin/python"));
    step(logs, "python-packages", pip.args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))
}

/// The same, and what looks at system calls.
///
/// # Errors
/// What is missing, or the step that did not work.
pub fn python_and_strace(root: &Path, logs: &Path) -> Result<(), TestError> {
    need(&STRACE, logs)?;
    python(root, logs)
}

/// The npm packages of the lock file.
///
/// # Errors
/// What is missing, or the step that did not work.
pub fn javascript(root: &Path, logs: &Path) -> Result<(), TestError> {
    need(&NODE, logs)?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(root.join(FOLDER).join("javascript"));
    step(logs, "javascript-packages", &mut npm)
}

/// The Go modules of go.sum.
///
/// # Errors
/// What is missing, or the step that did not work.
pub fn go(root: &Path, logs: &Path) -> Result<(), TestError> {
    need(&GO, logs)?;
    let mut download = Command::new("go");
    step(logs, "go-modules", download.args(["mod", "download"]).current_dir(root.join(FOLDER).join("go")))
}

/// Make sure of a need, by apt if that is possible.
fn need(need: &Need, logs: &Path) -> Result<(), TestError> {
    if (need.is_there)() {
        return Ok(());
    }
    let missing = || TestError::Missing { name: need.name, packages: need.packages.join(" ") };
    if !is_root() || !works("apt-get", &["--version"]) {
        return Err(missing());
    }
    step(logs, "apt-update", apt().arg("update"))?;
    step(logs, "apt-install", apt().args(["install", "--no-install-recommends"]).args(need.packages))?;
    if (need.is_there)() { Ok(()) } else { Err(missing()) }
}

fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["--quiet", "--yes"]);
    apt
}

/// Run a step, with its output in a log of its own.
fn step(logs: &Path, name: &str, command: &mut Command) -> Result<(), TestError> {
    let log = logs.join(format!("set-up-{name}.log"));
    let status =
        logged(&log)?.apply(command).status().map_err(|source| super::io(Path::new(name), source))?;
    if status.success() { Ok(()) } else { Err(TestError::Step { what: name.to_owned(), log }) }
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn says(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

fn is_root() -> bool {
    says("id", &["-u"]).is_some_and(|id| id.trim() == "0")
}

/// Of `go version go1.26.8 linux/amd64`.
fn go_version() -> Option<(u32, u32)> {
    parse_go_version(&says("go", &["version"])?)
}

fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split_whitespace().nth(2)?.strip_prefix("go")?.split(['.', 'r', 'b']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_go_version;

    #[test]
    fn versions_of_go_are_read() {
        for (text, version) in [
            ("go version go1.26.8 linux/amd64", Some((1, 26))),
            ("go version go1.21 linux/arm64", Some((1, 21))),
            ("go version go1.27rc1 linux/amd64", Some((1, 27))),
            ("go version devel linux/amd64", None),
        ] {
            assert_eq!(parse_go_version(text), version, "{text}");
        }
    }
}
