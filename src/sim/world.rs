//! One seed's world: a disk, the broker that lives on it until it crashes, its clients, and the model of what must be
//! true. Everything that happens follows from the seed's numbers, on one thread.

use crate::bug::Bug;
use crate::client::{Client, Context, Mode};
use crate::disk::{Seen, Watched};
use crate::message::Heads;
use crate::model::Model;
use crate::oracle::{Checked, after_restart, again, go_on, violated};
use crate::plan::Plan;
use crate::trace::Trace;
use crate::{Seed, Summary, inspect};
use fairlead_engine::auth::Authentication;
use fairlead_engine::{Broker, Clock, ClockHand, OpenError, Opened, Settings, Storage};
use fairlead_journal::backend::simulated::{Disk, Faults, Random};
use fairlead_journal::{Error, Step, Stopped};
use fairlead_kernel::Time;
use fairlead_kernel::message::HeadReaders;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the clock begins, in nanoseconds since the epoch.
const BEGINNING: Time = Time(1_700_000_000_000_000_000);
/// Attempts to start that may fail before nothing goes wrong any more.
const FAILING_STARTS: u64 = 4;
/// How often room is added for one batch.
const ROOM_MOST: usize = 1000;
/// Steps of the writer that are too many to empty its intake.
const STEPS_MOST: usize = 100_000;

/// A broker between two starts.
pub(crate) struct Life {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clients: Vec<Client>,
    opened: Opened,
    /// The journal has failed: the process is to end.
    fatal: Arc<AtomicBool>,
}

/// See the module's text.
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) hand: ClockHand,
    pub(crate) model: Model,
    pub(crate) life: Option<Life>,
    pub(crate) trace: Trace,
    bug: Bug,
    disk: Disk,
    seen: Arc<Mutex<Seen>>,
    clients: u64,
    pub(crate) summary: Summary,
}

/// A bit of a sealed segment that has flipped.
struct Flipped {
    file: String,
    offset: u64,
    bit: u8,
}

impl World {
    /// An empty disk, and nobody there yet.
    #[must_use]
    pub fn new(seed: Seed, trace: Trace) -> World {
        let mut random = Random::new(seed.number);
        let plan = Plan::of(&mut random);
        trace.note(format_args!("{plan:?}"));
        let disk = Disk::new(random.below(u64::MAX), plan.capacity);
        World {
            plan,
            random,
            hand: ClockHand::at(BEGINNING),
            model: Model::default(),
            life: None,
            trace,
            bug: seed.bug,
            disk,
            seen: Arc::default(),
            clients: 0,
            summary: Summary::default(),
        }
    }

    /// Live through it.
    ///
    /// # Errors
    /// An invariant is violated.
    pub fn run(&mut self) -> Checked {
        self.start()?;
        if self.random.one_in(2) {
            self.dig_graves()?;
        }
        for _ in 0..self.plan.actions {
            self.act()?;
            if self.life.as_ref().is_some_and(|life| life.fatal.load(Ordering::Relaxed)) {
                self.trace.note(format_args!("the journal has failed"));
                self.summary.failures += 1;
                self.restart()?;
            }
        }
        self.settle_down();
        self.restart()?;
        self.trace.note(format_args!("{:?}", self.summary));
        Ok(())
    }

    /// A client at work.
    pub(crate) fn with_client<R>(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Client, &mut Context<'_>) -> Checked<R>,
    ) -> Checked<Option<R>> {
        let World { life, model, seen, trace, random, hand, bug, .. } = self;
        let Some(client) = life.as_mut().and_then(|life| life.clients.get_mut(index)) else {
            return Ok(None);
        };
        let mut context = Context { model, seen, trace, random, now: hand.now(), bug: *bug };
        work(client, &mut context).map(Some)
    }

    /// Another client comes.
    pub(crate) fn connect(&mut self) -> Checked {
        let mode = [Mode::Confirms, Mode::Plain, Mode::Transactions][self.random.below(3) as usize];
        let Some(life) = &mut self.life else { return Ok(()) };
        self.clients += 1;
        self.trace.note(format_args!("client {} comes: {mode:?}", self.clients));
        life.clients.push(Client::connect(&life.broker, self.clients, mode, self.hand.now())?);
        Ok(())
    }

    /// A client goes.
    pub(crate) fn disconnect(&mut self, index: usize) {
        let World { life, model, seen, trace, random, hand, bug, .. } = self;
        let Some(life) = life.as_mut().filter(|life| index < life.clients.len()) else { return };
        let client = life.clients.swap_remove(index);
        client.end(&mut Context { model, seen, trace, random, now: hand.now(), bug: *bug });
    }

