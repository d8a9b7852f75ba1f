//! A session's consumers: how they come and go, direct replies' addresses, and the window that a session's consumers
//! share.

use crate::connection::{Connection, Consumer};
use crate::queue_cell::QueueCell;
use crate::replies::REPLY_BYTES;
use crate::requests::Answer;
use crate::store::Log;
use crate::windows::SessionWindow;
use fairlead_kernel::queue::{Attachment, Denial, Queue};
use fairlead_kernel::refusal::Resource;
use fairlead_kernel::session::Reply;
use fairlead_kernel::settings::{ConsumerSettings, Limits, QueueSettings};
use fairlead_kernel::{ConsumerId, Refusal, SessionId, Time};
use std::sync::Arc;

/// Bytes that deliveries of one connection may take in its outbox, shared out to its consumers.
const TRANSFER_BYTES: usize = 4 << 20;
/// Bounds of one consumer's share. The larger one takes what a read of 256 KiB brings, and is granted again in
/// halves: with 256 KiB each read's messages went out in two writes, and waited in the queue between them.
const TRANSFER_LEAST: usize = 16 << 10;
const TRANSFER_MOST: usize = 384 << 10;

impl Connection {
    pub(crate) fn subscribe(
        &mut self,
        session: SessionId,
        consumer: ConsumerId,
        queue: &str,
        settings: ConsumerSettings,
        now: Time,
    ) -> Answer {
        let cell = self.queue(queue)?;
        self.attach(session, consumer, cell, settings, now)?;
        Ok(Reply::Done)
    }

    fn attach(
        &mut self,
        session: SessionId,
        id: ConsumerId,
        cell: Arc<QueueCell>,
        settings: ConsumerSettings,
        now: Time,
    ) -> Result<(), Refusal> {
        let window = self.session(session).window.as_ref().map(|(window, _)| Arc::clone(window));
        let share = TRANSFER_BYTES / (self.consumers.len() + 1);
        let transfer_window = share.clamp(TRANSFER_LEAST, TRANSFER_MOST) as u32;
        let settings = Arc::new(settings);
        let attachment = Attachment {
            connection: self.id,
            session,
            consumer: id,
            settings: &settings,
            transfer_window,
            shared_window: window.is_some(),
        };
        let slot = self.enter(&cell, now, |q| {
            if let Some(window) = window {
                q.turn.windows.set(attachment.connection, session, Some(window));
            }
            let slot = q.queue.attach(&attachment, &mut q.turn)?;
            q.link(slot, &self.entry.outbox);
            Ok::<_, Denial>(slot)
        });
        let slot = slot.map_err(|denial| match denial {
            Denial::Refused(refusal) => refusal,
            Denial::Gone(_) => Refusal::NotFound(Resource::Queue, cell.name.to_string()),
        })?;
        let consumer =
            Consumer { id, session, cell, slot, settings, transfer_window, owed: 0, cancelled: false };
        let at = self.consumers.partition_point(|other| other.id < id);
        self.consumers.insert(at, consumer);
        Ok(())
    }

    pub(crate) fn subscribe_replies(
        &mut self,
        session: SessionId,
        consumer: ConsumerId,
        token: &str,
        tag: String,
        now: Time,
    ) -> Answer {
        let host = Arc::clone(self.opened()?);
        let limits = Limits { max_bytes: Some(REPLY_BYTES), ..Limits::default() };
        let name: Arc<str> = format!("{}{token}", crate::replies::REPLY_PREFIX).into();
        let (id, settings) = (self.broker.queues.next_id(), QueueSettings::default());
        let queue = Queue::new(id, name, &settings, &limits, self.broker.readers, now);
        let cell = Arc::new(QueueCell::new(queue, Log::Memory, host));
        let settings = ConsumerSettings { tag, ..ConsumerSettings::default() };
        self.attach(session, consumer, Arc::clone(&cell), settings, now)?;
        self.broker.replies.insert(token, cell);
        self.session(session).reply_token = Some(token.into());
        Ok(Reply::Done)
    }

    pub(crate) fn unsubscribe(&mut self, id: ConsumerId, now: Time) {
        let Ok(at) = self.consumers.binary_search_by_key(&id, |consumer| consumer.id) else { return };
        self.detach(&self.consumers[at], now);
        let consumer = &mut self.consumers[at];
        consumer.cancelled = true;
        let (session, cell) = (consumer.session, consumer.cell.id());
        self.drop_reply_address(session, now, |address| address.id() == cell);
    }

    /// The session's reply address goes, if it is the one.
    fn drop_reply_address(&mut self, session: SessionId, now: Time, is: impl Fn(&QueueCell) -> bool) {
        let Ok(at) = self.sessions.binary_search_by_key(&session, |session| session.id) else { return };
        let session = &mut self.sessions[at];
        if let Some(token) = &session.reply_token
            && self.broker.replies.get(token).is_some_and(|cell| is(&cell))
        {
            let token = session.reply_token.take();
            self.remove_reply_address(token.as_deref(), now);
        }
    }

    /// Replies that still wait go with their address, and what comes later finds it gone.
    pub(crate) fn remove_reply_address(&self, token: Option<&str>, now: Time) {
        if let Some(cell) = token.and_then(|token| self.broker.replies.remove(token)) {
            self.enter(&cell, now, |q| {
                // Without conditions, and once only: nothing can stand against it.
                let _ = q.queue.delete(false, false, &mut q.turn);
            });
            self.broker.janitor.forget(cell.id(), &cell.deadline);
        }
    }

    pub(crate) fn set_session_window(&mut self, id: SessionId, size: Option<u32>, now: Time) {
        let session = self.session(id);
        let before = session.window.take();
        session.window = size.map(|size| match &before {
            Some((window, old)) => {
                window.grow(i64::from(size) - i64::from(*old));
                (Arc::clone(window), size)
            }
            // Closed, until nothing can leave without it: then what is under way can be counted.
            None => (Arc::new(SessionWindow::new(0)), size),
        });
        let window = session.window.clone();
        let connection = self.id;
        for consumer in self.consumers.iter().filter(|consumer| consumer.session == id) {
            self.enter(&consumer.cell, now, |q| {
                q.turn.windows.set(connection, id, window.as_ref().map(|(window, _)| Arc::clone(window)));
                // Gone with its queue: it has no window any more.
                let _ = q.queue.set_shared_window(consumer.slot, window.is_some(), &mut q.turn);
            });
        }
        if let (None, Some((window, size))) = (before, window) {
            let held = self.held_by_consumers(id);
            window.grow(i64::from(size) - i64::try_from(held).unwrap_or(i64::MAX));
            self.window_opened(id, now);
        }
    }

    /// Deliveries of a session's consumers that wait to be settled, those included that its adapter has not seen yet.
    fn held_by_consumers(&mut self, id: SessionId) -> u64 {
        self.count_all_walked();
        let under_way = self.waiting(|session| session == id);
        let of_consumers = under_way.iter().filter(|delivery| delivery.consumer.is_some()).count() as u64;
        self.session(id).unsettled + of_consumers
    }
}
