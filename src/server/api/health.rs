//! Whether the server lives and can serve; its version.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::server::app::App;
use crate::server::problem::Result;
use crate::server::respond::{self, Answer};

/// `GET /health` and its kin: 503 until the model is loaded, and once the server is stopping.
pub(crate) fn health(app: &App) -> Result<Answer> {
    let engine = &app.ready()?.engine;
    let gauges = engine.gauges();
    let running = gauges.running.load(Ordering::SeqCst);
    Ok(respond::json(&json!({
        "status": if gauges.is_degraded() { "degraded" } else { "ok" },
        "slots_idle": engine.options().slots.saturating_sub(running),
        "slots_processing": running,
        "queue": gauges.waiting.load(Ordering::SeqCst),
        "uptime_s": app.began.elapsed().as_secs_f64(),
    })))
}

/// `GET /livez`: the process serves.
pub(crate) fn live() -> Answer {
    respond::json(&json!({ "status": "ok" }))
}

/// `GET /version`.
pub(crate) fn version() -> Answer {
    respond::json(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}
