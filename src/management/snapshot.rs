//! Copies of the data folder, one at a time: begun by a request, and asked after by others, for they may take longer
//! than any connection lives.

use crate::Desk;
use crate::answers::{Answer, Fault};
use crate::api::refuse_remote;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// How the last copy is.
#[derive(Clone, Debug, Default)]
enum Progress {
    /// There was none.
    #[default]
    Idle,
    Running(PathBuf),
    Done {
        folder: PathBuf,
        position: u64,
        seconds: f64,
    },
    Failed {
        folder: PathBuf,
        reason: String,
    },
}

impl Progress {
    fn to_json(&self) -> Value {
        match self {
            Progress::Idle => json!({ "state": "none" }),
            Progress::Running(folder) => json!({ "state": "running", "folder": folder }),
            Progress::Done { folder, position, seconds } => {
                json!({ "state": "done", "folder": folder, "position": position, "seconds": seconds })
            }
            Progress::Failed { folder, reason } => {
                json!({ "state": "failed", "folder": folder, "reason": reason })
            }
        }
    }
}

/// The last copy, shared by all requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(Arc<Mutex<Progress>>);

impl Snapshots {
    fn get(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// Begin one, unless one is being made.
    fn begin(&self, folder: &Path) -> Result<(), Fault> {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Running(other) = &*progress {
            return Err(Fault::SnapshotRunning(other.clone()));
        }
        *progress = Progress::Running(folder.to_path_buf());
        Ok(())
    }
}

/// What a request says.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// Where the copy is to be, as the broker's machine names it.
    folder: PathBuf,
}

/// How the last one is.
pub(crate) async fn progress(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.snapshots.get().to_json())
}

/// Begin one.
pub(crate) async fn begin(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Answer {
    refuse_remote(peer)?;
    let Json(Wanted { folder }) = wanted.map_err(|rejection| Fault::Body(rejection.body_text()))?;
    if !folder.is_absolute() {
        return Err(Fault::Body(format!("folder is {folder:?}, expected an absolute path")));
    }
    desk.snapshots.begin(&folder)?;
    tracing::info!(%peer, folder = %folder.display(), "snapshot begun");
    let running = desk.snapshots.get().to_json();
    tokio::task::spawn_blocking(move || make(&desk, folder));
    Ok((StatusCode::ACCEPTED, Json(running)).into_response())
}

fn make(desk: &Desk, folder: PathBuf) {
    let began = Instant::now();
    let progress = match desk.source.snapshot(&folder) {
        Ok(snapshot) => {
            let seconds = began.elapsed().as_secs_f64();
            tracing::info!(folder = %folder.display(), position = snapshot.position, seconds, "snapshot made");
            Progress::Done { folder, position: snapshot.position, seconds }
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "no snapshot could be made");
            Progress::Failed { folder, reason: error.to_string() }
        }
    };
    desk.snapshots.set(progress);
}
