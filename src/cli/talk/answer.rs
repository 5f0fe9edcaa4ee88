//! What was said, and what it took.

use std::time::Duration;

use lemmy_core::{Event, Finish, FinishReason, TokenId, ToolCall, Usage};
use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;

/// A reply that is over.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) thinking: String,
    /// All tokens, control tokens and the end included.
    pub(crate) tokens: Vec<TokenId>,
    calls: Vec<ToolCall>,
    warnings: Vec<String>,
    finish: Option<Finish>,
}

impl Answer {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Text(text) => self.text.push_str(&text),
            Event::Thinking(text) => self.thinking.push_str(&text),
            Event::ToolCall(call) => self.calls.push(call),
            Event::Warning(text) => self.warnings.push(text),
            Event::Finished(finish) => self.finish = Some(finish),
            _ => {}
        }
    }

    /// Why it ended.
    pub(crate) fn reason(&self) -> Option<FinishReason> {
        self.finish.map(|finish| finish.reason)
    }

    /// Whether anything was said at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.thinking.is_empty() && self.calls.is_empty()
    }

    /// The object of `--json`.
    pub(crate) fn json(&self, model: &str, load: Duration, failure: Option<&Failure>) -> Value {
        let mut object = json!({
            "model": model,
            "text": self.text,
            "thinking": self.thinking,
            "tool_calls": self.calls.iter().map(call_json).collect::<Vec<_>>(),
            "tokens": self.tokens,
            "warnings": self.warnings,
        });
        if let Some(object) = object.as_object_mut() {
            if let Some(finish) = &self.finish {
                object.extend(finish_json(finish, load));
            }
            if let Some(failure) = failure {
                object.insert("error".into(), failure.json());
            }
        }
        object
    }

    /// One line about speed.
    pub(crate) fn statistics(&self) -> String {
        let usage = self.finish.map(|finish| finish.usage).unwrap_or_default();
        let reused = if usage.cached > 0 { format!(", {} tok reused", usage.cached) } else { String::new() };
        let guesses = match usage.drafted {
            0 => String::new(),
            drafted => format!(", {} of {drafted} guesses right", usage.accepted),
        };
        format!(
            "{:.1} tok/s, {} tok; prompt {} tok in {:.1} s ({:.0} tok/s){reused}{guesses}",
            decode_rate(&usage),
            usage.generated,
            usage.prompt - usage.cached,
            usage.prefill.as_secs_f64(),
            rate(usage.prompt - usage.cached, usage.prefill),
        )
    }
}

/// How a reply ended and what it took, for programs.
pub(super) fn finish_json(finish: &Finish, load: Duration) -> Map<String, Value> {
    let usage = finish.usage;
    let reason = match finish.reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContextFull => "context",
        _ => "interrupted",
    };
    let mut object = Map::new();
    let mut add = |key: &str, value: Value| object.insert(key.into(), value);
    add("finish", reason.into());
    add("seed", finish.seed.into());
    add(
        "usage",
        json!({
            "prompt_tokens": usage.prompt,
            "cached_tokens": usage.cached,
            "image_tokens": usage.image_tokens,
            "completion_tokens": usage.generated,
            "thinking_tokens": usage.thinking,
            "total_tokens": usage.prompt + usage.generated,
            "drafted_tokens": usage.drafted,
            "accepted_tokens": usage.accepted,
        }),
    );
    add(
        "timings",
        json!({
            "load_s": load.as_secs_f64(),
            "prompt_s": usage.prefill.as_secs_f64(),
            "prompt_tok_s": rate(usage.prompt - usage.cached, usage.prefill),
            "decode_s": usage.decode.as_secs_f64(),
            "decode_tok_s": decode_rate(&usage),
        }),
    );
    object
}

/// A tool call for programs; its arguments are a JSON object.
pub(super) fn call_json(call: &ToolCall) -> Value {
    let arguments = serde_json::from_str(&call.arguments_json);
    let arguments = arguments.unwrap_or_else(|_| Value::from(call.arguments_json.clone()));
    json!({ "id": call.id, "name": call.name, "arguments": arguments })
}

/// The first token came with the prompt.
fn decode_rate(usage: &Usage) -> f64 {
    rate(usage.generated.saturating_sub(1), usage.decode)
}

#[allow(clippy::cast_precision_loss)] // a speed for people
fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}
