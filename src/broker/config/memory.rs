//! The memory that messages may take, and how much memory there is.

use super::node::Value;
use super::section::Section;
use super::units::{self, show_bytes};
use super::values::{Parsed, size, unexpected};
use std::fmt;
use std::fs;
use std::path::Path;

/// A mark, above which something is done; its `Debug` is for the log's lines about a reload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Hundredths of the machine's memory, 1 to 100.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Mark::Percent(percent) => write!(f, "{percent}%"),
            Mark::Bytes(bytes) => f.write_str(&show_bytes(bytes)),
        }
    }
}

impl Default for Mark {
    fn default() -> Mark {
        Mark::Percent(100)
    }
}

impl Mark {
    /// The mark in bytes on a machine with `memory` bytes.
    #[must_use]
    pub fn bytes(self, memory: u64) -> u64 {
        match self {
            Mark::Percent(percent) => memory / 100 * u64::from(percent),
            Mark::Bytes(bytes) => bytes,
        }
    }
}

/// What messages may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMarks {
    /// Bytes that a durable queue holds in memory.
    pub queue: u64,
    /// Above it queues leave to the disk what they can.
    pub page_out_above: Mark,
    /// Above it publishers are stopped.
    pub stop_publishers_above: Mark,
}

impl MemoryMarks {
    pub(super) fn read(section: &Section) -> MemoryMarks {
        let marks = MemoryMarks {
            queue: section.required("queue", size((64 << 10)..=(64 << 30))),
            page_out_above: section.required("page_out_above", mark),
            stop_publishers_above: section.required("stop_publishers_above", mark),
        };
        let keys = ["page_out_above", "stop_publishers_above"];
        match (marks.page_out_above, marks.stop_publishers_above) {
            (Mark::Percent(first), Mark::Percent(second)) if first > second => {
                let text = format!(
                    "page_out_above is {first}% and stop_publishers_above {second}%, expected at most as much"
                );
                section.conflict(keys, text);
            }
            (Mark::Bytes(first), Mark::Bytes(second)) if first > second => {
                let (first, second) = (show_bytes(first), show_bytes(second));
                let text = format!(
                    "page_out_above is {first} and stop_publishers_above {second}, expected at most as much"
                );
                section.conflict(keys, text);
            }
            (Mark::Percent(_), Mark::Percent(_)) | (Mark::Bytes(_), Mark::Bytes(_)) => {}
            // Which is the smaller one depends on the machine; whether a configuration is valid must not.
            (Mark::Percent(_), Mark::Bytes(_)) | (Mark::Bytes(_), Mark::Percent(_)) => {
                section.conflict(keys, "one mark is a size and one a percentage, expected two of a kind");
            }
        }
        marks
    }
}

fn mark(value: &Value) -> Parsed<Mark> {
    let mark = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok().map(Mark::Bytes),
        Value::Text(text) => {
            units::percent(text).map(Mark::Percent).or_else(|| units::bytes(text).map(Mark::Bytes))
        }
        _ => None,
    };
    mark.filter(|mark| *mark != Mark::Bytes(0))
        .ok_or_else(|| unexpected(value, "a size as 2 GiB, or a percentage from 1% to 100%"))
}

/// Bytes of memory that this process may use: the machine's, or less where a control group says so.
/// `None` where the system does not tell.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let machine = total(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(group_limits(Path::new("/sys/fs/cgroup"), &groups).fold(machine, u64::min))
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The limits of the groups that `/proc/self/cgroup` names and of all groups above them. In a container the
/// group's own files are often at the root.
fn group_limits(root: &Path, groups: &str) -> impl Iterator<Item = u64> {
    let group_folders = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let (folder, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            "memory" => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        Some((folder, group.trim_start_matches('/').to_owned(), file))
    });
    group_folders.flat_map(|(folder, group, file)| {
        let above = Path::new(&group).ancestors().map(|group| folder.join(group).join(file));
        above.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect::<Vec<u64>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_of_the_machine() {
        assert_eq!(Mark::Percent(50).bytes(4000), 2000);
        assert_eq!(Mark::Bytes(7).bytes(4000), 7);
    }

    #[test]
    fn the_machine_says_how_much_memory_it_has() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(machine_memory().is_none_or(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn the_smallest_limit_of_a_group_and_those_above_holds() {
        let root = std::env::temp_dir().join(format!("fairlead-cgroup-{}", std::process::id()));
        let group = root.join("slice/service");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("slice/memory.max"), "1048576\n").unwrap();
        let limits: Vec<_> = group_limits(&root, "0::/slice/service\n1:cpu:/elsewhere\n").collect();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(limits, [1_048_576]);
    }
}
