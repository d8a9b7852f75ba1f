//! How much there is: messages, and their bytes.

/// Messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Volume {
    #[inline]
    pub(super) fn add(&mut self, length: u32) {
        self.messages += 1;
        self.bytes += u64::from(length);
    }

    #[inline]
    pub(super) fn remove(&mut self, length: u32) {
        self.messages -= 1;
        self.bytes -= u64::from(length);
    }
}
