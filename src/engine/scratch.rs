//! Buffers that a thread's batches use again, so that neither connections nor queues hold any.

use crate::queue_cell::QueueCell;
use fairlead_kernel::command::NewEntry;
use fairlead_kernel::effect::{DeliveryBatch, Effects};
use fairlead_kernel::topology::Targets;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use fairlead_kernel::QueueId;

/// Bytes that each buffer of a queue's effects may keep between batches.
pub(crate) const KEEP: usize = 640 * 1024;

/// Placements that a thread keeps room for between batches.
const PLACEMENTS_KEPT: usize = 64 * 1024;

/// Groups that are searched one by one; beyond, by a map.
const FEW_GROUPS: usize = 16;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) effects: Effects,
    /// To be woken when no lock is held.
    pub(crate) wakers: Vec<Waker>,
    /// Deliveries to connections that have gone.
    pub(crate) undeliverable: Vec<DeliveryBatch>,
    /// Queues whose dead letters are to be sent when none is locked.
    pub(crate) letters: Vec<Arc<QueueCell>>,
    /// Queues that are to be deleted then.
    pub(crate) deletions: Vec<Arc<QueueCell>>,
    pub(crate) targets: Targets,
    pub(crate) batch: BatchScratch,
}

/// For one batch of publishes.
#[derive(Default)]
pub(crate) struct BatchScratch {
    pub(crate) placements: Vec<Placement>,
    pub(crate) groups: Vec<Group>,
    /// Index of each queue's group, once there are many.
    pub(crate) group_of: HashMap<QueueId, u32>,
    /// Placements in the order of groups.
    pub(crate) ordered: Vec<u32>,
    pub(crate) entries: Vec<NewEntry<'static>>,
    /// Indices of publishes that a queue refused.
    pub(crate) refused: Vec<u32>,
    /// Indices of publishes that found their queue gone.
    pub(crate) missed: Vec<u32>,
}

/// A publish goes to a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) group: u32,
    pub(crate) publish: u32,
}

/// A queue of the batch.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) cell: Arc<QueueCell>,
    pub(crate) count: u32,
}

impl BatchScratch {
    /// The group of a queue.
    pub(crate) fn group(&mut self, cell: &Arc<QueueCell>) -> u32 {
        let found = if self.groups.len() <= FEW_GROUPS {
            self.groups.iter().position(|group| Arc::ptr_eq(&group.cell, cell)).map(|at| at as u32)
        } else {
            self.group_of.get(&cell.id()).copied()
        };
        found.unwrap_or_else(|| {
            let at = self.groups.len() as u32;
            if self.groups.len() == FEW_GROUPS {
                let known = self.groups.iter().enumerate();
                self.group_of.extend(known.map(|(at, group)| (group.cell.id(), at as u32)));
            }
            if self.groups.len() >= FEW_GROUPS {
                self.group_of.insert(cell.id(), at);
            }
            self.groups.push(Group { cell: Arc::clone(cell), count: 0 });
            at
        })
    }

    /// A publish goes to the queue of that group.
    #[inline]
    pub(crate) fn place(&mut self, group: u32, index: usize) {
        self.groups[group as usize].count += 1;
        self.placements.push(Placement { group, publish: index as u32 });
    }

    /// Bring the placements into the order of groups, each in the order of publishes.
    pub(crate) fn order(&mut self) {
        self.ordered.clear();
        if self.groups.len() <= 1 {
            self.ordered.extend(self.placements.iter().map(|placement| placement.publish));
            return;
        }
        let mut next = Vec::with_capacity(self.groups.len());
        let mut sum = 0;
        for group in &self.groups {
            next.push(sum);
            sum += group.count as usize;
        }
        self.ordered.resize(self.placements.len(), 0);
        for placement in &self.placements {
            let at = &mut next[placement.group as usize];
            self.ordered[*at] = placement.publish;
            *at += 1;
        }
    }

    /// Forget the batch.
    pub(crate) fn clear(&mut self) {
        self.placements.clear();
        self.groups.clear();
        self.group_of.clear();
        self.ordered.clear();
        self.refused.clear();
        self.missed.clear();
        self.placements.shrink_to(PLACEMENTS_KEPT);
        self.ordered.shrink_to(PLACEMENTS_KEPT);
    }
}

thread_local! {
    static SPARE: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// Borrow the thread's buffers; within, there are others.
    pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = SPARE.take().unwrap_or_default();
        let result = f(&mut scratch);
        SPARE.set(Some(scratch));
        result
    }

    /// Wake who was given something.
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The memory of an emptied vector of entries, for entries that live differently long. (Collecting a
/// vector's own iterator into a vector of a type of the same layout keeps its memory.)
pub(crate) fn recycle<'to>(mut entries: Vec<NewEntry<'_>>) -> Vec<NewEntry<'to>> {
    entries.clear();
    entries.into_iter().map_while(|_| None).collect()
}
