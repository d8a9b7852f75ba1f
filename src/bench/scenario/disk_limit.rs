//! What the disk allows: the same bytes in as many equal writes as the broker made syncs, each followed by one, to a
//! file in the broker's folder that was written before. It runs on the broker's core, and what it waits there for
//! others to leave the core is not counted: on a busy machine a loop that sleeps after each write may wait for the next
//! tick of the scheduler each time, which says nothing of the disk. The broker's own waiting is counted.

use crate::error::Error;
use crate::machine::pin::started_on;
use crate::measure::{Metric, Sample};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the file; writing begins anew at its end.
const FILE_SIZE: u64 = 256 << 20;

/// Beside the broker's data, for all rounds.
const FILE: &str = "disk-limit";

/// What a broker did, to be done again without it.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Messages that it confirmed.
    pub messages: u64,
    /// Bytes that it wrote for them; their bodies alone where it does not tell.
    pub bytes: u64,
    /// Syncs that it made meanwhile, or flushes of the disk where it does not tell. Not 0.
    pub syncs: u64,
    /// How long that took.
    pub took: Duration,
}

/// Does the work, on `core` if one is given and for twice `at_most` at the longest, and tells what rate the disk alone allows, and the broker's share of it.
pub fn run(
    work: Work,
    folder: &Path,
    core: Option<usize>,
    at_most: Duration,
    sample: &mut Sample,
) -> Result<(), Error> {
    let path = folder.join(FILE);
    let failed = |source| Error::File { path: path.clone(), source };
    let file = open(&path).map_err(failed)?;
    let measure = || share(&work, &file, at_most * 2);
    let share = match core {
        Some(core) => started_on(core, measure)?,
        None => measure(),
    }
    .map_err(failed)?;
    let rate = work.messages as f64 / work.took.as_secs_f64();
    sample.put(Metric::DiskLimit, rate / share);
    sample.put(Metric::DiskLimitShare, share);
    Ok(())
}

/// The file, full of zeros that are on the disk.
fn open(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    if file.metadata()?.len() < FILE_SIZE {
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_SIZE).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
    }
    Ok(file)
}

/// How long the disk takes for the work, as a share of how long the broker took.
fn share(work: &Work, file: &File, at_most: Duration) -> std::io::Result<f64> {
    let block = vec![b'.'; work.bytes.div_ceil(work.syncs).clamp(1, FILE_SIZE) as usize];
    let (mut offset, mut done) = (0, 0);
    let before = waited_for_core().unwrap_or_default();
    let began = Instant::now();
    while done < work.syncs && (began.elapsed() < at_most || done == 0) {
        if offset + block.len() as u64 > FILE_SIZE {
            offset = 0;
        }
        file.write_all_at(&block, offset)?;
        file.sync_data()?;
        offset += block.len() as u64;
        done += 1;
    }
    let elapsed = began.elapsed();
    let waited = waited_for_core().unwrap_or_default().saturating_sub(before);
    let all = elapsed.saturating_sub(waited).as_secs_f64() * work.syncs as f64 / done as f64;
    Ok(all / work.took.as_secs_f64())
}

/// How long this thread has been ready to run while something else had its core; `None` where the kernel does not tell.
fn waited_for_core() -> Option<Duration> {
    // Time on the core, time ready to run but not on it, both in nanoseconds, and how often it ran.
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn the_share_is_the_disks_time_by_the_brokers() {
        let folder = Folder::new().unwrap();
        let took = Duration::from_secs(3600);
        let work = Work { messages: 10_000, bytes: 1 << 20, syncs: 10, took };
        let mut sample = Sample::default();
        run(work, folder.path(), None, Duration::from_secs(5), &mut sample).unwrap();
        let share = sample.figures[&Metric::DiskLimitShare];
        assert!(share > 0.0 && share < 0.01, "ten syncs take no 36 s: {share}");
        assert_eq!(std::fs::metadata(folder.path().join(FILE)).unwrap().len(), FILE_SIZE);
    }
}
