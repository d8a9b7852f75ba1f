//! Bytes on their way to a socket: short ones copied together, long ones shared, in order.
//!
//! Adapters append; the runtime writes the pieces with one vectored call and tells how far it came.

use bytes::Bytes;
use std::io::IoSlice;

/// Slices at least this long are shared instead of copied: below, a copy costs less than an I/O vector.
pub const SHARE_FROM: usize = 4096;

/// A bounded queue of bytes; `pending` is what the caller holds its bound against.
#[derive(Debug, Default)]
pub struct Output {
    inline: Vec<u8>,
    /// Shared slices, each with the number of inline bytes in front of it.
    shared: Vec<(usize, Bytes)>,
    /// Bytes of `inline` and `shared` together.
    total: usize,
    /// Bytes already written.
    written: usize,
}

impl Output {
    /// Bytes not yet written.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.total - self.written
    }

    /// Append by copying: `write` may only append to the vector.
    #[inline]
    pub fn inline(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.inline.len();
        write(&mut self.inline);
        self.total += self.inline.len() - before;
    }

    /// Append shared bytes, copied when they are short.
    pub fn share(&mut self, bytes: &Bytes) {
        self.total += bytes.len();
        if bytes.len() < SHARE_FROM {
            self.inline.extend_from_slice(bytes);
        } else {
            self.shared.push((self.inline.len(), bytes.clone()));
        }
    }

    /// Move everything of `other`, of which nothing was written yet, behind this; `other` gives its buffers back.
    pub fn append(&mut self, other: &mut Output) {
        debug_assert_eq!(other.written, 0);
        let before = self.inline.len();
        self.inline.extend_from_slice(&other.inline);
        self.shared.extend(other.shared.drain(..).map(|(at, bytes)| (before + at, bytes)));
        self.total += other.total;
        *other = Output::default();
    }

    /// Fill `slices` with what comes next; returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut filled = 0;
        let mut inline_from = 0;
        let ends = self.shared.iter().map(|(at, bytes)| (*at, Some(bytes)));
        for (at, bytes) in ends.chain(std::iter::once((self.inline.len(), None))) {
            let inline = &self.inline[inline_from..at];
            inline_from = at;
            for part in [inline, bytes.map_or(&[][..], |b| &b[..])] {
                let dropped = skip.min(part.len());
                skip -= dropped;
                if dropped < part.len() {
                    if filled == slices.len() {
                        return filled;
                    }
                    slices[filled] = IoSlice::new(&part[dropped..]);
                    filled += 1;
                }
            }
        }
        filled
    }

    /// `count` more bytes have been written; the buffers are reused once all are, and given back when
    /// they have grown beyond `keep` bytes.
    pub fn advance(&mut self, count: usize, keep: usize) {
        self.written += count;
        debug_assert!(self.written <= self.total);
        if self.written >= self.total {
            self.inline.clear();
            self.inline.shrink_to(keep);
            self.shared.clear();
            self.shared.shrink_to(keep / size_of::<(usize, Bytes)>());
            self.total = 0;
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while output.pending() > 0 {
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
            let filled = output.slices(&mut slices);
            let mut taken = 0;
            for slice in &slices[..filled] {
                let part = slice.len().min(step - taken);
                out.extend_from_slice(&slice[..part]);
                taken += part;
            }
            output.advance(taken, 1024);
        }
        out
    }

    #[test]
    fn order_is_kept_for_any_size_of_write() {
        for step in [1, 7, 4096, 100_000] {
            let mut output = Output::default();
            let long = Bytes::from(vec![7u8; SHARE_FROM]);
            output.inline(|v| v.extend_from_slice(b"head"));
            output.share(&long);
            output.share(&long);
            output.inline(|v| v.extend_from_slice(b"tail"));
            let mut behind = Output::default();
            behind.share(&Bytes::from_static(b"short"));
            output.append(&mut behind);
            assert_eq!(behind.pending(), 0);
            let mut expected = b"head".to_vec();
            expected.extend_from_slice(&long);
            expected.extend_from_slice(&long);
            expected.extend_from_slice(b"tailshort");
            assert_eq!(output.pending(), expected.len());
            assert!(drain(&mut output, step) == expected, "step {step}");
        }
    }
}