    /// One step of the journal's writer. False when there is nothing to do, or it cannot be done.
    pub(crate) fn step_writer(&mut self) -> bool {
        let Some(life) = &mut self.life else { return false };
        let step = life.opened.writer.step();
        self.trace.note(format_args!("the writer: {step:?}"));
        match step {
            Step::Durable(_) => true,
            Step::Idle => {
                self.model.is_durable_up_to(self.model.op);
                false
            }
            Step::Blocked => {
                self.summary.blocked += 1;
                false
            }
            Step::Failed => false,
        }
    }

    /// Until the writer has nothing left to do; false if it cannot do it.
    pub(crate) fn settle_down(&mut self) -> bool {
        let op = self.model.next_op();
        for _ in 0..STEPS_MOST {
            if !self.step_writer() {
                break;
            }
        }
        self.model.durable >= op
    }

    /// The writer has had nothing to do for a while.
    pub(crate) fn rest(&mut self) {
        if let Some(life) = &mut self.life {
            let step = life.opened.writer.rest();
            self.trace.note(format_args!("the writer rests: {step:?}"));
        }
    }

    /// One step of the journal's keeper.
    pub(crate) fn step_keeper(&mut self) {
        if let Some(life) = &mut self.life {
            // What goes wrong here is what the seed asked for; it is tried again.
            let step = life.opened.keeper.step();
            self.trace.note(format_args!("the keeper: {step:?}"));
        }
    }

    /// What the broker's own threads do besides: messages are read back, checkpoints made, segments copied out of.
    pub(crate) fn look_after_storage(&mut self) {
        self.model.next_op();
        let Some(life) = &self.life else { return };
        let now = self.hand.now();
        match self.random.below(4) {
            0 => {
                // It may be under way, or the journal may have failed: then there is none.
                let made = life.broker.checkpoint();
                self.trace.note(format_args!("a checkpoint: {:?}", made.is_ok_and(|made| made)));
            }
            1 => {
                // A segment that cannot be read stays as it is.
                let done = life.broker.maintain_storage(now);
                self.trace.note(format_args!("upkeep: {:?}", done.is_ok_and(|done| done)));
            }
            _ => {
                while life.broker.fetch_next(now) {}
                self.trace.note(format_args!("what was wanted is read"));
            }
        }
    }

    /// Something goes wrong, soon.
    pub(crate) fn arm(&mut self) {
        let mut faults = self.plan.faults();
        let soon = Some(self.random.below(20));
        match self.random.below(5) {
            0 => faults.failing_write = soon,
            1 => faults.failing_sync = soon,
            2 => faults.failing_read = soon,
            _ => faults.power_off_after = soon,
        }
        self.trace.note(format_args!("{faults:?}"));
        self.disk.set_faults(faults);
    }

    /// Somebody adds room to the disk.
    pub(crate) fn add_room(&mut self) {
        self.disk.set_capacity(self.disk.used() + self.plan.more);
    }

    /// The process ends, and all that is written is written.
    pub(crate) fn shut_down(&mut self) -> Checked {
        if let Some(count) = self.life.as_ref().map(|life| life.clients.len()) {
            (0..count).rev().for_each(|index| self.disconnect(index));
        }
        if let Some(life) = &self.life {
            life.broker.close_storage();
        }
        self.settle_down();
        self.rest();
        self.trace.note(format_args!("shut down"));
        self.restart()
    }

    /// Time passes.
    pub(crate) fn pass_time(&mut self, milliseconds: u64) {
        self.hand.advance(milliseconds);
        self.model.next_op();
        self.trace.note(format_args!("{}: {milliseconds} ms pass", self.model.op));
        let Some(life) = &self.life else { return };
        while life.broker.run_due(self.hand.now()).is_some_and(|next| next <= self.hand.now()) {}
    }

    /// The first start, on an empty disk.
    fn start(&mut self) -> Checked {
        self.disk.set_faults(self.plan.faults());
        if !self.open(None)? {
            return self.restart();
        }
        self.connect_all()
    }

    fn connect_all(&mut self) -> Checked {
        (0..self.plan.clients).try_for_each(|_| self.connect())
    }

    /// The power goes, or only the process; then starts, until one succeeds, and everything is checked.
    pub(crate) fn restart(&mut self) -> Checked {
        self.start_after_crash()?;
        // What clients held is ready again, and counts.
        let durable = self.model.durable;
        self.model.queues.values_mut().for_each(|queue| queue.check_limit_after_crash(durable));
        let Some(life) = &self.life else { return Ok(()) };
        let mut found = inspect::look(&life.broker, &self.model, self.hand.now())?;
        self.trace.note(format_args!("found {found:?}"));
        after_restart(&self.model, &found, self.hand.now())?;
        while self.random.one_in(3) {
            self.start_after_crash()?;
            let Some(life) = &self.life else { return Ok(()) };
            let second = inspect::look(&life.broker, &self.model, self.hand.now())?;
            again::found(&found, &second)?;
            found = second;
        }
        self.summary.restarts += 1;
        self.disk.set_faults(self.plan.faults());
        let durable = self.model.durable;
        self.keep_what_was_due();
        go_on(&mut self.model, &found, durable, self.hand.now());
        self.connect_all()
    }

