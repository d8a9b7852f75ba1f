//! A disk that exists in memory and follows from a seed: what was written and not synced may be lost or torn when
//! the power goes, names too, and whatever can fail fails when told to.
//!
//! Writes go to `seen`, what the process reads back, and to `unsynced`; `sync_data` moves them to `synced`.
//! [`Disk::crash`] builds what another process finds: the synced bytes, and of the unsynced ones each 512-byte
//! sector kept, dropped or torn on its own. A sector write never harms bytes that it does not change.

mod faults;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Backend, File};
use crate::error::Error;
pub use faults::{Faults, Happened, Random};

/// The unit that is kept, dropped or torn.
const SECTOR: u64 = 512;

#[derive(Clone, Default)]
struct Inode {
    synced: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    synced_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    created: u64,
    capacity: u64,
    faults: Faults,
    random: Random,
    happened: Vec<Happened>,
    ticks: u64,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
}

fn count_down(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, what: &[u8]) {
    let end = offset as usize + what.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(what);
}

impl State {
    fn apply(names: &mut BTreeMap<String, u64>, change: &NameChange) {
        match change {
            NameChange::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }

    /// One more step of the disk: whether there is still power for it.
    fn powered(&mut self) -> io::Result<()> {
        match &mut self.faults.power_off_after {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        self.powered()?;
        Self::apply(&mut self.names, &change);
        self.unsynced_names.push(change);
        Ok(())
    }

    fn used(&self) -> u64 {
        let named = |number: &u64| self.names.values().any(|of| of == number);
        self.inodes.iter().filter(|(number, _)| named(number)).map(|(_, inode)| inode.seen.len() as u64).sum()
    }

    fn write(&mut self, number: u64, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.powered()?;
        if count_down(&mut self.faults.failing_write) {
            return Err(io::Error::other("injected EIO"));
        }
        let mut bytes: Vec<u8> = from.iter().flat_map(|slice| slice.iter().copied()).collect();
        if self.faults.short_write_one_in > 0
            && bytes.len() > 1
            && self.random.one_in(self.faults.short_write_one_in)
        {
            bytes.truncate(1 + self.random.below(bytes.len() as u64 - 1) as usize);
        }
        let length = self.inodes.get(&number).map_or(0, |inode| inode.seen.len() as u64);
        let grows = (offset + bytes.len() as u64).saturating_sub(length);
        if grows > 0 && self.used() + grows > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.happened.push(Happened::Written { file: number, offset, length: bytes.len() as u64 });
        let inode = self.inodes.entry(number).or_default();
        put(&mut inode.seen, offset, &bytes);
        let written = bytes.len();
        inode.unsynced.push((offset, bytes));
        Ok(written)
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        self.powered()?;
        if count_down(&mut self.faults.failing_sync) {
            return Err(io::Error::other("injected EIO"));
        }
        self.happened.push(Happened::Synced { file: number });
        if self.faults.lying_sync {
            return Ok(());
        }
        let inode = self.inodes.entry(number).or_default();
        for (offset, bytes) in std::mem::take(&mut inode.unsynced) {
            put(&mut inode.synced, offset, &bytes);
        }
        Ok(())
    }
}

impl Disk {
    /// An empty disk of so many bytes.
    #[must_use]
    pub fn new(seed: u64, capacity: u64) -> Self {
        let state = State {
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            created: 0,
            capacity,
            faults: Faults::default(),
            random: Random::new(seed),
            happened: Vec::new(),
            ticks: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), locked: Arc::new(AtomicBool::new(false)) }
    }

    /// What goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Bytes that the disk has from now on.
    pub fn set_capacity(&self, capacity: u64) {
        self.state.lock().capacity = capacity;
    }

    /// Bytes that files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state.lock().used()
    }

    /// What happened since this was last asked.
    #[must_use]
    pub fn take_happened(&self) -> Vec<Happened> {
        std::mem::take(&mut self.state.lock().happened)
    }

    /// The disk as it is found after the power went now: another one, without faults.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.state.lock();
        let mut random = Random::new(seed);
        let after = Self::new(random.below(u64::MAX), state.capacity);
        let mut found = after.state.lock();
        found.created = state.created;
        let mut names = state.synced_names.clone();
        for change in &state.unsynced_names {
            if random.one_in(2) {
                State::apply(&mut names, change);
            }
        }
        for (number, inode) in &state.inodes {
            let mut synced = inode.synced.clone();
            for (offset, bytes) in &inode.unsynced {
                tear(&mut synced, *offset, bytes, &mut random);
            }
            found.inodes.insert(*number, Inode { seen: synced.clone(), synced, unsynced: Vec::new() });
        }
        found.names = names.clone();
        found.synced_names = names;
        drop(found);
        after
    }

    /// The disk as it is found when only the process died: everything written is there, synced or not.
    #[must_use]
    pub fn killed(&self) -> Self {
        let state = self.state.lock();
        let after = Self::new(state.random.clone().below(u64::MAX), state.capacity);
        let mut found = after.state.lock();
        found.created = state.created;
        found.inodes = state.inodes.clone();
        found.names = state.names.clone();
        found.synced_names = state.synced_names.clone();
        found.unsynced_names = state.unsynced_names.clone();
        drop(found);
        after
    }

    /// Flip a bit of a file, on the disk and in what is read.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.state.lock();
        let Some(number) = state.names.get(name).copied() else { return };
        let inode = state.inodes.entry(number).or_default();
        for bytes in [&mut inode.synced, &mut inode.seen] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }
}

/// Each sector of an unsynced write is kept, dropped, or kept up to some byte.
fn tear(synced: &mut Vec<u8>, offset: u64, bytes: &[u8], random: &mut Random) {
    let mut at = 0;
    while at < bytes.len() {
        let left_in_sector = (SECTOR - (offset + at as u64) % SECTOR) as usize;
        let piece = &bytes[at..bytes.len().min(at + left_in_sector)];
        let kept = match random.below(5) {
            0 | 1 => piece.len(),
            2 => random.below(piece.len() as u64) as usize,
            _ => 0,
        };
        if kept > 0 {
            put(synced, offset + at as u64, &piece[..kept]);
        }
        at += piece.len();
    }
}

struct Open {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl File for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.state.lock().inodes.get(&self.number).map_or(0, |inode| inode.seen.len() as u64))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        if count_down(&mut state.faults.failing_read) {
            return Err(io::Error::other("injected EIO"));
        }
        let Some(inode) = state.inodes.get(&self.number) else { return Ok(0) };
        let from = inode.seen.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, from: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.state.lock().write(self.number, from, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state.lock().sync(self.number)
    }
}

struct Lock(Arc<AtomicBool>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Backend for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let number = self.state.lock().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Open { state: Arc::clone(&self.state), number }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        let number = state.created;
        state.change_name(NameChange::Create(name.to_owned(), number))?;
        state.created += 1;
        state.inodes.insert(number, Inode::default());
        Ok(Arc::new(Open { state: Arc::clone(&self.state), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.lock().change_name(NameChange::Remove(name.to_owned()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.powered()?;
        state.happened.push(Happened::FolderSynced);
        state.synced_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>, Error> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(Error::Locked { holder: None });
        }
        Ok(Box::new(Lock(Arc::clone(&self.locked))))
    }

    fn now(&self) -> Duration {
        let mut state = self.state.lock();
        state.ticks += 1;
        Duration::from_micros(state.ticks)
    }
}
