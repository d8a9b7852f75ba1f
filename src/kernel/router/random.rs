//! Random exchanges: one binding by the message's seed, each with the same chance.

use super::{Matches, Target};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One target a binding, sorted: a choice is one index, and does not depend on the order of binds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Random(Arc<[Target]>);

impl Random {
    pub(super) fn insert(&mut self, target: &Target) {
        let at = self.0.partition_point(|other| other < target);
        let (before, after) = self.0.split_at(at);
        self.0 = before.iter().chain(std::iter::once(target)).chain(after).cloned().collect();
    }

    pub(super) fn remove(&mut self, target: &Target) {
        if let Ok(at) = self.0.binary_search(target) {
            let (before, after) = self.0.split_at(at);
            self.0 = before.iter().chain(&after[1..]).cloned().collect();
        }
    }

    pub(super) fn route<'t>(&'t self, exchange: &str, seed: u64, matches: &mut Matches<'t, '_>) {
        matches.volatile = true;
        // Two random exchanges in a row must not choose alike: the name is part of the number.
        let number = u128::from(xxh3_64_with_seed(exchange.as_bytes(), seed));
        // The product's upper half is below the length.
        let at = (number * self.0.len() as u128) >> 64;
        if let Some(target) = usize::try_from(at).ok().and_then(|at| self.0.get(at)) {
            matches.add(target);
        }
    }
}
