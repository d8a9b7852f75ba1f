//! The disk under the journal, watched: which messages have been written, and which of those a sync has covered. It
//! is the witness of the third invariant, and the place of two bugs that a simulation has to find.

use crate::bug::Bug;
use crate::message::MARK;
use crate::trace::Trace;
use fairlead_journal::Error;
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::backend::{Backend, File};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

/// So many zeros belong to no message.
const ZEROS: usize = 4096;
/// A mark and a number.
const MARKED: usize = 16;

/// See the module's text.
pub struct Watched {
    disk: Disk,
    bug: Bug,
    trace: Trace,
    seen: Arc<Mutex<Seen>>,
}

/// What went to the disk, in all lives of a simulation.
#[derive(Default)]
pub struct Seen {
    /// Synced records of a message, by its number.
    synced: BTreeMap<u64, usize>,
}

impl Seen {
    /// How many records with that message are known to be on the disk.
    #[must_use]
    pub fn synced(&self, message: u64) -> usize {
        self.synced.get(&message).copied().unwrap_or(0)
    }
}

impl Watched {
    /// That disk, watched.
    #[must_use]
    pub fn new(disk: Disk, bug: Bug, trace: Trace, seen: Arc<Mutex<Seen>>) -> Watched {
        Watched { disk, bug, trace, seen }
    }

    fn watch(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(WatchedFile {
            inner,
            bug: self.bug,
            trace: self.trace.clone(),
            seen: Arc::clone(&self.seen),
            written: Mutex::default(),
        })
    }
}

struct WatchedFile {
    inner: Arc<dyn File>,
    bug: Bug,
    trace: Trace,
    seen: Arc<Mutex<Seen>>,
    written: Mutex<Written>,
}

/// What was written to a file since its last sync.
#[derive(Default)]
struct Written {
    messages: Vec<u64>,
    /// Where the last write ended, and its last bytes: a short write may cut a mark in two.
    end: u64,
    tail: Vec<u8>,
}

impl Written {
    fn take(&mut self, bytes: &[u8], offset: u64) {
        let mut joined = if self.end == offset { std::mem::take(&mut self.tail) } else { Vec::new() };
        joined.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(found) = joined[at..].iter().position(|byte| *byte == MARK[0]) {
            at += found;
            let Some(marked) = joined.get(at..at + MARKED) else { break };
            if let (true, Some(number)) = (marked.starts_with(&MARK), marked.last_chunk::<8>()) {
                self.messages.push(u64::from_le_bytes(*number));
                at += MARKED;
            } else {
                at += 1;
            }
        }
        // What was found is not to be found again.
        let keep = at.max(joined.len().saturating_sub(MARKED - 1)).min(joined.len());
        self.tail = joined.split_off(keep);
        self.end = offset + bytes.len() as u64;
    }
}

impl File for WatchedFile {
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(into, offset)
    }

    fn write_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let count = self.inner.write_at(from, offset)?;
        let mut bytes: Vec<u8> = Vec::with_capacity(count);
        from.iter().for_each(|slice| bytes.extend_from_slice(&slice[..slice.len().min(count - bytes.len())]));
        self.trace.bytes(&offset.to_le_bytes());
        // Zeros of a new segment; a head that is written in pieces has fewer.
        if bytes.len() < ZEROS || bytes.iter().any(|byte| *byte != 0) {
            self.trace.bytes(&bytes);
            self.written.lock().take(&bytes, offset);
        }
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.bug == Bug::SyncLies {
            return Ok(());
        }
        self.inner.sync_data()?;
        self.trace.bytes(b"sync");
        let messages = std::mem::take(&mut self.written.lock().messages);
        let mut seen = self.seen.lock();
        messages.into_iter().for_each(|message| *seen.synced.entry(message).or_default() += 1);
        Ok(())
    }
}

impl Backend for Watched {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(self.disk.open(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.watch(self.disk.create(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.bug == Bug::FolderSyncLies { Ok(()) } else { self.disk.sync_folder() }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, Error> {
        self.disk.lock()
    }

    fn now(&self) -> Duration {
        self.disk.now()
    }
}
