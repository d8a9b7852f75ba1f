//! Memory for a batch that can go to the disk without another copy: it begins at an address that a disk takes, and with
//! room for the bytes of the disk's block that the batch goes on with.

/// What offsets, lengths and addresses of direct writes are multiples of: the most that a disk asks for.
pub const BLOCK: usize = 4096;

/// Bytes that begin at a multiple of [`BLOCK`], however many are added.
pub struct Aligned {
    memory: Vec<u8>,
    /// Index of the first byte.
    start: usize,
}

impl Aligned {
    /// So many zeros, in the memory of an earlier one.
    pub fn new(memory: Vec<u8>, zeros: usize) -> Self {
        let mut aligned = Self { memory, start: 0 };
        aligned.memory.clear();
        if aligned.memory.capacity() < BLOCK + zeros {
            aligned.memory = Vec::with_capacity(2 * BLOCK + zeros);
        }
        aligned.begin();
        aligned.memory.resize(aligned.start + zeros, 0);
        aligned
    }

    /// Have the first byte at an aligned address of the empty memory.
    fn begin(&mut self) {
        self.start = self.memory.as_ptr().align_offset(BLOCK).min(BLOCK);
        self.memory.resize(self.start, 0);
    }

    /// Add bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        let room = self.memory.capacity() - self.memory.len();
        if room < bytes.len() {
            self.grow(bytes.len());
        }
        self.memory.extend_from_slice(bytes);
    }

    /// As a vector grows, but to where the first byte is aligned again.
    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.memory.len() + more + BLOCK;
        let larger = Vec::with_capacity(needed.max(2 * self.memory.capacity()));
        let (before, start) = (std::mem::replace(&mut self.memory, larger), self.start);
        self.begin();
        self.memory.extend_from_slice(&before[start..]);
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    /// The memory, for the next one.
    pub fn into_memory(self) -> Vec<u8> {
        self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_stays_aligned_and_keeps_what_was_added(
            zeros in 0..BLOCK,
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..40),
        ) {
            let mut memory = Vec::new();
            for _ in 0..2 {
                let mut aligned = Aligned::new(memory, zeros);
                let mut expected = vec![0; zeros];
                for part in &parts {
                    aligned.extend(part);
                    expected.extend_from_slice(part);
                    prop_assert_eq!(aligned.bytes().as_ptr().align_offset(BLOCK), 0);
                }
                prop_assert!(aligned.bytes() == expected && aligned.len() == expected.len());
                memory = aligned.into_memory();
            }
        }
    }
}
