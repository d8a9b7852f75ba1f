//! A program that may not run for ever: at the deadline it is killed with all that it has started, so that what it
//! was doing can be read in its log.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often the program is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Run `command` in a process group of its own; `None` if it was killed at the deadline.
///
/// # Errors
/// It could not be started, or not be waited for.
pub fn run_within(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = command.process_group(0).spawn()?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL)?;
            }
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_for_ever_is_killed_with_its_children_and_the_rest_is_not() {
        let mut quick = Command::new("sh");
        let status = run_within(quick.args(["-c", "exit 3"]), Duration::from_secs(60)).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        let mut endless = Command::new("sh");
        endless.args(["-c", "sleep 600 & wait"]);
        assert_eq!(run_within(&mut endless, Duration::from_millis(100)).unwrap(), None);
    }
}
