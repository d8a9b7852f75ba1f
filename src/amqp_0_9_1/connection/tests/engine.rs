//! An engine that answers from a script, and else says yes.

use fairlead_kernel::ids::SessionId;
use fairlead_kernel::refusal::Refusal;
use fairlead_kernel::session::{Event, Reply, Request};
use std::collections::VecDeque;

/// See the module's text.
#[derive(Default)]
pub(super) struct Engine {
    /// The next answers, in order; then the usual ones.
    pub(super) script: VecDeque<Result<Reply, Refusal>>,
    /// What was asked, in order.
    pub(super) asked: Vec<(u16, Request)>,
}

impl Engine {
    pub(super) fn execute(&mut self, session: SessionId, request: Request) -> Option<Event> {
        let usual = usual_answer(&request);
        self.asked.push((session.0, request));
        let usual = usual?;
        let result = self.script.pop_front().unwrap_or(Ok(usual));
        Some(Event::Reply { session, result })
    }
}

/// The good answer; `None` if none is due.
fn usual_answer(request: &Request) -> Option<Reply> {
    match request {
        Request::OpenSession | Request::Settle { .. } | Request::SetSessionWindow { .. } => None,
        Request::Authenticate { user, .. } => Some(Reply::Authenticated { user: user.clone() }),
        Request::DeclareQueue { name, .. } => {
            Some(Reply::Queue { name: name.clone(), messages: 0, consumers: 0 })
        }
        Request::DeleteQueue { .. } | Request::PurgeQueue { .. } => Some(Reply::Removed { messages: 0 }),
        Request::Get { .. } => Some(Reply::Empty),
        Request::OpenVirtualHost { .. }
        | Request::CloseSession { .. }
        | Request::DeclareExchange { .. }
        | Request::DeleteExchange { .. }
        | Request::Bind(_)
        | Request::Unbind(_)
        | Request::Subscribe { .. }
        | Request::SubscribeReplies { .. }
        | Request::Unsubscribe { .. }
        | Request::CheckReplyAddress { .. }
        | Request::Commit { .. }
        | Request::Rollback => Some(Reply::Done),
    }
}
