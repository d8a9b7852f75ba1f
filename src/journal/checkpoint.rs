//! Checkpoints: each stream's snapshot as records, then a root that says where they are and from where each stream's
//! records must be replayed. When the root is durable, segments before that need be kept for live records only.
//!
//! A stream that had no record since its last checkpoint is not written again: its parts stay where they are, pinned,
//! unless they lie in a segment that is mostly dead; then they are copied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::batch::Part;
use crate::error::{ReadError, Refused};
use crate::format::Class;
use crate::ids::{Kind, Position, StreamId};
use crate::journal::{Journal, Need, Record};
use crate::root::{NewRoot, Root, SegmentEntry, StreamCheckpoint};
use crate::segments::{LiveCounts, State};

/// Why a checkpoint was not made. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A part could not be appended.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A part that should be copied could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A checkpoint that is being made. Dropped before [`Checkpoint::finish`], it was never there.
pub struct Checkpoint {
    journal: Journal,
    begin: Position,
    before: Arc<NewRoot>,
    streams: BTreeMap<StreamId, StreamCheckpoint>,
    /// Parts that this appended, which nothing needs if it is not finished.
    appended: Vec<u64>,
    finished: bool,
}

impl Journal {
    /// Begin a checkpoint: none while another is being made, or its root on the way to the disk.
    ///
    /// Ask which streams there are after this, not before: every stream that has a record before
    /// [`Checkpoint::begin`] and is still of interest must be given, by [`Checkpoint::stream`] or
    /// [`Checkpoint::unchanged`]. A stream that is not given is replayed from `begin` only.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if self.shared.checkpointing.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(Checkpoint {
            journal: self.clone(),
            begin: self.next(),
            before: Arc::clone(&self.shared.root.lock()),
            streams: BTreeMap::new(),
            appended: Vec::new(),
            finished: false,
        })
    }
}

impl Checkpoint {
    /// Streams that are not given are replayed from here.
    #[must_use]
    pub fn begin(&self) -> Position {
        self.begin
    }

    /// A stream's snapshot, in parts of any number, each no longer than a record may be.
    ///
    /// `replay_from` is [`Journal::next`] at the moment of which the snapshot is, asked for under what orders the
    /// stream's records; `live` is how many of the stream's records before it are live, by segment.
    ///
    /// # Errors
    /// When the journal does not take a part. Drop the checkpoint then.
    pub fn stream(
        &mut self,
        stream: StreamId,
        replay_from: Position,
        live: &LiveCounts,
        parts: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), Refused> {
        let mut positions = Vec::new();
        for part in parts {
            positions.push(self.append(stream, part.as_ref())?);
        }
        let live = live.iter().collect();
        let replay_from = replay_from.0;
        self.streams.insert(stream, StreamCheckpoint { replay_from, parts: positions, live });
        Ok(())
    }

    /// A stream that had no record, and no release, since its snapshot in the last checkpoint. `replay_from` is
    /// [`Journal::next`] at the moment when that was so. False when there is no such snapshot: give it anew.
    ///
    /// Reads and copies parts when they keep a segment that is mostly dead, so call it where one may block.
    ///
    /// # Errors
    /// When a part cannot be read or appended.
    pub fn unchanged(&mut self, stream: StreamId, replay_from: Position) -> Result<bool, CheckpointError> {
        let Some(mut checkpoint) = self.before.root.streams.get(&stream).cloned() else { return Ok(false) };
        checkpoint.replay_from = replay_from.0;
        for position in &mut checkpoint.parts {
            if self.keeps_a_sparse_segment(*position) {
                let part = self.journal.read(Position(*position))?;
                *position = self.append(stream, &part)?;
            }
        }
        self.streams.insert(stream, checkpoint);
        Ok(true)
    }

    /// Append the root. The checkpoint holds once [`Journal::durable`] is beyond the position that this answers.
    ///
    /// # Errors
    /// When the journal does not take it.
    pub fn finish(mut self) -> Result<Position, Refused> {
        let mut root = Root {
            position: 0,
            parts: Vec::new(),
            begin: self.begin.0,
            streams: std::mem::take(&mut self.streams),
            segments: self.segments(),
        };
        let bytes = root.encode();
        for part in bytes.chunks(self.journal.shared.options.record_most) {
            let position = self.append(StreamId(0), part)?;
            root.parts.push(position);
        }
        let record = Root::encode_record(&root.parts);
        // Here and not in the writer: with many streams it takes its time.
        let kept: BTreeSet<u64> = root.pins().collect();
        let superseded = self.before.root.pins().filter(|position| !kept.contains(position)).collect();
        let new = NewRoot { root, superseded };
        let parts = [Part::Slice(&record)];
        let position = self.journal.shared.append(Class::Root, ESSENTIAL, &parts, Some(new))?;
        self.finished = true;
        Ok(position)
    }

    fn append(&mut self, stream: StreamId, part: &[u8]) -> Result<u64, Refused> {
        let record = Record { stream, ..ESSENTIAL };
        let position = self.journal.shared.append(Class::Part, record, &[Part::Slice(part)], None)?;
        self.appended.push(position.0);
        Ok(position.0)
    }

    fn keeps_a_sparse_segment(&self, position: u64) -> bool {
        let covered = self.journal.shared.covered.load(Ordering::Acquire);
        let table = self.journal.shared.table.read();
        let segment = table.find(position);
        segment.is_some_and(|segment| {
            segment.state == State::Sealed && segment.end <= covered && segment.is_sparse()
        })
    }

    fn segments(&self) -> Vec<SegmentEntry> {
        let table = self.journal.shared.table.read();
        let entry = |segment: &crate::segments::Segment| SegmentEntry {
            sequence: segment.id.0,
            first: segment.first,
            size: segment.size,
            end: if segment.state == State::Sealed { segment.end } else { 0 },
            marked: segment.counts.marked.load(Ordering::Relaxed),
            marked_bytes: segment.counts.marked_bytes.load(Ordering::Relaxed),
        };
        table.iter().map(entry).collect()
    }
}

/// What parts and roots are appended as: the disk being full is when they are needed most.
const ESSENTIAL: Record = Record { stream: StreamId(0), kind: Kind(0), live: false, need: Need::Essential };

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let table = self.journal.shared.table.read();
        self.appended.iter().for_each(|position| table.unpin(*position));
        drop(table);
        self.journal.shared.checkpointing.store(false, Ordering::Release);
    }
}
