//! A connection's state machine: frames, events and time in; requests, publishes and bytes out.
//!
//! ```text
//! socket -> codec::decode -> handle_frame -> Batch / poll_published -> engine (publishes)
//!                                         -> poll_request           -> engine (everything else)
//! engine -> handle_event, deliver -> poll_transmit / Output -> socket
//! clock  -> poll_timeout, handle_timeout
//! ```
//!
//! There is no socket, no clock and no random number here: the same calls give the same bytes.

pub(crate) mod batch;
mod closing;
mod config;
mod content;
mod deliver;
mod describe;
mod events;
mod handshaking;
mod methods;
mod receive;
mod repeat;
mod replies;
#[cfg(test)]
mod tests;
mod timers;
mod whole;

pub use batch::{Batch, OwnedPublish};
pub use config::{ConnectionConfig, Peer, SaslMechanism};
pub use describe::{ChannelDescription, ConnectionDescription};

pub use crate::error::{ProtocolError, Scope};

use crate::channel::Channels;
use crate::codec::EncodeMethod;
use crate::codec::frame::encode_method;
use crate::handshake::{AwaitOpen, AwaitStartOk, AwaitTuneOk, AwaitVerdict, AwaitVirtualHost, Opened};
use crate::translate::names::{NameKey, Names};
use closing::Ending;
use fairlead_kernel::ids::{SessionId, Time};
use fairlead_kernel::output::Output;
use fairlead_kernel::session::{Request, Unsettled};
use repeat::Repeat;
use replies::Awaiting;
use std::collections::VecDeque;
use std::sync::Arc;
use timers::Timers;

/// One AMQP 0-9-1 connection, from behind the eight bytes of its protocol header.
///
/// The caller's loop, for each read of the socket:
///
/// 1. While [`wants_input`](Self::wants_input) and a frame is complete, try
///    [`handle_whole_publishes`](Self::handle_whole_publishes), then decode a frame (with
///    [`frame_max`](Self::frame_max)) and call [`handle_frame`](Self::handle_frame). An error goes to
///    [`handle_error`](Self::handle_error); behind one of the decoder's, drop all bytes read so far.
/// 2. After each frame, if [`has_request`](Self::has_request): flush the batch's publishes, then take
///    [`poll_published`](Self::poll_published) and [`poll_request`](Self::poll_request) until they are empty.
/// 3. Before the read buffer is reused: flush, [`finish_batch`](Self::finish_batch), and take all again.
/// 4. The engine's answers go to [`handle_event`](Self::handle_event) and [`deliver`](Self::deliver);
///    [`poll_transmit`](Self::poll_transmit) gives what is to be written.
/// 5. When [`is_closed`](Self::is_closed), end the connection in the engine with
///    [`take_unsettled`](Self::take_unsettled), *then* write what is left, then close the socket: exclusive
///    queues must be gone before a peer reads close-ok.
#[derive(Debug)]
pub struct Connection {
    config: Arc<ConnectionConfig>,
    peer: Peer,
    phase: Phase,
    /// What the handshake gave, once it did.
    opened: Option<Box<Opened>>,
    /// For frames of the peer's and of ours, in bytes.
    frame_max: u32,
    channels: Channels,
    requests: VecDeque<(SessionId, Request)>,
    /// How many of `requests` cannot wait for the batch's end.
    urgent: usize,
    awaiting: VecDeque<Awaiting>,
    published: VecDeque<OwnedPublish>,
    /// Bytes of heads and bodies of messages that channels are collecting.
    incomplete_bytes: u64,
    replies: Output,
    /// The delivery before the next.
    repeat: Repeat,
    /// What has closed a channel or the connection, and was not asked for yet.
    faults: VecDeque<ProtocolError>,
    names: Names,
    last_consumer: u32,
    flow: Flow,
    timers: Timers,
}

/// Where a connection is in its life; each of the peer's phases is a struct that the next one consumes.
#[derive(Debug)]
enum Phase {
    AwaitStartOk(AwaitStartOk),
    AwaitVerdict(AwaitVerdict),
    AwaitTuneOk(AwaitTuneOk),
    AwaitOpen(AwaitOpen),
    AwaitVirtualHost(AwaitVirtualHost),
    Open,
    /// Sessions end, then a close or close-ok is sent.
    Ending(Ending),
    /// We sent connection.close.
    AwaitCloseOk,
    /// A login was refused, and its client cannot be told.
    Silent,
    Closed,
    /// A phase is being consumed into the next; left only by a fault.
    Between,
}

