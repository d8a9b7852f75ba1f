//! What happened, line by line: a running hash of everything, and the lines themselves when somebody wants to read
//! them. Two runs of a seed have the same hash, or something has read the machine's clock or randomness.

use parking_lot::Mutex;
use std::fmt::Write;
use std::sync::Arc;

/// FNV-1a's numbers.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A trace. Clones are the same one.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hash: u64,
    /// Kept when asked for.
    lines: Option<Vec<String>>,
    line: String,
}

impl Trace {
    /// An empty one, which keeps its lines or only their hash.
    #[must_use]
    pub fn new(keep: bool) -> Trace {
        Trace(Arc::new(Mutex::new(Inner { hash: OFFSET, lines: keep.then(Vec::new), line: String::new() })))
    }

    /// One thing happened.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let inner = &mut *self.0.lock();
        inner.line.clear();
        // Writing into a string does not fail.
        let _ = inner.line.write_fmt(what);
        inner.hash = mix(inner.hash, inner.line.as_bytes());
        if let Some(lines) = &mut inner.lines {
            lines.push(inner.line.clone());
        }
    }

    /// Bytes went to the disk: part of the hash, and of no line.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut inner = self.0.lock();
        inner.hash = mix(inner.hash, bytes);
    }

    /// The hash of all so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.0.lock().hash
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        self.0.lock().lines.take().unwrap_or_default()
    }
}

/// FNV-1a over words instead of bytes: zeros of whole segments pass through here.
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(5);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    hash
}
