//! From the protocol header to connection.open-ok: one struct a phase, each consumed into the next.
//!
//! ```text
//! AwaitStartOk --start-ok--> AwaitVerdict --Authenticated--> AwaitTuneOk --tune-ok--> AwaitOpen
//!     --open--> AwaitVirtualHost --Done--> Opened
//! ```
//!
//! Our side of it (start, tune, open-ok) is written by the connection when it moves on. Nothing here is
//! larger than one frame of the peer's. Spec: AMQP 0-9-1, clause 2.2.4 "The Connection Class".

mod properties;
mod sasl;
mod tune;

pub(crate) use properties::{Capabilities, server_properties};

use crate::connection::{ConnectionConfig, Peer, SaslMechanism};
use crate::error::Fault;
use crate::spec::{ReplyCode, connection};
use fairlead_kernel::session::Request;

/// connection.start was sent.
#[derive(Debug)]
pub(crate) struct AwaitStartOk;

/// The engine was asked whether the login is good.
#[derive(Debug)]
pub(crate) struct AwaitVerdict {
    client: Client,
    /// Who it says it is.
    pub(crate) claimed: Box<str>,
    mechanism: SaslMechanism,
}

/// connection.tune was sent.
#[derive(Debug)]
pub(crate) struct AwaitTuneOk {
    client: Client,
    user: Box<str>,
}

/// Limits are settled.
#[derive(Debug)]
pub(crate) struct AwaitOpen {
    client: Client,
    user: Box<str>,
    tuned: Tuned,
}

/// The engine was asked for the virtual host.
#[derive(Debug)]
pub(crate) struct AwaitVirtualHost {
    opened: Opened,
}

/// What the client said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    /// Its properties, encoded: validated when start-ok was decoded.
    pub(crate) properties: Box<[u8]>,
    pub(crate) capabilities: Capabilities,
}

/// What both sides keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuned {
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    /// Seconds; 0 is off.
    pub(crate) heartbeat: u16,
}

/// All that the handshake gave.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) user: Box<str>,
    pub(crate) virtual_host: Box<str>,
    pub(crate) tuned: Tuned,
}

/// The mechanisms that this peer may use, best first.
pub(crate) fn offered<'a>(
    config: &'a ConnectionConfig,
    peer: Peer,
) -> impl Iterator<Item = SaslMechanism> + 'a {
    let clear_text = config.allow_plain || peer.loopback || peer.encrypted;
    config.mechanisms.iter().copied().filter(move |mechanism| clear_text || !mechanism.is_clear_text())
}

impl AwaitStartOk {
    /// The client says who it is.
    pub(crate) fn start_ok(
        self,
        method: &connection::StartOk<'_>,
        config: &ConnectionConfig,
        peer: Peer,
    ) -> Result<(AwaitVerdict, Request), Fault> {
        let Some(mechanism) = offered(config, peer).find(|offer| offer.name() == method.mechanism) else {
            return Err(Fault::new(
                ReplyCode::CommandInvalid,
                format!("unknown authentication mechanism '{}'", method.mechanism),
            ));
        };
        let request = sasl::request(mechanism, method.response)?;
        let client = Client {
            properties: method.client_properties.as_bytes().into(),
            capabilities: Capabilities::of(method.client_properties),
        };
        let claimed = match &request {
            Request::Authenticate { user, .. } => user.as_str().into(),
            _ => Box::default(),
        };
        Ok((AwaitVerdict { client, claimed, mechanism }, request))
    }
}

impl AwaitVerdict {
    /// The login was good.
    pub(crate) fn authenticated(self, user: String) -> AwaitTuneOk {
        AwaitTuneOk { client: self.client, user: user.into() }
    }

    /// The login was refused: what to say, to a client that listens for it.
    pub(crate) fn refused(&self) -> (Fault, bool) {
        let text = format!(
            "Login was refused using authentication mechanism {}. For details see the broker logfile.",
            self.mechanism.name()
        );
        (Fault::new(ReplyCode::AccessRefused, text), self.client.capabilities.authentication_failure_close)
    }
}

impl AwaitTuneOk {
    /// The client answers our limits with its own.
    pub(crate) fn tune_ok(
        self,
        method: &connection::TuneOk,
        config: &ConnectionConfig,
    ) -> Result<AwaitOpen, Fault> {
        let tuned = tune::negotiate(method, config)?;
        Ok(AwaitOpen { client: self.client, user: self.user, tuned })
    }
}

impl AwaitOpen {
    /// The client names its virtual host.
    pub(crate) fn open(self, method: &connection::Open<'_>) -> (AwaitVirtualHost, Request) {
        let opened = Opened {
            client: self.client,
            user: self.user,
            virtual_host: method.virtual_host.into(),
            tuned: self.tuned,
        };
        (AwaitVirtualHost { opened }, Request::OpenVirtualHost { name: method.virtual_host.to_owned() })
    }

    pub(crate) fn tuned(&self) -> Tuned {
        self.tuned
    }
}

impl AwaitVirtualHost {
    /// The virtual host is entered.
    pub(crate) fn entered(self) -> Opened {
        self.opened
    }

    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }
}
