//! Targets with the number of bindings that lead to each: a few words while there is only one.

use super::{Matches, Target};
use rpds::RedBlackTreeMapSync;

/// A persistent multiset of targets.
#[derive(Clone, Debug, Default)]
pub(super) enum Bag {
    #[default]
    Empty,
    One(Target, u32),
    Many(RedBlackTreeMapSync<Target, u32>),
}

impl Bag {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Bag::Empty)
    }

    pub(super) fn insert(&mut self, target: &Target) {
        match self {
            Bag::Empty => *self = Bag::One(target.clone(), 1),
            Bag::One(only, count) if only == target => *count += 1,
            Bag::One(only, count) => {
                let mut many = RedBlackTreeMapSync::new_sync();
                many.insert_mut(only.clone(), *count);
                many.insert_mut(target.clone(), 1);
                *self = Bag::Many(many);
            }
            Bag::Many(many) => {
                let count = many.get(target).copied().unwrap_or(0);
                many.insert_mut(target.clone(), count + 1);
            }
        }
    }

    /// Take one away; nothing if there is none.
    pub(super) fn remove(&mut self, target: &Target) {
        match self {
            Bag::Empty => {}
            Bag::One(only, count) => {
                if only == target {
                    *count -= 1;
                    if *count == 0 {
                        *self = Bag::Empty;
                    }
                }
            }
            Bag::Many(many) => {
                match many.get(target).copied() {
                    Some(1) => many.remove_mut(target),
                    Some(count) => {
                        many.insert_mut(target.clone(), count - 1);
                        true
                    }
                    None => false,
                };
                if many.size() == 1
                    && let Some((only, count)) = many.first()
                {
                    *self = Bag::One(only.clone(), *count);
                }
            }
        }
    }

    #[inline]
    pub(super) fn add_to<'t>(&'t self, matches: &mut Matches<'t, '_>) {
        match self {
            Bag::Empty => {}
            Bag::One(target, _) => matches.add(target),
            Bag::Many(many) => many.keys().for_each(|target| matches.add(target)),
        }
    }
}
