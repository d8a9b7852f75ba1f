//! What a queue is given for one step: the time, its log, the windows of sessions, and room for effects.

use super::delivery_batch::Slot;
use crate::command::SequenceRange;
use crate::effect::Effects;
use crate::ids::{ConnectionId, ConsumerId, Sequence, SessionId, Time};
use crate::refusal::Refusal;
use crate::settings::ConsumerSettings;

/// Windows that span queues: a session's bound on what all its consumers hold unsettled.
pub trait SharedWindows {
    /// Take one message's place in a session's window; false when it is full. The queue asks only for
    /// consumers that were said to share one, once for each message it then delivers.
    fn take(&mut self, connection: ConnectionId, session: SessionId) -> bool;
}

/// No session has a window of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWindows;

impl SharedWindows for NoWindows {
    #[inline]
    fn take(&mut self, _connection: ConnectionId, _session: SessionId) -> bool {
        true
    }
}

/// Arguments common to all steps of a queue.
#[derive(Debug)]
pub struct Turn<'t, L, W> {
    /// The time now, read once for the whole step.
    pub now: Time,
    /// Where commands go.
    pub log: &'t mut L,
    /// The windows of sessions.
    pub windows: &'t mut W,
    /// What the step asks for is added here.
    pub effects: &'t mut Effects,
}

/// A queue that was deleted answers nothing else: its name may mean another queue now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is gone")]
pub struct Gone;

/// Why a queue did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Denial {
    /// It was deleted in the meantime.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It will not.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A consumer to be attached.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    /// Of which connection.
    pub connection: ConnectionId,
    /// Of which session.
    pub session: SessionId,
    /// Its number there.
    pub consumer: ConsumerId,
    /// As asked for.
    pub settings: &'a ConsumerSettings,
    /// Bytes that may lie in its connection's outbox at a time.
    pub transfer_window: u32,
    /// Its session has a window of its own ([`SharedWindows`]).
    pub shared_window: bool,
}

/// A delivery to be settled, and the consumer that got it, if it is still there.
pub type Delivered = (Sequence, Option<Slot>);

/// What came of a Get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A message, in [`Effects::got`].
    Found,
    /// There is none.
    Empty,
    /// It is being fetched from the store, or too many before it have expired: ask again after
    /// [`crate::queue::Queue::loaded`], or [`crate::queue::Queue::tick`] if [`Effects::more`] is set.
    Waiting,
}

/// Buffers that steps use again, so that a queue itself holds none.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// To be settled as accepted.
    pub(crate) accepted: Vec<SequenceRange>,
    /// To be settled as rejected.
    pub(crate) rejected: Vec<SequenceRange>,
    /// To be put back.
    pub(crate) returned: Vec<SequenceRange>,
    /// To be dropped as expired.
    pub(crate) expired: Vec<SequenceRange>,
    /// To be dropped as over the limit.
    pub(crate) displaced: Vec<SequenceRange>,
    /// To be dropped as delivered too often.
    pub(crate) exhausted: Vec<SequenceRange>,
    /// To be dropped as replaced.
    pub(crate) replaced: Vec<SequenceRange>,
}
