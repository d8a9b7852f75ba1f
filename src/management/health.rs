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

/// 200 when clients can be served, with what is in the way of some; 503 when they should go elsewhere.
pub(crate) async fn ready(State(desk): State<Desk>) -> (StatusCode, Json<Value>) {
    let reasons = desk.source.not_ready();
    let (code, status) = if reasons.iter().any(|reason| reason.keep_away) {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    } else if reasons.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::OK, "degraded")
    };
    let reasons: Vec<Value> =
        reasons.iter().map(|reason| json!({ "reason": reason.reason, "detail": reason.detail })).collect();
    (code, Json(json!({ "status": status, "reasons": reasons })))
}
