//! Whether the process lives, and whether it can take work, for probes.

use crate::Desk;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// The process answers: that is all.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// 200 when clients can be served, else 503 with every reason.
pub(crate) async fn ready(State(desk): State<Desk>) -> (StatusCode, Json<Value>) {
    let reasons = desk.source.not_ready();
    let (code, status) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let reasons: Vec<Value> =
        reasons.iter().map(|reason| json!({ "reason": reason.reason, "detail": reason.detail })).collect();
    (code, Json(json!({ "status": status, "reasons": reasons })))
}
