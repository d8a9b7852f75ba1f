//! The routes that a connection used last: `(exchange, key)` to queues.
//!
//! The route of the last message is tried first, then one place of a table by hash; each is good while the
//! topology says that it still holds. The table grows only for connections that use many keys.

use crate::queue_cell::QueueCell;
use fairlead_kernel::topology::{RouteMemo, Topology};
use std::sync::Arc;

/// Places of the table, from the first that is needed to the most.
const SMALLEST: usize = 8;
const LARGEST: usize = 1024;

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Route {
    exchange: Box<str>,
    key: Box<str>,
    memo: RouteMemo,
    /// The queues; empty for an answer of "nowhere".
    pub(crate) cells: Box<[Arc<QueueCell>]>,
    /// Index of each queue's group in the batch of that number.
    pub(crate) groups: Vec<u32>,
    pub(crate) batch: u64,
}

/// Kept answers.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    table: Vec<Option<Box<Route>>>,
    last: usize,
}

impl RouteCache {
    /// The place of a kept answer that holds.
    #[inline]
    pub(crate) fn find(&mut self, topology: &Topology, exchange: &str, key: &str) -> Option<&mut Route> {
        let mut place = self.last;
        if !is_for(self.table.get(place), exchange, key) {
            place = self.place(exchange, key);
            if !is_for(self.table.get(place), exchange, key) {
                return None;
            }
        }
        self.last = place;
        let route = self.table.get_mut(place)?.as_deref_mut()?;
        topology.memo_valid(exchange, key, &mut route.memo).then_some(route)
    }

    /// The kept answer that was found or kept last.
    #[inline]
    pub(crate) fn latest(&mut self) -> Option<&mut Route> {
        self.table.get_mut(self.last)?.as_deref_mut()
    }

    /// Keep an answer.
    pub(crate) fn keep(
        &mut self,
        (exchange, key): (&str, &str),
        memo: RouteMemo,
        cells: Vec<Arc<QueueCell>>,
    ) -> &mut Route {
        let mut place = self.place(exchange, key);
        if self.table.is_empty() || (self.table[place].is_some() && self.table.len() < LARGEST) {
            self.grow();
            place = self.place(exchange, key);
        }
        self.last = place;
        self.table[place].insert(Box::new(Route {
            exchange: exchange.into(),
            key: key.into(),
            memo,
            groups: vec![0; cells.len()],
            cells: cells.into(),
            batch: 0,
        }))
    }

    fn grow(&mut self) {
        let size = if self.table.is_empty() { SMALLEST } else { self.table.len() * 2 };
        let before = std::mem::take(&mut self.table);
        self.table.resize_with(size, || None);
        for route in before.into_iter().flatten() {
            let place = self.place(&route.exchange, &route.key);
            self.table[place] = Some(route);
        }
    }

    /// Where the answer for this exchange and key is, if it is kept.
    fn place(&self, exchange: &str, key: &str) -> usize {
        let hash = mix(mix(0, exchange.as_bytes()), key.as_bytes());
        // The table's size is a power of two, or zero.
        (hash >> 32) as usize & self.table.len().wrapping_sub(1)
    }
}

#[inline]
fn is_for(place: Option<&Option<Box<Route>>>, exchange: &str, key: &str) -> bool {
    match place {
        Some(Some(route)) => same(&route.key, key) && same(&route.exchange, exchange),
        _ => false,
    }
}

/// Equality of short texts; an empty one is not worth the call to compare memory.
#[inline]
fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && (left.is_empty() || left == right)
}

/// Multiply and rotate over eight bytes at a time: enough to spread keys over a table.
fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
    let mut chunks = bytes.chunks_exact(8);
    let mut hash = step(seed, bytes.len() as u64);
    for chunk in &mut chunks {
        hash = step(hash, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    step(hash, u64::from_le_bytes(tail))
}
