//! The third invariant: no confirm before the sync. The disk has counted the records of each message that a sync has
//! covered, and knows nothing of the journal's own account of that.

use super::{Checked, violated};
use crate::disk::Seen;
use crate::model::Model;

/// A client is told that a message is the broker's.
///
/// # Errors
/// It is not on the disk as often as it has durable queues.
pub fn confirmed(model: &Model, seen: &Seen, message: u64) -> Checked {
    let (needed, synced) = (model.records_of(message), seen.synced(message));
    if synced < needed {
        let words = format!(
            "message {message} is confirmed with {synced} records synced; it has {needed} durable queues"
        );
        return Err(violated("synced", words));
    }
    Ok(())
}
