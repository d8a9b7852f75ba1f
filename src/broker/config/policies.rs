//! Policies, under the keys that RabbitMQ's have.

use super::declared::{Once, vhost};
use super::section::Section;
use super::values::{choice, integer, key, name, text};
use fairlead_kernel::settings::{Limits, Overflow};
use fairlead_kernel::topology::{AppliesTo, Policy, PolicyDefinition};

const APPLY_TO: [(&str, AppliesTo); 3] =
    [("queues", AppliesTo::Queues), ("exchanges", AppliesTo::Exchanges), ("all", AppliesTo::All)];

const OVERFLOW: [(&str, Overflow); 3] = [
    ("drop-head", Overflow::DropHead),
    ("reject-publish", Overflow::Reject),
    ("reject-publish-dlx", Overflow::RejectDeadLetter),
];

/// A policy of a virtual host; its pattern compiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VhostPolicy {
    /// The virtual host.
    pub vhost: String,
    /// The policy.
    pub definition: PolicyDefinition,
}

pub(super) fn read_policies(root: &Section, vhosts: &[String]) -> Vec<VhostPolicy> {
    let once = Once::default();
    root.items("policies", &["vhost", "name"], |section| {
        let vhost = vhost(section, vhosts);
        let applies_to = section.optional("apply_to", choice(&APPLY_TO)).unwrap_or_default();
        let (limits, alternate, given) = section.section("definition", |definition| {
            let (limits, alternate) =
                (read_limits(definition), definition.optional("alternate-exchange", name));
            (limits, alternate, !definition.is_empty())
        });
        let definition = PolicyDefinition {
            name: section.required("name", name),
            pattern: section.required("pattern", text),
            applies_to,
            priority: section.optional("priority", integer(i32::MIN..=i32::MAX)).unwrap_or_default(),
            limits,
            alternate,
        };
        once.check(section, "policy", (&vhost, &definition.name));
        check_definition(section, &definition, given);
        VhostPolicy { vhost, definition }
    })
}

fn read_limits(definition: &Section) -> Limits {
    let whole = || integer(0..=i64::MAX as u64);
    let limits = Limits {
        max_messages: definition.optional("max-length", whole()),
        max_bytes: definition.optional("max-length-bytes", whole()),
        overflow: definition.optional("overflow", choice(&OVERFLOW)),
        message_ttl: definition.optional("message-ttl", whole()),
        expires: definition.optional("expires", integer(1..=i64::MAX as u64)),
        dead_letter_exchange: definition.optional("dead-letter-exchange", key),
        dead_letter_key: definition.optional("dead-letter-routing-key", key),
        delivery_limit: definition.optional("delivery-limit", integer(0..=u32::MAX)),
    };
    // One that is wrong or wrongly written has been reported.
    let exchange_is_given = definition.has("dead-letter-exchange") || !definition.has_only_asked();
    if limits.dead_letter_key.is_some() && !exchange_is_given {
        definition.fault("dead-letter-routing-key", "without dead-letter-exchange, expected both");
    }
    limits
}

fn check_definition(section: &Section, definition: &PolicyDefinition, given: bool) {
    let for_queues = definition.limits != Limits::default();
    let for_exchanges = definition.alternate.is_some();
    if !given {
        section.fault("definition", "nothing, expected at least one key");
    }
    match definition.applies_to {
        AppliesTo::Queues if for_exchanges => {
            section.fault("definition", "alternate-exchange is for exchanges, but apply_to is queues");
        }
        AppliesTo::Exchanges if for_queues => {
            section.fault("definition", "keys for queues, but apply_to is exchanges");
        }
        AppliesTo::Queues | AppliesTo::Exchanges | AppliesTo::All => {}
    }
    if let Err(bad) = Policy::new(definition.clone()) {
        section.fault(
            "pattern",
            format!("{:?} is no regular expression that can be used: {}", bad.pattern, one_line(&bad.reason)),
        );
    }
}

/// The regex crate draws its errors over several lines; the last one says what is wrong.
fn one_line(reason: &str) -> &str {
    let last = reason.lines().last().unwrap_or(reason);
    last.trim_start_matches("error: ")
}
