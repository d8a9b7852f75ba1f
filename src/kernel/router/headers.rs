//! Headers exchanges: a binding's arguments against the message's headers, as its match mode says.

use super::{Headers, Matches, Routable};
use crate::settings::MatchMode;
use crate::topology::Bindings;
use crate::value::Value;

/// The argument that names the match mode, in every protocol that has headers exchanges.
const MODE_ARGUMENT: &str = "x-match";

pub(super) fn route<'t>(bindings: &'t Bindings, message: &Routable<'_>, matches: &mut Matches<'t, '_>) {
    matches.volatile = true;
    let headers = matches.take_headers(message);
    for binding in bindings.iter() {
        if !matches.spend(1 + binding.arguments.len()) {
            break;
        }
        if binding_matches(binding.match_mode, &binding.arguments, &headers) {
            matches.add(&binding.target);
        }
    }
    matches.put_back(headers);
}

/// Whether a binding with these arguments takes a message with these headers: see [`MatchMode`].
pub(super) fn binding_matches(mode: MatchMode, arguments: &[(String, Value)], headers: &Headers) -> bool {
    let with_x = matches!(mode, MatchMode::AllWithX | MatchMode::AnyWithX);
    let mut compared = arguments
        .iter()
        .filter(|(name, _)| if with_x { name != MODE_ARGUMENT } else { !name.starts_with("x-") })
        .map(|(name, wanted)| match headers.get(name) {
            Some(found) => *wanted == Value::Void || wanted.means_same(found),
            None => false,
        });
    match mode {
        MatchMode::All | MatchMode::AllWithX => compared.all(|same| same),
        MatchMode::Any | MatchMode::AnyWithX => compared.any(|same| same),
    }
}
