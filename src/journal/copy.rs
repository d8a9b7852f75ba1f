//! A copy of a running journal, for backups: everything that was durable when it began, in segments that open.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::backend::{Backend, File, read_full, write_full};
use crate::error::Error;
use crate::ids::Position;
use crate::journal::{Journal, Shared};
use crate::segments::parse_file_name;

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// No segment goes while this lives.
struct Hold(Arc<Shared>);

impl Hold {
    fn new(shared: &Arc<Shared>) -> Self {
        // The keeper looks at the count under this lock, so none is on its way to go either.
        let stock = shared.stock.lock();
        shared.copies.fetch_add(1, Ordering::AcqRel);
        drop(stock);
        Self(Arc::clone(shared))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Ordering::AcqRel);
        self.0.want_upkeep();
    }
}

impl Journal {
    /// Copy everything that is durable now to another folder, which must have no segments. Appends go on; segments
    /// are not recycled meanwhile. Answers up to where the copy goes.
    ///
    /// # Errors
    /// When the folder is in use or not empty, or the disk's.
    pub fn copy_to(&self, target: &dyn Backend) -> Result<Position, Error> {
        let _lock = target.lock()?;
        let names = target.list().map_err(Error::io("listing", "the folder of the copy"))?;
        if let Some(name) = names.iter().find(|name| parse_file_name(name).is_some()) {
            return Err(Error::Options(format!("the folder of the copy must be empty; it has {name}")));
        }
        let _hold = Hold::new(&self.shared);
        let durable = self.durable();
        let segments: Vec<_> =
            self.shared.table.read().iter().filter(|segment| segment.first < durable.0).cloned().collect();
        for segment in segments {
            let name = segment.name();
            if let Some(file) = &segment.file {
                let length = segment.end.min(durable.0) - segment.first;
                let made = target.create(&name).map_err(Error::io("creating", &name))?;
                copy(&**file, &*made, length, segment.size).map_err(Error::io("copying", &name))?;
            }
        }
        target.sync_folder().map_err(Error::io("syncing", "the folder of the copy"))?;
        Ok(durable)
    }
}

/// The first `length` bytes, then nothing up to `size`.
fn copy(from: &dyn File, to: &dyn File, length: u64, size: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(length as usize)];
    let mut at = 0;
    while at < length {
        let wanted = buffer.len().min((length - at) as usize);
        let filled = read_full(from, &mut buffer[..wanted], at)?;
        if filled < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_full(to, &mut [IoSlice::new(&buffer[..wanted])], at)?;
        at += wanted as u64;
    }
    if length < size {
        write_full(to, &mut [IoSlice::new(&[0])], size - 1)?;
    }
    to.sync_data()
}
