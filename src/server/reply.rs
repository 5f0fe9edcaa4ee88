//! From a request to an answer, whole or as a stream, in whatever dialect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use lemmy_core::{Event, Finish, FinishReason, TokenEvent, ToolCall};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::app::App;
use super::job::{Request, Ticket, Update};
use super::log::Trace;
use super::problem::{Problem, Result};
use super::respond::{self, Answer};

/// How a dialect says what a reply is.
pub(crate) trait Dialect: Send + 'static {
    /// The body of a whole answer.
    fn whole(&mut self, replies: &[Reply]) -> Value;

    /// What a stream says about an update; nothing if `out` stays empty.
    fn say(&mut self, update: &Update, out: &mut String);

    /// What a stream says once every reply has ended.
    fn end(&mut self, replies: &[Reply], out: &mut String);

    /// What a stream says when it fails, up to its very end.
    fn fail(&mut self, problem: &Problem, out: &mut String);

    /// What a stream says when there is nothing to say.
    fn keep_alive(&mut self, out: &mut String) {
        out.push_str(": keep-alive\n\n");
    }

    /// Media type of a stream.
    fn media_type(&self) -> &'static str {
        "text/event-stream"
    }
}

/// What one choice said.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// Whether it is the first of its prompt.
    leads: bool,
    pub(crate) text: String,
    pub(crate) thinking: String,
    pub(crate) calls: Vec<ToolCall>,
    /// If log-probabilities were asked for.
    pub(crate) tokens: Vec<TokenEvent>,
    pub(crate) warnings: Vec<String>,
    pub(crate) finish: Option<Finish>,
}

impl Reply {
    /// Takes an event in.
    fn take(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Thinking(text) => self.thinking.push_str(text),
            Event::ToolCall(call) => self.calls.push(call.clone()),
            Event::Token(token) => self.tokens.push(token.clone()),
            Event::Warning(warning) => self.warnings.push(warning.clone()),
            Event::Finished(finish) => self.finish = Some(*finish),
            _ => {}
        }
    }
}

/// What all choices together took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    /// Soft tokens of pictures, among those of the prompt.
    pub(crate) image_tokens: usize,
    pub(crate) generated: usize,
    pub(crate) thinking: usize,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
}

impl Totals {
    pub(crate) fn of(replies: &[Reply]) -> Self {
        let mut totals = Self::default();
        for (reply, usage) in replies.iter().filter_map(|reply| Some((reply, reply.finish.as_ref()?.usage))) {
            if reply.leads {
                totals.prompt += usage.prompt;
                totals.cached += usage.cached;
                totals.image_tokens += usage.image_tokens;
                totals.prefill += usage.prefill;
            }
            totals.generated += usage.generated;
            totals.thinking += usage.thinking;
            // Choices are said side by side.
            totals.decode = totals.decode.max(usage.decode);
        }
        totals
    }

    /// OpenAI's `usage`.
    pub(crate) fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
            "prompt_tokens_details": { "cached_tokens": self.cached, "image_tokens": self.image_tokens },
            "completion_tokens_details": { "reasoning_tokens": self.thinking },
        })
    }

    /// llama-server's `timings`.
    pub(crate) fn timings(&self) -> Value {
        timings(self.cached, self.prompt.saturating_sub(self.cached), self.prefill, self.generated, self.decode)
    }
}

/// llama-server's `timings`: numbers of tokens, times in milliseconds. A rate over no time is 0.
pub(crate) fn timings(cached: usize, read: usize, prefill: Duration, said: usize, decode: Duration) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    json!({
        "cache_n": cached,
        "prompt_n": read,
        "prompt_ms": ms(prefill),
        "prompt_per_token_ms": ratio(ms(prefill), read as f64),
        "prompt_per_second": ratio(read as f64, prefill.as_secs_f64()),
        "predicted_n": said,
        "predicted_ms": ms(decode),
        "predicted_per_token_ms": ratio(ms(decode), said as f64),
        "predicted_per_second": ratio(said as f64, decode.as_secs_f64()),
    })
}

/// Silence after which a stream speaks to a client that sends no more.
const EAGER: Duration = Duration::from_millis(50);

/// How an answer is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) is_streamed: bool,
    /// Silence after which a stream says that it lives.
    pub(crate) ping: Duration,
}

