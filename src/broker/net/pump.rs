//! One task a connection: frames in, requests to the engine, deliveries and replies out.
//!
//! A turn: read once, handle every complete frame, take the outbox, encode deliveries and replies into a bounded
//! output, write it with one vectored call. After a turn that moved something (two, if it was little) the task
//! yields, else one busy connection starves the others (measured: 30 to 1), and twice when its publishes outran their
//! consumers; after one that did not it gives its read buffer back and waits for the socket, the outbox or the timer,
//! whichever comes first.

use crate::net::input::Input;
use crate::net::protocol::Protocol;
use crate::net::timer::Timer;
use fairlead_engine::counters::Counter;
use fairlead_engine::{Broker, Connection};
use fairlead_kernel::Time;
use fairlead_kernel::output::Output;
use fairlead_kernel::session::Event;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Deliveries wait in the outbox while so many bytes of output are not written.
const OUTPUT_BOUND: usize = 256 * 1024;
/// Requests wait in the socket while so many bytes of answers to earlier ones are not written. Deliveries do
/// not count: a client that publishes and consumes may write before it reads.
const ANSWERS_BOUND: usize = 1024 * 1024;
/// Output memory that a connection may keep while it is busy, in bytes.
const OUTPUT_KEEP: usize = OUTPUT_BOUND + 64 * 1024;
/// Slices of one vectored write.
const SLICES: usize = 64;
/// A connection that has moved nothing for so long gives up what only a busy one needs.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// How long a closed connection waits for its client to take the last bytes and close its own side.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes read and written in a turn, up to which another turn follows at once: mostly one that finds nothing and
/// waits. Giving way first would ask the system twice more whether something has come, before others get the processor:
/// the journal's writer, say, whom this turn has woken.
const LITTLE: usize = 4 * 1024;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its client closed it, by the protocol's own exchange.
    ByClient,
    /// We closed it, for this reason.
    ByBroker(String),
    /// The peer's socket went without a word.
    Lost {
        /// It had said who it is.
        authenticated: bool,
    },
    /// It sent more than it may before it has said who it is.
    TooMuch,
}

/// A connection's task's state.
pub struct Pump {
    stream: TcpStream,
    broker: Arc<Broker>,
    protocol: Protocol,
    engine: Connection,
    input: Input,
    output: Output,
    /// Bytes of `output` that answer requests, since it was last empty.
    answers: usize,
    /// Bytes that may still come before the peer has said who it is.
    unknown_allowance: usize,
    timer: Timer,
    last_moved: Time,
    last_written: Time,
    /// Bytes read and written in this turn.
    turn_bytes: usize,
    rested: bool,
    /// When operators are to be told how the connection is.
    describe_at: Option<Time>,
}

/// What a turn came to.
enum Turn {
    /// Something moved.
    Moved,
    /// Something moved, and it was so little that it may have been all.
    MovedLittle,
    /// The connection is at its end.
    End(TurnEnd),
}

/// What ended the last turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnEnd {
    /// The protocol has nothing more to say.
    Closed,
    /// The peer's socket is at its end.
    Lost,
    /// It sent more than it may before it has said who it is.
    TooMuch,
}

impl Pump {
    /// A pump over a stream whose protocol header has been read. `unknown_allowance` is how many bytes it may
    /// send before it is authenticated.
    pub fn new(
        stream: TcpStream,
        broker: Arc<Broker>,
        protocol: Protocol,
        engine: Connection,
        unknown_allowance: usize,
    ) -> Pump {
        let now = broker.clock().now();
        Pump {
            stream,
            broker,
            protocol,
            engine,
            input: Input::default(),
            output: Output::default(),
            answers: 0,
            unknown_allowance,
            timer: Timer::default(),
            last_moved: now,
            last_written: now,
            turn_bytes: 0,
            rested: false,
            describe_at: None,
        }
    }

