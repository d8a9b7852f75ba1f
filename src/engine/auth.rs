//! Who may come in: SASL mechanism, name and secret against the configured users.

use fairlead_kernel::session::Mechanism;
use std::collections::BTreeMap;

/// The name that ANONYMOUS gives, and that may come from loopback only unless the settings say otherwise.
pub const GUEST: &str = "guest";

/// Why a login is refused, for the log: its client is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginFault {
    /// ANONYMOUS is not among the mechanisms.
    #[error("ANONYMOUS is not among authentication.mechanisms")]
    Anonymous,
    /// The password came without TLS from another machine.
    #[error(
        "a password without TLS is taken from this machine only, unless authentication.plain_without_tls is true"
    )]
    WithoutTls,
    /// [`GUEST`] came from another machine.
    #[error("guest may come from this machine only, unless authentication.guest_from_anywhere is true")]
    GuestFromElsewhere,
    /// Nobody of that name.
    #[error("no user of that name is in users")]
    UnknownUser,
    /// The password is another.
    #[error("the password is not the one in users")]
    WrongSecret,
}

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
    /// The user that this login is for.
    ///
    /// # Errors
    /// It is refused, and why.
    pub fn check(
        &self,
        mechanism: Mechanism,
        user: &str,
        secret: &[u8],
        loopback: bool,
    ) -> Result<String, LoginFault> {
        let name = match mechanism {
            Mechanism::Anonymous if self.disabled || self.anonymous => return Ok(GUEST.to_owned()),
            Mechanism::Anonymous => return Err(LoginFault::Anonymous),
            Mechanism::Plain => user,
        };
        if self.disabled {
            return Ok(name.to_owned());
        }
        if !loopback && !self.plain_without_tls {
            return Err(LoginFault::WithoutTls);
        }
        if !loopback && name == GUEST && !self.guest_from_anywhere {
            return Err(LoginFault::GuestFromElsewhere);
        }
        let known = self.users.get(name);
        // An unknown name takes the time of a known one.
        let expected = known.map_or(&[][..], Vec::as_slice);
        let same = same_secret(expected, secret);
        match known {
            None => Err(LoginFault::UnknownUser),
            Some(_) if !same => Err(LoginFault::WrongSecret),
            Some(_) => Ok(name.to_owned()),
        }
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
    fn check(
        auth: &Authentication,
        login: (Mechanism, &str, &str),
        loopback: bool,
        expect: Result<&str, LoginFault>,
    ) {
        let (mechanism, user, secret) = login;
        let checked = auth.check(mechanism, user, secret.as_bytes(), loopback);
        assert_eq!(checked.as_deref(), expect.as_ref().copied());
    }

    #[test]
    fn plain_wants_the_right_secret_and_guest_the_same_machine() {
        let mut auth = users();
        check(&auth, (Mechanism::Plain, "guest", "guest"), true, Ok("guest"));
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), true, Ok("ann"));
        for wrong in ["", "s3cre", "s3cret1", "S3cret"] {
            check(&auth, (Mechanism::Plain, "ann", wrong), true, Err(LoginFault::WrongSecret));
        }
        check(&auth, (Mechanism::Plain, "nobody", ""), true, Err(LoginFault::UnknownUser));
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), false, Err(LoginFault::WithoutTls));
        auth.plain_without_tls = true;
        check(&auth, (Mechanism::Plain, "ann", "s3cret"), false, Ok("ann"));
        check(&auth, (Mechanism::Plain, "guest", "guest"), false, Err(LoginFault::GuestFromElsewhere));
        auth.guest_from_anywhere = true;
        check(&auth, (Mechanism::Plain, "guest", "guest"), false, Ok("guest"));
    }

    #[test]
    fn anonymous_only_where_allowed() {
        let mut auth = users();
        check(&auth, (Mechanism::Anonymous, "", ""), true, Err(LoginFault::Anonymous));
        auth.anonymous = true;
        check(&auth, (Mechanism::Anonymous, "", ""), false, Ok("guest"));
        let open = Authentication { disabled: true, ..Authentication::default() };
        check(&open, (Mechanism::Plain, "who", "ever"), false, Ok("who"));
    }
}
