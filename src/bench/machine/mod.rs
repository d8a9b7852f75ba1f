//! What Linux tells of processes, and where they may run.
//!
//! The disk below a folder is `disk`. A port leads to the listening process (`listener`), that to its CPU time and memory (`process`) and to
//! the core it is bound to while it is measured (`pin`).

pub mod disk;
pub mod listener;
pub mod pin;
pub mod process;

use crate::error::Error;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::{Path, PathBuf};

/// Raises the bound on open files to `wanted`, as far as the system allows; gives what it is then.
pub fn raise_open_files(wanted: u64) -> u64 {
    let current = getrlimit(Resource::Nofile);
    let have = current.current.unwrap_or(u64::MAX);
    if have >= wanted {
        return have;
    }
    // Raising the hard bound too works for root; without, go as far as it reaches.
    let hard = current.maximum.unwrap_or(u64::MAX);
    for (soft, maximum) in [(wanted, wanted.max(hard)), (wanted.min(hard), hard)] {
        let limit = Rlimit { current: Some(soft), maximum: Some(maximum) };
        if setrlimit(Resource::Nofile, limit).is_ok() {
            return soft;
        }
    }
    have
}

/// Where measurements are taken: the machine, and what this process may use of it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How many processors it has.
    pub processors: usize,
    /// The numbers of those that this process was given at its start, before it bound itself to one.
    pub affinity: Vec<usize>,
    /// The processor's name as the kernel gives it.
    pub model: String,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn this() -> Result<Self, Error> {
        let affinity = pin::affinity()?;
        let path = Path::new("/sys/devices/system/cpu/online");
        let processors = count(&read(path)?)
            .ok_or(Error::Format { path: path.to_owned(), expected: "ranges of numbers" })?;
        Ok(Self { processors, affinity, model: processor_model() })
    }

    /// In a line.
    pub fn describe(&self) -> String {
        let numbers: Vec<String> = self.affinity.iter().map(ToString::to_string).collect();
        let (processors, model) = (self.processors, &self.model);
        format!("{processors} processors ({model}), of which this process may use: {}", numbers.join(", "))
    }
}

/// How many numbers are in ranges such as `0-3,8`.
fn count(ranges: &str) -> Option<usize> {
    ranges.trim().split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + (last + 1).checked_sub(first)?)
    })
}

fn processor_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The numbers that name the entries of a directory such as `/proc` or `/proc/1/task`.
fn numbered(directory: &Path) -> Result<Vec<i32>, Error> {
    let entries =
        std::fs::read_dir(directory).map_err(|source| Error::File { path: directory.to_owned(), source })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

fn of(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_by_ranges() {
        for (ranges, expect) in
            [("0\n", Some(1)), ("0-3", Some(4)), ("0-1,4,6-7\n", Some(5)), ("3-1", None), ("", None)]
        {
            assert_eq!(count(ranges), expect, "{ranges:?}");
        }
    }

    #[test]
    fn a_process_that_is_bound_still_knows_the_machine() {
        let free = Machine::this().unwrap();
        let bound = pin::started_on(free.affinity[0], Machine::this).unwrap().unwrap();
        assert_eq!(bound.processors, free.processors);
        assert_eq!(bound.affinity, free.affinity[..1]);
        assert!(bound.describe().ends_with(&format!("may use: {}", free.affinity[0])));
    }
}
