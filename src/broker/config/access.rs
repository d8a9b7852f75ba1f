//! Who may come in: authentication and users.

use super::section::Section;
use super::values::{Secret, boolean, choice, name, secret};
use std::collections::BTreeSet;

/// A SASL mechanism that can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password.
    Plain,
    /// The same in a field table, for clients from before 0-9-1.
    AmqPlain,
    /// Neither.
    Anonymous,
}

const MECHANISMS: [(&str, Mechanism); 3] =
    [("PLAIN", Mechanism::Plain), ("AMQPLAIN", Mechanism::AmqPlain), ("ANONYMOUS", Mechanism::Anonymous)];

/// How clients show who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Else ANONYMOUS and PLAIN are offered, and anybody is let in.
    pub required: bool,
    /// Offered, best first; at least one.
    pub mechanisms: Vec<Mechanism>,
    /// Passwords may cross the network without TLS.
    pub plain_without_tls: bool,
    /// `guest` may come from another machine.
    pub guest_from_anywhere: bool,
}

impl Authentication {
    pub(super) fn read(section: &Section) -> Authentication {
        let authentication = Authentication {
            required: section.required("required", boolean),
            mechanisms: section.values("mechanisms", choice(&MECHANISMS)),
            plain_without_tls: section.required("plain_without_tls", boolean),
            guest_from_anywhere: section.required("guest_from_anywhere", boolean),
        };
        if authentication.mechanisms.is_empty() {
            section.fault("mechanisms", "none that can be offered, expected at least one");
        }
        authentication
    }
}

/// Somebody who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Unique.
    pub name: String,
    /// What they must know.
    pub password: Secret,
}

pub(super) fn read_users(root: &Section) -> Vec<User> {
    let names = std::cell::RefCell::new(BTreeSet::new());
    root.items("users", &["name"], |section| {
        let user = User {
            name: section.required("name", name),
            password: section.required_secret("password", secret),
        };
        if !names.borrow_mut().insert(user.name.clone()) && !user.name.is_empty() {
            section.fault("name", format!("a second user {:?}, expected each name once", user.name));
        }
        user
    })
}
