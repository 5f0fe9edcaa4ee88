//! Chat completions as OpenAI's clients read them, whole and in chunks.

use std::time::{Duration, Instant};

use lemmy_core::{Event, Finish, FinishReason, Model};
use serde_json::{Map, Value, json};

use super::request::{Shape, StreamUsage};
use crate::server::api::logprobs;
use crate::server::app::{Ready, now};
use crate::server::job::Update;
use crate::server::log::finish_name;
use crate::server::problem::Problem;
use crate::server::reply::{Dialect, Reply, Totals};
use crate::server::{ids, sse};

/// What stands around thoughts that are shown as they are.
const OPEN_THOUGHT: &str = "<|channel>thought\n";
const CLOSE_THOUGHT: &str = "<channel|>";

/// Tells a chat completion.
pub(super) struct ChatAnswer {
    id: String,
    created: u64,
    model_id: String,
    fingerprint: String,
    model: Model,
    shape: Shape,
    choices: Vec<Choice>,
    /// Tokens said so far, and when that was so.
    said: usize,
    at: Instant,
    /// Tokens of the prompt: in the cache, and to be read.
    prompt: (usize, usize),
    began: Instant,
    /// When the prompt was read.
    read: Option<Instant>,
}

/// What a stream has to remember of a choice.
#[derive(Debug, Default)]
struct Choice {
    /// Tokens whose text has not come yet.
    tokens: Vec<Value>,
    calls: usize,
    in_thought: bool,
    finish: Option<Finish>,
    /// Whether its last chunk is out.
    is_told: bool,
}

impl ChatAnswer {
    pub(super) fn new(ready: &Ready, shape: Shape) -> Self {
        let choices = (0..shape.choices).map(|_| Choice::default()).collect();
        Self {
            id: ids::name("chatcmpl-"),
            created: now(),
            model_id: ready.id.clone(),
            fingerprint: ready.fingerprint.clone(),
            model: ready.engine.model().clone(),
            shape,
            choices,
            said: 0,
            at: Instant::now(),
            prompt: (0, 0),
            began: Instant::now(),
            read: None,
        }
    }

    /// What every object begins with.
    fn head(&self, object: &str) -> Map<String, Value> {
        let mut head = Map::new();
        head.insert("id".into(), self.id.as_str().into());
        head.insert("object".into(), object.into());
        head.insert("created".into(), self.created.into());
        head.insert("model".into(), self.model_id.as_str().into());
        head.insert("system_fingerprint".into(), self.fingerprint.as_str().into());
        head
    }

    /// A chunk with these choices.
    fn chunk(&self, choices: Value) -> Map<String, Value> {
        let mut chunk = self.head("chat.completion.chunk");
        chunk.insert("choices".into(), choices);
        match self.shape.usage {
            StreamUsage::Never => {}
            StreamUsage::AtTheEnd => drop(chunk.insert("usage".into(), Value::Null)),
            StreamUsage::Always => drop(chunk.insert("usage".into(), self.totals_so_far().usage())),
        }
        chunk
    }

    /// A chunk in which a choice goes on.
    fn go_on(&mut self, choice: usize, delta: Value, out: &mut String) {
        let logprobs = self.take_logprobs(choice);
        let choices = json!([{ "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": null }]);
        let mut chunk = self.chunk(choices);
        if self.shape.has_timings_per_token {
            chunk.insert("timings".into(), self.totals_so_far().timings());
        }
        sse::data(&Value::Object(chunk), out);
    }

    fn take_logprobs(&mut self, choice: usize) -> Value {
        match self.choices.get_mut(choice).map(|choice| std::mem::take(&mut choice.tokens)) {
            Some(tokens) if !tokens.is_empty() => json!({ "content": tokens, "refusal": null }),
            _ => Value::Null,
        }
    }