/// Whether publishers are held back, and who knows of it.
#[derive(Debug, Default)]
struct Flow {
    /// This connection has published: it is a publisher.
    publishes: bool,
    /// Why publishers are held back, if they are.
    blocked: Option<&'static str>,
    /// connection.blocked was sent.
    told: bool,
    /// A publish came while publishers are held back: nothing more is read.
    stalled: bool,
}

impl Connection {
    /// A connection whose protocol header was accepted. Names that the server chooses are made with `key`.
    #[must_use]
    pub fn new(config: Arc<ConnectionConfig>, peer: Peer, now: Time, key: NameKey) -> Connection {
        let mut connection = Connection {
            phase: Phase::AwaitStartOk(AwaitStartOk),
            opened: None,
            frame_max: config.initial_frame_max,
            channels: Channels::default(),
            requests: VecDeque::new(),
            urgent: 0,
            awaiting: VecDeque::new(),
            published: VecDeque::new(),
            incomplete_bytes: 0,
            replies: Output::default(),
            repeat: Repeat::default(),
            faults: VecDeque::new(),
            names: Names::new(key, peer.connection),
            last_consumer: 0,
            flow: Flow::default(),
            timers: Timers::new(now, config.handshake_timeout),
            config,
            peer,
        };
        connection.send_start();
        connection
    }

    /// The next request for the engine, in order. Publishes handed over so far come before it, settlements
    /// excepted.
    pub fn poll_request(&mut self) -> Option<(SessionId, Request)> {
        let (session, request) = self.requests.pop_front()?;
        if !matches!(request, Request::Settle { .. }) {
            self.urgent -= 1;
        }
        if self.requests.is_empty() {
            self.urgent = 0;
            self.requests.shrink_to(0);
        }
        Some((session, request))
    }

    /// The next publish that is not borrowed, in order.
    pub fn poll_published(&mut self) -> Option<OwnedPublish> {
        let publish = self.published.pop_front()?;
        if self.published.is_empty() {
            self.published.shrink_to(0);
        }
        Some(publish)
    }

    /// Whether publishes must be flushed and requests be carried out before the next frame is handled.
    #[inline]
    #[must_use]
    pub fn has_request(&self) -> bool {
        self.urgent > 0 || !self.published.is_empty()
    }

    /// Whether frames may be handled. Not while an answer of the engine is outstanding, nor when a publisher
    /// is held back.
    #[inline]
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.awaiting.is_empty() && !self.flow.stalled
    }

    /// Append what is to be written besides deliveries; true if there was something.
    pub fn poll_transmit(&mut self, output: &mut Output) -> bool {
        if self.replies.pending() == 0 {
            return false;
        }
        output.append(&mut self.replies);
        true
    }

    /// Bytes of a frame at most, envelope included: for decoding what comes next.
    #[inline]
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.frame_max
    }

    /// Whether the handshake is done and no close has begun.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether nothing more will come or be taken: end the connection in the engine, write, close the socket.
    #[inline]
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Bytes held of messages that have not wholly arrived.
    #[must_use]
    pub fn incomplete_bytes(&self) -> u64 {
        self.incomplete_bytes
    }

    /// All sessions with what is unsettled in them, for the engine when the connection is gone.
    pub fn take_unsettled(&mut self) -> Vec<(SessionId, Vec<Unsettled>)> {
        self.channels.iter_mut().map(|channel| (channel.session(), channel.take_unsettled())).collect()
    }

    fn request(&mut self, session: SessionId, request: Request) {
        self.urgent += usize::from(!matches!(request, Request::Settle { .. }));
        self.requests.push_back((session, request));
    }

    fn send(&mut self, channel: u16, method: &impl EncodeMethod) {
        self.timers.sent();
        self.replies.inline(|out| encode_method(out, channel, method));
    }

    fn virtual_host(&self) -> &str {
        self.opened.as_deref().map_or("/", |opened| &opened.virtual_host)
    }

    fn user(&self) -> &str {
        self.opened.as_deref().map_or("", |opened| &opened.user)
    }
}
