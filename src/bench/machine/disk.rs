//! The disk below a folder: how often it was flushed and what was written to it, what the folder takes, and getting its files out of memory.

use crate::error::Error;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What `stat` counts a file's blocks in, in bytes: stat(2), whatever the file system's own blocks are.
const BLOCK: u64 = 512;

/// Where the sectors written stand in a `stat` file of a disk: the kernel's Documentation/block/stat.rst.
const SECTORS_WRITTEN: usize = 6;

/// Where the completed flushes stand in it.
const FLUSHES: usize = 15;

/// Bytes of a sector there, whatever the disk's own are.
const SECTOR: u64 = 512;

/// What a disk has done since the machine started, whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Flushes of its cache. An `fdatasync` of new data ends in one; the kernel may do several at once.
    pub flushes: u64,
    /// Bytes written to it. What the kernel counts for a process is no use here: where its page cache holds a file in
    /// large pieces, it counts the whole piece for each byte that is written to it.
    pub written: u64,
}

/// How the page cache was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptied {
    /// All of it, by `/proc/sys/vm/drop_caches`.
    Everything,
    /// Of the folder's files, by posix_fadvise(2).
    Files,
}

/// What the disk with that folder has done; `None` where the kernel does not tell.
pub fn done(folder: &Path) -> Option<Done> {
    let device = std::fs::metadata(folder).ok()?.dev();
    let numbers = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mut path = PathBuf::from("/sys/dev/block").join(numbers);
    if path.join("partition").exists() {
        // Flushes are counted for the whole disk only.
        path = std::fs::canonicalize(path).ok()?.parent()?.to_owned();
    }
    parse(&std::fs::read_to_string(path.join("stat")).ok()?)
}

fn parse(stat: &str) -> Option<Done> {
    let numbers: Vec<u64> = stat.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    let (flushes, sectors) = (numbers.get(FLUSHES)?, numbers.get(SECTORS_WRITTEN)?);
    Some(Done { flushes: *flushes, written: sectors * SECTOR })
}

/// Bytes that the files in a folder take on the disk, as `du` counts them. What vanishes meanwhile counts nothing.
pub fn used(folder: &Path) -> Result<u64, Error> {
    Ok(files(folder)?.iter().map(|(_, metadata)| metadata.blocks() * BLOCK).sum())
}

fn files(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|source| Error::File { path: folder.clone(), source })?;
        for entry in entries.filter_map(Result::ok) {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => found.push((entry.path(), metadata)),
                // It was removed since the folder was read.
                Err(_) => {}
            }
        }
    }
    Ok(found)
}

/// Gets a folder's files out of the page cache: with all else that is in it where that is permitted, else them alone.
pub fn empty_page_cache(folder: &Path) -> Result<Emptied, Error> {
    // Only what is on the disk can leave memory.
    rustix::fs::sync();
    let all = OpenOptions::new().write(true).open("/proc/sys/vm/drop_caches");
    if all.and_then(|mut file| file.write_all(b"3\n")).is_ok() {
        return Ok(Emptied::Everything);
    }
    forget(folder).map(|()| Emptied::Files)
}

fn forget(folder: &Path) -> Result<(), Error> {
    for (path, _) in files(folder)? {
        let forgotten = File::open(&path).and_then(|file| {
            file.sync_all()?;
            Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
        });
        forgotten.map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn flushes_and_sectors_stand_in_their_places() {
        let line = " 11 2 3 4 5 6 7 8 0 9 10 12 13 14 15 16 17\n";
        assert_eq!(parse(line), Some(Done { flushes: 16, written: 7 * 512 }));
        assert_eq!(parse("1 2 3 4 5 6 7 8 9 10 11"), None, "an older kernel");
    }

    #[test]
    fn a_folder_takes_what_is_written_and_not_what_is_sparse() {
        let folder = Folder::new().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let mut file = File::create(folder.path().join("inner/file")).unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        file.set_len(1 << 30).unwrap();
        file.sync_all().unwrap();
        let bytes = used(folder.path()).unwrap();
        assert!((100_000..1_000_000).contains(&bytes), "{bytes}");
        forget(folder.path()).unwrap();
        assert!(used(&folder.path().join("missing")).is_err());
    }
}