    /// Text of the answer, or thoughts.
    fn text(&mut self, choice: usize, text: &str, is_thought: bool, out: &mut String) {
        let Some(state) = self.choices.get_mut(choice) else { return };
        if is_thought && !self.shape.raw_thoughts {
            let delta = match self.shape.both_names {
                true => json!({ "reasoning_content": text, "reasoning": text }),
                false => json!({ "reasoning_content": text }),
            };
            return self.go_on(choice, delta, out);
        }
        let mark = match (state.in_thought, is_thought) {
            (false, true) => OPEN_THOUGHT,
            (true, false) => CLOSE_THOUGHT,
            _ => "",
        };
        state.in_thought = is_thought;
        let text = format!("{mark}{text}");
        if !text.is_empty() {
            self.go_on(choice, json!({ "content": text }), out);
        }
    }

    /// The chunk that ends a choice; the last one to end carries what is said once.
    fn last(&mut self, choice: usize, replies: Option<&[Reply]>, out: &mut String) {
        let Some(finish) = self.choices.get(choice).and_then(|state| state.finish) else { return };
        let logprobs = self.take_logprobs(choice);
        let end = ended(Some(&finish), json!({ "index": choice, "delta": {}, "logprobs": logprobs }));
        let mut chunk = self.chunk(json!([end]));
        if let Some(replies) = replies.filter(|_| self.shape.usage == StreamUsage::Never) {
            self.add_totals(replies, &mut chunk);
        }
        sse::data(&Value::Object(chunk), out);
    }

    /// Timings and warnings, on the last object of an answer.
    fn add_totals(&self, replies: &[Reply], object: &mut Map<String, Value>) {
        object.insert("timings".into(), Totals::of(replies).timings());
        let warnings: Vec<&String> =
            self.shape.warnings.iter().chain(replies.iter().flat_map(|reply| &reply.warnings)).collect();
        if !warnings.is_empty() {
            object.insert("lemmy_warnings".into(), json!(warnings));
        }
    }

    /// What is known of usage while a reply is under way.
    fn totals_so_far(&self) -> Totals {
        let (cached, unread) = self.prompt;
        Totals {
            prompt: cached + unread,
            cached,
            generated: self.said,
            prefill: self.read.unwrap_or(self.at).saturating_duration_since(self.began),
            decode: self.read.map_or(Duration::ZERO, |read| self.at.saturating_duration_since(read)),
            ..Totals::default()
        }
    }
}

