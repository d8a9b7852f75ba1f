//! Messages on their way from the read buffer to the engine.
//!
//! A message that lies whole in the read buffer is a borrowed [`Publish`] in the caller's [`Batch`]. One that
//! does not, or whose properties had to be changed, is kept by its channel in owned pieces and comes out as
//! an [`OwnedPublish`]. Order between the two is the caller's: it flushes the batch whenever
//! [`Connection::has_request`](super::Connection::has_request) says so, and takes owned ones right after.

use crate::spec::basic;
use fairlead_kernel::ids::SessionId;
use fairlead_kernel::message::Message;
use fairlead_kernel::session::Publish;
use std::sync::Arc;

/// Publishes found in one read buffer.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Complete ones, in order; the caller takes them whenever it likes.
    pub complete: Vec<Publish<'a>>,
    /// The message that is being read, as long as all of it so far lies in this buffer.
    pub(crate) partial: Option<Partial<'a>>,
}

/// A message of which frames are missing.
#[derive(Debug)]
pub(crate) struct Partial<'a> {
    pub(crate) channel: u16,
    pub(crate) method: basic::Publish<'a>,
    pub(crate) confirm: Option<u64>,
    pub(crate) transacted: bool,
    pub(crate) head: Option<PartialHead<'a>>,
}

/// The content header of a [`Partial`].
#[derive(Debug)]
pub(crate) struct PartialHead<'a> {
    pub(crate) properties: &'a [u8],
    pub(crate) body_size: u64,
    pub(crate) facts: HeadFacts<'a>,
}

/// What the engine must know of a message's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeadFacts<'a> {
    pub(crate) persistent: bool,
    pub(crate) priority: u8,
    pub(crate) time_to_live: Option<u64>,
    pub(crate) extra_keys: bool,
    pub(crate) user_id: Option<&'a str>,
}

/// A message that did not lie whole in a read buffer, or was changed.
#[derive(Clone, Debug)]
pub struct OwnedPublish {
    /// See [`Publish::session`].
    pub session: SessionId,
    /// The message.
    pub message: Arc<Message>,
    /// See [`Publish::time_to_live`].
    pub time_to_live: Option<u64>,
    /// See [`Publish::priority`].
    pub priority: u8,
    /// See [`Publish::mandatory`].
    pub mandatory: bool,
    /// See [`Publish::transacted`].
    pub transacted: bool,
    /// See [`Publish::extra_keys`].
    pub extra_keys: bool,
    /// See [`Publish::user_id`].
    pub user_id: Option<Box<str>>,
    /// See [`Publish::confirm`].
    pub confirm: Option<u64>,
}

impl OwnedPublish {
    /// The same as the engine takes it.
    #[must_use]
    pub fn as_publish(&self) -> Publish<'_> {
        Publish {
            session: self.session,
            message: Message::view(&self.message),
            time_to_live: self.time_to_live,
            priority: self.priority,
            mandatory: self.mandatory,
            transacted: self.transacted,
            extra_keys: self.extra_keys,
            user_id: self.user_id.as_deref(),
            confirm: self.confirm,
        }
    }
}
