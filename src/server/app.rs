//! What all connections share.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::engine::Engine;
use super::guard::{Keys, Names};
use super::log::Log;
use super::metrics::Metrics;
use super::problem::{Problem, Result};

/// What a server may be told; see `lemmy serve --help`.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) address: Address,
    pub(crate) keys: Keys,
    pub(crate) names: Names,
    pub(crate) limits: Limits,
    /// Time after which a silent stream says that it lives.
    pub(crate) ping: Duration,
    /// Whether a model name that is not ours is refused.
    pub(crate) strict_model: bool,
    pub(crate) has_page: bool,
    pub(crate) has_metrics: bool,
    pub(crate) has_slots: bool,
    pub(crate) shows_model_path: bool,
    /// Time that running replies get when the server is told to stop.
    pub(crate) grace: Duration,
    pub(crate) reasoning: ReasoningNames,
    pub(crate) metrics_compat: Vec<Compat>,
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp(String, u16),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// Under which names thoughts are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReasoningNames {
    /// `reasoning_content`.
    One,
    /// That and `reasoning`.
    Both,
}

impl ReasoningNames {
    pub(crate) fn are_both(self) -> bool {
        self == Self::Both
    }
}

/// Whose names of metrics are given as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compat {
    Vllm,
    LlamaCpp,
}

/// Bounds on what clients may send.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of a body.
    pub(crate) body: usize,
    /// Bytes of a request line and its headers.
    pub(crate) head: usize,
    /// Headers of a request.
    pub(crate) headers: usize,
    /// Time for the head of a request.
    pub(crate) head_time: Duration,
    /// Time between two pieces of a body.
    pub(crate) idle_time: Duration,
    /// Time for a body.
    pub(crate) body_time: Duration,
    /// Time in which a client has to read something.
    pub(crate) write_time: Duration,
    pub(crate) connections: usize,
    /// Of one address that is not this machine.
    pub(crate) connections_per_peer: usize,
    /// Pictures of a request.
    pub(crate) images: usize,
    /// Bytes of a picture's file.
    pub(crate) image_bytes: usize,
    /// Replies to one prompt.
    pub(crate) choices: usize,
}

impl Limits {
    /// What holds unless flags say otherwise.
    #[cfg(test)]
    pub(crate) const DEFAULT: Self = Self {
        body: 64 << 20,
        head: 16 << 10,
        headers: 100,
        head_time: Duration::from_secs(10),
        idle_time: Duration::from_secs(30),
        body_time: Duration::from_secs(300),
        write_time: Duration::from_secs(60),
        connections: 2048,
        connections_per_peer: 256,
        images: 16,
        image_bytes: 20 << 20,
        choices: 8,
    };
}

/// A model that can be talked to.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) engine: Engine,
    /// The name that answers carry.
    pub(crate) id: String,
    pub(crate) aliases: Vec<String>,
    /// `system_fingerprint`.
    pub(crate) fingerprint: String,
    /// When it was loaded, in seconds since 1970.
    pub(crate) created: u64,
    /// Where its file is.
    pub(crate) file: PathBuf,
}

impl Ready {
    /// Whether this is one of the model's names.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        name == self.id || self.aliases.iter().any(|alias| alias == name)
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) began: Instant,
    /// Connections that are open.
    pub(crate) connections: AtomicUsize,
    ready: OnceLock<Ready>,
    /// How far loading is, in thousandths.
    progress: AtomicU32,
    stopping: AtomicBool,
}

impl App {
    pub(crate) fn new(options: Options, log: Log, metrics: Metrics) -> Self {
        Self {
            options,
            log,
            metrics,
            began: Instant::now(),
            connections: AtomicUsize::new(0),
            ready: OnceLock::new(),
            progress: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// The model, or the 503 of a server that is loading or stopping.
    pub(crate) fn ready(&self) -> Result<&Ready> {
        if self.is_stopping() {
            return Err(Problem::unavailable("shutting_down", "the server is shutting down"));
        }
        self.ready.get().ok_or_else(|| {
            let progress = f64::from(self.progress.load(Ordering::Relaxed)) / 1000.0;
            Problem::unavailable("loading", "Loading model").with("progress", progress)
        })
    }

    /// The model, once it is there, also while the server is stopping.
    pub(crate) fn loaded(&self) -> Option<&Ready> {
        self.ready.get()
    }

    pub(crate) fn set_progress(&self, share: f64) {
        self.progress.store((share.clamp(0.0, 1.0) * 1000.0) as u32, Ordering::Relaxed);
    }

    /// From now on requests are served.
    pub(crate) fn set_ready(&self, ready: Ready) {
        let _ = self.ready.set(ready);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From now on no request is begun.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
