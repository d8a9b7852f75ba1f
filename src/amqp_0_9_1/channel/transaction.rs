//! An open transaction of a channel: acknowledgements that wait for commit.
//!
//! Publishes of a transaction are kept by the engine. Acknowledged deliveries stay here with their tags, so
//! that a rollback makes them unacknowledged again.

use fairlead_kernel::ids::Time;
use fairlead_kernel::session::{Outcome, Unsettled, UnsettledDeliveries};

/// A delivery taken out under its tag.
pub(crate) type Tagged = (u64, Unsettled, Time);

/// What was settled since the last end.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    settlements: Vec<(Outcome, Vec<Tagged>)>,
}

impl Transaction {
    /// The list to which deliveries settled as `outcome` are appended.
    pub(crate) fn settled_as(&mut self, outcome: Outcome) -> &mut Vec<Tagged> {
        if self.settlements.last().is_none_or(|(last, _)| *last != outcome) {
            self.settlements.push((outcome, Vec::new()));
        }
        let last = self.settlements.len() - 1;
        &mut self.settlements[last].1
    }

    /// Take all for a commit, in order.
    pub(crate) fn commit(&mut self) -> Vec<(Outcome, Vec<Unsettled>)> {
        std::mem::take(&mut self.settlements)
            .into_iter()
            .map(|(outcome, list)| (outcome, list.into_iter().map(|(_, delivery, _)| delivery).collect()))
            .collect()
    }

    /// Give all back to the unacknowledged.
    pub(crate) fn roll_back(&mut self, unsettled: &mut UnsettledDeliveries) {
        for (_, list) in std::mem::take(&mut self.settlements) {
            for (tag, delivery, time) in list {
                unsettled.put_back(tag, delivery, time);
            }
        }
    }
}
