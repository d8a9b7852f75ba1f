//! The handshake's moves: methods and answers before the connection is open.
//!
//! Each phase takes exactly one method, and nothing of a method outlives it but what the next phase keeps, so
//! a peer that has not logged in makes us hold one frame at most.

use super::closing::Farewell;
use super::replies::Then;
use super::{Connection, Phase};
use crate::codec::Payload;
use crate::error::{Fault, ProtocolError, of_refusal};
use crate::handshake::{offered, server_properties};
use crate::spec::{Method, ReplyCode, connection};
use fairlead_kernel::ids::{SessionId, Time};
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::session::Reply;
use std::mem::replace;

/// The session on which the engine answers what concerns the connection.
const CONNECTION: SessionId = SessionId(0);

impl Connection {
    pub(super) fn send_start(&mut self) {
        let properties = server_properties(&self.config);
        let names: Vec<&str> = offered(&self.config, self.peer).map(|mechanism| mechanism.name()).collect();
        let mechanisms = names.join(" ");
        self.send(
            0,
            &connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: properties.as_table(),
                mechanisms: mechanisms.as_bytes(),
                locales: b"en_US",
            },
        );
    }

    /// A frame before connection.open-ok.
    pub(super) fn handshake_frame(
        &mut self,
        channel: u16,
        payload: &Payload<'_>,
        now: Time,
    ) -> Result<(), ProtocolError> {
        match payload {
            Payload::Method(bytes) if channel == 0 => {
                let method = Method::decode(bytes)
                    .map_err(|error| ProtocolError::new(error.into(), 0, id_of(bytes)))?;
                self.handshake_method(&method, now).map_err(|fault| ProtocolError::new(fault, 0, method.id()))
            }
            Payload::Heartbeat if channel == 0 => Ok(()),
            Payload::Method(bytes) => {
                let text = format!("frame on channel {channel} before the connection is open");
                Err(ProtocolError::new(Fault::new(ReplyCode::UnexpectedFrame, text), 0, id_of(bytes)))
            }
            Payload::Header { .. } | Payload::Body(_) | Payload::Heartbeat => {
                let fault = crate::channel::expected_method();
                Err(ProtocolError::new(fault, 0, 0))
            }
        }
    }

    fn handshake_method(&mut self, method: &Method<'_>, now: Time) -> Result<(), Fault> {
        if let Method::ConnectionClose(_) = method {
            self.begin_ending(Farewell::CloseOk, now);
            return Ok(());
        }
        match (replace(&mut self.phase, Phase::Between), method) {
            (Phase::AwaitStartOk(phase), Method::ConnectionStartOk(method)) => {
                let (next, request) = phase.start_ok(method, &self.config, self.peer)?;
                self.phase = Phase::AwaitVerdict(next);
                self.ask(CONNECTION, request, 0, Then::Authenticated);
            }
            (Phase::AwaitTuneOk(phase), Method::ConnectionTuneOk(method)) => {
                let next = phase.tune_ok(method, &self.config)?;
                self.frame_max = next.tuned().frame_max;
                self.timers.set_heartbeat(next.tuned().heartbeat);
                self.phase = Phase::AwaitOpen(next);
            }
            (Phase::AwaitOpen(phase), Method::ConnectionOpen(method)) => {
                let (next, request) = phase.open(method);
                self.phase = Phase::AwaitVirtualHost(next);
                self.ask(CONNECTION, request, connection::Open::ID, Then::VirtualHostEntered);
            }
            (phase, _) => {
                self.phase = phase;
                return Err(self.out_of_order());
            }
        }
        Ok(())
    }

    /// Any illegal transition. Spec: clause 2.2.4, the connection's grammar.
    fn out_of_order(&self) -> Fault {
        let state = match self.phase {
            Phase::AwaitStartOk(_) => "starting",
            Phase::AwaitVerdict(_) => "securing",
            Phase::AwaitTuneOk(_) => "tuning",
            Phase::AwaitOpen(_) | Phase::AwaitVirtualHost(_) => "opening",
            Phase::Open | Phase::Between => "running",
            Phase::Ending(_) | Phase::AwaitCloseOk | Phase::Silent | Phase::Closed => "closing",
        };
        Fault::new(ReplyCode::ChannelError, format!("unexpected method in connection state {state}"))
    }

    /// The engine's word on the login.
    pub(super) fn authenticated(&mut self, result: Result<Reply, Refusal>, now: Time) {
        let phase = match replace(&mut self.phase, Phase::Between) {
            Phase::AwaitVerdict(phase) => phase,
            other => {
                self.phase = other;
                return;
            }
        };
        match result {
            Ok(Reply::Authenticated { user }) => {
                self.phase = Phase::AwaitTuneOk(phase.authenticated(user));
                let (channel_max, frame_max) = (self.config.channel_max, self.config.frame_max);
                self.send(0, &connection::Tune { channel_max, frame_max, heartbeat: self.config.heartbeat });
            }
            Err(Refusal::LoginRefused) => {
                let (fault, told) = phase.refused();
                if told {
                    self.begin_ending(Farewell::Close(ProtocolError::new(fault, 0, 0)), now);
                } else {
                    // Let guessing take its time: the peer learns nothing until the socket closes.
                    self.phase = Phase::Silent;
                    self.timers.set_deadline(now.after(self.config.refusal_delay));
                }
            }
            Err(refusal) => self.refuse_connection(&refusal, &phase.claimed, now),
            Ok(_) => debug_assert!(false, "not an answer to Authenticate"),
        }
    }

    /// The engine's word on the virtual host.
    pub(super) fn virtual_host_entered(&mut self, result: Result<Reply, Refusal>, now: Time) {
        let phase = match replace(&mut self.phase, Phase::Between) {
            Phase::AwaitVirtualHost(phase) => phase,
            other => {
                self.phase = other;
                return;
            }
        };
        match result {
            Ok(_) => {
                self.opened = Some(Box::new(phase.entered()));
                self.phase = Phase::Open;
                self.timers.clear_deadline();
                self.send(0, &connection::OpenOk);
            }
            Err(refusal) => {
                self.opened = Some(Box::new(phase.opened().clone()));
                let user = self.user().to_owned();
                self.refuse_connection(&refusal, &user, now);
                self.opened = None;
            }
        }
    }

    fn refuse_connection(&mut self, refusal: &Refusal, user: &str, now: Time) {
        let mut fault = of_refusal(refusal, self.virtual_host(), user);
        if let Refusal::LoginRefused = refusal {
            // Not 403: the login was good, it is this virtual host that the user may not enter.
            fault.code = ReplyCode::NotAllowed;
        }
        let error = ProtocolError::new(fault, 0, connection::Open::ID);
        self.begin_ending(Farewell::Close(error), now);
    }
}

/// Class and method of a method frame's payload.
pub(super) fn id_of(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |id| u32::from_be_bytes(*id))
}
