//! The disk, as the journal needs it: one folder of files. [`Folder`] is a real one; [`simulated::Disk`] is one
//! that a seed can crash and that fails when told to.

mod direct;
mod folder;
pub mod simulated;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

pub use folder::Folder;

use crate::error::Error;

/// A file of the folder.
pub trait File: Send + Sync {
    /// Bytes of the file.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Read at an offset; fewer bytes than asked for are possible, none is the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Write at an offset; fewer bytes than given may be written.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Write behind what was written last; fewer bytes than given may be written. What a longer file holds within the
    /// next 4 KiB behind them may be lost.
    ///
    /// # Errors
    /// What the system says.
    fn append_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.write_at(from, offset)
    }

    /// The same for whole blocks of 4 KiB in memory that begins at a multiple of that, which need no copy; false, with a
    /// part of them written perhaps, where that is not possible.
    ///
    /// # Errors
    /// What the system says.
    fn append_blocks(&self, _blocks: &[u8], _offset: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Have all that was written on the disk when this returns.
    ///
    /// # Errors
    /// What the system says. What was written before is then lost or not; it cannot be known.
    fn sync_data(&self) -> io::Result<()>;
}

/// One folder.
pub trait Backend: Send + Sync {
    /// The names in it.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// An existing file.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// A new, empty file; an existing one is emptied.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Another name for a file.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Remove a name.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Have all names on the disk as they are now.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that can still be allocated.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Keep every other process out for as long as the answer lives.
    ///
    /// # Errors
    /// [`Error::Locked`] when one is in, or what the system says.
    fn lock(&self) -> Result<Box<dyn Send + Sync>, Error>;

    /// Time since some beginning: for statistics, and for how long a spare file lies.
    fn now(&self) -> Duration;
}

/// Read until `into` is full or the file ends; the bytes that were read.
///
/// # Errors
/// What the system says.
pub(crate) fn read_full(file: &dyn File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Write all of it, however often that takes.
///
/// # Errors
/// What the system says; a part may have been written.
pub(crate) fn write_full(file: &dyn File, from: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    until_all(from, offset, |from, offset| file.write_at(from, offset))
}

/// Append all of it, however often that takes.
///
/// # Errors
/// What the system says; a part may have been written.
pub(crate) fn append_full(file: &dyn File, from: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    until_all(from, offset, |from, offset| file.append_at(from, offset))
}

fn until_all(
    mut from: &mut [IoSlice<'_>],
    mut offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut from, 0);
    while !from.is_empty() {
        match write(from, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut from, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