impl Dialect for ChatAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        let choices = replies.iter().enumerate().map(|(index, reply)| {
            let mut message = Map::new();
            message.insert("role".into(), "assistant".into());
            let thinking = reply.thinking.as_str();
            let content = match self.shape.raw_thoughts && !thinking.is_empty() {
                true => format!("{OPEN_THOUGHT}{thinking}{CLOSE_THOUGHT}{}", reply.text),
                false => reply.text.clone(),
            };
            let is_absent = content.is_empty() && !reply.calls.is_empty();
            message.insert("content".into(), if is_absent { Value::Null } else { content.into() });
            message.insert("refusal".into(), Value::Null);
            if !thinking.is_empty() && !self.shape.raw_thoughts {
                message.insert("reasoning_content".into(), thinking.into());
                if self.shape.both_names {
                    message.insert("reasoning".into(), thinking.into());
                }
            }
            if !reply.calls.is_empty() {
                let calls = reply.calls.iter().map(|call| {
                    let function = json!({ "name": call.name, "arguments": call.arguments_json });
                    json!({ "id": call.id, "type": "function", "function": function })
                });
                message.insert("tool_calls".into(), calls.collect());
            }
            let tokens: Vec<Value> =
                reply.tokens.iter().filter_map(|token| logprobs::entry(&self.model, token)).collect();
            let logprobs = match self.shape.has_logprobs {
                true => json!({ "content": tokens, "refusal": null }),
                false => Value::Null,
            };
            ended(reply.finish.as_ref(), json!({ "index": index, "message": message, "logprobs": logprobs }))
        });
        let choices: Value = choices.collect();
        let mut answer = self.head("chat.completion");
        answer.insert("choices".into(), choices);
        answer.insert("usage".into(), Totals::of(replies).usage());
        self.add_totals(replies, &mut answer);
        Value::Object(answer)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        match update {
            Update::Started => {
                for choice in 0..self.choices.len() {
                    self.go_on(choice, json!({ "role": "assistant", "content": "" }), out);
                }
            }
            &Update::Prefill { cached, done, total, at } => {
                (self.prompt, self.at) = ((cached, total), at);
                if done >= total {
                    self.read.get_or_insert(at);
                }
                if self.shape.has_progress {
                    let choices = json!([{ "index": 0, "delta": {}, "logprobs": null, "finish_reason": null }]);
                    let mut chunk = self.chunk(choices);
                    let progress = json!({
                        "total": cached + total,
                        "cache": cached,
                        "processed": cached + done,
                        "time_ms": at.saturating_duration_since(self.began).as_millis() as u64,
                    });
                    chunk.insert("prompt_progress".into(), progress);
                    sse::data(&Value::Object(chunk), out);
                }
            }
            Update::Said { choice, event, said, at } => {
                (self.said, self.at) = (*said, *at);
                self.event(*choice, event, out);
            }
            Update::Failed(problem) => self.fail(problem, out),
        }
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        let unsaid = self.choices.iter().position(|state| state.finish.is_some_and(|_| !state.is_told));
        if let Some(choice) = unsaid {
            self.last(choice, Some(replies), out);
        }
        if self.shape.usage != StreamUsage::Never {
            let mut chunk = self.chunk(json!([]));
            chunk.insert("usage".into(), Totals::of(replies).usage());
            self.add_totals(replies, &mut chunk);
            sse::data(&Value::Object(chunk), out);
        }
        out.push_str(sse::DONE);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        sse::data(&problem.json(), out);
        out.push_str(sse::DONE);
    }
}

impl ChatAnswer {
    fn event(&mut self, choice: usize, event: &Event, out: &mut String) {
        match event {
            Event::Text(text) => self.text(choice, text, false, out),
            Event::Thinking(text) => self.text(choice, text, true, out),
            Event::Token(token) => {
                let told = logprobs::entry(&self.model, token);
                if let Some(state) = self.choices.get_mut(choice) {
                    state.tokens.extend(told);
                }
            }
            Event::ToolCall(call) => {
                let Some(state) = self.choices.get_mut(choice) else { return };
                let index = state.calls;
                state.calls += 1;
                let function = json!({ "name": call.name, "arguments": "" });
                let begun = json!({ "index": index, "id": call.id, "type": "function", "function": function });
                self.go_on(choice, json!({ "tool_calls": [begun] }), out);
                let more = json!({ "index": index, "function": { "arguments": call.arguments_json } });
                self.go_on(choice, json!({ "tool_calls": [more] }), out);
            }
            Event::Finished(finish) => {
                // A thought that is cut off still gets its mark.
                self.text(choice, "", false, out);
                let Some(state) = self.choices.get_mut(choice) else { return };
                state.finish = Some(*finish);
                if self.choices.iter().any(|state| state.finish.is_none()) {
                    self.last(choice, None, out);
                    if let Some(state) = self.choices.get_mut(choice) {
                        state.is_told = true;
                    }
                }
            }
            _ => {}
        }
    }
}

/// A choice, and how it ended.
fn ended(finish: Option<&Finish>, choice: Value) -> Value {
    let (Some(finish), Value::Object(mut choice)) = (finish, choice) else { return Value::Null };
    let reason = match finish.reason {
        FinishReason::Cancelled => "stop",
        reason => finish_name(reason),
    };
    choice.insert("finish_reason".into(), reason.into());
    if finish.reason == FinishReason::ContextFull {
        choice.insert("lemmy_finish".into(), "context_full".into());
    }
    Value::Object(choice)
}
