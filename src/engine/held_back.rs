//! Confirms of what was recorded, until all that was read with their publishes is done.
//!
//! An adapter gives the publishes of a read in one batch, and the settlements that lay among them behind it. A client
//! that acknowledges, then publishes, and hears of the publish may take it that the acknowledgement is kept as well:
//! so the confirms of a batch wait for the journal to come as far as the settlements behind it too.

use crate::connection::Connection;
use fairlead_journal::Position;
use fairlead_kernel::session::Event;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    confirms: Vec<Event>,
    /// How far the journal has to come.
    position: Option<Position>,
}

impl HeldBack {
    /// Confirms of what was recorded up to that position.
    pub(crate) fn confirms(&mut self, position: Position, confirms: impl IntoIterator<Item = Event>) {
        self.confirms.extend(confirms);
        self.position = self.position.max(Some(position));
    }

    /// Something was recorded behind them.
    #[inline]
    pub(crate) fn recorded(&mut self, position: Option<Position>) {
        if !self.confirms.is_empty() {
            self.position = self.position.max(position);
        }
    }
}

impl Connection {
    /// The settlements that came with a batch of publishes are done: its confirms that can be told now are appended to
    /// `events`, the others come when the journal has come so far. To be called behind every
    /// [`Connection::publish_batch`].
    #[inline]
    pub fn tell_confirms(&mut self, events: &mut Vec<Event>) {
        if !self.held_back.confirms.is_empty() {
            self.tell_held_back(events);
        }
    }

    fn tell_held_back(&mut self, events: &mut Vec<Event>) {
        let HeldBack { confirms, position } = std::mem::take(&mut self.held_back);
        events.extend(confirms.into_iter().filter_map(|event| self.unless_recorded(position, event)));
    }
}
