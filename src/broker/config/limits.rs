//! Bounds on what peers can make the broker hold, and on how long they may take.

use super::section::Section;
use super::units::{show_bytes, show_duration};
use super::values::{duration, integer, size};
use fairlead_kernel::topology::TopologyBounds;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: u32,
    /// Open connections of one user.
    pub connections_per_user: u32,
    /// Channels of a connection.
    pub channels_per_connection: u16,
    /// Consumers of a channel.
    pub consumers_per_channel: u32,
    /// Deliveries of a consumer without an acknowledgement.
    pub unsettled_per_consumer: u32,
    /// Bytes of a frame, envelope included.
    pub frame_size: u32,
    /// Bytes of a message's body.
    pub message_size: u64,
    /// Bytes of a connection's messages that have not wholly arrived.
    pub incomplete_message_bytes: u64,
    /// Bytes that a channel's open transaction holds.
    pub transaction_bytes: u64,
    /// Bytes held for a connection before it is authenticated.
    pub pre_authentication_bytes: u32,
    /// Queues of a virtual host.
    pub queues: u64,
    /// Exchanges of a virtual host.
    pub exchanges: u64,
    /// Bindings of a virtual host.
    pub bindings: u64,
}

impl Limits {
    pub(super) fn read(section: &Section) -> Limits {
        let limits = Limits {
            connections: section.required("connections", integer(1..=10_000_000)),
            connections_per_user: section.required("connections_per_user", integer(1..=10_000_000)),
            channels_per_connection: section.required("channels_per_connection", integer(1..=u16::MAX)),
            consumers_per_channel: section.required("consumers_per_channel", integer(1..=1_000_000)),
            unsettled_per_consumer: section.required("unsettled_per_consumer", integer(1..=100_000_000)),
            frame_size: section.required("frame_size", size_u32(4 * KIB, 16 * MIB)),
            message_size: section.required("message_size", size(1..=64 * GIB)),
            incomplete_message_bytes: section.required("incomplete_message_bytes", size(1..=128 * GIB)),
            transaction_bytes: section.required("transaction_bytes", size(KIB..=64 * GIB)),
            pre_authentication_bytes: section.required("pre_authentication_bytes", size_u32(4 * KIB, MIB)),
            queues: section.required("queues", integer(1..=100_000_000)),
            exchanges: section.required("exchanges", integer(1..=100_000_000)),
            bindings: section.required("bindings", integer(1..=1_000_000_000)),
        };
        // Else a message that may be sent could never arrive.
        let (incomplete, message) = (limits.incomplete_message_bytes, limits.message_size);
        if incomplete < message + u64::from(limits.frame_size) {
            let [incomplete, message, frame] =
                [incomplete, message, limits.frame_size.into()].map(show_bytes);
            let text = format!(
                "incomplete_message_bytes is {incomplete}, message_size {message} and frame_size {frame}, expected at \
                 least both together"
            );
            section.conflict(["incomplete_message_bytes", "message_size"], text);
        }
        limits
    }
}

impl Limits {
    /// Those of a virtual host's topology.
    #[must_use]
    pub fn topology(&self) -> TopologyBounds {
        TopologyBounds { queues: self.queues, exchanges: self.exchanges, bindings: self.bindings }
    }
}

fn size_u32(from: u64, to: u64) -> impl Fn(&super::node::Value) -> super::values::Parsed<u32> {
    move |value| {
        size(from..=to)(value).and_then(|bytes| u32::try_from(bytes).map_err(|error| error.to_string()))
    }
}

/// How long, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Heartbeat interval suggested to clients, in seconds; 0 is off.
    pub heartbeat_seconds: u16,
    /// From a connection's first byte to its being open.
    pub handshake: Duration,
    /// A delivery without an acknowledgement; zero is without bound.
    pub acknowledgement: Duration,
    /// Clients closing their connections at a shutdown.
    pub drain: Duration,
}

impl Timeouts {
    pub(super) fn read(section: &Section) -> Timeouts {
        let seconds = Duration::from_secs;
        let heartbeat = section.required("heartbeat", duration(Duration::ZERO..=seconds(u16::MAX.into())));
        if heartbeat.subsec_nanos() != 0 {
            section.fault("heartbeat", format!("{}, expected whole seconds", show_duration(heartbeat)));
        }
        Timeouts {
            heartbeat_seconds: u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX),
            handshake: section.required("handshake", duration(seconds(1)..=seconds(600))),
            acknowledgement: section
                .required("acknowledgement", duration(Duration::ZERO..=seconds(365 * 86_400))),
            drain: section.required("drain", duration(Duration::ZERO..=seconds(3600))),
        }
    }
}
