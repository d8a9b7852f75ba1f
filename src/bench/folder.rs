//! A folder for what a started broker keeps, beside other temporary files: `TMPDIR` says where. It goes with its value.

use crate::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of the next folder of this process: a name is given once, so that nobody takes a folder for the one that it knew.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new one.
    pub fn new() -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        for _attempt in 0..10_000 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("fairlead-bench-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::File { path, source }),
            }
        }
        Err(Error::Usage(format!("{} is full of left-over folders", parent.display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_its_own_and_goes_with_its_value() {
        let (first, second) = (Folder::new().unwrap(), Folder::new().unwrap());
        assert_ne!(first.path(), second.path());
        let path = first.path().to_owned();
        std::fs::write(path.join("file"), "text").unwrap();
        drop(first);
        assert!(!path.exists());
        assert!(second.path().is_dir());
    }
}
