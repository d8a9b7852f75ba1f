//! Metrics, health and the HTTP API, on one port.
//!
//! Flow: a request asks an [`fairlead_engine::report::Source`] for plain values, gathered from published
//! state and never under a queue's lock, and a room turns them into its format: `metrics` into Prometheus
//! text, `health` into reasons, `api` into the JSON that users of RabbitMQ's management know.
//!
//! Until there are permissions, whatever changes something is taken from loopback only.

mod answers;
mod api;
mod health;
mod journal_metrics;
mod metrics;
mod pages;
mod shape;
mod snapshot;

pub use metrics::MetricsError;

use axum::extract::ConnectInfo;
use axum::routing::{delete, get};
use axum::{Extension, Router};
use fairlead_engine::report::Source;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// HTTP connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a client may take for the head of a request, its silence before it included.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// How long a connection may last; a client that has more to ask connects again.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// How long to wait after the system had no socket to give.
const BREATH: Duration = Duration::from_millis(50);

/// What the port shows, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What this broker is called among others, for example `fairlead@host`.
    pub node: Arc<str>,
    /// Queues with metrics of their own at most; the rest are in the sums only.
    pub queue_metrics: usize,
}

/// What every request is answered from.
#[derive(Clone)]
struct Desk {
    source: Arc<dyn Source>,
    options: Options,
    snapshots: snapshot::Snapshots,
}

/// Answer requests for as long as the future is polled. There are so many connections at a time that no client can
/// take the sockets of the others, and each has a bound in time.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, options: Options) {
    let router = router(source, options);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // An IPv4 client of a listener for both is shown as what it is.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let service = router.clone().layer(Extension(ConnectInfo(peer)));
                tokio::spawn(async move {
                    answer(stream, service).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Answer the requests of one connection.
async fn answer(stream: TcpStream, service: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    // Its client went, or was too slow: there is nobody to tell.
    let _ = timeout(CONNECTION_TIME, connection).await;
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
        .route("/api/connections/{name}", get(api::connection).delete(api::close))
        .route("/api/channels", get(api::channels))
        .route("/api/consumers", get(api::consumers))
        .route("/api/consumers/{vhost}", get(api::consumers_of))
        .route("/api/journal/snapshot", get(snapshot::progress).post(snapshot::begin))
        .route("/api/vhosts", get(api::vhosts))
        .route("/api/vhosts/{vhost}", get(api::vhost))
        .route("/api/vhosts/{vhost}/connections", get(api::connections_of))
        .route("/api/vhosts/{vhost}/channels", get(api::channels_of))
        .fallback(api::not_found)
        .with_state(Desk { source, options, snapshots: snapshot::Snapshots::default() })
}
