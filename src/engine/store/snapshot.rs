//! A copy of the data folder of a running broker, which another can start on.

use super::{JOURNAL_FOLDER, Store};
use crate::Broker;
use crate::counters::Counter;
use fairlead_journal::Folder;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the copy is called until it is whole: nothing starts on a part of one.
const UNFINISHED: &str = "journal.unfinished";
/// The lock of whoever has a journal open; the copy is nobody's.
const LOCK: &str = "lock";

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything before this position of the journal is in it.
    pub position: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is nothing to copy.
    #[error("this broker keeps nothing on a disk")]
    NothingKept,
    /// There is something in the way.
    #[error("the folder {} is not empty, expected an empty one or none", .0.display())]
    NotEmpty(PathBuf),
    /// It would be a segment's place.
    #[error("the folder {} is inside the journal {}, expected one elsewhere", folder.display(), journal.display())]
    InsideJournal {
        /// What was asked for.
        folder: PathBuf,
        /// The journal that it is in.
        journal: PathBuf,
    },
    /// The file system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The copying failed.
    #[error(transparent)]
    Journal(#[from] fairlead_journal::Error),
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError + use<> {
    let path = path.to_path_buf();
    move |source| SnapshotError::Io { action, path, source }
}

/// Whether a broker has that folder as its journal, or had.
fn is_journal(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == JOURNAL_FOLDER) && folder.join(LOCK).exists()
}

impl Broker {
    /// Copy what is on disk now to a folder, as the data folder of another broker. Everything goes on meanwhile, but
    /// no segment is freed. For a thread that may block; it takes as long as the copying.
    ///
    /// # Errors
    /// See [`SnapshotError`]; nothing is left in the folder.
    pub fn snapshot_to(&self, folder: &Path) -> Result<Snapshot, SnapshotError> {
        let store = self.store.as_ref().ok_or(SnapshotError::NothingKept)?;
        let made = store.copy_to(folder);
        let counter = if made.is_ok() { Counter::SnapshotsMade } else { Counter::SnapshotsFailed };
        self.counters.add(counter, 1);
        made
    }
}

impl Store {
    fn copy_to(&self, folder: &Path) -> Result<Snapshot, SnapshotError> {
        let absolute = std::path::absolute(folder).map_err(io_error("finding", folder))?;
        if let Some(journal) = absolute.ancestors().find(|ancestor| is_journal(ancestor)) {
            let (folder, journal) = (folder.to_path_buf(), journal.to_path_buf());
            return Err(SnapshotError::InsideJournal { folder, journal });
        }
        fs::create_dir_all(folder).map_err(io_error("creating", folder))?;
        let mut there = fs::read_dir(folder).map_err(io_error("listing", folder))?;
        if there.next().is_some() {
            return Err(SnapshotError::NotEmpty(folder.to_path_buf()));
        }
        let unfinished = folder.join(UNFINISHED);
        self.copy_whole(folder, &unfinished).inspect_err(|_| {
            // What is left of it would be in the way of the next one; the first error says more than this one could.
            let _ = fs::remove_dir_all(&unfinished);
        })
    }

    fn copy_whole(&self, folder: &Path, unfinished: &Path) -> Result<Snapshot, SnapshotError> {
        let position = self.journal.copy_to(&Folder::new(unfinished)?)?;
        let lock = unfinished.join(LOCK);
        fs::remove_file(&lock).map_err(io_error("removing", &lock))?;
        let journal = folder.join(JOURNAL_FOLDER);
        fs::rename(unfinished, &journal).map_err(io_error("naming", &journal))?;
        let folder_file = fs::File::open(folder).map_err(io_error("opening", folder))?;
        folder_file.sync_all().map_err(io_error("syncing", folder))?;
        Ok(Snapshot { position: position.0 })
    }
}
