//! The suites: how each is run, and read.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::broker::{Broker, logged};
use super::outcome::Outcome;
use super::within::run_within;
use super::{TestError, io, set_up};

/// Where the foreign clients' cases are.
pub const FOLDER: &str = "tests/conformance/amqp_0_9_1";

/// How long a suite may take, its building included: several times of what the slowest needs on two cores.
pub const TIME: Duration = Duration::from_secs(1200);

/// One suite.
pub struct Suite {
    /// Its name on the command line, in logs and in the list of known failures.
    pub name: &'static str,
    /// Installs what it needs.
    pub set_up: fn(&Path, &Path) -> Result<(), TestError>,
    /// The program that runs it.
    command: fn(&Path) -> Command,
    /// Counts what the program wrote.
    read: fn(&str) -> Outcome,
    /// It wants a broker's address.
    foreign: bool,
}

const PYTHON: Suite =
    Suite { name: "python", set_up: set_up::python, command: pytest, read: read_pytest, foreign: true };
const JAVASCRIPT: Suite = Suite {
    name: "javascript",
    set_up: set_up::javascript,
    command: node_test,
    read: read_tap,
    foreign: true,
};
const GO: Suite = Suite { name: "go", set_up: set_up::go, command: go_test, read: read_go, foreign: true };

/// Brokers that are stopped, killed and started again, and what clients find then.
const DURABILITY: Suite = Suite {
    name: "durability",
    set_up: set_up::python,
    command: durability,
    read: read_pytest,
    foreign: false,
};
/// The guide's walkthroughs.
const WALKTHROUGHS: Suite = Suite {
    name: "walkthroughs",
    set_up: set_up::python,
    command: walkthroughs,
    read: read_pytest,
    foreign: false,
};
/// Brokers whose system calls are looked at.
const SYSTEM_CALLS: Suite = Suite {
    name: "system_calls",
    set_up: set_up::python_and_strace,
    command: system_calls,
    read: read_pytest,
    foreign: false,
};

/// All, in the order in which they run. `rust` is the whole workspace; its cases start their own brokers, and so do
/// those about what is on disk.
pub static ALL: [Suite; 7] = [
    Suite { name: "rust", set_up: set_up::nothing, command: cargo_test, read: read_cargo, foreign: false },
    PYTHON,
    JAVASCRIPT,
    GO,
    SYSTEM_CALLS,
    WALKTHROUGHS,
    DURABILITY,
];

/// Those that can run against any broker: of the workspace, lapin's cases.
pub static AGAINST_PEER: [Suite; 4] = [
    Suite { name: "rust", set_up: set_up::nothing, command: lapin_test, read: read_cargo, foreign: true },
    PYTHON,
    JAVASCRIPT,
    GO,
];

/// The broker that a suite is run against.
pub enum Target<'a> {
    /// A fresh one of this binary.
    Fresh(&'a Path),
    /// One that runs already, at this address.
    Peer(&'a str),
}

impl Suite {
    /// Run it and read what came.
    ///
    /// # Errors
    /// The program could not be run, or wrote no case.
    pub fn run(&self, root: &Path, logs: &Path, target: &Target) -> Result<Outcome, TestError> {
        let log = logs.join(format!("{}.log", self.name));
        let mut command = (self.command)(root);
        // Held until the suite has ended.
        let mut _broker = None;
        match *target {
            Target::Peer(url) => {
                command.env("AMQP_URL", url);
            }
            Target::Fresh(binary) => {
                command.env("FAIRLEAD_BIN", binary);
                if self.foreign {
                    let broker = Broker::start(binary, logs, self.name)?;
                    command.env("AMQP_URL", &broker.amqp_url).env("FAIRLEAD_HTTP", &broker.http_url);
                    _broker = Some(broker);
                }
            }
        }
        let status =
            run_within(logged(&log)?.apply(&mut command), TIME).map_err(|source| io(root, source))?;
        let Some(status) = status else {
            return Err(TestError::Endless { what: format!("the {} suite", self.name), log });
        };
        let text = std::fs::read_to_string(&log).map_err(|source| io(&log, source))?;
        let outcome = (self.read)(&text);
        let explained = status.success() || !outcome.failed.is_empty();
        if outcome.passed == 0 || !explained {
            return Err(TestError::Step { what: format!("the {} suite", self.name), log });
        }
        Ok(outcome)
    }
}

fn cargo_test(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]).current_dir(root);
    command
}

/// Without the cases that need a broker with a configuration of theirs.
fn lapin_test(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--locked", "--package", "fairlead-tests", "--test", "amqp_0_9_1"])
        .current_dir(root);
    command.args(["--", "--skip", "operation::"]);
    command
}

