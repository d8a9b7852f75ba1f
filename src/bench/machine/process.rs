//! CPU time and memory of a process, and the processes and threads below it.

use super::{numbered, of, read};
use crate::error::Error;
use std::path::Path;
use std::time::Duration;

/// A running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now: `VmRSS`.
    pub resident: u64,
    /// The most since the start, or since [`Process::reset_peak`]: `VmHWM`.
    pub peak: u64,
}

/// What a process has read since it started, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// By read calls, from wherever it came: `rchar`.
    pub all: u64,
    /// From disks: `read_bytes`.
    pub from_disk: u64,
}

impl Process {
    /// The process with this id.
    pub fn new(pid: i32) -> Self {
        Self { pid }
    }

    /// This process.
    pub fn this() -> Self {
        Self::new(std::process::id().cast_signed())
    }

    /// User and system time of all its threads, ended ones included.
    pub fn cpu_time(self) -> Result<Duration, Error> {
        let path = of(self.pid, "stat");
        let ticks = cpu_ticks(&read(&path)?).ok_or(Error::Format { path, expected: "utime and stime" })?;
        Ok(Duration::from_secs(1).mul_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Its resident memory.
    pub fn memory(self) -> Result<Memory, Error> {
        let path = of(self.pid, "status");
        let text = read(&path)?;
        let (Some(resident), Some(peak)) = (kibibytes(&text, "VmRSS:"), kibibytes(&text, "VmHWM:")) else {
            return Err(Error::Format { path, expected: "VmRSS and VmHWM" });
        };
        Ok(Memory { resident: resident * 1024, peak: peak * 1024 })
    }

    /// What it has read.
    pub fn reads(self) -> Result<Reads, Error> {
        let path = of(self.pid, "io");
        reads(&read(&path)?).ok_or(Error::Format { path, expected: "rchar and read_bytes" })
    }

    /// Sets the peak back to what is resident now.
    pub fn reset_peak(self) -> Result<(), Error> {
        let path = of(self.pid, "clear_refs");
        // 5: see proc(5), clear_refs.
        std::fs::write(&path, "5").map_err(|source| Error::File { path, source })
    }

    /// It and all processes that descend from it.
    pub fn tree(self) -> Result<Vec<Process>, Error> {
        let mut parents = Vec::new();
        for pid in numbered(Path::new("/proc"))? {
            // A process may end between the listing and the reading.
            if let Some(parent) = read(&of(pid, "stat")).ok().and_then(|text| parent(&text)) {
                parents.push((pid, parent));
            }
        }
        let mut tree = vec![self.pid];
        let mut next = 0;
        while let Some(&pid) = tree.get(next) {
            tree.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
            next += 1;
        }
        Ok(tree.into_iter().map(Process::new).collect())
    }

    /// The ids of its threads.
    pub fn threads(self) -> Result<Vec<i32>, Error> {
        numbered(&of(self.pid, "task"))
    }
}

/// The fields of a `stat` file from the third on: the second, the program's name, may hold spaces and brackets.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut times = fields(stat)?.skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}

fn parent(stat: &str) -> Option<i32> {
    fields(stat)?.nth(1)?.parse().ok()
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn reads(io: &str) -> Option<Reads> {
    let value = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some(Reads { all: value("rchar:")?, from_disk: value("read_bytes:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_by_name() {
        let io = "rchar: 10\nwchar: 20\nsyscr: 1\nsyscw: 2\nread_bytes: 30\nwrite_bytes: 40\n";
        let expected = Reads { all: 10, from_disk: 30 };
        assert_eq!(reads(io), Some(expected));
        assert_eq!(reads("rchar: 10\n"), None);
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let stat = "77 (a) b) S 12 77 77 0 -1 4194560 5 6 7 8 250 50 1 2 20 0 4 0 100 1 2";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(parent(stat), Some(12));
        assert_eq!(cpu_ticks("77 (cut) S 12"), None);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let this = Process::this();
        let block = vec![1u8; 32 << 20];
        let memory = this.memory().unwrap();
        assert!(memory.resident >= 32 << 20, "{memory:?}");
        assert!(memory.peak >= memory.resident);
        assert!(block.iter().map(|byte| u64::from(*byte)).sum::<u64>() > 0);
        while this.cpu_time().unwrap() < Duration::from_millis(20) {}
        assert!(this.threads().unwrap().contains(&this.pid));
        assert!(this.tree().unwrap().contains(&this));
    }
}
