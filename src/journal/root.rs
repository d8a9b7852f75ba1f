//! A checkpoint's root: for each stream where its snapshot is, from where its records must be replayed, and how many
//! of its records live in which segment. It is written as parts like a snapshot, and a root record that lists them.

use std::collections::BTreeMap;

use crate::ids::StreamId;

/// What is known of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamCheckpoint {
    /// Its records from here on are to be replayed upon the snapshot.
    pub replay_from: u64,
    /// Positions of the snapshot's parts, in order.
    pub parts: Vec<u64>,
    /// First position of a segment, and how many of the stream's records before `replay_from` live in it.
    pub live: Vec<(u64, u64)>,
}

/// What is known of one segment: kept so that averages survive, and positions of segments that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEntry {
    /// Its number.
    pub sequence: u64,
    /// Its first position.
    pub first: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Where its records end; 0 while it was written to.
    pub end: u64,
    /// Records that were live when appended.
    pub marked: u64,
    /// Their bytes.
    pub marked_bytes: u64,
}

/// A root on its way to the disk.
#[derive(Debug)]
pub struct NewRoot {
    /// What is newest once it is durable.
    pub root: Root,
    /// What was pinned for the root before and is not for this one.
    pub superseded: Vec<u64>,
}

/// A root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// The root record's position; 0 before it has one.
    pub position: u64,
    /// Positions of the parts that this is written as.
    pub parts: Vec<u64>,
    /// Streams that are not listed are replayed from here.
    pub begin: u64,
    /// Those that are.
    pub streams: BTreeMap<StreamId, StreamCheckpoint>,
    /// Segments there were.
    pub segments: Vec<SegmentEntry>,
}

impl Root {
    /// The first position that must be replayed.
    pub fn replay_start(&self) -> u64 {
        self.streams.values().map(|stream| stream.replay_from).fold(self.begin, u64::min)
    }

    /// From where a stream's records must be replayed.
    pub fn replay_from(&self, stream: StreamId) -> u64 {
        self.streams.get(&stream).map_or(self.begin, |stream| stream.replay_from)
    }

    /// Every position that must be readable for this root to be of use.
    pub fn pins(&self) -> impl Iterator<Item = u64> {
        let own = (self.position > 0).then_some(self.position);
        let parts = self.streams.values().flat_map(|stream| stream.parts.iter().copied());
        own.into_iter().chain(self.parts.iter().copied()).chain(parts)
    }

    /// What the parts hold.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.begin);
        put(self.segments.len() as u64);
        for segment in &self.segments {
            let SegmentEntry { sequence, first, size, end, marked, marked_bytes } = *segment;
            [sequence, first, size, end, marked, marked_bytes].into_iter().for_each(&mut put);
        }
        put(self.streams.len() as u64);
        for (id, stream) in &self.streams {
            [id.0, stream.replay_from, stream.parts.len() as u64, stream.live.len() as u64]
                .into_iter()
                .for_each(&mut put);
            stream.parts.iter().copied().for_each(&mut put);
            stream.live.iter().flat_map(|(first, count)| [*first, *count]).for_each(&mut put);
        }
        bytes
    }

    /// Of what the parts hold; none when that is no root.
    pub fn decode(position: u64, parts: Vec<u64>, bytes: &[u8]) -> Option<Self> {
        let mut numbers = Numbers(bytes);
        let mut root = Self { position, parts, begin: numbers.next()?, ..Self::default() };
        for _ in 0..numbers.count(6)? {
            root.segments.push(SegmentEntry {
                sequence: numbers.next()?,
                first: numbers.next()?,
                size: numbers.next()?,
                end: numbers.next()?,
                marked: numbers.next()?,
                marked_bytes: numbers.next()?,
            });
        }
        for _ in 0..numbers.count(4)? {
            let id = StreamId(numbers.next()?);
            let mut stream = StreamCheckpoint { replay_from: numbers.next()?, ..StreamCheckpoint::default() };
            let (parts, live) = (numbers.count(1)?, numbers.count(2)?);
            for _ in 0..parts {
                stream.parts.push(numbers.next()?);
            }
            for _ in 0..live {
                stream.live.push((numbers.next()?, numbers.next()?));
            }
            root.streams.insert(id, stream);
        }
        (numbers.0.is_empty() && root.is_possible()).then_some(root)
    }

    /// Whether what it says can be so: positions before its own, segments that end, counts that fit into a segment.
    fn is_possible(&self) -> bool {
        let segments = self.segments.iter().all(|segment| {
            let limit = segment.first.checked_add(segment.size);
            limit.is_some_and(|limit| segment.end <= limit) && segment.marked_bytes <= segment.size
        });
        let earlier = |position: &u64| *position > 0 && *position < self.position;
        let streams = self.streams.values().all(|stream| {
            let live = stream.live.iter().all(|(first, count)| *first < self.position && *count < 1 << 40);
            stream.replay_from < self.position && stream.parts.iter().all(earlier) && live
        });
        self.begin < self.position && segments && streams
    }

    /// What the root record holds.
    pub fn encode_record(parts: &[u64]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_le_bytes()).collect()
    }

    /// Of what the root record holds.
    pub fn decode_record(bytes: &[u8]) -> Option<Vec<u64>> {
        let mut numbers = Numbers(bytes);
        let mut parts = Vec::new();
        while !numbers.0.is_empty() {
            parts.push(numbers.next()?);
        }
        Some(parts)
    }
}

struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    /// A count of things of so many numbers, which must be there.
    fn count(&mut self, numbers: u64) -> Option<u64> {
        let count = self.next()?;
        (count.checked_mul(numbers * 8)? <= self.0.len() as u64).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_read_as_it_was_written_and_no_prefix_is_one() {
        let stream = StreamCheckpoint { replay_from: 7, parts: vec![1, 2], live: vec![(0, 3), (64, 9)] };
        let segment = SegmentEntry { sequence: 4, first: 64, size: 128, end: 0, marked: 2, marked_bytes: 80 };
        let root = Root {
            position: 99,
            parts: vec![5],
            begin: 50,
            streams: [
                (StreamId(3), stream),
                (StreamId(4), StreamCheckpoint { replay_from: 9, ..StreamCheckpoint::default() }),
            ]
            .into(),
            segments: vec![segment],
        };
        let bytes = root.encode();
        assert_eq!(Root::decode(99, vec![5], &bytes), Some(root.clone()));
        for length in 0..bytes.len() {
            assert_eq!(Root::decode(99, vec![5], &bytes[..length]), None, "of {length} bytes");
        }
        assert_eq!(
            (root.replay_start(), root.replay_from(StreamId(3)), root.replay_from(StreamId(8))),
            (7, 7, 50)
        );
        assert_eq!(root.pins().collect::<Vec<_>>(), [99, 5, 1, 2]);
    }
}
