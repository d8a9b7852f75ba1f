//! AMQP 0-9-1 between a read buffer and the engine.
//!
//! Flow: frames are decoded where they lie; publishes collect in a batch that borrows from the buffer, and go to
//! the engine when there are enough of them, before any other request, and at the end of the buffer. What is
//! unfinished then is copied by the adapter.

use fairlead_amqp_0_9_1::codec::frame;
use fairlead_amqp_0_9_1::connection::{Batch, Connection as Adapter, ProtocolError, Scope};
use fairlead_engine::counters::Counter;
use fairlead_engine::{Broker, Connection, Description, Entry, SessionDescription};
use fairlead_kernel::Time;
use fairlead_kernel::output::Output;
use fairlead_kernel::session::{CloseReason, Event, Publish, Request, Unsettled};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Publishes handled before the queues are entered: enough to spread the cost of a lock, few enough to stay in
/// the nearest cache.
const PUBLISH_BATCH: usize = 512;

/// An adapter, and what the pump's side remembers.
pub struct Amqp091 {
    adapter: Adapter,
    broker: Arc<Broker>,
    entry: Arc<Entry>,
    /// Something that operators see has changed.
    changed: bool,
    /// As the adapter was told last.
    held_back: Option<&'static str>,
    /// Why the connection ends, if that is our doing: what came first.
    why_ended: Option<String>,
}

thread_local! {
    static SPARE: Cell<Vec<Publish<'static>>> = const { Cell::new(Vec::new()) };
}

/// An empty batch, in the memory of an earlier one.
fn borrow_batch<'a>() -> Batch<'a> {
    let mut batch = Batch::default();
    // Collecting a vector's own iterator into one of the same layout keeps its memory.
    batch.complete = SPARE.take().into_iter().map_while(|_| None).collect();
    batch
}

fn give_back(batch: Batch<'_>) {
    let mut complete = batch.complete;
    complete.clear();
    SPARE.set(complete.into_iter().map_while(|_| None).collect());
}

impl Amqp091 {
    /// An adapter at the start of its connection.
    pub fn new(adapter: Adapter, broker: Arc<Broker>, entry: Arc<Entry>) -> Amqp091 {
        Amqp091 { adapter, broker, entry, changed: false, held_back: None, why_ended: None }
    }

    pub(super) fn wants_input(&self) -> bool {
        self.adapter.wants_input()
    }

    pub(super) fn frame_max(&self) -> usize {
        self.adapter.frame_max() as usize
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.adapter.user_name().is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.adapter.is_closed()
    }

    pub(super) fn why_ended(&self) -> Option<&str> {
        self.why_ended.as_deref()
    }

    fn ends_because(&mut self, why: impl FnOnce() -> String) {
        self.why_ended.get_or_insert_with(why);
    }

    pub(super) fn handle(&mut self, bytes: &[u8], engine: &mut Connection, now: Time) -> usize {
        let mut batch = borrow_batch();
        let mut handled = 0;
        while self.adapter.wants_input() && !self.adapter.is_closed() {
            let room = PUBLISH_BATCH - batch.complete.len();
            handled += self.adapter.handle_whole_publishes(&bytes[handled..], now, &mut batch, room);
            if batch.complete.len() < PUBLISH_BATCH {
                let fault = match frame::decode(&bytes[handled..], self.adapter.frame_max()) {
                    Ok(None) => break,
                    Ok(Some((frame, length))) => {
                        handled += length;
                        self.adapter.handle_frame(frame, now, &mut batch).err()
                    }
                    // What has been read cannot be cut into frames; what the peer sends next, its answer to our
                    // close, perhaps can.
                    Err(error) => {
                        handled = bytes.len();
                        Some(ProtocolError::from(error))
                    }
                };
                if let Some(error) = fault {
                    self.flush(&mut batch, engine, now);
                    self.adapter.handle_error(error, now);
                }
            }
            if batch.complete.len() >= PUBLISH_BATCH || self.adapter.has_request() {
                self.flush(&mut batch, engine, now);
            }
        }
        self.flush(&mut batch, engine, now);
        self.adapter.finish_batch(&mut batch);
        give_back(batch);
        engine.holds_incomplete(self.adapter.incomplete_bytes());
        handled
    }

    /// Publish what has collected, then carry out the requests behind it.
    fn flush(&mut self, batch: &mut Batch<'_>, engine: &mut Connection, now: Time) {
        let mut events = Vec::new();
        if !batch.complete.is_empty() {
            engine.publish_batch(&batch.complete, now, &mut events);
            batch.complete.clear();
        }
        while let Some(owned) = self.adapter.poll_published() {
            engine.publish_batch(&[owned.as_publish()], now, &mut events);
        }
        for event in events.drain(..) {
            self.handle_event(event, now);
        }
        self.carry_out(engine, now);
        engine.tell_confirms(&mut events);
        for event in events {
            self.handle_event(event, now);
        }
    }

    pub(super) fn carry_out(&mut self, engine: &mut Connection, now: Time) {
        while let Some((session, request)) = self.adapter.poll_request() {
            self.changed |= is_seen(&request);
            let opens = matches!(request, Request::OpenVirtualHost { .. });
            let enters = opens || matches!(request, Request::Authenticate { .. });
            if let Some(event) = engine.execute(session, request, now) {
                if let (true, Event::Reply { result: Err(refusal), .. }) = (enters, &event) {
                    self.ends_because(|| fairlead_engine::explain(refusal));
                }
                self.adapter.handle_event(event, now);
            }
            if opens && self.adapter.is_open() {
                let described = self.adapter.describe();
                let (user, vhost) = (described.user, described.virtual_host);
                tracing::info!(connection = engine.entry().name(), user, vhost, "connection opened");
            }
        }
    }

