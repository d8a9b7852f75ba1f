//! `/api`: lists in RabbitMQ's shape, purge and close.

use crate::{Desk, shape};
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fairlead_engine::counters::Counter;
use fairlead_engine::report::Overview;
use fairlead_kernel::Refusal;
use fairlead_kernel::refusal::Resource;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tracing::info;

/// What is said when a close gives no reason of its own.
const CLOSED_BY_OPERATOR: &str = "Closed via management";

/// An error, in the shape that RabbitMQ's clients read.
fn error(code: StatusCode, error: &str, reason: &str) -> Response {
    (code, Json(json!({ "error": error, "reason": reason }))).into_response()
}

/// No such address, or no such thing.
pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "Object Not Found", "Not Found")
}

/// Sums.
pub(crate) async fn overview(State(desk): State<Desk>) -> Json<Value> {
    let overview = desk.source.overview();
    Json(json!({
        "product_name": "Fairlead",
        "product_version": env!("CARGO_PKG_VERSION"),
        "uptime": overview.uptime_seconds * 1000,
        "object_totals": {
            "connections": overview.connections,
            "channels": overview.channels,
            "consumers": overview.consumers,
            "queues": overview.queues,
            "exchanges": overview.exchanges,
        },
        "queue_totals": {
            "messages": overview.messages_ready + overview.messages_unacknowledged,
            "messages_ready": overview.messages_ready,
            "messages_unacknowledged": overview.messages_unacknowledged,
        },
        "message_stats": message_stats(&overview),
        "mem_used": overview.memory_used,
        "mem_limit": overview.memory_limit,
        "mem_alarm": overview.memory_alarm,
    }))
}

fn message_stats(overview: &Overview) -> Value {
    let count = |wanted| overview.counters.iter().find(|(c, _)| *c == wanted).map_or(0, |(_, count)| *count);
    json!({
        "publish": count(Counter::Published),
        "confirm": count(Counter::Confirmed),
        "return_unroutable": count(Counter::UnroutableReturned),
        "drop_unroutable": count(Counter::UnroutableDropped),
        "deliver": count(Counter::Delivered),
        "deliver_no_ack": count(Counter::DeliveredSettled),
        "get": count(Counter::Got),
        "redeliver": count(Counter::Redelivered),
        "ack": count(Counter::Acknowledged),
    })
}

/// All queues.
pub(crate) async fn queues(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.queues().iter().map(shape::queue).collect())
}

/// The queues of a virtual host.
pub(crate) async fn queues_of(State(desk): State<Desk>, Path(vhost): Path<String>) -> Json<Value> {
    Json(desk.source.queues().iter().filter(|queue| *queue.vhost == *vhost).map(shape::queue).collect())
}

/// One queue.
pub(crate) async fn queue(State(desk): State<Desk>, Path((vhost, name)): Path<(String, String)>) -> Response {
    let queues = desk.source.queues();
    match queues.iter().find(|queue| *queue.vhost == *vhost && *queue.name == *name) {
        Some(queue) => Json(shape::queue(queue)).into_response(),
        None => not_found().await,
    }
}

/// All exchanges.
pub(crate) async fn exchanges(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.exchanges().iter().map(shape::exchange).collect())
}

/// The exchanges of a virtual host.
pub(crate) async fn exchanges_of(State(desk): State<Desk>, Path(vhost): Path<String>) -> Json<Value> {
    let exchanges = desk.source.exchanges();
    Json(exchanges.iter().filter(|exchange| *exchange.vhost == *vhost).map(shape::exchange).collect())
}

/// All bindings.
pub(crate) async fn bindings(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.bindings().iter().map(shape::binding).collect())
}

/// The bindings of a virtual host.
pub(crate) async fn bindings_of(State(desk): State<Desk>, Path(vhost): Path<String>) -> Json<Value> {
    let bindings = desk.source.bindings();
    Json(bindings.iter().filter(|binding| *binding.vhost == *vhost).map(shape::binding).collect())
}

/// All connections.
pub(crate) async fn connections(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.connections().iter().map(shape::connection).collect())
}

/// All sessions.
pub(crate) async fn channels(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.channels().iter().map(shape::channel).collect())
}

/// All consumers.
pub(crate) async fn consumers(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.source.consumers().iter().map(shape::consumer).collect())
}

/// The refusal for whoever is not on this machine.
fn refuse_remote(peer: SocketAddr) -> Option<Response> {
    let text = "changes are taken from loopback only until the broker has permissions";
    let remote = !peer.ip().is_loopback();
    remote.then(|| error(StatusCode::FORBIDDEN, "not_authorised", text))
}

/// Drop a queue's ready messages.
pub(crate) async fn purge(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((vhost, name)): Path<(String, String)>,
) -> Response {
    if let Some(refused) = refuse_remote(peer) {
        return refused;
    }
    match desk.source.purge(&vhost, &name) {
        Ok(messages) => {
            info!(%peer, vhost, queue = name, messages, "queue purged over HTTP");
            Json(json!({ "messages": messages })).into_response()
        }
        Err(Refusal::NotFound(Resource::Queue, _) | Refusal::NoVirtualHost(_)) => not_found().await,
        Err(refusal) => error(StatusCode::BAD_REQUEST, "bad_request", &refusal.to_string()),
    }
}

/// What a close may say.
#[derive(Deserialize)]
pub(crate) struct CloseQuery {
    /// Told to the client.
    reason: Option<String>,
}

/// Close a connection.
pub(crate) async fn close(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    Query(query): Query<CloseQuery>,
) -> Response {
    if let Some(refused) = refuse_remote(peer) {
        return refused;
    }
    let reason = query.reason.as_deref().unwrap_or(CLOSED_BY_OPERATOR);
    if !desk.source.close_connection(&name, reason) {
        return not_found().await;
    }
    info!(%peer, connection = name, reason, "connection closed over HTTP");
    StatusCode::NO_CONTENT.into_response()
}
