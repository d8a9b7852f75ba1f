//! Where the measurements stand: a bar on a terminal; elsewhere a line for each result, and one each ten seconds.

use std::cell::RefCell;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Cells of the bar.
const WIDTH: usize = 20;

/// Where there is no terminal, what goes on is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The display. It writes to standard error; the results go to standard output.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    done: usize,
    total: usize,
    step: String,
    /// When something was told last.
    told: Instant,
}

impl Progress {
    /// Nothing of `total` rounds is done yet.
    pub fn new(total: usize) -> Self {
        Self {
            terminal: stderr().is_terminal(),
            state: RefCell::new(State { done: 0, total, step: String::new(), told: Instant::now() }),
        }
    }

    /// The next round begins.
    pub fn begin(&self, step: String) {
        self.state.borrow_mut().step = step;
        self.detail("");
    }

    /// What the round is doing.
    pub fn detail(&self, detail: &str) {
        if self.terminal {
            let state = self.state.borrow();
            let bar = bar(state.done, state.total);
            // Erase the line, and stay on it. A display that cannot be written to is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{bar} {} {detail}", state.step);
            let _ = stderr().flush();
        } else if self.state.borrow().told.elapsed() >= TOLD_EVERY && !detail.is_empty() {
            let line = format!("{}: {detail}", self.state.borrow().step);
            self.say(&line);
        }
    }

    /// The round is over.
    pub fn end(&self) {
        self.state.borrow_mut().done += 1;
    }

    /// Says something that stays.
    pub fn say(&self, line: &str) {
        self.state.borrow_mut().told = Instant::now();
        let erase = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(stderr(), "{erase}{line}");
    }
}

fn bar(done: usize, total: usize) -> String {
    let filled = (done * WIDTH).checked_div(total).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}] {done}/{total}", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(bar(0, 4), "[--------------------] 0/4");
        assert_eq!(bar(2, 4), "[##########----------] 2/4");
        assert_eq!(bar(4, 4), "[####################] 4/4");
        assert_eq!(bar(0, 0), "[####################] 0/0");
    }
}
