//! Topic exchanges: a persistent trie of the binding keys' words, where `*` stands for one word and `#` for
//! any number of them.
//!
//! Flow: a routing key's words are read once, from left to right, with the set of nodes that its part so far
//! can have reached. A node below `#` stays in the set whatever comes, so that a key costs words times
//! reached nodes, however many `#` the binding keys have; that product is bounded. The trie is as deep as a key has words: at most 256
//! in the 255 bytes of a protocol's short string.

use super::bag::Bag;
use super::{Matches, Target};
use rpds::RedBlackTreeMapSync;
use std::ptr;
use std::sync::Arc;

/// The trie of one exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topic(Node);

#[derive(Clone, Debug, Default)]
struct Node {
    /// Targets of the binding key that ends here.
    bag: Bag,
    words: RedBlackTreeMapSync<Arc<str>, Arc<Node>>,
    star: Option<Arc<Node>>,
    hash: Option<Arc<Node>>,
}

/// Words of a key: an empty key has none, and an empty word counts between two dots.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').take(if key.is_empty() { 0 } else { usize::MAX })
}

/// Words of a binding key, where several `#` in a row say no more than one.
fn pattern_words(key: &str) -> impl Iterator<Item = &str> {
    let mut after_hash = false;
    words(key).filter(move |word| {
        let repeated = after_hash && *word == "#";
        after_hash = *word == "#";
        !repeated
    })
}

impl Topic {
    pub(super) fn insert(&mut self, key: &str, target: &Target) {
        self.0.insert(pattern_words(key), target);
    }

    pub(super) fn remove(&mut self, key: &str, target: &Target) {
        self.0.remove(pattern_words(key), target);
    }

    pub(super) fn route<'t>(&'t self, key: &str, matches: &mut Matches<'t, '_>) {
        let mut reached = Reached { here: vec![&self.0], stay: Vec::new() };
        reached.enter_hashes();
        for word in words(key) {
            if !matches.spend(reached.here.len() + reached.stay.len()) {
                return;
            }
            reached.step(word);
        }
        for node in reached.here.iter().chain(&reached.stay) {
            node.bag.add_to(matches);
        }
    }
}

impl Node {
    fn insert<'w>(&mut self, mut words: impl Iterator<Item = &'w str>, target: &Target) {
        match words.next() {
            None => self.bag.insert(target),
            Some("*") => Arc::make_mut(self.star.get_or_insert_default()).insert(words, target),
            Some("#") => Arc::make_mut(self.hash.get_or_insert_default()).insert(words, target),
            Some(word) => match self.words.get_mut(word) {
                Some(child) => Arc::make_mut(child).insert(words, target),
                None => {
                    let mut child = Node::default();
                    child.insert(words, target);
                    self.words.insert_mut(word.into(), Arc::new(child));
                }
            },
        }
    }

    fn remove<'w>(&mut self, mut words: impl Iterator<Item = &'w str>, target: &Target) {
        match words.next() {
            None => self.bag.remove(target),
            Some("*") => remove_below(&mut self.star, words, target),
            Some("#") => remove_below(&mut self.hash, words, target),
            Some(word) => {
                let mut child = self.words.get(word).cloned();
                remove_below(&mut child, words, target);
                match child {
                    Some(child) => self.words.insert_mut(word.into(), child),
                    None => {
                        self.words.remove_mut(word);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.bag.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }
}

fn remove_below<'w>(child: &mut Option<Arc<Node>>, words: impl Iterator<Item = &'w str>, target: &Target) {
    if let Some(node) = child {
        let node = Arc::make_mut(node);
        node.remove(words, target);
        if node.is_empty() {
            *child = None;
        }
    }
}

/// Nodes that the words so far can have led to, each once.
struct Reached<'t> {
    /// Exactly with the last word.
    here: Vec<&'t Node>,
    /// Below a `#`: with any word from now on.
    stay: Vec<&'t Node>,
}

impl Reached<'_> {
    fn step(&mut self, word: &str) {
        let mut next = Vec::with_capacity(self.here.len() + self.stay.len());
        for node in self.here.iter().chain(&self.stay) {
            next.extend(node.words.get(word).map(|child| &**child));
            next.extend(node.star.as_deref());
        }
        self.here = next;
        self.enter_hashes();
    }

    /// `#` may stand for no word at all. A node that `stay`s has no `#` below it: see [`pattern_words`].
    fn enter_hashes(&mut self) {
        let before = self.stay.len();
        self.stay.extend(self.here.iter().filter_map(|node| node.hash.as_deref()));
        if before > 0 && self.stay.len() > before {
            self.stay.sort_unstable_by_key(|node| ptr::from_ref(*node));
            self.stay.dedup_by(|left, right| ptr::eq(*left, *right));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::QueueId;

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let keys = ["", "a", "a.b", "a.*", "a.#.b", "#", "#.#.a", "*.*", "a.b.c"];
        let mut topic = Topic::default();
        for key in keys {
            topic.insert(key, &Target::Queue(QueueId(1)));
            topic.insert(key, &Target::Queue(QueueId(2)));
        }
        for key in keys {
            topic.remove(key, &Target::Queue(QueueId(1)));
            topic.remove(key, &Target::Queue(QueueId(3)));
            topic.remove("none.*.#", &Target::Queue(QueueId(1)));
            assert!(!topic.0.is_empty());
            topic.remove(key, &Target::Queue(QueueId(2)));
        }
        assert!(topic.0.is_empty());
    }
}
