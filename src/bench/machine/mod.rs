//! What Linux tells of processes, and where they may run.
//!
//! A port leads to the listening process (`listener`), that to its CPU time and memory (`process`) and to
//! the core it is bound to while it is measured (`pin`).

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

/// How many processors this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The processor's name as the kernel gives it.
pub fn processor_model() -> String {
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