fn pytest(root: &Path) -> Command {
    pytest_in(root, &root.join(FOLDER).join("python"))
}

fn durability(root: &Path) -> Command {
    pytest_in(root, &root.join("tests/durability"))
}

fn walkthroughs(root: &Path) -> Command {
    pytest_in(root, &root.join("tests/walkthroughs"))
}

fn system_calls(root: &Path) -> Command {
    pytest_in(root, &root.join("tests/system_calls"))
}

fn pytest_in(root: &Path, folder: &Path) -> Command {
    let mut command = Command::new(set_up::python_environment(root).join("bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "pytest", "-q", "-rfEs", "--tb=short"]).current_dir(folder);
    command
}

fn node_test(root: &Path) -> Command {
    let mut command = Command::new("node");
    command.args(["--test-reporter=tap", "all.js"]).current_dir(root.join(FOLDER).join("javascript"));
    command
}

fn go_test(root: &Path) -> Command {
    let mut command = Command::new("go");
    command.args(["test", "-v", "-count=1", "./..."]).current_dir(root.join(FOLDER).join("go"));
    command
}

/// The number in front of `word` in `line`.
fn number_before(line: &str, word: &str) -> usize {
    let before = line.split(word).next().filter(|before| before.len() < line.len());
    before.and_then(|before| before.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

/// `test NAME ... FAILED`, and `test result: ok. N passed; N failed; N ignored; ...` for each program.
fn read_cargo(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        if line.starts_with("test result:") {
            outcome.passed += number_before(line, " passed");
            outcome.skipped += number_before(line, " ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            outcome.failed.insert(name.to_owned());
        } else if line.starts_with("error: could not compile") {
            outcome.failed.insert(line.to_owned());
        }
    }
    outcome
}

/// `FAILED FILE::NAME - why`, `ERROR FILE::NAME - why`, and the closing line.
fn read_pytest(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        let failed = line.strip_prefix("FAILED ").or_else(|| line.strip_prefix("ERROR "));
        if let Some(rest) = failed {
            outcome.failed.insert(rest.split(" - ").next().unwrap_or(rest).trim().to_owned());
        } else if line.contains(" passed") && line.contains(" in ") {
            outcome.passed = number_before(line, " passed");
            outcome.skipped = number_before(line, " skipped");
        }
    }
    outcome
}

/// `not ok N - NAME` at any depth, and the closing `# pass N`.
fn read_tap(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        let line = line.trim_start();
        if let Some((_, name)) = line.strip_prefix("not ok ").and_then(|rest| rest.split_once(" - ")) {
            outcome.failed.insert(name.to_owned());
        } else if let Some(count) = line.strip_prefix("# pass ") {
            outcome.passed = count.trim().parse().unwrap_or(0);
        } else if let Some(count) = line.strip_prefix("# skipped ") {
            outcome.skipped = count.trim().parse().unwrap_or(0);
        }
    }
    outcome
}

/// `--- PASS: NAME (time)`, and likewise FAIL and SKIP, at any depth.
fn read_go(text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix("--- ") else { continue };
        let Some((word, name)) = rest.split_once(": ") else { continue };
        match word {
            "PASS" => outcome.passed += 1,
            "SKIP" => outcome.skipped += 1,
            _ => {
                outcome.failed.insert(name.split(' ').next().unwrap_or(name).to_owned());
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: fn(&str) -> Outcome, text: &str, passed: usize, failed: &[&str], skipped: usize) {
        let outcome = read(text);
        let names: Vec<&str> = outcome.failed.iter().map(String::as_str).collect();
        assert_eq!((outcome.passed, &names[..], outcome.skipped), (passed, failed, skipped));
    }

    #[test]
    fn each_runner_is_read() {
        let cargo = "test a::b ... ok\ntest a::c ... FAILED\n\
                     test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n\
                     test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        check(read_cargo, cargo, 8, &["a::c"], 2);
        let pytest = "FAILED test_x.py::test_y[1 a] - assert 1\n1 failed, 7 passed, 3 skipped in 2.1s\n";
        check(read_pytest, pytest, 7, &["test_x.py::test_y[1 a]"], 3);
        let tap = "    not ok 2 - inner\nok 1 - outer\n# pass 4\n# skipped 1\n";
        check(read_tap, tap, 4, &["inner"], 1);
        let go = "--- PASS: TestA (0.00s)\n    --- FAIL: TestB/c (0.1s)\n--- SKIP: TestD (0.0s)\n";
        check(read_go, go, 1, &["TestB/c"], 1);
    }
}