/// Serves a request: a reply to each prompt, or several.
///
/// # Errors
///
/// What is wrong with the request, or that there is no place for it. Once a stream has begun, problems are part of it.
pub(crate) async fn answer(
    app: &Arc<App>,
    trace: &Trace,
    requests: Vec<Request>,
    manner: Manner,
    mut dialect: impl Dialect,
) -> Result<Answer> {
    let choices = requests.iter().flat_map(|request| 0..request.choices);
    let mut replies: Vec<Reply> = choices.map(|i| Reply { leads: i == 0, ..Reply::default() }).collect();
    let mut ticket = submit(app, trace, requests).await?;
    if manner.is_streamed {
        // A job that waits may still turn out to be refused: the status is sent when its slot begins.
        let first = match ticket.next().await {
            Some(Update::Failed(problem)) => return Err(problem),
            first => first,
        };
        let (sender, pieces) = mpsc::channel(16);
        let media_type = dialect.media_type();
        let pump = Pump { app: app.clone(), trace: trace.clone(), manner, ticket, replies, sender, dialect };
        tokio::spawn(pump.run(first));
        return Ok(respond::events(pieces, media_type));
    }
    while let Some(update) = ticket.next().await {
        match update {
            Update::Failed(problem) => return Err(problem),
            Update::Said { choice, event, .. } => {
                trace.first_token(&event);
                if let Some(reply) = replies.get_mut(choice) {
                    reply.take(&event);
                }
            }
            Update::Started | Update::Prefill { .. } => {}
        }
    }
    trace.finished(&replies);
    // All ended by being cancelled, though the client is there: the server is stopping.
    if replies.iter().all(|reply| reply.finish.is_some_and(|finish| finish.reason == FinishReason::Cancelled)) {
        return Err(Problem::unavailable("shutting_down", "the server is shutting down"));
    }
    Ok(respond::json(&dialect.whole(&replies)))
}

/// Queues a request; looking at it is work for a thread that may be busy.
async fn submit(app: &Arc<App>, trace: &Trace, requests: Vec<Request>) -> Result<Ticket> {
    let (app, owner) = (app.clone(), trace.owner());
    let submitted = tokio::task::spawn_blocking(move || app.ready()?.engine.submit(requests, owner)).await;
    submitted.unwrap_or_else(|_| Err(Problem::internal("looking at the request failed")))
}

/// Carries updates from a job to a client.
struct Pump<D> {
    app: Arc<App>,
    trace: Trace,
    manner: Manner,
    ticket: Ticket,
    replies: Vec<Reply>,
    sender: mpsc::Sender<Bytes>,
    dialect: D,
}

impl<D: Dialect> Pump<D> {
    /// Until all is said or the client is gone; then the ticket is dropped, and with it the job.
    async fn run(mut self, first: Option<Update>) {
        let mut next = first;
        let mut spoke = Instant::now();
        let peer = self.trace.peer();
        let mut has_ended = false;
        loop {
            let mut out = String::new();
            let is_over = match next.take() {
                Some(update) => self.say(&update, &mut out),
                None => false,
            };
            if !out.is_empty() {
                spoke = Instant::now();
                let sending = self.sender.send(out.into());
                // A client that reads nothing for so long is gone.
                match tokio::time::timeout(self.app.options.limits.write_time, sending).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
            if is_over {
                return;
            }
            let silence = self.manner.ping.saturating_sub(spoke.elapsed());
            tokio::select! {
                update = self.ticket.next() => match update {
                    Some(update) => next = Some(update),
                    None => return,
                },
                () = self.sender.closed() => return,
                () = peer.ended(), if !has_ended => {
                    // It may be gone, which only shows when something is said.
                    has_ended = true;
                    self.manner.ping = self.manner.ping.min(EAGER);
                }
                () = tokio::time::sleep(silence) => {
                    let mut out = String::new();
                    self.dialect.keep_alive(&mut out);
                    spoke = Instant::now();
                    if self.sender.send(out.into()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Says an update; whether it was the last.
    fn say(&mut self, update: &Update, out: &mut String) -> bool {
        match update {
            Update::Failed(problem) => {
                self.trace.failed(problem);
                self.dialect.fail(problem, out);
                return true;
            }
            Update::Said { choice, event, .. } => {
                self.trace.first_token(event);
                if let Some(reply) = self.replies.get_mut(*choice) {
                    reply.take(event);
                }
            }
            Update::Started | Update::Prefill { .. } => {}
        }
        self.dialect.say(update, out);
        let is_over = self.replies.iter().all(|reply| reply.finish.is_some());
        if is_over {
            self.trace.finished(&self.replies);
            self.dialect.end(&self.replies, out);
        }
        is_over
    }
}
