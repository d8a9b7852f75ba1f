//! Accepting clients: each becomes a task that greets it and then pumps its frames.
//!
//! What a client that has not said who it is can hold is bounded in bytes and seconds: a deadline covers the
//! proxy's header and the protocol's, the adapter's own covers the rest of the handshake.

use crate::net::amqp_0_9_1::Amqp091;
use crate::net::protocol::Protocol;
use crate::net::proxy_protocol;
use crate::net::pump::{End, Pump};
use crate::net::sniff::{self, Sniffed};
use arc_swap::ArcSwap;
use fairlead_amqp_0_9_1::connection::{Connection as Adapter, ConnectionConfig, Peer, SaslMechanism};
use fairlead_amqp_0_9_1::translate::names::NameKey;
use fairlead_engine::counters::Counter;
use fairlead_engine::{Broker, Connection, Endpoints, Seldom, explain};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long to wait after the system had no socket to give.
const BREATH: Duration = Duration::from_millis(50);

/// What every connection of a listener is made of.
#[derive(Debug)]
pub struct Service {
    /// The engine.
    pub broker: Arc<Broker>,
    /// For AMQP 0-9-1 connections that are still to come; a reload stores another.
    pub amqp_0_9_1: ArcSwap<ConnectionConfig>,
    /// What names that the broker chooses are made with.
    pub name_key: NameKey,
    /// Connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Lines about connections that were turned away.
    pub turned_away: Seldom,
}

impl Service {
    /// Accept clients for as long as the task lives.
    pub async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(Arc::clone(&self).serve(stream, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let peer = canonical(peer);
        let handshake_timeout = self.amqp_0_9_1.load().handshake_timeout;
        // Boxed, so that a connection does not keep room for its greeting.
        let greeted = Box::pin(timeout(handshake_timeout, self.greet(stream, peer))).await;
        let (pump, name) = match greeted {
            Ok(Ok(Some(greeted))) => greeted,
            Ok(Ok(None)) => return,
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.broker.counters().add(Counter::ConnectionsRefused, 1);
                if let Some(withheld) = self.may_tell() {
                    tracing::warn!(%peer, withheld, "connection turned away: {error}");
                }
                return;
            }
            Ok(Err(error)) => {
                if let Some(withheld) = self.may_tell() {
                    tracing::info!(%peer, %error, withheld, "connection ended before its protocol header");
                }
                return;
            }
            Err(_) => {
                self.broker.counters().add(Counter::ConnectionsRefused, 1);
                if let Some(withheld) = self.may_tell() {
                    tracing::info!(%peer, withheld, "no protocol header within the handshake's time");
                }
                return;
            }
        };
        drop(self);
        match pump.run().await {
            Ok(End::ByClient) => tracing::info!(connection = name, "connection closed by its client"),
            Ok(End::ByBroker(reason)) => {
                tracing::info!(connection = name, reason, "connection closed by the broker");
            }
            Ok(End::Lost { authenticated: true }) => {
                tracing::info!(connection = name, "connection lost: its client closed the socket");
            }
            Ok(End::Lost { authenticated: false }) => {
                tracing::info!(
                    connection = name,
                    "connection lost: its client closed the socket before it logged in"
                );
            }
            Ok(End::TooMuch) => {
                let key = "limits.pre_authentication_bytes";
                tracing::warn!(
                    connection = name,
                    key,
                    "connection closed by the broker: too many bytes before a login"
                );
            }
            Err(error) => tracing::info!(connection = name, %error, "connection lost"),
        }
    }

    /// Whether a line about a connection that cannot come in may be written, and how many were not.
    fn may_tell(&self) -> Option<Option<u64>> {
        self.turned_away.pass(self.broker.clock().now())
    }

    /// Read the headers; `None` if the client is turned away.
    async fn greet(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<Option<(Pump, String)>> {
        // Inherited from the listener on Linux; elsewhere not.
        stream.set_nodelay(true)?;
        let local = canonical(stream.local_addr()?);
        let client = if self.proxy_protocol { proxy_protocol::read(&mut stream).await? } else { None };
        let loopback = client.is_none() && !self.proxy_protocol && peer.ip().is_loopback();
        match sniff::sniff(&mut stream).await? {
            Sniffed::Amqp091 => {}
            Sniffed::Closed => {
                tracing::debug!(%peer, "closed before its protocol header");
                return Ok(None);
            }
            Sniffed::Other(sent) => {
                self.broker.counters().add(Counter::ConnectionsRefused, 1);
                if let Some(withheld) = self.may_tell() {
                    let hint = sniff::hint(&sent);
                    let sent = sent.escape_ascii();
                    tracing::warn!(%peer, %sent, withheld, "connection turned away: {hint}");
                }
                return Ok(None);
            }
        }
        let endpoints = Endpoints { peer: client.map_or(peer, canonical), local, loopback };
        let now = self.broker.clock().now();
        let engine: Connection = match self.broker.connect(endpoints, now) {
            Ok(engine) => engine,
            Err(refusal) => {
                if let Some(withheld) = self.may_tell() {
                    tracing::warn!(%peer, withheld, "connection turned away: {}", explain(&refusal));
                }
                return Ok(None);
            }
        };
        let name = engine.entry().name();
        tracing::debug!(connection = name, "connection accepted");
        let broker = Arc::clone(&self.broker);
        let config = self.amqp_0_9_1.load_full();
        if !loopback
            && !config.allow_plain
            && let Some(withheld) = self.may_tell()
        {
            tell_mechanisms(&name, &config.mechanisms, withheld);
        }
        let pre_authentication_bytes = config.initial_frame_max as usize;
        let peer = Peer { connection: engine.id(), loopback, encrypted: false };
        let adapter = Adapter::new(config, peer, now, self.name_key);
        let protocol = Protocol::Amqp091(Box::new(Amqp091::new(
            adapter,
            Arc::clone(&broker),
            Arc::clone(engine.entry()),
        )));
        let pump = Pump::new(stream, broker, protocol, engine, pre_authentication_bytes);
        Ok(Some((pump, name)))
    }
}

/// An IPv4 client of a listener for both is shown, and judged, as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => (v4, address.port()).into(),
        // It keeps its scope.
        IpAddr::V6(_) => address,
    }
}

/// A client from elsewhere is not offered what would carry its password in clear, and ends without a word that says so.
fn tell_mechanisms(connection: &str, mechanisms: &[SaslMechanism], withheld: Option<u64>) {
    let key = "authentication.plain_without_tls";
    if mechanisms.iter().all(|mechanism| is_clear_text(*mechanism)) {
        tracing::warn!(
            connection,
            key,
            withheld,
            "no way to log in is offered: without TLS, passwords are taken from this machine only"
        );
    } else if mechanisms.iter().any(|mechanism| is_clear_text(*mechanism)) {
        tracing::info!(
            connection,
            key,
            withheld,
            "only ANONYMOUS is offered: without TLS, passwords are taken from this machine only"
        );
    }
}

fn is_clear_text(mechanism: SaslMechanism) -> bool {
    match mechanism {
        SaslMechanism::Plain | SaslMechanism::AmqPlain => true,
        SaslMechanism::Anonymous => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_shown_as_one() {
        for (given, expect) in [
            ("[::ffff:127.0.0.1]:5672", "127.0.0.1:5672"),
            ("[::ffff:10.1.2.3]:1", "10.1.2.3:1"),
            ("[::1]:5672", "[::1]:5672"),
            ("192.0.2.1:5672", "192.0.2.1:5672"),
        ] {
            assert_eq!(canonical(given.parse().unwrap()).to_string(), expect);
        }
    }
}
