//! What a connection is told at its birth.

use fairlead_kernel::ids::ConnectionId;
use std::time::Duration;

/// Settings that all connections of a listener share.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// `product`, `version` and other texts of the server-properties, in order.
    pub product: Vec<(String, String)>,
    /// SASL mechanisms offered, best first.
    pub mechanisms: Vec<SaslMechanism>,
    /// Mechanisms that send the password in clear are offered to peers that are not on this machine, too.
    pub allow_plain: bool,
    /// Channels of a connection at most; not 0.
    pub channel_max: u16,
    /// Bytes of a frame at most, envelope included; at least 4096.
    pub frame_max: u32,
    /// Bytes of a frame at most before the peer has said who it is.
    pub initial_frame_max: u32,
    /// Heartbeat interval suggested to clients, in seconds; they have the last word. 0 is off.
    pub heartbeat: u16,
    /// Bytes of a message's body at most.
    pub message_size_max: u64,
    /// Bytes of heads and bodies of messages that have not wholly arrived yet, over all channels of a connection, at
    /// most; the largest message with the largest head should fit.
    pub incomplete_bytes_max: u64,
    /// Deliveries that wait for their acknowledgement, at most, of each consumer.
    pub unsettled_max: u32,
    /// Consumers of a channel at most.
    pub consumers_max: u32,
    /// Queues of type `quorum` may be declared; else they are refused by name.
    pub quorum_queues: bool,
    /// How long a delivery may wait for its acknowledgement; zero is without bound.
    pub acknowledgement_timeout: Duration,
    /// From the protocol header to connection.open-ok.
    pub handshake_timeout: Duration,
    /// From our connection.close to the peer's close-ok.
    pub close_timeout: Duration,
    /// How long a refused login is left without an answer, for clients that cannot be told.
    pub refusal_delay: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> ConnectionConfig {
        ConnectionConfig {
            product: vec![
                ("product".to_owned(), "Fairlead".to_owned()),
                ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
                ("platform".to_owned(), "Rust".to_owned()),
            ],
            mechanisms: vec![SaslMechanism::Plain],
            allow_plain: false,
            channel_max: 2047,
            frame_max: 131_072,
            initial_frame_max: 8192,
            heartbeat: 60,
            message_size_max: 128 << 20,
            incomplete_bytes_max: 256 << 20,
            unsettled_max: 1_000_000,
            consumers_max: 10_000,
            quorum_queues: false,
            acknowledgement_timeout: Duration::from_secs(30 * 60),
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            refusal_delay: Duration::from_secs(3),
        }
    }
}

/// A SASL mechanism as this protocol knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// RFC 4616.
    Plain,
    /// PLAIN in a field table: the mechanism of clients from before 0-9-1.
    AmqPlain,
    /// RFC 4505.
    Anonymous,
}

impl SaslMechanism {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::AmqPlain => "AMQPLAIN",
            SaslMechanism::Anonymous => "ANONYMOUS",
        }
    }

    /// Whether a listener on the wire can read the password.
    #[must_use]
    pub const fn is_clear_text(self) -> bool {
        match self {
            SaslMechanism::Plain | SaslMechanism::AmqPlain => true,
            SaslMechanism::Anonymous => false,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The connection's number in the engine: what it publishes carries it.
    pub connection: ConnectionId,
    /// It is on this machine.
    pub loopback: bool,
    /// Nobody can read along.
    pub encrypted: bool,
}
