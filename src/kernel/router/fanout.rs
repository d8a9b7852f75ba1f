//! Fanout exchanges: every binding matches.

use super::Matches;
use crate::topology::Bindings;

pub(super) fn route<'t>(bindings: &'t Bindings, matches: &mut Matches<'t, '_>) {
    bindings.iter().for_each(|binding| matches.add(&binding.target));
}
