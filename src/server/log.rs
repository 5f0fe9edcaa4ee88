//! One line for each request that is over. Prompts, answers and keys are in none of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lemmy_core::{Event, FinishReason};
use serde_json::json;

use super::app::App;
use super::connection::{Peer, Serving};
use super::problem::Problem;
use super::reply::{Reply, Totals};

/// Where log lines go and how they look.
#[derive(Debug)]
pub(crate) struct Log {
    as_json: bool,
    path: Option<PathBuf>,
    /// The file, if they do not go to stderr.
    file: Mutex<Option<File>>,
}

impl Log {
    /// Lines to a file, or to stderr without one.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened for appending.
    pub(crate) fn new(as_json: bool, path: Option<PathBuf>) -> io::Result<Self> {
        let file = path.as_ref().map(open).transpose()?;
        Ok(Self { as_json, path, file: Mutex::new(file) })
    }

    /// Opens the file again, for those who move old logs away. If that fails the old one goes on.
    pub(crate) fn reopen(&self) {
        if let Some(file) = self.path.as_ref().and_then(|path| open(path).ok()) {
            *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        }
    }

    /// A line. That it cannot be written is no reason to stop serving.
    fn line(&self, line: &str) {
        match &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => drop(writeln!(file, "{line}")),
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Follows one request to its end, which may come after its answer has begun. Clones share it; the last one to go
/// writes the line and counts.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: Arc<App>,
    serving: Serving,
    began: Instant,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    id: String,
    method: String,
    /// As the client wrote it; for the log.
    path: String,
    /// As the routes know it; for metrics, whose labels no client may choose.
    route: &'static str,
    status: u16,
    owner: usize,
    totals: Totals,
    first: Option<Duration>,
    finish: Option<&'static str>,
    error: Option<&'static str>,
}

impl Trace {
    pub(super) fn new(app: Arc<App>, serving: Serving, id: String, method: String, path: String) -> Self {
        let record = Record { id, method, path, route: "unknown", ..Record::default() };
        Self(Arc::new(Inner { app, serving, began: Instant::now(), record: Mutex::new(record) }))
    }

    /// The connection that the request came by.
    pub(super) fn peer(&self) -> Arc<Peer> {
        self.0.serving.peer().clone()
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_route(&self, route: &'static str) {
        self.record().route = route;
    }

    pub(crate) fn set_status(&self, status: u16) {
        self.record().status = status;
    }

    /// Number of the key that the client came with.
    pub(crate) fn owner(&self) -> usize {
        self.record().owner
    }

    pub(crate) fn set_owner(&self, owner: usize) {
        self.record().owner = owner;
    }

    /// Notes when the first token came.
    pub(crate) fn first_token(&self, event: &Event) {
        if matches!(event, Event::Text(_) | Event::Thinking(_) | Event::ToolCall(_) | Event::Token(_)) {
            let began = self.0.began;
            self.record().first.get_or_insert_with(|| began.elapsed());
        }
    }

    /// Notes what the replies took and how the first one ended.
    pub(crate) fn finished(&self, replies: &[Reply]) {
        let mut record = self.record();
        record.totals = Totals::of(replies);
        record.finish = replies.iter().find_map(|reply| reply.finish).map(|finish| finish_name(finish.reason));
    }

    /// Notes what went wrong.
    pub(crate) fn failed(&self, problem: &Problem) {
        self.record().error = Some(problem.kind);
    }
}

/// How a reply ended, in a word.
pub(crate) fn finish_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length | FinishReason::ContextFull => "length",
        FinishReason::ToolCalls => "tool_calls",
        _ => "cancelled",
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let record = self.record.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody waited for the answer.
        let status = if record.status == 0 { 499 } else { record.status };
        let took = self.began.elapsed();
        self.app.metrics.request(&super::metrics::Request {
            route: record.route,
            status,
            finish: record.finish,
            error: record.error,
            took,
            first: record.first,
            totals: record.totals,
        });
        let is_chatter =
            matches!(record.route, "/health" | "/metrics") || status < 400 && matches!(record.route, "/" | "/assets");
        if !is_chatter {
            self.app.log.line(&line(record, status, took, self.app.log.as_json));
        }
    }
}

fn line(record: &Record, status: u16, took: Duration, as_json: bool) -> String {
    let Totals { prompt, cached, generated, decode, .. } = record.totals;
    let rate = if decode.is_zero() { 0.0 } else { generated as f64 / decode.as_secs_f64() };
    let level = if status >= 500 { "error" } else { "info" };
    let first_ms = record.first.map(|first| first.as_millis() as u64);
    let time = timestamp();
    if as_json {
        return json!({
            "time": time, "level": level, "request_id": record.id, "method": record.method, "path": record.path,
            "status": status, "ms": took.as_millis() as u64, "prompt": prompt, "cached": cached,
            "generated": generated, "ttft_ms": first_ms, "tokens_per_second": rate, "finish": record.finish,
            "error": record.error,
        })
        .to_string();
    }
    // A path may hold anything that a client thinks of.
    let path: String = record.path.chars().filter(|c| !c.is_control()).take(200).collect();
    let mut line = format!("{time} {level} {} {} {path} {status} {} ms", record.id, record.method, took.as_millis());
    if let Some(finish) = record.finish {
        line.push_str(&format!(
            " prompt={prompt} cached={cached} generated={generated} ttft_ms={} tok/s={rate:.1} finish={finish}",
            first_ms.unwrap_or(0)
        ));
    }
    if let Some(error) = record.error {
        line.push_str(&format!(" error={error}"));
    }
    line
}

/// The time in UTC, as RFC 3339 has it.
pub(crate) fn timestamp() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_millis())
}

/// A time in seconds since 1970. Days to dates by the era method of Howard Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is the last.
pub(crate) fn rfc3339(seconds: u64, millis: u32) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn days_become_dates() {
        let rows = [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ];
        for (seconds, text) in rows {
            assert_eq!(rfc3339(seconds, 7), text);
        }
    }
}
