//! A queue's own memory for small messages: chunks filled front to back, freed when all in them is dead.
//!
//! Chunks start at 4 KiB and double up to 256 KiB, so that thousands of quiet queues pin little; a queue
//! that drains begins small again, once [`Chunks::trim`] is called. A dead chunk between living ones costs
//! its header.

use super::labels::Labels;
use super::packed::{self, Lengths};
use crate::message::MessageView;
use std::collections::VecDeque;

const SMALLEST: usize = 4 * 1024;
const LARGEST: usize = 256 * 1024;
/// Bytes of labels that a drained chunk keeps room for.
const KEEP_LABELS: usize = 1024;

#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    labels: Labels,
    /// Messages in it that are alive.
    live: u32,
}

/// Chunks in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// Full ones.
    full: VecDeque<Chunk>,
    /// The one that is being filled; its number follows theirs.
    filling: Chunk,
    /// Number of the first full chunk; numbers wrap.
    first: u32,
    /// Number of the chunk that is being filled.
    number: u32,
    /// A dead chunk's memory, to be used again.
    spare: Option<Vec<u8>>,
    /// Bytes allocated for chunks and their labels.
    allocated: usize,
}

impl Chunks {
    /// Copy a message of these lengths; returns chunk number and offset. `alike` is chunk and label of
    /// a message that is alive and has the same label, if one is known; it becomes those of this one.
    #[inline]
    pub(super) fn store(
        &mut self,
        message: &MessageView<'_>,
        lengths: Lengths,
        alike: &mut Option<(u32, u32)>,
    ) -> (u32, u32) {
        if self.filling.bytes.capacity() - self.filling.bytes.len() < lengths.packed() {
            self.open(lengths.packed());
        }
        let chunk = &mut self.filling;
        let label = match *alike {
            Some((number, label)) if number == self.number => label,
            _ => {
                let before = chunk.labels.memory();
                let label = chunk.labels.note(message);
                self.allocated += chunk.labels.memory() - before;
                *alike = Some((self.number, label));
                label
            }
        };
        let offset = short(chunk.bytes.len());
        packed::pack(message, lengths, label, &mut chunk.bytes);
        chunk.live += 1;
        (self.number, offset)
    }

    /// The message at that place.
    #[inline]
    pub(super) fn view(&self, chunk: u32, offset: u32) -> MessageView<'_> {
        let (bytes, labels) = self.at(chunk, offset);
        let (label, record) = packed::record(bytes);
        packed::view(record, label, labels)
    }

    /// The packed message at that place, and what follows it, and the labels of its chunk.
    #[inline]
    pub(super) fn at(&self, chunk: u32, offset: u32) -> (&[u8], &Labels) {
        let chunk = if chunk == self.number {
            &self.filling
        } else {
            &self.full[chunk.wrapping_sub(self.first) as usize]
        };
        (&chunk.bytes[offset as usize..], &chunk.labels)
    }

    /// So many messages of that chunk are dead.
    #[inline]
    pub(super) fn release(&mut self, chunk: u32, messages: u32) {
        if chunk == self.number {
            self.filling.live -= messages;
            if self.filling.live == 0 && messages > 0 {
                self.restart();
            }
            return;
        }
        let index = chunk.wrapping_sub(self.first) as usize;
        let Some(chunk) = self.full.get_mut(index) else { return };
        chunk.live -= messages;
        if chunk.live == 0 && messages > 0 {
            self.free(index);
        }
    }

    /// Give back what a drained queue does not need.
    pub(super) fn trim(&mut self) {
        if self.full.is_empty() && self.filling.live == 0 {
            let number = self.number.wrapping_add(1);
            *self = Chunks { first: number, number, ..Chunks::default() };
        }
    }

    /// Bytes held, headers included.
    pub(super) fn memory(&self) -> usize {
        self.allocated + self.full.capacity() * size_of::<Chunk>()
    }

    /// The chunk that is being filled has no room for a message of that length.
    #[cold]
    #[inline(never)]
    fn open(&mut self, length: usize) {
        let wanted = (self.filling.bytes.capacity() * 2).clamp(SMALLEST, LARGEST).max(length);
        let spare = self.spare.take_if(|spare| spare.capacity() >= wanted);
        let bytes = spare.unwrap_or_else(|| {
            let bytes = Vec::with_capacity(wanted);
            self.allocated += bytes.capacity();
            bytes
        });
        let full = std::mem::replace(&mut self.filling, Chunk { bytes, ..Chunk::default() });
        if full.live > 0 {
            self.full.push_back(full);
            self.number = self.number.wrapping_add(1);
        } else {
            self.allocated -= full.bytes.capacity() + full.labels.memory();
        }
    }

    /// All in the chunk that is being filled is dead: fill it from its front.
    #[cold]
    #[inline(never)]
    fn restart(&mut self) {
        self.filling.bytes.clear();
        let before = self.filling.labels.memory();
        self.filling.labels.clear(KEEP_LABELS);
        self.allocated -= before - self.filling.labels.memory();
    }

    /// A full chunk is dead.
    #[cold]
    #[inline(never)]
    fn free(&mut self, index: usize) {
        let chunk = std::mem::take(&mut self.full[index]);
        self.allocated -= chunk.labels.memory();
        let mut bytes = chunk.bytes;
        bytes.clear();
        match &self.spare {
            Some(spare) if spare.capacity() >= bytes.capacity() => self.allocated -= bytes.capacity(),
            _ => {
                let replaced = self.spare.replace(bytes);
                self.allocated -= replaced.map_or(0, |spare| spare.capacity());
            }
        }
        while self.full.front().is_some_and(|chunk| chunk.live == 0) {
            self.full.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.full.is_empty() {
            self.full.shrink_to(4);
        }
    }
}

