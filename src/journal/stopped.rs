//! Looking at a stopped journal: verify everything, list the records, count. Nothing is changed but the lock file.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::backend::Backend;
use crate::chain::{Chain, Link};
use crate::error::Error;
use crate::format::Class;
use crate::ids::{Position, SegmentId, StreamId};
use crate::recovery::{Replay, Stored, rehearse};

/// A folder that no broker has open.
pub struct Stopped {
    chain: Chain,
    _lock: Box<dyn Send + Sync>,
}

/// What is in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its number.
    pub id: SegmentId,
    /// Its file.
    pub file: String,
    /// The position of its first byte.
    pub first: Position,
    /// Where its records end.
    pub end: Position,
    /// Records of owners.
    pub records: u64,
    /// Those that were live when appended.
    pub live_when_appended: u64,
    /// Parts and roots of checkpoints.
    pub checkpoint_records: u64,
    /// Batches.
    pub batches: u64,
    /// Bytes of owners' payload.
    pub payload_bytes: u64,
}

/// What is in the folder.
#[derive(Debug)]
pub struct Report {
    /// Each segment that could be read to its end.
    pub segments: Vec<SegmentReport>,
    /// What is damaged or missing.
    pub faults: Vec<Error>,
    /// Where the records end.
    pub end: Position,
    /// The last life's number.
    pub epoch: u32,
    /// The newest checkpoint's position; none when there is none.
    pub checkpoint: Option<Position>,
    /// From where a start would replay.
    pub replay_from: Position,
    /// Streams in the checkpoint.
    pub streams: u64,
}

impl Stopped {
    /// Take the folder, and find the end of its log.
    ///
    /// # Errors
    /// When a process has it, when its end or its checkpoint is damaged, or the disk's.
    pub fn open(backend: &dyn Backend) -> Result<Self, Error> {
        let lock = backend.lock()?;
        Ok(Self { chain: Chain::read(backend)?, _lock: lock })
    }

    /// Read everything and check it: every checksum of every segment, and that none is missing that replay goes
    /// through. Whether another one is needed, its owner knows: [`Stopped::missing`].
    #[must_use]
    pub fn verify(&self) -> Report {
        let mut report = Report {
            segments: Vec::new(),
            faults: self.chain.to_replay().err().into_iter().collect(),
            end: Position(self.chain.tail.map_or(0, |tail| tail.end)),
            epoch: self.chain.tail.map_or(0, |tail| tail.epoch),
            checkpoint: (self.chain.root.position > 0).then_some(Position(self.chain.root.position)),
            replay_from: Position(self.chain.root.replay_start()),
            streams: self.chain.root.streams.len() as u64,
        };
        for link in self.chain.links.values() {
            match self.count(link) {
                Ok(segment) => report.segments.push(segment),
                Err(error) => report.faults.push(error),
            }
        }
        report
    }

    fn count(&self, link: &Link) -> Result<SegmentReport, Error> {
        let mut report = SegmentReport {
            id: SegmentId(link.header.sequence),
            file: link.name.clone(),
            first: Position(link.header.first),
            end: Position(link.header.first),
            records: 0,
            live_when_appended: 0,
            checkpoint_records: 0,
            batches: 0,
            payload_bytes: 0,
        };
        let walked = self.chain.walk(link, None, |header, payload| {
            match header.class {
                Class::Owner => {
                    report.records += 1;
                    report.live_when_appended += u64::from(header.live);
                    report.payload_bytes += payload.len() as u64;
                }
                Class::Part | Class::Root => report.checkpoint_records += 1,
                Class::Batch => report.batches += 1,
            }
            Ok(())
        })?;
        report.end = Position(walked.end);
        Ok(report)
    }

    /// What a start would miss besides: segments that are not there and have live records, and what the owner rejects.
    /// Everything is given back to `replay` as at a start, and nothing is written. Empty where
    /// [`Stopped::verify`] finds a gap in what is replayed: that is in the way of looking further.
    pub fn missing(&self, replay: &mut dyn Replay) -> Vec<Error> {
        if self.chain.to_replay().is_err() { Vec::new() } else { rehearse(&self.chain, replay) }
    }

    /// Visit the owners' records of all segments, in order, whether a start would replay them or not, until `visit`
    /// breaks off.
    ///
    /// # Errors
    /// The first damage, or the disk's.
    pub fn dump(&self, mut visit: impl FnMut(Stored<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        let mut going = ControlFlow::Continue(());
        for link in self.chain.links.values() {
            self.chain.walk(link, None, |header, payload| {
                if header.class == Class::Owner && going.is_continue() {
                    going = visit(Stored::of(header, payload));
                }
                Ok(())
            })?;
            if going.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visit the parts of the newest checkpoint, stream by stream.
    ///
    /// # Errors
    /// The first damage, or the disk's.
    pub fn checkpoint(&self, mut visit: impl FnMut(StreamId, Bytes)) -> Result<(), Error> {
        for (stream, checkpoint) in &self.chain.root.streams {
            for part in &checkpoint.parts {
                let (_, payload) = self.chain.read_record(*part, Class::Part)?;
                visit(*stream, payload);
            }
        }
        Ok(())
    }

    /// The file that a position is in, and the offset there.
    #[must_use]
    pub fn place_of(&self, position: Position) -> Option<(&str, u64)> {
        let link = self.chain.find(position.0)?;
        Some((&link.name, position.0 - link.header.first))
    }
}