    /// What was found is what is on disk, but for messages that died as soon as the broker was there.
    fn keep_what_was_due(&mut self) {
        let now = self.hand.now();
        let mut copies = self.model.queues.values().flat_map(|queue| queue.copies.values());
        if !copies.any(|copy| copy.may_be_dead_at(now)) {
            return;
        }
        for _ in 0..ROOM_MOST {
            if self.settle_down() {
                break;
            }
            self.add_room();
        }
    }

    fn start_after_crash(&mut self) -> Checked {
        for attempt in 0.. {
            let killed = self.random.one_in(3);
            let image =
                if killed { self.disk.killed() } else { self.disk.crash(self.random.below(u64::MAX)) };
            self.trace
                .note(format_args!("{}", if killed { "the process is killed" } else { "the power goes" }));
            // Its connections end with it, and nothing of that reaches the disk any more.
            self.life = None;
            self.disk = image;
            let flipped = if self.random.one_in(6) { self.flip() } else { None };
            if attempt < FAILING_STARTS && self.random.one_in(3) {
                self.arm();
            } else {
                self.disk.set_faults(self.plan.faults());
            }
            let opened = self.open(flipped.as_ref())?;
            if let Some(Flipped { file, offset, bit }) = flipped {
                self.disk.flip(&file, offset, bit);
            }
            if opened {
                break;
            }
        }
        Ok(())
    }

    /// Start a broker; false when the disk does not let it.
    fn open(&mut self, flipped: Option<&Flipped>) -> Checked<bool> {
        let fatal = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&fatal);
        let disk = Watched::new(self.disk.clone(), self.bug, self.trace.clone(), Arc::clone(&self.seen));
        let storage = Storage {
            backend: Arc::new(disk),
            options: self.plan.options.clone(),
            clock: Clock::simulated(&self.hand, self.random.below(u64::MAX)),
            fatal: Box::new(move |_| heard.store(true, Ordering::Relaxed)),
        };
        let authentication = Authentication { disabled: true, ..Authentication::default() };
        // In every other life queues leave next to everything to the disk.
        let queue_memory = if self.random.one_in(2) { 512 } else { 16 << 20 };
        let settings = Settings { authentication, queue_memory, ..Settings::default() };
        match Broker::open(settings, HeadReaders { amqp_0_9_1: &Heads }, storage) {
            Ok(opened) => {
                let broker = Arc::clone(&opened.broker);
                self.trace.note(format_args!("a broker starts: {} records", opened.found.records));
                self.life = Some(Life { broker, clients: Vec::new(), opened, fatal });
                Ok(true)
            }
            Err(error) => self.did_not_open(&error, flipped).map(|()| false),
        }
    }

    /// Whether there was a reason.
    fn did_not_open(&mut self, error: &OpenError, flipped: Option<&Flipped>) -> Checked {
        self.trace.note(format_args!("no start: {error}"));
        match error {
            OpenError::Journal(Error::Io { source, .. }) => {
                if source.kind() == std::io::ErrorKind::StorageFull {
                    self.add_room();
                }
                Ok(())
            }
            OpenError::Journal(Error::Corrupt { file, offset, .. }) => match flipped {
                Some(flipped) if flipped.file == *file => {
                    self.summary.corruptions += 1;
                    Ok(())
                }
                Some(flipped) => Err(violated(
                    "kept",
                    format!("{} was damaged, and {file} at {offset} is said to be", flipped.file),
                )),
                None => Err(violated("kept", format!("{file} is damaged at {offset}: {error}"))),
            },
            // A segment whose header is damaged is one that is not there.
            OpenError::Journal(Error::Missing { .. }) if flipped.is_some() => {
                self.summary.corruptions += 1;
                Ok(())
            }
            OpenError::Journal(_) | OpenError::Settings(_) => {
                Err(violated("kept", format!("it does not start: {error}")))
            }
        }
    }

    /// Flip a bit of a segment that is sealed, if there is one.
    fn flip(&mut self) -> Option<Flipped> {
        self.disk.set_faults(Faults::default());
        let segments = Stopped::open(&self.disk).ok()?.verify().segments;
        let (_, sealed) = segments.split_last()?;
        if sealed.is_empty() {
            return None;
        }
        let segment = &sealed[self.random.below(sealed.len() as u64) as usize];
        let length = (segment.end.0 - segment.first.0).max(1);
        let flipped = Flipped {
            file: segment.file.clone(),
            offset: self.random.below(length),
            bit: self.random.below(8) as u8,
        };
        self.trace.note(format_args!("bit {} of {} at {} flips", flipped.bit, flipped.file, flipped.offset));
        self.disk.flip(&flipped.file, flipped.offset, flipped.bit);
        self.summary.flips += 1;
        Some(flipped)
    }
}
