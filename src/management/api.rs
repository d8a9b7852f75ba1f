//! `/api`: lists in RabbitMQ's shape, purge and close.

use crate::answers::{Answer, Fault};
use crate::pages::Paging;
use crate::{Desk, shape};
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
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

/// The RabbitMQ whose management API this one is in the shape of; clients of it ask.
const RABBITMQ_VERSION: &str = "3.13.7";

/// No such address.
pub(crate) async fn not_found(uri: Uri) -> Fault {
    Fault::NoAddress(uri.path().to_owned())
}

/// Refuses a virtual host that does not exist.
fn check_vhost(desk: &Desk, vhost: &str) -> Result<(), Fault> {
    let exists = desk.source.vhosts().iter().any(|name| **name == *vhost);
    if exists { Ok(()) } else { Err(Fault::NoVirtualHost(vhost.to_owned())) }
}

/// Sums.
pub(crate) async fn overview(State(desk): State<Desk>) -> Json<Value> {
    let overview = desk.source.overview();
    let journal = desk.source.journal();
    Json(json!({
        "product_name": "Fairlead",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "node": &*desk.options.node,
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
        "disk_free": journal.as_ref().map(|journal| journal.free_bytes),
        "disk_free_limit": journal.as_ref().map(|journal| journal.free_mark),
        "disk_free_alarm": overview.disk_alarm,
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
pub(crate) async fn queues(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.queues(), |queue| &queue.name, shape::queue)
}

/// The queues of a virtual host.
pub(crate) async fn queues_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut queues = desk.source.queues();
    queues.retain(|queue| *queue.vhost == *vhost);
    paging.answer(&queues, |queue| &queue.name, shape::queue)
}

/// One queue.
pub(crate) async fn queue(State(desk): State<Desk>, Path((vhost, name)): Path<(String, String)>) -> Answer {
    check_vhost(&desk, &vhost)?;
    let queues = desk.source.queues();
    let queue = queues.iter().find(|queue| *queue.vhost == *vhost && *queue.name == *name);
    queue.map(|queue| Json(shape::queue(queue)).into_response()).ok_or(Fault::NoQueue { vhost, name })
}

/// All exchanges.
pub(crate) async fn exchanges(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.exchanges(), |exchange| &exchange.name, shape::exchange)
}

/// The exchanges of a virtual host.
pub(crate) async fn exchanges_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut exchanges = desk.source.exchanges();
    exchanges.retain(|exchange| *exchange.vhost == *vhost);
    paging.answer(&exchanges, |exchange| &exchange.name, shape::exchange)
}

/// All bindings.
pub(crate) async fn bindings(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.bindings(), |report| &report.binding.source, shape::binding)
}

/// The bindings of a virtual host.
pub(crate) async fn bindings_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut bindings = desk.source.bindings();
    bindings.retain(|report| *report.vhost == *vhost);
    paging.answer(&bindings, |report| &report.binding.source, shape::binding)
}

/// All connections.
pub(crate) async fn connections(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.connections(), |connection| &connection.name, shape::connection)
}

/// The connections of a virtual host.
pub(crate) async fn connections_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut connections = desk.source.connections();
    connections.retain(|connection| connection.vhost == vhost);
    paging.answer(&connections, |connection| &connection.name, shape::connection)
}

/// One connection.
pub(crate) async fn connection(State(desk): State<Desk>, Path(name): Path<String>) -> Answer {
    let connections = desk.source.connections();
    let connection = connections.iter().find(|connection| connection.name == name);
    connection
        .map(|connection| Json(shape::connection(connection)).into_response())
        .ok_or(Fault::NoConnection(name))
}

/// All sessions.
pub(crate) async fn channels(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.channels(), |channel| &channel.connection, shape::channel)
}

/// The sessions of a virtual host.
pub(crate) async fn channels_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut channels = desk.source.channels();
    channels.retain(|channel| channel.vhost == vhost);
    paging.answer(&channels, |channel| &channel.connection, shape::channel)
}

/// All consumers.
pub(crate) async fn consumers(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    paging.answer(&desk.source.consumers(), |consumer| &consumer.queue, shape::consumer)
}

/// The consumers of a virtual host's queues.
pub(crate) async fn consumers_of(
    State(desk): State<Desk>,
    Path(vhost): Path<String>,
    Query(paging): Query<Paging>,
) -> Answer {
    check_vhost(&desk, &vhost)?;
    let mut consumers = desk.source.consumers();
    consumers.retain(|consumer| *consumer.vhost == *vhost);
    paging.answer(&consumers, |consumer| &consumer.queue, shape::consumer)
}

/// All virtual hosts.
pub(crate) async fn vhosts(State(desk): State<Desk>, Query(paging): Query<Paging>) -> Answer {
    let queues = desk.source.queues();
    paging.answer(&desk.source.vhosts(), |name| name, |name| shape::vhost(name, &queues))
}

/// One virtual host.
pub(crate) async fn vhost(State(desk): State<Desk>, Path(name): Path<String>) -> Answer {
    check_vhost(&desk, &name)?;
    Ok(Json(shape::vhost(&name, &desk.source.queues())).into_response())
}

/// Refuses whoever is not on this machine.
pub(crate) fn refuse_remote(peer: SocketAddr) -> Result<(), Fault> {
    if peer.ip().is_loopback() { Ok(()) } else { Err(Fault::Remote) }
}

/// Drop a queue's ready messages.
pub(crate) async fn purge(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path((vhost, name)): Path<(String, String)>,
) -> Answer {
    refuse_remote(peer)?;
    let purged = desk.source.purge(&vhost, &name).map_err(|refusal| match refusal {
        Refusal::NotFound(Resource::Queue, _) => Fault::NoQueue { vhost: vhost.clone(), name: name.clone() },
        Refusal::NoVirtualHost(vhost) => Fault::NoVirtualHost(vhost),
        other => Fault::Refused(other),
    });
    let messages = purged?.on_disk().await?;
    info!(%peer, vhost, queue = name, messages, "queue purged over HTTP");
    Ok(Json(json!({ "messages": messages })).into_response())
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
    headers: HeaderMap,
) -> Answer {
    refuse_remote(peer)?;
    let of_header = headers.get("x-reason").and_then(|reason| reason.to_str().ok());
    let reason = query.reason.as_deref().or(of_header).unwrap_or(CLOSED_BY_OPERATOR);
    if !desk.source.close_connection(&name, reason) {
        return Err(Fault::NoConnection(name));
    }
    info!(%peer, connection = name, reason, "connection closed over HTTP");
    Ok(StatusCode::NO_CONTENT.into_response())
}
