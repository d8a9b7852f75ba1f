//! What a reload changed, in lines for the log.

use super::Config;
use super::section::Shown;

/// Keys, and sections of keys, that a running broker takes; the others wait for its next start.
const RELOADED: [&str; 19] = [
    "authentication",
    "journal.pending",
    "limits.channels_per_connection",
    "limits.connections",
    "limits.connections_per_user",
    "limits.consumers_per_channel",
    "limits.frame_size",
    "limits.incomplete_message_bytes",
    "limits.message_size",
    "limits.pre_authentication_bytes",
    "limits.transaction_bytes",
    "limits.unsettled_per_consumer",
    "logging.level",
    "memory.page_out_above",
    "memory.stop_publishers_above",
    "policies",
    "timeouts",
    "topology",
    "users",
];

impl Config {
    /// One line for each value that differs, in the order of their keys: what it was, what it is, and whether
    /// that waits for a restart. Secrets are not shown.
    #[must_use]
    pub fn difference(old: &Config, new: &Config) -> Vec<String> {
        let mut keys: Vec<_> = old.effective.keys().chain(new.effective.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let lines = keys.into_iter().filter_map(|key| {
            let change = change(old.effective.get(key), new.effective.get(key))?;
            let wait = if is_reloaded(key) { "" } else { " (at the next restart)" };
            Some(format!("{key}: {change}{wait}"))
        });
        lines.collect()
    }
}

fn change(old: Option<&Shown>, new: Option<&Shown>) -> Option<String> {
    match (old, new) {
        (old, new) if old == new => None,
        (Some(Shown::Plain { written: old, .. }), Some(Shown::Plain { written: new, .. })) => {
            Some(format!("{old} -> {new}"))
        }
        (None, Some(Shown::Plain { written: new, .. })) => Some(format!("added: {new}")),
        (Some(Shown::Plain { written: old, .. }), None) => Some(format!("removed: {old}")),
        (None, Some(Shown::Secret(_))) => Some("added".to_owned()),
        (Some(Shown::Secret(_)), None) => Some("removed".to_owned()),
        (Some(_), Some(_)) => Some("changed".to_owned()),
        (None, None) => None,
    }
}

pub(super) fn is_reloaded(key: &str) -> bool {
    RELOADED.iter().any(|reloaded| match key.strip_prefix(reloaded) {
        Some(rest) => rest.is_empty() || rest.starts_with(['.', '[']),
        None => false,
    })
}
