//! The one writer: take a batch, write it, one sync, say what is durable. What is appended during a sync goes into
//! the next batch, so groups form without a timer. On a real disk a thread runs [`Writer::run`]; a simulation calls
//! [`Writer::step`].

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backend::{File, append_full};
use crate::batch::{Batch, LastBlock};
use crate::error::Error;
use crate::format::{BatchState, SegmentHeader};
use crate::ids::Position;
use crate::journal::{Shared, Space, is_full};
use crate::root::NewRoot;
use crate::segments::{State, file_name};

/// Idle for so long, the writer makes sure that the last batch can be told from a torn one.
const REST_AFTER: Duration = Duration::from_millis(10);
/// How often a full disk is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to write.
    Idle,
    /// Everything before this position is on disk now.
    Durable(Position),
    /// A batch waits for room on the disk; nothing of it is lost.
    Blocked,
    /// A write or a sync failed, now or before.
    Failed,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub first: u64,
    pub sequence: u64,
    pub end: u64,
    pub name: String,
    pub file: Arc<dyn File>,
}

/// Writes what was appended.
pub struct Writer {
    shared: Arc<Shared>,
    /// None until the first segment of an empty folder is begun.
    active: Option<Active>,
    /// What could not be written for want of room.
    blocked: Option<Arc<Batch>>,
    /// Whether the last thing written was a mark alone.
    marked: bool,
    /// What the next batch goes on with.
    last: LastBlock,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, active: Option<Active>) -> Self {
        Self { shared, active, blocked: None, marked: false, last: LastBlock::default() }
    }

    /// Write one batch and have it durable.
    pub fn step(&mut self) -> Step {
        if self.shared.failed.load(Ordering::Acquire) {
            return Step::Failed;
        }
        let Some(batch) = self.next_batch() else { return Step::Idle };
        match self.write(&batch) {
            Ok(()) => {
                if self.shared.blocked.swap(false, Ordering::AcqRel) {
                    self.shared.want_upkeep();
                }
                self.complete(batch)
            }
            Err(Error::Io { source, .. }) if is_full(&source) => {
                self.blocked = Some(batch);
                self.shared.blocked.store(true, Ordering::Release);
                self.shared.set_space(Space::Full);
                Step::Blocked
            }
            Err(error) => {
                self.shared.fail(&error);
                Step::Failed
            }
        }
    }

    /// Write a mark that says that everything is durable, unless the last thing written was one. To be called when
    /// intake has been idle for some time: until then, damage to the last batch looks like a torn end.
    pub fn rest(&mut self) -> Step {
        if self.marked {
            return Step::Idle;
        }
        {
            let mut intake = self.shared.intake.lock();
            intake.shrink();
            if intake.is_idle() {
                intake.open_mark(&self.shared.table);
                self.shared.next.store(intake.next(), Ordering::Release);
            }
        }
        self.step()
    }

    /// Step until the journal is closed and everything is written, or has failed.
    pub fn run(mut self) {
        loop {
            match self.step() {
                Step::Durable(_) => {}
                Step::Failed => return,
                Step::Blocked => {
                    if self.shared.closed.load(Ordering::Acquire) {
                        return;
                    }
                    self.shared.want_upkeep();
                    std::thread::sleep(TRY_AGAIN_AFTER);
                }
                Step::Idle => {
                    if self.shared.closed.load(Ordering::Acquire) {
                        self.rest();
                        return;
                    }
                    if !self.wait_for_work() {
                        self.rest();
                    }
                }
            }
        }
    }

    /// False when nothing came for a while and there is a mark to write.
    fn wait_for_work(&self) -> bool {
        let mut intake = self.shared.intake.lock();
        if !intake.is_idle() || intake.closing {
            return true;
        }
        intake.writer_sleeps = true;
        if self.marked {
            self.shared.work.wait(&mut intake);
            return true;
        }
        !self.shared.work.wait_for(&mut intake, REST_AFTER).timed_out()
    }

    fn next_batch(&mut self) -> Option<Arc<Batch>> {
        if let Some(blocked) = self.blocked.take() {
            return Some(blocked);
        }
        let state = BatchState {
            durable: self.shared.durable.load(Ordering::Acquire),
            root: self.shared.root.lock().root.position,
        };
        let mut intake = self.shared.intake.lock();
        intake.writer_sleeps = false;
        let mut batch = intake.take()?;
        batch.seal(state, intake.epoch());
        batch.complete_blocks(&self.last);
        let batch = Arc::new(batch);
        intake.set_in_flight(Arc::clone(&batch));
        Some(batch)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        if self.active.as_ref().is_none_or(|active| active.first != batch.segment) {
            self.begin_segment(batch.segment)?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        let offset = batch.start - active.first;
        let whole = batch.blocks().map_or(Ok(false), |(blocks, at)| active.file.append_blocks(blocks, at));
        let written = whole.and_then(|whole| match whole {
            true => Ok(()),
            false => append_full(&*active.file, &mut batch.slices(), offset),
        });
        written.map_err(Error::io("writing", &active.name))?;
        let began = self.shared.backend.now();
        let synced = active.file.sync_data();
        // Never tried again: what a failed sync has lost, a second one does not know of.
        synced.map_err(|source| sync_failed(&active.name, source))?;
        let took = self.shared.backend.now().saturating_sub(began);
        active.end = batch.end();
        batch.last_block(&mut self.last);
        self.shared.measured.lock().batch(batch.length(), took);
        Ok(())
    }

    /// Seal the active segment, which is on disk, and begin the planned one.
    fn begin_segment(&mut self, first: u64) -> Result<(), Error> {
        let sequence = self.active.as_ref().map_or(0, |active| active.sequence + 1);
        let size = {
            let table = self.shared.table.read();
            table.find(first).map_or(self.shared.options.segment_size, |segment| segment.size)
        };
        let prepared = self.shared.stock.lock().take(&*self.shared.backend, sequence, size)?;
        let root = self.shared.root.lock().root.position;
        let epoch = self.shared.intake.lock().epoch();
        let previous_end = self.active.as_ref().map_or(0, |active| active.end);
        let header = SegmentHeader { sequence, first, size, previous_end, root, epoch };
        let name = file_name(sequence);
        let written = append_full(&*prepared, &mut [IoSlice::new(&header.encode())], 0);
        if let Err(source) = written {
            let full = is_full(&source);
            if full {
                self.shared.stock.lock().put_back(sequence, size, prepared);
            }
            return Err(Error::io("writing", &name)(source));
        }
        let mut table = self.shared.table.write();
        if let Some(sealed) = self.active.as_ref().and_then(|active| table.at_mut(active.first)) {
            sealed.state = State::Sealed;
            sealed.end = self.active.as_ref().map_or(sealed.end, |active| active.end);
        }
        if let Some(begun) = table.at_mut(first) {
            begun.state = State::Active;
            begun.file = Some(Arc::clone(&prepared));
        }
        drop(table);
        self.active = Some(Active { first, sequence, end: first, name, file: prepared });
        self.shared.want_upkeep();
        Ok(())
    }

    fn complete(&mut self, batch: Arc<Batch>) -> Step {
        let end = batch.end();
        self.marked = batch.is_empty();
        let root = batch.root.clone();
        if let Some(segment) = self.shared.table.write().at_mut(batch.segment) {
            segment.end = end;
        }
        self.shared.durable.store(end, Ordering::Release);
        self.shared.intake.lock().done(batch);
        if let Some(root) = root {
            self.adopt(root);
        }
        self.shared.events.durable(Position(end));
        Step::Durable(Position(end))
    }

    /// A root has become durable: it takes the place of the one before, whose parts are pinned no more.
    fn adopt(&self, root: Arc<NewRoot>) {
        let covered = root.root.replay_start();
        self.shared.superseded.lock().extend_from_slice(&root.superseded);
        *self.shared.root.lock() = root;
        self.shared.covered.store(covered, Ordering::Release);
        self.shared.checkpointing.store(false, Ordering::Release);
        self.shared.want_upkeep();
    }

    /// Write the mark that begins this life of the journal: with its new epoch on disk, nothing that an earlier life
    /// left further on can ever be taken for a record of this one.
    pub(crate) fn begin_life(&mut self) -> Result<(), Error> {
        {
            let mut intake = self.shared.intake.lock();
            intake.open_mark(&self.shared.table);
            self.shared.next.store(intake.next(), Ordering::Release);
        }
        if let Some(batch) = self.next_batch() {
            self.write(&batch)?;
            self.complete(batch);
        }
        Ok(())
    }
}

/// A failed sync is fatal whatever its reason: even "no space" means that something written is lost.
fn sync_failed(file: &str, source: std::io::Error) -> Error {
    let source = std::io::Error::other(format!("{source} (after a failed sync nothing written is certain)"));
    Error::Io { action: "syncing", file: file.to_owned(), source }
}
