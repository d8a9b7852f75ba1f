//! Newtype identifiers and time: what every other room counts with.

use std::time::Duration;

/// A point in time, in nanoseconds since the Unix epoch, always given by the caller.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// This time moved forward by `duration`, at most to the end of representable time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// This time moved forward by `milliseconds`, at most to the end of representable time.
    #[must_use]
    pub fn after_milliseconds(self, milliseconds: u64) -> Time {
        Time(self.0.saturating_add(milliseconds.saturating_mul(1_000_000)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub $inner);
    };
}

id!(
    /// A connection, unique in the life of a broker process.
    ConnectionId(u64)
);
id!(
    /// A session of a connection: a 0-9-1 channel, a 0-10 or 1.0 session.
    SessionId(u16)
);
id!(
    /// A consumer of a connection, numbered by its adapter; never reused within the connection.
    ConsumerId(u32)
);
id!(
    /// A queue; never reused, so that a late command cannot reach a namesake.
    QueueId(u64)
);
id!(
    /// The place of an entry in its queue: given once, rising by one.
    Sequence(u64)
);

/// Whose encoding a message's head is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Origin {
    /// AMQP 0-9-1: property flags and property list of the content header.
    Amqp091 = 0,
    /// AMQP 0-10: the header segment.
    Amqp010 = 1,
    /// AMQP 1.0: the sections in front of the body.
    Amqp100 = 2,
}
