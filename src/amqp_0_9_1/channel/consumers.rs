//! The consumers of a channel: numbers of ours, tags of the client's.

use fairlead_kernel::ids::ConsumerId;

/// One consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    pub(crate) tag: Box<str>,
}

/// All of a channel's; ids rise, so the list is sorted.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    list: Vec<Consumer>,
    /// The one found last.
    last: usize,
}

impl Consumers {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn add(&mut self, id: ConsumerId, tag: &str) {
        debug_assert!(self.list.last().is_none_or(|last| last.id < id));
        self.list.push(Consumer { id, tag: tag.into() });
    }

    #[inline]
    pub(crate) fn tag(&mut self, id: ConsumerId) -> Option<&str> {
        if self.list.get(self.last).is_none_or(|consumer| consumer.id != id) {
            self.last = self.list.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        }
        self.list.get(self.last).map(|consumer| &*consumer.tag)
    }

    pub(crate) fn find(&self, tag: &str) -> Option<ConsumerId> {
        self.list.iter().find(|consumer| &*consumer.tag == tag).map(|consumer| consumer.id)
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let index = self.list.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        Some(self.list.remove(index))
    }
}
