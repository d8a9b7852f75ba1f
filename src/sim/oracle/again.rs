//! A restart finds what the restart before it has found, when nothing happened in between but a crash: that flags
//! what may have been on its way.

use super::{Checked, Found, violated};

/// Two restarts in a row have found these.
///
/// # Errors
/// They differ.
pub fn found(first: &Found, second: &Found) -> Checked {
    let mut expected = first.clone();
    for (entries, found) in expected.queues.values_mut().zip(second.queues.values()) {
        for (entry, found) in entries.iter_mut().zip(found) {
            entry.redelivered |= found.redelivered;
        }
    }
    // How many that have expired are not taken away yet depends on what a queue has in memory.
    expected.hidden.clone_from(&second.hidden);
    if expected == *second {
        return Ok(());
    }
    let queue = first.queues.iter().find(|(name, entries)| second.queues.get(*name) != Some(*entries));
    let words = match queue {
        Some((name, entries)) => {
            format!("queue {name} is {entries:?}, and with one more restart {:?}", second.queues.get(name))
        }
        None => format!("{first:?} is with one more restart {second:?}"),
    };
    Err(violated("again", words))
}
