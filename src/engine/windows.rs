//! Session-wide windows: how many messages all consumers of a session may hold unsettled together.
//!
//! A window spans queues, so each queue that serves one of the session's consumers asks it at dispatch. It is
//! a leaf without a lock.

use fairlead_kernel::queue::SharedWindows;
use fairlead_kernel::{ConnectionId, SessionId};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// One session's window.
#[derive(Debug)]
pub(crate) struct SessionWindow {
    /// Places left; negative when the window was made smaller than what was held.
    free: AtomicI64,
}

impl SessionWindow {
    /// A window with so many free places.
    pub(crate) fn new(free: u32) -> SessionWindow {
        SessionWindow { free: AtomicI64::new(free.into()) }
    }

    fn take(&self) -> bool {
        let taken =
            self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| (free > 0).then(|| free - 1));
        taken.is_ok()
    }

    /// Places come back; true if the window was closed and is open now.
    pub(crate) fn give_back(&self, places: u64) -> bool {
        let places = i64::try_from(places).unwrap_or(i64::MAX);
        let before = self.free.fetch_add(places, Ordering::AcqRel);
        before <= 0 && before + places > 0
    }

    /// The window is as large as it is, and `difference` larger.
    pub(crate) fn grow(&self, difference: i64) {
        self.free.fetch_add(difference, Ordering::AcqRel);
    }
}

/// The session windows of one queue's consumers, in the order of connections and sessions.
#[derive(Debug, Default)]
pub(crate) struct Windows(Vec<(ConnectionId, SessionId, Arc<SessionWindow>)>);

impl Windows {
    /// A session's consumers here share `window` from now on, or none.
    pub(crate) fn set(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        window: Option<Arc<SessionWindow>>,
    ) {
        match (self.find(connection, session), window) {
            (Ok(at), Some(window)) => self.0[at].2 = window,
            (Err(at), Some(window)) => self.0.insert(at, (connection, session, window)),
            (Ok(at), None) => {
                self.0.remove(at);
                self.0.shrink_to_fit();
            }
            (Err(_), None) => {}
        }
    }

    fn find(&self, connection: ConnectionId, session: SessionId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&(connection, session), |(c, s, _)| (*c, *s))
    }
}

impl SharedWindows for Windows {
    fn take(&mut self, connection: ConnectionId, session: SessionId) -> bool {
        self.find(connection, session).map_or(true, |at| self.0[at].2.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_when_a_place_comes_back() {
        let window = Arc::new(SessionWindow::new(2));
        let mut windows = Windows::default();
        windows.set(ConnectionId(1), SessionId(1), Some(Arc::clone(&window)));
        let mut take = |session| windows.take(ConnectionId(1), SessionId(session));
        assert!(take(1) && take(1) && !take(1) && take(2));
        assert!(window.give_back(1));
        assert!(!window.give_back(1), "it was open");
        window.grow(-4);
        assert!(!take(1));
        assert!(!window.give_back(1) && window.give_back(2));
    }

    #[test]
    fn each_session_has_its_own() {
        let mut windows = Windows::default();
        let sessions = [(3, 1), (1, 2), (2, 9), (1, 1)];
        for (at, (connection, session)) in sessions.into_iter().enumerate() {
            let window = Arc::new(SessionWindow::new(at as u32));
            windows.set(ConnectionId(connection), SessionId(session), Some(window));
        }
        for (at, (connection, session)) in sessions.into_iter().enumerate() {
            let taken = (0..9).filter(|_| windows.take(ConnectionId(connection), SessionId(session))).count();
            assert_eq!(taken, at);
        }
        windows.set(ConnectionId(1), SessionId(2), None);
        assert!(windows.take(ConnectionId(1), SessionId(2)), "without one there is no bound");
        assert!(!windows.take(ConnectionId(1), SessionId(1)));
    }
}
