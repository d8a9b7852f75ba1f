//! The write-ahead journal: records of many streams in one log of segments, made durable in groups.
//!
//! [`Journal::append`] puts a record into the intake and answers its position at once. The [`Writer`] takes what has
//! gathered as one batch, writes it, syncs once, and tells [`Events::durable`] how far the disk has come. The
//! [`Keeper`] has the next segment ready and recycles those that nothing needs: no live record, no part of the newest
//! [`Checkpoint`], nothing that a start would replay. [`Journal::open`] gives every stream its checkpoint and its
//! records back, tells a torn end from damage, and begins a new epoch.
//!
//! The journal knows bytes, streams and positions, and nothing of what they mean. The disk is a [`Backend`]; a clock
//! is asked for statistics, and for how long a spare file has lain. docs/journal-format.md has the bytes.

mod aligned;
pub mod backend;
mod batch;
mod chain;
mod checkpoint;
mod compaction;
mod copy;
mod error;
pub mod format;
mod ids;
mod intake;
mod journal;
mod keeper;
mod options;
mod recovery;
mod root;
mod scan;
mod segments;
mod statistics;
mod stopped;
mod writer;

pub use backend::{Backend, Folder};
pub use batch::Part;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::{Error, ReadError, Refused, Rejected};
pub use ids::{Kind, Position, SegmentId, StreamId};
pub use journal::{Events, Journal, Need, Record, Space};
pub use keeper::Keeper;
pub use options::Options;
pub use recovery::{Opened, Recovered, Replay, Stored};
pub use segments::LiveCounts;
pub use statistics::Statistics;
pub use stopped::{Report, SegmentReport, Stopped};
pub use writer::{Step, Writer};
