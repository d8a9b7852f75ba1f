//! A connection as management shows it.

use super::Connection;
use crate::channel::{Mode, State};
use crate::codec::Table;
use crate::translate::to_value;
use fairlead_kernel::session::Properties;

/// A connection at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionDescription {
    /// The authenticated user; empty before.
    pub user: String,
    /// The virtual host; empty before it is entered.
    pub virtual_host: String,
    /// What the client said of itself.
    pub client_properties: Properties,
    /// Channels at most.
    pub channel_max: u16,
    /// Bytes of a frame at most.
    pub frame_max: u32,
    /// Seconds; 0 is off.
    pub heartbeat: u16,
    /// `starting`, `running`, `blocked` or `closing`.
    pub state: &'static str,
    /// Open channels.
    pub channels: Vec<ChannelDescription>,
}

/// A channel at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelDescription {
    /// Its number.
    pub number: u16,
    /// Its consumers.
    pub consumers: usize,
    /// Deliveries that wait for their acknowledgement.
    pub unacknowledged: usize,
    /// Publishes that wait for their confirmation.
    pub unconfirmed: u64,
    /// basic.qos for new consumers; 0 is no bound.
    pub prefetch: u16,
    /// basic.qos with global; 0 is no bound.
    pub global_prefetch: u16,
    /// Publishes are confirmed.
    pub confirms: bool,
    /// Publishes and acknowledgements wait for commit.
    pub transactional: bool,
}

impl Connection {
    /// What management shows. Not for hot paths: it copies.
    #[must_use]
    pub fn describe(&self) -> ConnectionDescription {
        let opened = self.opened.as_deref();
        let properties =
            opened.map(|opened| Table::from_validated(&opened.client.properties)).unwrap_or_default();
        ConnectionDescription {
            user: self.user().to_owned(),
            virtual_host: opened.map(|opened| opened.virtual_host.to_string()).unwrap_or_default(),
            client_properties: properties
                .iter()
                .map(|(name, field)| (name.to_owned(), to_value(field)))
                .collect(),
            channel_max: opened.map_or(self.config.channel_max, |opened| opened.tuned.channel_max),
            frame_max: self.frame_max,
            heartbeat: opened.map_or(0, |opened| opened.tuned.heartbeat),
            state: match (self.is_open(), opened) {
                (true, _) if self.flow.stalled => "blocked",
                (true, _) => "running",
                (false, None) => "starting",
                (false, Some(_)) => "closing",
            },
            channels: self
                .channels
                .iter()
                .filter(|channel| channel.state == State::Open)
                .map(|channel| ChannelDescription {
                    number: channel.number,
                    consumers: channel.consumers.len(),
                    unacknowledged: channel.unsettled.len(),
                    unconfirmed: match &channel.mode {
                        Mode::Confirm(confirms) => confirms.outstanding(),
                        Mode::Plain | Mode::Transaction(_) => 0,
                    },
                    prefetch: channel.prefetch,
                    global_prefetch: channel.session_prefetch,
                    confirms: matches!(channel.mode, Mode::Confirm(_)),
                    transactional: matches!(channel.mode, Mode::Transaction(_)),
                })
                .collect(),
        }
    }

    /// The authenticated user's name, once the connection is open.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        self.opened.as_deref().map(|opened| &*opened.user)
    }
}
