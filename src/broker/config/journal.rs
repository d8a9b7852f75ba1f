//! How the journal is laid out on the disk, and how much it may take.

use super::section::Section;
use super::units::show_bytes;
use super::values::{integer, size};
use fairlead_journal::Options;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The section; all but the count in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Of a segment file.
    pub segment_size: u64,
    /// Segment files kept for reuse.
    pub spare_segments: u32,
    /// Of the disk, that stay free.
    pub keep_free: u64,
    /// Free ones of the disk, below which publishers are stopped.
    pub stop_publishers_below: u64,
    /// That may wait for the disk while publishers are read.
    pub pending: u64,
}

impl Journal {
    pub(super) fn read(section: &Section) -> Journal {
        let journal = Journal {
            segment_size: section.required("segment_size", size(8 * MIB..=16 * GIB)),
            spare_segments: section.required("spare_segments", integer(0..=1000)),
            keep_free: section.required("keep_free", size(0..=TIB)),
            stop_publishers_below: section.required("stop_publishers_below", size(0..=16 * TIB)),
            pending: section.required("pending", size(MIB..=64 * GIB)),
        };
        let (keep, stop) = (journal.keep_free, journal.stop_publishers_below);
        if stop < keep {
            let [keep, stop] = [keep, stop].map(show_bytes);
            let text =
                format!("stop_publishers_below is {stop} and keep_free {keep}, expected at least as much");
            section.conflict(["stop_publishers_below", "keep_free"], text);
        }
        // A size that was not read is 0, and has been reported.
        if journal.segment_size > 0
            && let Err(error) = journal.options().check()
        {
            section.fault("segment_size", format!("{}: {error}", show_bytes(journal.segment_size)));
        }
        journal
    }

    /// As the journal takes them.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            segment_size: self.segment_size,
            spares_most: self.spare_segments as usize,
            keep_free: self.keep_free,
            low_below: self.stop_publishers_below,
            ..Options::default()
        }
    }
}