    /// Move frames until the connection ends. All that the connection held is given back before this returns.
    ///
    /// # Errors
    /// The socket's.
    pub async fn run(mut self) -> io::Result<End> {
        let mut at_once = false;
        let end = loop {
            match poll_fn(|context| self.poll_turn(context)).await {
                Ok(Turn::MovedLittle) if !at_once => at_once = true,
                Ok(Turn::Moved | Turn::MovedLittle) => {
                    at_once = false;
                    tokio::task::yield_now().await;
                    if self.engine.take_outpaces() {
                        // Consumers get a second turn for each of their publisher's.
                        tokio::task::yield_now().await;
                    }
                }
                Ok(Turn::End(end)) => break Ok(end),
                Err(error) => break Err(error),
            }
        };
        self.protocol.end(&mut self.engine, self.broker.clock().now());
        if matches!(end, Ok(TurnEnd::Closed)) {
            // Exclusive queues are gone by now, and the peer may read its close-ok.
            let _ = timeout(LINGER, Box::pin(self.linger())).await;
        }
        self.told(end)
    }

    /// Who ended it, and why: a socket that its client closes when we have asked for the end is our doing.
    fn told(&self, end: io::Result<TurnEnd>) -> io::Result<End> {
        let why = self.protocol.why_ended().map(str::to_owned);
        match (end, why) {
            (Ok(TurnEnd::TooMuch), _) => Ok(End::TooMuch),
            (Ok(TurnEnd::Closed | TurnEnd::Lost) | Err(_), Some(why)) => Ok(End::ByBroker(why)),
            (Ok(TurnEnd::Closed), None) => Ok(End::ByClient),
            (Ok(TurnEnd::Lost), None) => Ok(End::Lost { authenticated: self.protocol.is_authenticated() }),
            (Err(error), None) => Err(error),
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        let now = self.broker.clock().now();
        self.turn_bytes = 0;
        self.protocol.hold_publishes(self.engine.blocked(), now);
        let mut moved = match self.read(context, now)? {
            Poll::Ready(Some(end)) => return Poll::Ready(Ok(Turn::End(end))),
            Poll::Ready(None) => true,
            Poll::Pending => false,
        };
        moved |= self.handle_input(now);
        self.protocol.handle_timeout(&mut self.engine, now);
        moved |= self.take_outbox(now);
        self.answers += self.protocol.transmit(&mut self.output);
        if self.protocol.is_closed() {
            return Poll::Ready(Ok(Turn::End(TurnEnd::Closed)));
        }
        moved |= self.write(context, now)?;
        if moved {
            self.last_moved = now;
            self.rested = false;
            let little = self.turn_bytes <= LITTLE;
            return Poll::Ready(Ok(if little { Turn::MovedLittle } else { Turn::Moved }));
        }
        self.input.rest();
        self.housekeeping(now);
        if self.engine.poll_filled(context).is_ready()
            && (self.output.pending() < OUTPUT_BOUND || self.engine.poll_urgent(context).is_ready())
        {
            return Poll::Ready(Ok(Turn::Moved));
        }
        let due = self.timer.poll_at(context, self.next_deadline(), self.broker.clock());
        due.map(|()| Ok(Turn::Moved))
    }

    /// Read once, if the peer's bytes may be taken: not while it owes us reading, we owe it an answer, or
    /// too much of what it sent waits for the disk.
    fn read(&mut self, context: &mut Context<'_>, now: Time) -> io::Result<Poll<Option<TurnEnd>>> {
        if !self.protocol.wants_input() {
            return Ok(Poll::Pending);
        }
        if self.engine.poll_caught_up(context).is_pending() {
            // Not its fault that it cannot be heard.
            self.protocol.heard(now);
            return Ok(Poll::Pending);
        }
        if self.answers >= ANSWERS_BOUND {
            // A peer that is not read cannot be heard; that it takes our bytes is its sign of life.
            self.protocol.heard(self.last_written);
            return Ok(Poll::Pending);
        }
        let frame_max = self.protocol.frame_max();
        if self.input.bytes().len() >= frame_max {
            // A whole frame is there, or one that is too large: it comes first.
            return Ok(Poll::Pending);
        }
        let Poll::Ready(read) = self.input.poll_read(context, &mut self.stream, frame_max) else {
            return Ok(Poll::Pending);
        };
        let count = read?;
        if count == 0 {
            return Ok(Poll::Ready(Some(TurnEnd::Lost)));
        }
        // Spec: 0-9-1, clause 4.2.7: any octet is as good as a heartbeat, also one of an unfinished frame.
        self.protocol.heard(now);
        self.turn_bytes += count;
        self.engine.entry().read(count as u64);
        self.broker.counters().add(Counter::BytesIn, count as u64);
        if !self.protocol.is_authenticated() {
            match self.unknown_allowance.checked_sub(count) {
                Some(left) => self.unknown_allowance = left,
                None => return Ok(Poll::Ready(Some(TurnEnd::TooMuch))),
            }
        }
        Ok(Poll::Ready(None))
    }

    /// Handle the complete frames that were read; true if there was one.
    fn handle_input(&mut self, now: Time) -> bool {
        if self.input.bytes().is_empty() {
            return false;
        }
        let handled = self.protocol.handle(self.input.bytes(), &mut self.engine, now);
        self.input.consume(handled);
        handled > 0
    }

    /// Encode what has arrived for this connection, as far as the bound allows; true if something had.
    fn take_outbox(&mut self, now: Time) -> bool {
        let mut moved = false;
        if let Some(event) = self.engine.next_urgent() {
            self.take_event(event, now);
            moved = true;
        }
        if !self.engine.is_filled() {
            return moved;
        }
        while self.output.pending() < OUTPUT_BOUND {
            if let Some(event) = self.engine.next_event() {
                self.take_event(event, now);
            } else if !self.deliver(now) {
                break;
            }
            moved = true;
        }
        if moved {
            self.engine.delivered(now);
        }
        moved
    }

    fn take_event(&mut self, event: Event, now: Time) {
        self.protocol.handle_event(event, now);
        self.protocol.carry_out(&mut self.engine, now);
        self.answers += self.protocol.transmit(&mut self.output);
    }

    fn deliver(&mut self, now: Time) -> bool {
        let Pump { protocol, engine, output, answers, .. } = self;
        protocol.deliver(engine, now, output, OUTPUT_BOUND, answers)
    }

    /// Write once; true if the socket took something. The task is woken when it takes more.
    fn write(&mut self, context: &mut Context<'_>, now: Time) -> io::Result<bool> {
        if self.output.pending() == 0 {
            return Ok(false);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = self.output.slices(&mut slices);
        let stream = Pin::new(&mut self.stream);
        let Poll::Ready(written) = stream.poll_write_vectored(context, &slices[..filled]) else {
            return Ok(false);
        };
        let count = written?;
        self.last_written = now;
        self.output.advance(count, OUTPUT_KEEP);
        if self.output.pending() == 0 {
            self.answers = 0;
        }
        self.turn_bytes += count;
        self.engine.entry().written(count as u64);
        self.broker.counters().add(Counter::BytesOut, count as u64);
        Ok(true)
    }

    /// What is done in no hurry, when there is nothing else to do.
    fn housekeeping(&mut self, now: Time) {
        if self.protocol.take_changed() && self.describe_at.is_none() {
            self.describe_at = Some(now.after(IDLE_AFTER / 20));
        }
        if self.describe_at.is_some_and(|at| at <= now) {
            self.describe_at = None;
            self.engine.describe(self.protocol.describe());
        }
        if !self.rested && now.since(self.last_moved) >= IDLE_AFTER {
            self.rested = true;
            self.engine.rest();
            self.output.advance(0, 0);
            self.describe_at = Some(now.after(IDLE_AFTER / 20));
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let rest = (!self.rested).then(|| self.last_moved.after(IDLE_AFTER));
        [self.protocol.poll_timeout(), rest, self.describe_at].into_iter().flatten().min()
    }

    /// Write what is left, and let the peer close first, else its unread bytes would destroy our last ones.
    async fn linger(&mut self) -> io::Result<()> {
        self.input.rest();
        while self.output.pending() > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.output.slices(&mut slices);
            let count = self.stream.write_vectored(&slices[..filled]).await?;
            self.output.advance(count, 0);
        }
        self.stream.shutdown().await?;
        let mut unread = [0; 1024];
        while self.stream.read(&mut unread).await? > 0 {}
        Ok(())
    }
}
