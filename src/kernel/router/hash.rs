//! Consistent-hash exchanges: each destination has points on a ring, a message goes to the destination of
//! the first point at or after its own hash.
//!
//! A destination has [`POINTS_PER_WEIGHT`] points for each unit of its weight, placed by its name alone: one
//! more binding takes over only the keys next to its points, and a queue that is declared again under the
//! same name gets the same keys as before. Several bindings of one destination count as the heaviest.

use super::{Matches, Routable, Target};
use crate::topology::{BindingRecord, canonical};
use crate::value::Value;
use rpds::RedBlackTreeMapSync;
use std::ops::Bound;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Points a unit of weight: shares of equally weighted destinations differ by some 12 %.
const POINTS_PER_WEIGHT: u64 = 64;

/// The highest weight of a binding: some 60,000 points, 6 MB.
pub const MAX_WEIGHT: u32 = 1000;

/// What a unit of weight counts for where bindings are bounded: its points take the memory of so many others.
pub(crate) const BINDINGS_PER_WEIGHT: u64 = 16;

/// The weight that a binding key gives, 1 to [`MAX_WEIGHT`]; `None` if it is no such number.
pub(crate) fn weight(key: &str) -> Option<u32> {
    key.parse().ok().filter(|weight| (1..=MAX_WEIGHT).contains(weight))
}

/// The ring of one exchange.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// Points, each with the number of bindings that put it there.
    points: RedBlackTreeMapSync<(u64, Target), u32>,
    /// The header to hash instead of the routing key.
    header: Option<Box<str>>,
}

impl Ring {
    pub(super) fn new(header: Option<&str>) -> Ring {
        Ring { points: RedBlackTreeMapSync::new_sync(), header: header.map(Box::from) }
    }

    pub(super) fn insert(&mut self, binding: &BindingRecord) {
        for point in points(binding) {
            let count = self.points.get(&point).copied().unwrap_or(0);
            self.points.insert_mut(point, count + 1);
        }
    }

    pub(super) fn remove(&mut self, binding: &BindingRecord) {
        for point in points(binding) {
            match self.points.get(&point).copied() {
                Some(count) if count > 1 => self.points.insert_mut(point, count - 1),
                _ => {
                    self.points.remove_mut(&point);
                }
            }
        }
    }

    pub(super) fn route<'t>(&'t self, message: &Routable<'_>, matches: &mut Matches<'t, '_>) {
        let hash = match &self.header {
            Some(header) => {
                matches.volatile = true;
                hash_value(message.reader.header(message.head, header).as_ref())
            }
            None => xxh3_64(message.keys.first().unwrap_or(&"").as_bytes()),
        };
        let from = (hash, Target::FIRST);
        let next =
            self.points.range((Bound::Included(&from), Bound::Unbounded)).map(|(point, _)| point).next();
        if let Some((_, target)) = next.or_else(|| self.points.first().map(|(point, _)| point)) {
            matches.add(target);
        }
    }
}

/// Text and bytes hash as a routing key would; a missing header as the empty one.
fn hash_value(value: Option<&Value>) -> u64 {
    match value {
        None => xxh3_64(b""),
        Some(value) => match value.as_bytes() {
            Some(bytes) => xxh3_64(bytes),
            None => {
                let mut bytes = Vec::new();
                canonical::value(&mut bytes, value);
                xxh3_64(&bytes)
            }
        },
    }
}

fn points(binding: &BindingRecord) -> impl Iterator<Item = (u64, Target)> + '_ {
    let kind = matches!(binding.target, Target::Exchange(_));
    let base = xxh3_64_with_seed(binding.destination.as_bytes(), kind.into());
    let count = u64::from(weight(&binding.key).unwrap_or(0)) * POINTS_PER_WEIGHT;
    (0..count).map(move |index| (xxh3_64_with_seed(&base.to_le_bytes(), index), binding.target.clone()))
}
