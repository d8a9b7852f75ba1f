//! Publisher confirms: numbers given, and which frames tell that they are settled.
//!
//! What is settled without a gap leaves as one frame with `multiple`; what is ahead of a gap leaves singly,
//! and is remembered until the gap closes.

/// Which numbers one basic.ack or basic.nack names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) tag: u64,
    pub(crate) multiple: bool,
}

/// The numbering of one channel.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// Number of the last publish.
    given: u64,
    /// All up to here is told.
    told: u64,
    /// Ranges told beyond, in order, with gaps between.
    ahead: Vec<(u64, u64)>,
}

impl Confirms {
    /// The number of the next publish; the first is 1.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    /// Publishes not yet told.
    pub(crate) fn outstanding(&self) -> u64 {
        self.given - self.told - self.ahead.iter().map(|(from, to)| to - from + 1).sum::<u64>()
    }

    /// `from..=to` is settled in one way: tell it through `tell`.
    pub(crate) fn settle(&mut self, from: u64, to: u64, mut tell: impl FnMut(Settled)) {
        debug_assert!(self.told < from && from <= to && to <= self.given);
        if from == self.told + 1 {
            tell(Settled { tag: to, multiple: to > from });
            self.told = to;
            self.close_gap();
        } else {
            (from..=to).for_each(|tag| tell(Settled { tag, multiple: false }));
            let place = self.ahead.partition_point(|range| range.0 < from);
            self.ahead.insert(place, (from, to));
            self.join(place);
        }
    }

    /// Ranges that now begin right behind what is told are told too.
    fn close_gap(&mut self) {
        if let Some(&(from, to)) = self.ahead.first()
            && from == self.told + 1
        {
            self.told = to;
            self.ahead.remove(0);
        }
    }

    /// Join the range at `place` with its neighbours where they touch.
    fn join(&mut self, place: usize) {
        if let Some(&(from, to)) = self.ahead.get(place + 1)
            && self.ahead[place].1 + 1 == from
        {
            self.ahead[place].1 = to;
            self.ahead.remove(place + 1);
        }
        if place > 0 && self.ahead[place - 1].1 + 1 == self.ahead[place].0 {
            self.ahead[place - 1].1 = self.ahead[place].1;
            self.ahead.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settle `ranges` one after the other and collect the frames as (tag, multiple).
    fn frames(given: u64, ranges: &[(u64, u64)]) -> (Vec<(u64, bool)>, Confirms) {
        let mut confirms = Confirms { given, ..Confirms::default() };
        let mut told = Vec::new();
        for &(from, to) in ranges {
            confirms.settle(from, to, |settled| told.push((settled.tag, settled.multiple)));
        }
        (told, confirms)
    }

    #[test]
    fn runs_without_a_gap_are_told_at_once_and_others_singly() {
        assert_eq!(frames(5, &[(1, 1), (2, 5)]).0, [(1, false), (5, true)]);
        let (told, confirms) = frames(9, &[(4, 5), (7, 7), (6, 6), (1, 2), (3, 3), (8, 9)]);
        assert_eq!(told, [(4, false), (5, false), (7, false), (6, false), (2, true), (3, false), (9, true)]);
        assert_eq!((confirms.told, confirms.ahead.len(), confirms.outstanding()), (9, 0, 0));
    }
}