/// Chunks are at most 256 KiB.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "offsets are bounded by LARGEST")]
fn short(value: usize) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnectionId, Origin};
    use crate::message::Body;

    fn store(chunks: &mut Chunks, key: &str, body: &[u8]) -> (u32, u32) {
        let message = MessageView {
            origin: Origin::Amqp091,
            persistent: false,
            publisher: ConnectionId(0),
            exchange: "",
            routing_key: key,
            head: &[],
            body: Body::Slice(body),
            overlay: None,
            shared: None,
        };
        let lengths = packed::lengths(&message).expect("it is small");
        chunks.store(&message, lengths, &mut None)
    }

    fn body(chunks: &Chunks, (chunk, offset): (u32, u32)) -> Vec<u8> {
        match chunks.view(chunk, offset).body {
            Body::Slice(slice) => slice.to_vec(),
            Body::Segments(_) => unreachable!("packed bodies are slices"),
        }
    }

    /// Bytes allocated, counted afresh.
    fn counted(chunks: &Chunks) -> usize {
        let each = |chunk: &Chunk| chunk.bytes.capacity() + chunk.labels.memory();
        chunks.full.iter().map(each).sum::<usize>()
            + each(&chunks.filling)
            + chunks.spare.as_ref().map_or(0, Vec::capacity)
            + chunks.full.capacity() * size_of::<Chunk>()
    }

    #[test]
    fn chunks_are_freed_when_all_in_them_is_dead() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.memory(), 0, "a queue never used holds nothing");
        let places: Vec<_> = (0..40_000u32).map(|n| store(&mut chunks, "k", &n.to_le_bytes())).collect();
        let full = chunks.memory();
        assert!((40_000 * 12..40_000 * 12 + 2 * LARGEST).contains(&full), "{full}");
        assert_eq!(full, counted(&chunks));
        for (n, place) in places.iter().enumerate().skip(1) {
            assert_eq!(body(&chunks, *place), u32::try_from(n).expect("small").to_le_bytes());
            chunks.release(place.0, 1);
        }
        // The first message pins its own small chunk; the last chunk and one spare stay for new ones.
        assert_eq!(body(&chunks, places[0]), 0u32.to_le_bytes());
        assert!(chunks.memory() < SMALLEST + 2 * LARGEST + 64 * size_of::<Chunk>(), "{}", chunks.memory());
        assert_eq!(chunks.memory(), counted(&chunks));
        chunks.release(places[0].0, 1);
        chunks.trim();
        assert_eq!(chunks.memory(), 0);
        let again = store(&mut chunks, "k", b"again");
        assert_eq!(body(&chunks, again), b"again");
        assert_eq!(chunks.filling.bytes.capacity(), SMALLEST);
    }

    #[test]
    fn a_queue_that_bounces_between_full_and_empty_allocates_once() {
        let mut chunks = Chunks::default();
        let mut seen = Vec::new();
        for _ in 0..50 {
            let places: Vec<_> = (0..100u8).map(|n| store(&mut chunks, "k", &[n; 16])).collect();
            places.iter().for_each(|place| chunks.release(place.0, 1));
            seen.push(chunks.memory());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "memory moved: {seen:?}");
    }

    #[test]
    fn memory_is_exact_whatever_the_keys_and_the_order_of_death() {
        let mut chunks = Chunks::default();
        let mut alive = std::collections::VecDeque::new();
        for n in 0..20_000u32 {
            let key = format!("key-{}", n / 3);
            alive.push_back((n, store(&mut chunks, &key, &n.to_le_bytes())));
            while alive.len() > 700 {
                // Every other one lives longer.
                let at = if n % 2 == 0 { 0 } else { alive.len() / 2 };
                let (n, place) = alive.remove(at).expect("there are 700");
                assert_eq!(body(&chunks, place), n.to_le_bytes());
                chunks.release(place.0, 1);
            }
        }
        assert_eq!(chunks.memory(), counted(&chunks));
        for (_, place) in alive {
            chunks.release(place.0, 1);
        }
        assert_eq!(chunks.memory(), counted(&chunks));
        assert_eq!(chunks.full.len(), 0);
    }
}
