//! What the streams' owner knows: which items live. It is built from the model's history and from a replay alike.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fairlead_journal::{Kind, LiveCounts, Position, Rejected, Replay, Stored, StreamId};

/// A live record.
pub const ITEM: Kind = Kind(1);
/// Says that the record at the position in its payload lives no more.
pub const SETTLED: Kind = Kind(2);
/// A live record that takes the place of the one at the position it begins with.
pub const MOVED: Kind = Kind(3);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub position: u64,
    pub stream: u64,
    pub kind: Kind,
    pub payload: Bytes,
}

#[derive(Default)]
pub struct Owner {
    pub live: BTreeMap<u64, BTreeSet<u64>>,
    pub replayed: Vec<Operation>,
}

fn position_in(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

impl Owner {
    pub fn of(history: &[Operation]) -> Result<Self, String> {
        let mut owner = Self::default();
        history.iter().try_for_each(|operation| owner.apply(operation).map(drop))?;
        Ok(owner)
    }

    /// Apply it; the position that it releases.
    pub fn apply(&mut self, operation: &Operation) -> Result<Option<u64>, String> {
        let live = self.live.entry(operation.stream).or_default();
        let released = if operation.kind == ITEM { None } else { position_in(&operation.payload) };
        if operation.kind != SETTLED {
            live.insert(operation.position);
        }
        if let Some(released) = released
            && !live.remove(&released)
        {
            return Err(format!("{} releases {released}, which does not live", operation.position));
        }
        if live.is_empty() {
            self.live.remove(&operation.stream);
        }
        Ok(released)
    }

    /// What was replayed was appended so, in this order, and of each stream nothing is left out after its first.
    pub fn check_replayed(&self, history: &[Operation]) -> Result<(), String> {
        for stream in 0..super::STREAMS {
            let replayed: Vec<&Operation> =
                self.replayed.iter().filter(|operation| operation.stream == stream).collect();
            let Some(first) = replayed.first().map(|operation| operation.position) else { continue };
            let expected: Vec<&Operation> = history
                .iter()
                .filter(|operation| operation.stream == stream && operation.position >= first)
                .collect();
            if replayed != expected {
                return Err(format!("stream {stream} replayed {replayed:?}\nexpected {expected:?}"));
            }
        }
        let positions: Vec<u64> = self.replayed.iter().map(|operation| operation.position).collect();
        if positions.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err("not in order".to_owned()) }
    }
}

impl Replay for Owner {
    fn checkpoint(&mut self, stream: StreamId, part: Bytes) -> Result<(), Rejected> {
        if !part.len().is_multiple_of(8) {
            return Err(Rejected(format!("a snapshot of {} bytes", part.len())));
        }
        self.live.entry(stream.0).or_default().extend(part.chunks(8).filter_map(position_in));
        Ok(())
    }

    fn record(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<(), Rejected> {
        let operation = Operation {
            position: record.position.0,
            stream: record.stream.0,
            kind: record.kind,
            payload: Bytes::copy_from_slice(record.payload),
        };
        let released = self.apply(&operation).map_err(Rejected)?;
        self.replayed.push(operation);
        match released {
            Some(released) if !live.release(Position(released), 1) => {
                Err(Rejected(format!("{released} is not counted")))
            }
            _ => Ok(()),
        }
    }
}
