//! A folder of a real file system.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::direct::{Appended, Direct, Staging};
use super::{Backend, File};
use crate::error::Error;

/// The file whose lock keeps a second process out; it holds the first one's id.
const LOCK: &str = "lock";
/// Slices that one system call takes.
const SLICES_MOST: usize = 1024;

/// A folder of a real file system.
pub struct Folder {
    path: PathBuf,
    opened: Instant,
    /// Files opened so far.
    files: AtomicU64,
    /// Where appends are made whole blocks.
    staging: Arc<Mutex<Staging>>,
}

impl Folder {
    /// The folder, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(Error::io("creating", &path.to_string_lossy()))?;
        Ok(Self { path, opened: Instant::now(), files: AtomicU64::new(0), staging: Arc::default() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn real(&self, file: fs::File, path: PathBuf) -> Arc<dyn File> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        Arc::new(Real { file, path, number, direct: OnceLock::new(), staging: Arc::clone(&self.staging) })
    }
}

struct Real {
    file: fs::File,
    /// As it was called when it was opened.
    path: PathBuf,
    /// Tells it from the folder's other files.
    number: u64,
    /// For appends, from the first on; none where the file system cannot do that.
    direct: OnceLock<Option<Direct>>,
    staging: Arc<Mutex<Staging>>,
}

impl Real {
    fn direct(&self) -> io::Result<Option<&Direct>> {
        if let Some(known) = self.direct.get() {
            return Ok(known.as_ref());
        }
        let opened = Direct::open(&self.path)?;
        Ok(self.direct.get_or_init(|| opened).as_ref())
    }
}

impl File for Real {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match from {
            [one] => self.file.write_at(one, offset),
            many => Ok(rustix::io::pwritev(&self.file, &many[..many.len().min(SLICES_MOST)], offset)?),
        }
    }

    fn append_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        if let Some(direct) = self.direct()? {
            let appended = self.staging.lock().append(direct, (self.number, &self.file), from, offset)?;
            if let Appended::Written(count) = appended {
                return Ok(count);
            }
        }
        self.write_at(from, offset)
    }

    fn append_blocks(&self, blocks: &[u8], offset: u64) -> io::Result<bool> {
        self.direct()?.map_or(Ok(false), |direct| direct.write_blocks(blocks, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.direct.get() {
            Some(Some(direct)) => direct.sync_data(),
            Some(None) | None => self.file.sync_data(),
        }
    }
}

impl Backend for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(self.real(file, path))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(self.real(file, path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let told = rustix::fs::statvfs(&self.path)?;
        Ok(told.f_bavail.saturating_mul(told.f_frsize))
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, Error> {
        let path = self.path.join(LOCK);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(Error::io("opening", LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The id is a help, not a need: a file that cannot be read names nobody.
                let read = file.read_to_string(&mut holder).ok();
                return Err(Error::Locked { holder: read.and_then(|_| holder.trim().parse().ok()) });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("locking", LOCK)(source)),
        }
        file.set_len(0).map_err(Error::io("writing", LOCK))?;
        writeln!(file, "{}", std::process::id()).map_err(Error::io("writing", LOCK))?;
        Ok(Box::new(file))
    }

    fn now(&self) -> Duration {
        self.opened.elapsed()
    }
}
