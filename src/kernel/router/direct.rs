//! Direct exchanges: a binding matches when its key is the routing key.

use super::bag::Bag;
use super::{Matches, Target};
use rpds::RedBlackTreeMapSync;
use std::sync::Arc;

/// Targets by binding key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direct(RedBlackTreeMapSync<Arc<str>, Bag>);

impl Direct {
    pub(super) fn insert(&mut self, key: &Arc<str>, target: &Target) {
        let mut bag = self.0.get(key).cloned().unwrap_or_default();
        bag.insert(target);
        self.0.insert_mut(Arc::clone(key), bag);
    }

    pub(super) fn remove(&mut self, key: &Arc<str>, target: &Target) {
        let Some(mut bag) = self.0.get(key).cloned() else { return };
        bag.remove(target);
        if bag.is_empty() {
            self.0.remove_mut(key);
        } else {
            self.0.insert_mut(Arc::clone(key), bag);
        }
    }

    pub(super) fn route<'t>(&'t self, key: &str, matches: &mut Matches<'t, '_>) {
        if let Some(bag) = self.0.get(key) {
            bag.add_to(matches);
        }
    }
}
