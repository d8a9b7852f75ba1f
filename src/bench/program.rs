//! Programs that a measurement starts: a fresh Fairlead, or the relay. Each ends when its handle is dropped.

use crate::error::Error;
use crate::machine::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a program may take from its start to its ready line, and from the signal to its end: a broker may have
/// gigabytes to read first.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many of its last lines are shown when a program fails.
const LINES_SHOWN: usize = 20;

/// A started program that has said that it is ready.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    /// What it printed until it was ready.
    lines: Vec<String>,
    /// From just before the start to the ready line.
    pub start_time: Duration,
    /// Just before the start.
    pub started: Instant,
}

impl Program {
    /// Starts `command` and waits until a line of its output contains `ready`.
    pub fn start(mut command: Command, ready: &str) -> Result<Self, Error> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let before = Instant::now();
        let mut child = command.spawn().map_err(Error::system(format!("start {name}")))?;
        let lines = forward_lines(&mut child);
        let mut program =
            Self { child, name, lines: Vec::new(), start_time: Duration::ZERO, started: before };
        program.await_ready(&lines, ready, before)?;
        Ok(program)
    }

    fn await_ready(
        &mut self,
        lines: &Receiver<(Instant, String)>,
        ready: &str,
        before: Instant,
    ) -> Result<(), Error> {
        loop {
            let left = PATIENCE.saturating_sub(before.elapsed());
            match lines.recv_timeout(left) {
                Ok((when, line)) => {
                    let found = line.contains(ready);
                    self.lines.push(line);
                    if found {
                        self.start_time = when - before;
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let fault = format!("did not print `{ready}` in {} s", PATIENCE.as_secs());
                    return Err(self.failed(fault));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed(format!("ended before it printed `{ready}`")));
                }
            }
        }
    }

    fn failed(&self, fault: String) -> Error {
        let from = self.lines.len().saturating_sub(LINES_SHOWN);
        let output = self.lines[from..].iter().flat_map(|line| ["\n    ", line]).collect();
        Error::Program { program: self.name.clone(), fault, output }
    }

    /// The number behind `prefix` in a line that it printed while starting.
    pub fn number_after(&self, prefix: &str) -> Result<u16, Error> {
        let found = self.lines.iter().find_map(|line| {
            let rest = line.split_once(prefix)?.1.trim_start();
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        found.ok_or_else(|| self.failed(format!("did not print `{prefix}` and a number")))
    }

    /// The running process.
    pub fn process(&self) -> Process {
        Process::new(self.child.id().cast_signed())
    }

    /// Ends it at once, by SIGKILL, and waits until it has ended.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().map_err(Error::system(format!("kill {}", self.name)))?;
        self.child.wait().map(drop).map_err(Error::system(format!("wait for {}", self.name)))
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reads both outputs of `child` for as long as it lives, so that it never waits for its reader.
fn forward_lines(child: &mut Child) -> Receiver<(Instant, String)> {
    let (sender, receiver) = mpsc::channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    for pipe in outputs.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // Once it is ready nobody listens; the pipe must be emptied all the same.
                let _ = sender.send((Instant::now(), line));
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_is_ready_by_its_line_and_ended_by_drop() {
        // Of one output the lines stay in order; those of two may change places.
        let script = "echo port 1234 here >&2; echo ready >&2; exec sleep 100";
        let program = Program::start(shell(script), "ready").unwrap();
        assert_eq!(program.number_after("port").unwrap(), 1234);
        assert!(program.number_after("no such prefix").is_err());
        let process = program.process();
        assert!(process.memory().is_ok());
        drop(program);
        assert!(process.memory().is_err());
    }

    #[test]
    fn a_killed_program_has_no_time_to_tidy_up() {
        let mut program =
            Program::start(shell("trap '' TERM; echo ready; while :; do sleep 1; done"), "ready").unwrap();
        program.kill().unwrap();
        assert!(program.process().memory().is_err());
    }

    #[test]
    fn a_program_that_ends_early_is_an_error_with_its_output() {
        let error = Program::start(shell("echo broken >&2; exit 3"), "ready").unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }
}
