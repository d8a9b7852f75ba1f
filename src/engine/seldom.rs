//! Log lines that anybody on the network can cause: so many a second are written, the others are counted.

use fairlead_kernel::Time;
use parking_lot::Mutex;

/// Lines of a second.
const LINES: u32 = 20;
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// Lines of one kind.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Rank: leaf.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    second: u64,
    written: u32,
    withheld: u64,
}

impl Seldom {
    /// Whether a line may be written at `now`: `Some` with how many were withheld before it, if any were.
    #[must_use]
    pub fn pass(&self, now: Time) -> Option<Option<u64>> {
        let mut state = self.state.lock();
        let second = now.0 / SECOND;
        if state.second != second {
            (state.second, state.written) = (second, 0);
        }
        if state.written == LINES {
            state.withheld += 1;
            return None;
        }
        state.written += 1;
        let withheld = std::mem::take(&mut state.withheld);
        Some((withheld > 0).then_some(withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_told_later() {
        let seldom = Seldom::default();
        for _ in 0..LINES {
            assert_eq!(seldom.pass(Time(7)), Some(None));
        }
        assert_eq!((seldom.pass(Time(8)), seldom.pass(Time(SECOND - 1))), (None, None));
        assert_eq!(seldom.pass(Time(SECOND)), Some(Some(2)));
        assert_eq!(seldom.pass(Time(SECOND)), Some(None));
    }
}
