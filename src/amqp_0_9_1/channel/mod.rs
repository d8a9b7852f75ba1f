//! A channel: what the connection remembers between its frames.
//!
//! ```text
//!            channel.open            our error, or its channel.close
//! (no slot) -------------> Open ------------------------------------> Ending
//!     ^                                                                 |
//!     |  close-ok received      channel.close sent (our error)          | engine: session is closed
//!     +------------------- Closing <------------------------------------+
//!     |                      channel.close-ok sent (its close)          |
//!     +-----------------------------------------------------------------+
//! ```
//!
//! In Ending and Closing everything of the peer's is dropped but close and close-ok. Spec: AMQP 0-9-1, clause
//! 2.2.5 "The Channel Class".

mod confirms;
mod consumers;
mod content;
mod transaction;

pub(crate) use confirms::{Confirms, Settled};
pub(crate) use consumers::Consumers;
pub(crate) use content::{
    PendingPublish, body_too_long, expected_body, expected_header, expected_method, wrong_class,
};
pub(crate) use transaction::Transaction;

use fairlead_kernel::ids::{ConsumerId, SessionId};
use fairlead_kernel::session::{Unsettled, UnsettledDeliveries};

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In use.
    Open,
    /// The engine is ending the session.
    Ending,
    /// We sent channel.close.
    Closing,
}

/// How publishes and acknowledgements are treated.
#[derive(Debug)]
pub(crate) enum Mode {
    /// As they come.
    Plain,
    /// Publishes are numbered and confirmed.
    Confirm(Confirms),
    /// Publishes and acknowledgements wait for commit.
    Transaction(Transaction),
}

/// The direct-reply consumer of a channel.
#[derive(Debug)]
pub(crate) struct ReplyAddress {
    pub(crate) consumer: ConsumerId,
    pub(crate) token: Box<str>,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) state: State,
    pub(crate) mode: Mode,
    /// The message that is being read, if it is not borrowed by a batch.
    pub(crate) content: Option<Box<PendingPublish>>,
    pub(crate) unsettled: UnsettledDeliveries,
    pub(crate) consumers: Consumers,
    /// The queue declared last: what an empty queue name means.
    pub(crate) last_queue: Box<str>,
    /// basic.qos without global: for consumers to come; 0 is no bound.
    pub(crate) prefetch: u16,
    /// basic.qos with global; 0 is no bound.
    pub(crate) session_prefetch: u16,
    pub(crate) reply_address: Option<ReplyAddress>,
}

impl Channel {
    pub(crate) fn new(number: u16) -> Channel {
        Channel {
            number,
            state: State::Open,
            mode: Mode::Plain,
            content: None,
            unsettled: UnsettledDeliveries::default(),
            consumers: Consumers::default(),
            last_queue: "".into(),
            prefetch: 0,
            session_prefetch: 0,
            reply_address: None,
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        SessionId(self.number)
    }

    /// Take all that was delivered and not settled; acknowledgements of an open transaction are void.
    pub(crate) fn take_unsettled(&mut self) -> Vec<Unsettled> {
        if let Mode::Transaction(transaction) = &mut self.mode {
            transaction.roll_back(&mut self.unsettled);
        }
        self.unsettled.take_all()
    }
}

/// The channels of a connection, by number; the one used last is found at once.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "opening and closing moves the list; a channel is some hundred bytes")]
pub(crate) struct Channels {
    list: Vec<Box<Channel>>,
    last: usize,
}

impl Channels {
    #[inline]
    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        // The borrow checker does not see that the early return ends the first borrow: hence the index.
        if self.list.get(self.last).is_none_or(|channel| channel.number != number) {
            self.last = self.index(number).ok()?;
        }
        self.list.get_mut(self.last).map(|channel| &mut **channel)
    }

    pub(crate) fn insert(&mut self, channel: Channel) {
        if let Err(index) = self.index(channel.number) {
            self.list.insert(index, Box::new(channel));
        }
    }

    pub(crate) fn remove(&mut self, number: u16) -> Option<Box<Channel>> {
        let index = self.index(number).ok()?;
        Some(self.list.remove(index))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.list.iter().map(|channel| &**channel)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.list.iter_mut().map(|channel| &mut **channel)
    }

    fn index(&self, number: u16) -> Result<usize, usize> {
        self.list.binary_search_by_key(&number, |channel| channel.number)
    }
}
