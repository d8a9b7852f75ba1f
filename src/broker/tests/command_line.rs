//! The real binary: what it prints, where, and what it ends with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn fairlead(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FAIRLEAD_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

/// A file that lasts as long as this value.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("fairlead-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Nothing depends on it: the name is this process's own.
        let _ = fs::remove_file(&self.0);
    }
}

#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn version() {
    check(&fairlead(&["--version"], &[]), 0, concat!("fairlead ", env!("CARGO_PKG_VERSION"), "\n"), "");
}

#[test]
fn a_valid_configuration() {
    check(&fairlead(&["check-config"], &[]), 0, "the built-in configuration is valid\n", "");
    let file = File::new("valid.yaml", "limits:\n  queues: 5\n");
    let valid = format!("{}: the configuration is valid\n", file.path());
    check(&fairlead(&["check-config", file.path()], &[]), 0, &valid, "");
    check(&fairlead(&["check-config"], &[("FAIRLEAD_CONFIG", file.path())]), 0, &valid, "");
}

#[test]
fn a_wrong_configuration_is_exit_code_2_with_every_fault_whether_checked_or_started() {
    let file = File::new("wrong.yaml", "limits:\n  quues: 5\n  bindings: many\n");
    let faults = format!(
        "{path}:2:3: limits.quues: unknown key; did you mean \"queues\"?\n\
         {path}:3:13: limits.bindings: the text \"many\", expected a whole number from 1 to 1000000000\n",
        path = file.path()
    );
    check(&fairlead(&["check-config", file.path()], &[]), 2, "", &faults);
    check(&fairlead(&["--config", file.path()], &[]), 2, "", &faults);
}

#[test]
fn a_flag_comes_before_its_variable_and_both_before_the_file() {
    let file = File::new("address.yaml", "listeners:\n  amqp: nowhere\n");
    let environment = [("FAIRLEAD_CONFIG", file.path()), ("FAIRLEAD_AMQP", "neither here")];
    let fault = "--amqp or FAIRLEAD_AMQP: listeners.amqp: the text \"neither here\", \
                 expected ADDRESS:PORT, as 127.0.0.1:5672 or [::]:5672\n";
    check(&fairlead(&["check-config"], &environment), 2, "", fault);
    let output = fairlead(&["--amqp", "127.0.0.1:0", "check-config"], &environment);
    check(&output, 0, &format!("{}: the configuration is valid\n", file.path()), "");
}

#[test]
fn what_cannot_be_declared_is_found_by_the_check_and_by_the_start() {
    let file = File::new(
        "undeclarable.yaml",
        "topology:\n  bindings:\n    - {source: orders, destination: invoices}\nlisteners: {amqp: '127.0.0.1:9', http: '127.0.0.1:9'}\n",
    );
    let faults = format!(
        "{path}:3:16: topology.bindings[0].source: no exchange \"orders\" is declared in \"/\", \
         expected one of topology.exchanges, or a predeclared one as amq.direct\n\
         {path}:3:37: topology.bindings[0].destination: no queue \"invoices\" is declared in \"/\", \
         expected one of topology.queues\n\
         {path}:4:19: listeners.amqp: amqp is 127.0.0.1:9 and http 127.0.0.1:9, \
         expected addresses that can be had at once\n",
        path = file.path()
    );
    check(&fairlead(&["check-config", file.path()], &[]), 2, "", &faults);
    check(&fairlead(&["--config", file.path()], &[("FAIRLEAD_LOG", "off")]), 2, "", &faults);
}

#[test]
fn empty_variables_count_as_not_given() {
    let environment = [("FAIRLEAD_LOG", ""), ("FAIRLEAD_CONFIG", ""), ("FAIRLEAD_AMQP", "")];
    check(&fairlead(&["check-config"], &environment), 0, "the built-in configuration is valid\n", "");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key_whatever_is_logged() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = std::env::temp_dir().join(format!("fairlead-{}-taken", std::process::id()));
    let arguments =
        ["--http", &address, "--amqp", "127.0.0.1:0", "--log", "off", "--data-dir", data.to_str().unwrap()];
    let output = fairlead(&arguments, &[]);
    // Nothing depends on its going: it is empty.
    let _ = fs::remove_dir(&data);
    let told = format!(
        "error: cannot start: listeners.http: cannot listen on {address}: Address already in use (os error 98); \
         another program listens there\n"
    );
    check(&output, 1, "", &told);
}