    /// Count and log what has closed a channel or the connection.
    fn note(&mut self, error: &ProtocolError) {
        let text = error.reply_text();
        let connection = self.entry.name();
        match error.scope {
            Scope::Channel(channel) => {
                self.broker.counters().add(Counter::SessionErrors, 1);
                tracing::info!(connection, channel, text, "channel error");
            }
            Scope::Connection => {
                self.broker.counters().add(Counter::ConnectionErrors, 1);
                tracing::warn!(connection, text, "connection error");
                self.ends_because(|| text);
            }
        }
    }

    pub(super) fn hold_publishes(&mut self, reason: Option<&'static str>, now: Time) {
        if reason != self.held_back {
            self.held_back = reason;
            self.changed = true;
            let event = reason.map_or(Event::Unblocked, |reason| Event::Blocked { reason });
            self.adapter.handle_event(event, now);
        }
    }

    pub(super) fn handle_event(&mut self, event: Event, now: Time) {
        if matches!(event, Event::Blocked { .. } | Event::Unblocked) {
            // It has woken the connection, which has asked by now; the event itself may be late.
            return;
        }
        if let Event::Close { reason } = &event {
            self.ends_because(|| match reason {
                CloseReason::Shutdown => "the broker stops".to_owned(),
                CloseReason::Operator(text) => format!("an operator asked for it: {text}"),
            });
        }
        self.changed |= !matches!(event, Event::Confirmed { .. } | Event::Returned { .. });
        self.adapter.handle_event(event, now);
    }

    pub(super) fn deliver(
        &mut self,
        engine: &mut Connection,
        now: Time,
        output: &mut Output,
        bound: usize,
        answers: &mut usize,
    ) -> bool {
        let mut any = false;
        let adapter = &mut self.adapter;
        engine.walk_deliveries(|delivery| {
            any = true;
            let before = output.pending();
            adapter.deliver(delivery, now, output);
            if delivery.consumer.is_none() {
                *answers += output.pending() - before;
            }
            if output.pending() < bound { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if self.adapter.has_request() {
            self.carry_out(engine, now);
        }
        any
    }

    pub(super) fn transmit(&mut self, output: &mut Output) -> usize {
        while let Some(error) = self.adapter.poll_fault() {
            self.note(&error);
        }
        let before = output.pending();
        self.adapter.poll_transmit(output);
        output.pending() - before
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.adapter.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, engine: &mut Connection, now: Time) {
        let (was_open, was_closed) = (self.adapter.is_open(), self.adapter.is_closed());
        self.adapter.handle_timeout(now);
        if self.adapter.is_closed() && !was_closed {
            let was_authenticated = self.is_authenticated();
            self.ends_because(|| why_timed_out(was_open, was_authenticated).to_owned());
        }
        if self.adapter.has_request() {
            self.carry_out(engine, now);
        }
    }

    pub(super) fn heard(&mut self, time: Time) {
        self.adapter.heard(time);
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn describe(&self) -> Description {
        let described = self.adapter.describe();
        let sessions = described.channels.iter().map(|channel| SessionDescription {
            number: channel.number,
            unsettled: channel.unacknowledged as u64,
            prefetch: channel.prefetch.into(),
            global_prefetch: channel.global_prefetch.into(),
            confirm: channel.confirms,
            transactional: channel.transactional,
        });
        Description {
            sessions: sessions.collect(),
            user: described.user,
            vhost: described.virtual_host,
            protocol: "AMQP 0-9-1",
            state: described.state,
            frame_max: described.frame_max,
            heartbeat: described.heartbeat,
            client_properties: described.client_properties,
            consumers: Vec::new(),
        }
    }

    pub(super) fn end(&mut self, engine: &mut Connection, now: Time) {
        let sessions = self.adapter.take_unsettled();
        let mut unsettled: Vec<Unsettled> =
            sessions.into_iter().flat_map(|(_, of_session)| of_session).collect();
        // What the adapter had asked for and nobody has carried out.
        while let Some((_, request)) = self.adapter.poll_request() {
            match request {
                Request::CloseSession { unsettled: more } => unsettled.extend(more),
                Request::Settle { .. } => drop(engine.execute(fairlead_kernel::SessionId(0), request, now)),
                _ => {}
            }
        }
        engine.end(&unsettled, now);
    }
}

/// What a connection that time has closed was waiting for.
fn why_timed_out(was_open: bool, was_authenticated: bool) -> &'static str {
    match (was_open, was_authenticated) {
        (true, _) => "no byte from its client for two intervals of its heartbeat",
        (false, true) => "its client did not open it, or did not answer its close, in time",
        (false, false) => "its client did not log in within timeouts.handshake",
    }
}

/// Whether a request changes what operators see.
fn is_seen(request: &Request) -> bool {
    matches!(
        request,
        Request::OpenVirtualHost { .. }
            | Request::OpenSession
            | Request::CloseSession { .. }
            | Request::Subscribe { .. }
            | Request::SubscribeReplies { .. }
            | Request::Unsubscribe { .. }
            | Request::SetSessionWindow { .. }
    )
}
