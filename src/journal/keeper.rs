//! The keeper of files: segments that nothing needs become spares, the next segment is ready before it is needed
//! (a recycled spare, else a new file filled with zeros), and room on the disk is watched. On a real disk a thread
//! runs [`Keeper::run`]; a simulation calls [`Keeper::step`].

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::aligned::Aligned;
use crate::backend::{Backend, File, write_full};
use crate::error::Error;
use crate::journal::{Shared, Space, is_full};
use crate::options::Options;
use crate::segments::file_name;

/// What a new segment is called until it is full of zeros.
pub(crate) const UNFINISHED: &str = "unfinished";
/// Zeros written with one call.
const ZEROS: usize = 1 << 20;
/// Zeros between two syncs, so that the writer's own sync never waits behind all of them.
const SYNC_EVERY: u64 = 16 << 20;
/// How often the disk's free space is looked at when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that nothing needs.
struct Spare {
    name: String,
    size: u64,
    /// Since when, by the backend's clock.
    since: Duration,
}

/// A file that is ready to become a segment.
struct Prepared {
    sequence: u64,
    size: u64,
    file: Arc<dyn File>,
}

/// Files that are no segments now: spares, and the next one.
#[derive(Default)]
pub(crate) struct Stock {
    prepared: Option<Prepared>,
    spares: Vec<Spare>,
    /// The number of the next segment.
    next_sequence: u64,
}

impl Stock {
    /// An empty one, before the segment of a number.
    pub fn new(next_sequence: u64) -> Self {
        Self { next_sequence, ..Self::default() }
    }

    /// The file for the next segment, prepared now if it was not before. The writer takes of what is kept free: there
    /// is something to write that makes room, or that was taken before there was too little.
    pub fn take(&mut self, backend: &dyn Backend, sequence: u64, size: u64) -> Result<Arc<dyn File>, Error> {
        if !self.has(sequence, size) {
            self.prepare(backend, 0, sequence, size)?;
        }
        self.next_sequence = sequence + 1;
        self.prepared
            .take()
            .map(|prepared| prepared.file)
            .ok_or_else(|| Error::io("preparing", &file_name(sequence))(io::ErrorKind::NotFound.into()))
    }

    /// The file taken was not begun.
    pub fn put_back(&mut self, sequence: u64, size: u64, file: Arc<dyn File>) {
        self.next_sequence = sequence;
        self.prepared = Some(Prepared { sequence, size, file });
    }

    /// Whether that file is ready.
    pub fn has(&self, sequence: u64, size: u64) -> bool {
        self.prepared.as_ref().is_some_and(|ready| ready.sequence == sequence && ready.size == size)
    }

    /// How many files there are, the next segment's included.
    fn files(&self) -> usize {
        self.spares.len() + usize::from(self.prepared.is_some())
    }

    /// Have the file for a segment ready, under its name.
    fn prepare(
        &mut self,
        backend: &dyn Backend,
        keep_free: u64,
        sequence: u64,
        size: u64,
    ) -> Result<(), Error> {
        self.prepared = None;
        let name = file_name(sequence);
        if let Some(index) = self.spares.iter().position(|spare| spare.size == size) {
            let spare = &self.spares[index];
            backend.rename(&spare.name, &name).map_err(Error::io("renaming", &spare.name))?;
            self.spares.remove(index);
        } else {
            fill(backend, keep_free, size).map_err(Error::io("pre-writing", &name))?;
            backend.rename(UNFINISHED, &name).map_err(Error::io("renaming", UNFINISHED))?;
        }
        backend.sync_folder().map_err(Error::io("syncing the folder of", &name))?;
        let file = backend.open(&name).map_err(Error::io("opening", &name))?;
        self.prepared = Some(Prepared { sequence, size, file });
        Ok(())
    }

    /// Unlink what is of another size than segments are made in, and what is more than is kept: that of it which was
    /// not needed for a while, or all when room is `scarce`.
    fn trim(&mut self, backend: &dyn Backend, options: &Options, scarce: bool) -> Result<(), Error> {
        let before = if scarce { Duration::MAX } else { backend.now().saturating_sub(options.spare_for) };
        while let Some(index) = self.superfluous(options, before) {
            let name = &self.spares[index].name;
            backend.remove(name).map_err(Error::io("removing", name))?;
            self.spares.remove(index);
        }
        Ok(())
    }

    fn superfluous(&self, options: &Options, before: Duration) -> Option<usize> {
        let odd = self.spares.iter().position(|spare| spare.size != options.segment_size);
        odd.or_else(|| {
            let too_many = self.spares.len() > options.spares_most;
            let oldest = (0..self.spares.len()).min_by_key(|index| self.spares[*index].since)?;
            (too_many && self.spares[oldest].since <= before).then_some(oldest)
        })
    }
}

