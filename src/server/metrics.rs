//! What the server counts, and `/metrics` in Prometheus' text format.
//!
//! Names and units are those of OpenTelemetry's conventions for generative models where it has some. No label holds
//! what a client wrote, so the number of series is bounded.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Counter, Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use super::reply::Totals;

/// Seconds of a request: 0.01 times the powers of two.
const DURATION: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Seconds to the first token; the last three are for long prompts on CPUs.
const FIRST: [f64; 19] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0];
/// Seconds from one token to the next.
const PER_TOKEN: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// Tokens of a request: powers of four.
const TOKENS: [f64; 10] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0];

const GENERATION: [&str; 4] = ["gen_ai_operation_name", "gen_ai_request_model", "gen_ai_provider_name", "error_type"];
const USAGE: [&str; 4] = ["gen_ai_operation_name", "gen_ai_request_model", "gen_ai_provider_name", "gen_ai_token_type"];

/// All counters that grow with requests. What is measured when somebody looks is in `api/metrics.rs`.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    duration: HistogramVec,
    first: HistogramVec,
    /// The same under vLLM's name, which has no labels.
    vllm_first: Histogram,
    per_token: HistogramVec,
    usage: HistogramVec,
    requests: IntCounterVec,
    rejected: IntCounterVec,
    prompt_tokens: IntCounter,
    cached_tokens: IntCounter,
    generated_tokens: IntCounter,
    prompt_seconds: Counter,
    generation_seconds: Counter,
    model: OnceLock<String>,
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) finish: Option<&'static str>,
    pub(crate) error: Option<&'static str>,
    pub(crate) took: Duration,
    pub(crate) first: Option<Duration>,
    pub(crate) totals: Totals,
}

impl Metrics {
    /// # Errors
    ///
    /// If two metrics have one name.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let histogram = |name, help, labels: &[&str], buckets: &[f64]| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counters = |name, help, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counter = |name, help| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let seconds = |name, help| {
            let metric = Counter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        Ok(Self {
            duration: histogram(
                "gen_ai_server_request_duration_seconds",
                "Time from a request to the end of its answer",
                &GENERATION,
                &DURATION,
            )?,
            first: histogram(
                "gen_ai_server_time_to_first_token_seconds",
                "Time from a request to the first token of its answer",
                &GENERATION,
                &FIRST,
            )?,
            vllm_first: Histogram::with_opts(
                HistogramOpts::new("vllm:time_to_first_token_seconds", "As gen_ai_server_time_to_first_token_seconds")
                    .buckets(FIRST.to_vec()),
            )?,
            per_token: histogram(
                "gen_ai_server_time_per_output_token_seconds",
                "Mean time from one token of an answer to the next",
                &GENERATION,
                &PER_TOKEN,
            )?,
            usage: histogram("gen_ai_client_token_usage", "Tokens of a request, by kind", &USAGE, &TOKENS)?,
            requests: counters("lemmy_requests_total", "Requests that are over", &["route", "code", "finish_reason"])?,
            rejected: counters("lemmy_requests_rejected_total", "Requests that were not served", &["reason"])?,
            prompt_tokens: counter("lemmy_prompt_tokens_total", "Tokens of prompts, reused ones included")?,
            cached_tokens: counter("lemmy_prompt_tokens_cached_total", "Tokens of prompts that were in a cache")?,
            generated_tokens: counter("lemmy_generation_tokens_total", "Tokens that were said")?,
            prompt_seconds: seconds("lemmy_prompt_seconds_total", "Time spent on reading prompts")?,
            generation_seconds: seconds("lemmy_generation_seconds_total", "Time spent on saying answers")?,
            registry,
            model: OnceLock::new(),
        })
    }

    /// The model that requests are about from now on.
    pub(crate) fn set_model(&self, id: &str) {
        let _ = self.model.set(id.to_owned());
    }

    /// Counts a request.
    pub(crate) fn request(&self, request: &Request) {
        let code = request.status.to_string();
        self.requests.with_label_values(&[request.route, &code, request.finish.unwrap_or("")]).inc();
        let reason = match request.status {
            401 | 403 => Some("not_allowed"),
            413 | 431 | 408 => Some("limit"),
            429 => Some("queue_full"),
            503 => Some("unavailable"),
            400..500 if request.status != 499 => Some("invalid"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.rejected.with_label_values(&[reason]).inc();
        }
        let operation = match request.route {
            "/v1/completions" | "/completion" => "text_completion",
            _ => "chat",
        };
        if request.finish.is_none() {
            return;
        }
        let model = self.model.get().map_or("", String::as_str);
        let labels = [operation, model, "lemmy", request.error.unwrap_or("")];
        let totals = &request.totals;
        self.duration.with_label_values(&labels).observe(request.took.as_secs_f64());
        if let Some(first) = request.first {
            self.first.with_label_values(&labels).observe(first.as_secs_f64());
            self.vllm_first.observe(first.as_secs_f64());
        }
        if totals.generated > 1 {
            let steps = (totals.generated - 1) as f64;
            self.per_token.with_label_values(&labels).observe(totals.decode.as_secs_f64() / steps);
        }
        for (kind, tokens) in [("input", totals.prompt), ("output", totals.generated)] {
            self.usage.with_label_values(&[operation, model, "lemmy", kind]).observe(tokens as f64);
        }
        self.prompt_tokens.inc_by(totals.prompt as u64);
        self.cached_tokens.inc_by(totals.cached as u64);
        self.generated_tokens.inc_by(totals.generated as u64);
        self.prompt_seconds.inc_by(totals.prefill.as_secs_f64());
        self.generation_seconds.inc_by(totals.decode.as_secs_f64());
    }

    /// Seconds spent on reading prompts and on saying answers.
    pub(crate) fn seconds(&self) -> (f64, f64) {
        (self.prompt_seconds.get(), self.generation_seconds.get())
    }

    /// Tokens of prompts, of these reused, and tokens said.
    pub(crate) fn tokens(&self) -> (u64, u64, u64) {
        (self.prompt_tokens.get(), self.cached_tokens.get(), self.generated_tokens.get())
    }

    /// The time to the first token under vLLM's name.
    pub(crate) fn vllm_first(&self) -> Histogram {
        self.vllm_first.clone()
    }

    /// What was counted, in the text format.
    ///
    /// # Errors
    ///
    /// If a metric cannot be written down.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        encode(&self.registry)
    }
}

/// A registry's metrics in the text format.
///
/// # Errors
///
/// If a metric cannot be written down.
pub(crate) fn encode(registry: &Registry) -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
