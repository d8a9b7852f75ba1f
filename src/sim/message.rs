//! Messages that say who they are: a head with a mark and a number, and a body that follows from the number, so that
//! whatever comes back can be told from everything else, byte by byte, and be found on the disk.

use bytes::Bytes;
use fairlead_kernel::message::{Body, HeadReader};
use fairlead_kernel::value::Value;
use std::sync::OnceLock;

/// What a head begins with; nothing else on the disk does.
pub const MARK: [u8; 8] = *b"\xF5\x91fair\x1D\xE5";
/// Bytes of a head: mark, number, time to live, priority.
pub const HEAD: usize = 25;
/// The longest body, in bytes.
pub const BODY_MOST: usize = 3 << 20;
/// Bodies of different numbers begin at different places of the pool.
const OFFSETS: usize = 4093;
/// Bodies of at least this many bytes come in segments, as adapters give them.
const SEGMENTS_FROM: usize = 1 << 10;

/// A message as its publisher made it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number; a publisher's numbers rise.
    pub id: u64,
    /// Its publisher's number.
    pub producer: u64,
    /// Where it was published to.
    pub exchange: String,
    /// With which key.
    pub key: String,
    /// To be kept.
    pub persistent: bool,
    /// Milliseconds.
    pub time_to_live: Option<u64>,
    /// As its publisher gave it.
    pub priority: u8,
    /// Bytes of its body.
    pub length: usize,
}

fn pool() -> &'static Bytes {
    static POOL: OnceLock<Bytes> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut random = fairlead_journal::backend::simulated::Random::new(0);
        let words = (BODY_MOST + OFFSETS).div_ceil(8);
        (0..words).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect::<Vec<u8>>().into()
    })
}

impl Message {
    /// Its head.
    #[must_use]
    pub fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MARK);
        head[8..16].copy_from_slice(&self.id.to_le_bytes());
        head[16..24].copy_from_slice(&self.time_to_live.unwrap_or(u64::MAX).to_le_bytes());
        head[24] = self.priority;
        head
    }

    /// Its body, in one or more segments.
    #[must_use]
    pub fn body(&self) -> Vec<Bytes> {
        let from = (self.id as usize).wrapping_mul(31) % OFFSETS;
        let mut whole = pool().slice(from..from + self.length);
        if self.length < SEGMENTS_FROM || self.id.is_multiple_of(3) {
            return vec![whole];
        }
        let first = whole.split_to(self.length / 3);
        vec![first, whole]
    }

    /// Whether that is its body.
    #[must_use]
    pub fn has_body(&self, body: Body<'_>) -> bool {
        let from = (self.id as usize).wrapping_mul(31) % OFFSETS;
        let mut expected = &pool()[from..from + self.length];
        let mut matches = |piece: &[u8]| match expected.split_at_checked(piece.len()) {
            Some((front, rest)) => {
                expected = rest;
                front == piece
            }
            None => false,
        };
        let all = match body {
            Body::Slice(slice) => matches(slice),
            Body::Segments(segments) => segments.iter().all(|segment| matches(segment)),
        };
        all && expected.is_empty()
    }
}

fn number(head: &[u8], at: usize) -> Option<u64> {
    head.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The number in a head; `None` if it is none of ours.
#[must_use]
pub fn id_of(head: &[u8]) -> Option<u64> {
    (head.len() == HEAD && head.starts_with(&MARK)).then(|| number(head, 8)).flatten()
}

/// Reads these heads for the kernel.
pub struct Heads;

impl HeadReader for Heads {
    fn header(&self, _head: &[u8], _name: &str) -> Option<Value> {
        None
    }

    fn headers(&self, _head: &[u8]) -> Vec<(String, Value)> {
        Vec::new()
    }

    fn time_to_live(&self, head: &[u8]) -> Option<u64> {
        number(head, 16).filter(|time| *time != u64::MAX)
    }

    fn extra_keys(&self, _head: &[u8], _hidden: bool) -> Vec<String> {
        Vec::new()
    }

    fn priority(&self, head: &[u8]) -> u8 {
        head.get(24).copied().unwrap_or(0)
    }
}
