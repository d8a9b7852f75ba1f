//! Metrics, health and the HTTP API, on one port.
//!
//! Flow: a request asks an [`fairlead_engine::report::Source`] for plain values, gathered from published
//! state and never under a queue's lock, and a room turns them into its format: `metrics` into Prometheus
//! text, `health` into reasons, `api` into the JSON that users of RabbitMQ's management know.
//!
//! Until there are permissions, whatever changes something is taken from loopback only.

mod api;
mod health;
mod metrics;
mod shape;

pub use metrics::MetricsError;

use axum::Router;
use axum::routing::{delete, get};
use fairlead_engine::report::Source;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the port shows, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Queues with metrics of their own at most; the rest are in the sums only.
    pub queue_metrics: usize,
}

/// What every request is answered from.
#[derive(Clone)]
struct Desk {
    source: Arc<dyn Source>,
    options: Options,
}

/// Answer requests for as long as the future is polled.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, options: Options) -> io::Result<()> {
    let service = router(source, options).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await
}

/// All addresses of the port.
fn router(source: Arc<dyn Source>, options: Options) -> Router {
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/api/overview", get(api::overview))
        .route("/api/queues", get(api::queues))
        .route("/api/queues/{vhost}", get(api::queues_of))
        .route("/api/queues/{vhost}/{name}", get(api::queue))
        .route("/api/queues/{vhost}/{name}/contents", delete(api::purge))
        .route("/api/exchanges", get(api::exchanges))
        .route("/api/exchanges/{vhost}", get(api::exchanges_of))
        .route("/api/bindings", get(api::bindings))
        .route("/api/bindings/{vhost}", get(api::bindings_of))
        .route("/api/connections", get(api::connections))
        .route("/api/connections/{name}", delete(api::close))
        .route("/api/channels", get(api::channels))
        .route("/api/consumers", get(api::consumers))
        .fallback(api::not_found)
        .with_state(Desk { source, options })
}
