//! Answers that are not what was asked for, in the shape that RabbitMQ's clients read:
//! `{"error": WORD, "reason": TEXT}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fairlead_engine::report::NotOnDisk;
use fairlead_kernel::Refusal;
use serde_json::json;
use std::path::PathBuf;

/// What was asked for, or why not.
pub(crate) type Answer = Result<Response, Fault>;

/// Why a request is not answered with what it asks for; its text is the reason that the client reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The path leads nowhere.
    #[error("no address '{0}'")]
    NoAddress(String),
    /// No such virtual host.
    #[error("no virtual host '{0}'")]
    NoVirtualHost(String),
    /// No such queue.
    #[error("no queue '{name}' in virtual host '{vhost}'")]
    NoQueue {
        /// Where it was sought.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// No such connection.
    #[error("no connection '{0}'")]
    NoConnection(String),
    /// A change was asked for from another machine.
    #[error("changes are taken from loopback only until the broker has permissions")]
    Remote,
    /// A page beyond the last one.
    #[error("there are {pages} pages of {size}, and page {page} was asked for")]
    NoPage {
        /// How many there are.
        pages: usize,
        /// Objects of a page.
        size: usize,
        /// Which was asked for.
        page: usize,
    },
    /// A parameter of a page is wrong: which, and what was expected.
    #[error("{0}")]
    Paging(String),
    /// A copy of the data folder is being made, to that folder.
    #[error("a snapshot to {} is being made, and one is made at a time", .0.display())]
    SnapshotRunning(PathBuf),
    /// The body of a request is wrong: how.
    #[error("{0}")]
    Body(String),
    /// The broker is ending.
    #[error(transparent)]
    NotOnDisk(#[from] NotOnDisk),
    /// The engine would not.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (code, word) = match &self {
            Fault::NoAddress(_)
            | Fault::NoVirtualHost(_)
            | Fault::NoQueue { .. }
            | Fault::NoConnection(_) => (StatusCode::NOT_FOUND, "Object Not Found"),
            Fault::Remote => (StatusCode::FORBIDDEN, "not_authorised"),
            Fault::NoPage { .. } => (StatusCode::BAD_REQUEST, "page_out_of_range"),
            Fault::Paging(_) => (StatusCode::BAD_REQUEST, "invalid_pagination_parameters"),
            Fault::SnapshotRunning(_) => (StatusCode::CONFLICT, "conflict"),
            Fault::NotOnDisk(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_on_disk"),
            Fault::Body(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Fault::Refused(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        };
        (code, Json(json!({ "error": word, "reason": self.to_string() }))).into_response()
    }
}
