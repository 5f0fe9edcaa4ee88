//! `GET /metrics`: what was counted, and what can be measured now.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use prometheus::core::Collector;
use prometheus::{Counter, Gauge, GaugeVec, Opts, Registry};

use crate::server::app::{App, Compat};
use crate::server::metrics::encode;
use crate::server::problem::{Problem, Result};
use crate::server::respond::{self, Answer};

/// The text format of Prometheus, version 0.0.4.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
///
/// # Errors
///
/// 404 with `--no-metrics`.
pub(crate) fn serve(app: &App) -> Result<Answer> {
    if !app.options.has_metrics {
        return Err(Problem::not_found("unknown_url", "the server was started with --no-metrics"));
    }
    let text = text(app).map_err(|_| Problem::internal("the metrics could not be written down"))?;
    Ok(respond::bytes(StatusCode::OK, MEDIA_TYPE, text))
}

fn text(app: &App) -> prometheus::Result<String> {
    let now = Now { registry: Registry::new() };
    now.measure(app)?;
    for compat in &app.options.metrics_compat {
        match compat {
            Compat::Vllm => now.vllm(app)?,
            Compat::LlamaCpp => now.llama_cpp(app)?,
        }
    }
    Ok(app.metrics.text()? + &encode(&now.registry)?)
}

/// What is measured when somebody looks.
struct Now {
    registry: Registry,
}

/// The state of the worker; all zero until the model is loaded.
#[derive(Default)]
struct Work {
    running: f64,
    waiting: f64,
    slots: f64,
    cached: f64,
    capacity: f64,
    bytes: f64,
    passes: f64,
    longest: f64,
    panics: f64,
    cancelled: f64,
}

impl Work {
    fn of(app: &App) -> Self {
        let Some(ready) = app.loaded() else { return Self::default() };
        let gauges = ready.engine.gauges();
        Self {
            running: gauges.running.load(Ordering::Relaxed) as f64,
            waiting: gauges.waiting.load(Ordering::Relaxed) as f64,
            slots: ready.engine.options().slots as f64,
            cached: gauges.cached.load(Ordering::Relaxed) as f64,
            capacity: gauges.capacity.load(Ordering::Relaxed) as f64,
            bytes: gauges.bytes.load(Ordering::Relaxed) as f64,
            passes: gauges.passes.load(Ordering::Relaxed) as f64,
            longest: gauges.longest.load(Ordering::Relaxed) as f64,
            panics: gauges.panics.load(Ordering::Relaxed) as f64,
            cancelled: gauges.cancelled.load(Ordering::Relaxed) as f64,
        }
    }

    fn usage(&self) -> f64 {
        if self.capacity > 0.0 { self.cached / self.capacity } else { 0.0 }
    }
}

impl Now {
    fn register(&self, metric: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(metric))
    }

    fn gauge(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.register(gauge)
    }

    fn counter(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        self.register(counter)
    }

    fn measure(&self, app: &App) -> prometheus::Result<()> {
        let work = Work::of(app);
        self.gauge("lemmy_requests_running", "Requests that have a slot", work.running)?;
        self.gauge("lemmy_requests_waiting", "Requests that wait for a slot", work.waiting)?;
        self.gauge("lemmy_slots", "Conversations that can be served side by side", work.slots)?;
        self.gauge("lemmy_connections", "Open connections", app.connections.load(Ordering::Relaxed) as f64)?;
        self.gauge("lemmy_kv_cache_usage_ratio", "Share of the caches' room that is filled", work.usage())?;
        self.gauge("lemmy_kv_cache_bytes", "Bytes of caches and working memory", work.bytes)?;
        if let Some(bytes) = resident_memory() {
            self.gauge("lemmy_process_resident_memory_bytes", "Memory of the process", bytes)?;
        }
        self.counter("lemmy_requests_cancelled_total", "Replies whose client left", work.cancelled)?;
        self.counter("lemmy_worker_panics_total", "Times that the worker had to be started again", work.panics)?;
        let labels = ["version", "backend", "isa", "model"];
        let info = GaugeVec::new(Opts::new("lemmy_build_info", "What is running; always 1"), &labels)?;
        let (model, backend) =
            app.loaded().map_or(("", ""), |ready| (ready.id.as_str(), ready.engine.model().info().backend.as_str()));
        // For instance "cpu (avx2)".
        let (backend, isa) = backend.split_once(" (").unwrap_or((backend, ""));
        let isa = isa.trim_end_matches(')');
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), backend, isa, model]).set(1.0);
        self.register(info)
    }

    /// vLLM's names, for its dashboards and the inference extension of the Kubernetes gateway.
    fn vllm(&self, app: &App) -> prometheus::Result<()> {
        let work = Work::of(app);
        let (prompt, cached, generated) = app.metrics.tokens();
        self.gauge("vllm:num_requests_running", "As lemmy_requests_running", work.running)?;
        self.gauge("vllm:num_requests_waiting", "As lemmy_requests_waiting", work.waiting)?;
        self.gauge("vllm:kv_cache_usage_perc", "As lemmy_kv_cache_usage_ratio", work.usage())?;
        self.counter("vllm:prompt_tokens_total", "As lemmy_prompt_tokens_total", prompt as f64)?;
        self.counter("vllm:generation_tokens_total", "As lemmy_generation_tokens_total", generated as f64)?;
        self.counter("vllm:prefix_cache_queries_total", "Tokens looked for in caches", prompt as f64)?;
        self.counter("vllm:prefix_cache_hits_total", "Tokens found in caches", cached as f64)?;
        self.register(app.metrics.vllm_first())
    }

    /// llama-server's names.
    fn llama_cpp(&self, app: &App) -> prometheus::Result<()> {
        let work = Work::of(app);
        let (prompt, cached, generated) = app.metrics.tokens();
        let (read_for, said_for) = app.metrics.seconds();
        let read = prompt.saturating_sub(cached) as f64;
        let rate = |tokens: f64, seconds: f64| if seconds > 0.0 { tokens / seconds } else { 0.0 };
        let said = generated as f64;
        self.counter("llamacpp:prompt_tokens_total", "Tokens of prompts that were read", read)?;
        self.counter("llamacpp:prompt_seconds_total", "Time spent on reading prompts", read_for)?;
        self.counter("llamacpp:tokens_predicted_total", "Tokens that were said", said)?;
        self.counter("llamacpp:tokens_predicted_seconds_total", "Time spent on saying answers", said_for)?;
        self.gauge("llamacpp:prompt_tokens_seconds", "Tokens read in a second", rate(read, read_for))?;
        self.gauge("llamacpp:predicted_tokens_seconds", "Tokens said in a second", rate(said, said_for))?;
        self.gauge("llamacpp:requests_processing", "As lemmy_requests_running", work.running)?;
        self.gauge("llamacpp:requests_deferred", "As lemmy_requests_waiting", work.waiting)?;
        self.counter("llamacpp:n_decode_total", "Forward passes", work.passes)?;
        self.gauge("llamacpp:n_tokens_max", "Most tokens that a conversation had", work.longest)
    }
}

/// Bytes of memory that the process holds, where the system tells.
fn resident_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
