//! A folder of a real file system that goes with its test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlead_journal::Folder;

pub struct Temporary(pub PathBuf);

impl Temporary {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("fairlead-journal-{}-{number}", std::process::id())))
    }

    pub fn folder(&self) -> Folder {
        Folder::new(&self.0).expect("made")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clear.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