/// A new file of zeros. Writing them costs less later than having the file system allocate.
fn fill(backend: &dyn Backend, keep_free: u64, size: u64) -> io::Result<()> {
    if backend.free_bytes()? < size.saturating_add(keep_free) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let file = backend.create(UNFINISHED)?;
    // As long as it will be from the beginning: blocks need not go through the page cache then.
    write_full(&*file, &mut [IoSlice::new(&[0])], size - 1)?;
    let zeros = Aligned::new(Vec::new(), ZEROS.min(size as usize));
    let mut written = 0;
    while written < size {
        let length = (size - written).min(zeros.len() as u64);
        let some = &zeros.bytes()[..length as usize];
        let filled = file.append_blocks(some, written).and_then(|whole| match whole {
            true => Ok(()),
            false => write_full(&*file, &mut [IoSlice::new(some)], written),
        });
        if let Err(error) = filled {
            // What was written would only take more of the room that is missing.
            backend.remove(UNFINISHED)?;
            return Err(error);
        }
        written += length;
        if written.is_multiple_of(SYNC_EVERY) {
            file.sync_data()?;
        }
    }
    file.sync_data()
}

/// Enough again only somewhat above the mark, so that nobody is stopped and started for every segment.
fn by_free_bytes(free: u64, low_below: u64, before: Space) -> Space {
    let mark = match before {
        Space::Enough => low_below,
        Space::Low | Space::Full => low_below.saturating_add(low_below / 16),
    };
    if free < mark { Space::Low } else { Space::Enough }
}

/// Keeps files ready and room known.
pub struct Keeper {
    shared: Arc<Shared>,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Recycle what is free, prepare what is next, and see how much room there is.
    ///
    /// # Errors
    /// The disk's, other than that there is no room: that is the [`Space`] that it answers. To be tried again.
    pub fn step(&mut self) -> Result<Space, Error> {
        let shared = &*self.shared;
        self.recycle()?;
        let mut stock = shared.stock.lock();
        // What cannot be removed must not keep the next segment from being prepared.
        let scarce = shared.space() != Space::Enough;
        let trimmed = stock.trim(&*shared.backend, &shared.options, scarce);
        let (sequence, size) = (stock.next_sequence, shared.options.segment_size);
        let prepared = if stock.has(sequence, size) {
            Ok(())
        } else {
            stock.prepare(&*shared.backend, shared.options.keep_free, sequence, size)
        };
        shared.spare_files.store(stock.files() as u64, Ordering::Relaxed);
        drop(stock);
        let free = shared.backend.free_bytes().map_err(Error::io("asking for the space of", "the folder"))?;
        shared.free_bytes.store(free, Ordering::Relaxed);
        let space = match prepared {
            Ok(()) if shared.blocked.load(Ordering::Acquire) => Space::Full,
            Ok(()) => by_free_bytes(free, shared.options.low_below, shared.space()),
            Err(Error::Io { source, .. }) if is_full(&source) => Space::Full,
            Err(error) => return Err(error),
        };
        shared.set_space(space);
        trimmed.map(|()| space)
    }

    /// Make spares of the segments that nothing needs.
    pub(crate) fn recycle(&self) -> Result<(), Error> {
        let shared = &*self.shared;
        let mut stock = shared.stock.lock();
        if shared.copies.load(Ordering::Acquire) > 0 {
            return Ok(());
        }
        let (durable, covered) =
            (shared.durable.load(Ordering::Acquire), shared.covered.load(Ordering::Acquire));
        let superseded = std::mem::take(&mut *shared.superseded.lock());
        {
            let table = shared.table.read();
            superseded.iter().for_each(|position| table.unpin(*position));
        }
        let free = shared.table.write().take_free(durable, covered);
        let since = shared.backend.now();
        stock.spares.extend(free.iter().map(|segment| Spare {
            name: segment.name(),
            size: segment.size,
            since,
        }));
        Ok(())
    }

    /// Step whenever there may be something to do, until the journal is closed.
    pub fn run(mut self) {
        while !self.shared.closed.load(Ordering::Acquire) && !self.shared.failed.load(Ordering::Acquire) {
            if let Err(error) = self.step() {
                self.shared.events.trouble(&error);
            }
            let mut wanted = self.shared.upkeep_wanted.lock();
            if !std::mem::take(&mut *wanted) {
                self.shared.upkeep.wait_for(&mut wanted, LOOK_EVERY);
                *wanted = false;
            }
        }
    }
}
