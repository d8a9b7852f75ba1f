//! Who may come in: SASL mechanism, name and secret against the configured users.

use fairlead_kernel::session::Mechanism;
use std::collections::BTreeMap;

/// The name that ANONYMOUS gives, and that may come from loopback only unless the settings say otherwise.
pub const GUEST: &str = "guest";

/// How users are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Names with passwords.
    pub users: BTreeMap<String, Vec<u8>>,
    /// Any name and secret will do, and ANONYMOUS is accepted.
    pub disabled: bool,
    /// ANONYMOUS is accepted as [`GUEST`].
    pub anonymous: bool,
    /// PLAIN without TLS is accepted from other machines.
    pub plain_without_tls: bool,
    /// [`GUEST`] may come from other machines.
    pub guest_from_anywhere: bool,
}

impl Authentication {
    /// The user that this login is for, or `None` if it is refused.
    #[must_use]
    pub fn check(&self, mechanism: Mechanism, user: &str, secret: &[u8], loopback: bool) -> Option<String> {
        let name = match mechanism {
            Mechanism::Anonymous if self.disabled || self.anonymous => return Some(GUEST.to_owned()),
            Mechanism::Anonymous => return None,
            Mechanism::Plain => user,
        };
        if self.disabled {
            return Some(name.to_owned());
        }
        if !loopback && (!self.plain_without_tls || (name == GUEST && !self.guest_from_anywhere)) {
            return None;
        }
        let known = self.users.get(name);
        // An unknown name takes the time of a known one.
        let expected = known.map_or(&[][..], Vec::as_slice);
        let same = same_secret(expected, secret);
        (same && known.is_some()).then(|| name.to_owned())
    }
}

/// Equality in a time that depends on the length of `given` only.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let mut difference = expected.len() ^ given.len();
    for (index, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ expected.get(index).copied().unwrap_or(0));
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Authentication {
        let users = [(GUEST, GUEST), ("ann", "s3cret")];
        Authentication {
            users: users.map(|(name, secret)| (name.to_owned(), secret.into())).into(),
            ..Authentication::default()
        }
    }

    #[track_caller]
    fn check(auth: &Authentication, login: (Mechanism, &str, &str), loopback: bool, expect: Option<&str>) {
        let (mechanism, user, secret) = login;
        assert_eq!(auth.check(mechanism, user, secret.as_bytes(), loopback).as_deref(), expect);
    }

    #[test]
    fn plain_wants_the_right_secret_and_guest_the_same_machine() {
        let mut auth = users();
        check(&auth, (Mechanism::Plain, "guest", "guest"), true, Some("guest"));
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), true, Some("ann"));
        for wrong in ["", "s3cre", "s3cret1", "S3cret"] {
            check(&auth, (Mechanism::Plain, "ann", wrong), true, None);
        }
        check(&auth, (Mechanism::Plain, "nobody", ""), true, None);
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), false, None);
        auth.plain_without_tls = true;
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), false, Some("ann"));
        check(&auth, (Mechanism::Plain, "guest", "guest"), false, None);
        auth.guest_from_anywhere = true;
        check(&auth, (Mechanism::Plain, "guest", "guest"), false, Some("guest"));
    }

    #[test]
    fn anonymous_only_where_allowed() {
        let mut auth = users();
        check(&auth, (Mechanism::Anonymous, "", ""), true, None);
        auth.anonymous = true;
        check(&auth, (Mechanism::Anonymous, "", ""), false, Some("guest"));
        let open = Authentication { disabled: true, ..Authentication::default() };
        check(&open, (Mechanism::Plain, "who", "ever"), false, Some("who"));
    }
}
