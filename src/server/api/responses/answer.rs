//! A response as OpenAI's clients read it, whole and in events.

use lemmy_core::{Event, FinishReason, Model, ToolCall};
use serde_json::{Map, Value, json};

use super::items::{self, Kind, Status};
use crate::server::api::logprobs;
use crate::server::app::{Ready, now};
use crate::server::ids;
use crate::server::job::Update;
use crate::server::json::put;
use crate::server::problem::Problem;
use crate::server::reply::{Dialect, Reply, Totals};
use crate::server::sse;

/// Tells a response.
pub(super) struct ResponseAnswer {
    id: String,
    created: u64,
    model_id: String,
    model: Model,
    /// What the answer repeats of the request.
    echo: Map<String, Value>,
    warnings: Vec<String>,
    /// Items that are complete.
    output: Vec<Value>,
    open: Option<Open>,
    /// Log-probabilities of tokens whose text has not come yet.
    pending: Vec<Value>,
    /// Number of the next event.
    sequence: u64,
}

/// An item that is under way.
struct Open {
    kind: Kind,
    id: String,
    text: String,
    logprobs: Vec<Value>,
}

impl ResponseAnswer {
    pub(super) fn new(ready: &Ready, echo: Map<String, Value>, warnings: Vec<String>) -> Self {
        Self {
            id: ids::name("resp_"),
            created: now(),
            model_id: ready.id.clone(),
            model: ready.engine.model().clone(),
            echo,
            warnings,
            output: Vec::new(),
            open: None,
            pending: Vec::new(),
            sequence: 0,
        }
    }

    /// The response as far as it is.
    fn response(&self, status: &str, totals: Option<Totals>) -> Value {
        let mut response = Map::new();
        let mut set = |name: &str, value: Value| drop(response.insert(name.into(), value));
        set("id", self.id.as_str().into());
        set("object", "response".into());
        set("created_at", self.created.into());
        set("status", status.into());
        set("background", false.into());
        set("error", Value::Null);
        set("incomplete_details", Value::Null);
        set("model", self.model_id.as_str().into());
        set("output", self.output.clone().into());
        set("previous_response_id", Value::Null);
        set("store", false.into());
        set("truncation", "disabled".into());
        set("usage", totals.map(usage).into());
        response.extend(self.echo.clone());
        if totals.is_some() && !self.warnings.is_empty() {
            response.insert("lemmy_warnings".into(), json!(self.warnings));
        }
        Value::Object(response)
    }

    /// The response once it is over.
    fn ended(&self, replies: &[Reply]) -> Value {
        let reason = replies.iter().find_map(|reply| reply.finish).map(|finish| finish.reason);
        let status = match reason {
            Some(FinishReason::Length | FinishReason::ContextFull) => "incomplete",
            Some(FinishReason::Cancelled) | None => "failed",
            Some(_) => "completed",
        };
        let mut response = self.response(status, Some(Totals::of(replies)));
        match status {
            "incomplete" => put(&mut response, "incomplete_details", json!({ "reason": "max_output_tokens" })),
            "failed" => {
                put(&mut response, "error", json!({ "code": "server_error", "message": "the reply was cut off" }))
            }
            _ => {}
        }
        if reason == Some(FinishReason::ContextFull) {
            put(&mut response, "lemmy_finish", "context_full");
        }
        response
    }

    /// An event, with its number.
    fn event(&mut self, kind: &str, mut data: Value, out: &mut String) {
        let mut event = json!({ "type": kind, "sequence_number": self.sequence });
        if let (Value::Object(event), Value::Object(data)) = (&mut event, &mut data) {
            event.append(data);
        }
        self.sequence += 1;
        sse::event(kind, &event, out);
    }

    /// More of a thought or the text.
    fn go_on(&mut self, kind: Kind, text: &str, out: &mut String) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.close(Status::Completed, out);
            self.open(kind, out);
        }
        let index = self.output.len();
        let Some(open) = &mut self.open else { return };
        open.text.push_str(text);
        let mut delta = json!({ "item_id": open.id, "output_index": index, "content_index": 0, "delta": text });
        let name = match kind {
            Kind::Thought => "response.reasoning_text.delta",
            Kind::Text => {
                put(&mut delta, "logprobs", self.pending.clone());
                open.logprobs.append(&mut self.pending);
                "response.output_text.delta"
            }
        };
        self.event(name, delta, out);
    }

    fn open(&mut self, kind: Kind, out: &mut String) {
        let index = self.output.len();
        let open = Open { kind, id: ids::name(kind.prefix()), text: String::new(), logprobs: Vec::new() };
        let item = open.kind.item(&open.id, "", &[], Status::InProgress);
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        let part = open.kind.part("", &[]);
        let added = json!({ "item_id": open.id, "output_index": index, "content_index": 0, "part": part });
        self.event("response.content_part.added", added, out);
        self.open = Some(open);
    }

    /// Ends the item that is under way.
    fn close(&mut self, status: Status, out: &mut String) {
        let Some(mut open) = self.open.take() else { return };
        let index = self.output.len();
        let place = json!({ "item_id": open.id, "output_index": index, "content_index": 0 });
        let with = |name: &str, value: Value| {
            let mut data = place.clone();
            put(&mut data, name, value);
            data
        };
        match open.kind {
            Kind::Thought => self.event("response.reasoning_text.done", with("text", open.text.as_str().into()), out),
            Kind::Text => {
                // A stop string has tokens whose text never comes.
                open.logprobs.append(&mut self.pending);
                let mut done = with("text", open.text.as_str().into());
                put(&mut done, "logprobs", open.logprobs.clone());
                self.event("response.output_text.done", done, out);
            }
        }
        let part = open.kind.part(&open.text, &open.logprobs);
        self.event("response.content_part.done", with("part", part), out);
        self.done(open.kind.item(&open.id, &open.text, &open.logprobs, status), out);
    }

    fn done(&mut self, item: Value, out: &mut String) {
        let done = json!({ "output_index": self.output.len(), "item": item });
        self.event("response.output_item.done", done, out);
        self.output.push(item);
    }

    fn call(&mut self, call: &ToolCall, out: &mut String) {
        self.close(Status::Completed, out);
        let (id, index) = (ids::name("fc_"), self.output.len());
        let item = items::call(&id, call, Status::InProgress);
        self.event("response.output_item.added", json!({ "output_index": index, "item": item }), out);
        let arguments = call.arguments_json.as_str();
        let delta = json!({ "item_id": id, "output_index": index, "delta": arguments });
        self.event("response.function_call_arguments.delta", delta, out);
        let done = json!({ "item_id": id, "output_index": index, "name": call.name, "arguments": arguments });
        self.event("response.function_call_arguments.done", done, out);
        self.done(items::call(&id, call, Status::Completed), out);
    }
}

impl Dialect for ResponseAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        for reply in replies {
            let is_cut = reply.finish.is_some_and(|finish| is_cut(finish.reason));
            let text_status = if is_cut { Status::Incomplete } else { Status::Completed };
            let thought_status = if reply.text.is_empty() { text_status } else { Status::Completed };
            if !reply.thinking.is_empty() {
                let id = ids::name(Kind::Thought.prefix());
                self.output.push(Kind::Thought.item(&id, &reply.thinking, &[], thought_status));
            }
            if !reply.text.is_empty() {
                let id = ids::name(Kind::Text.prefix());
                let tokens = reply.tokens.iter().filter_map(|token| logprobs::entry(&self.model, token));
                let tokens: Vec<Value> = tokens.collect();
                self.output.push(Kind::Text.item(&id, &reply.text, &tokens, text_status));
            }
            for call in &reply.calls {
                self.output.push(items::call(&ids::name("fc_"), call, Status::Completed));
            }
            self.warnings.extend(reply.warnings.iter().cloned());
        }
        self.ended(replies)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        let event = match update {
            Update::Started => {
                for name in ["response.created", "response.in_progress"] {
                    let response = self.response("in_progress", None);
                    self.event(name, json!({ "response": response }), out);
                }
                return;
            }
            Update::Said { event, .. } => event,
            Update::Prefill { .. } | Update::Failed(_) => return,
        };
        match event {
            Event::Thinking(text) => self.go_on(Kind::Thought, text, out),
            Event::Text(text) => self.go_on(Kind::Text, text, out),
            Event::ToolCall(call) => self.call(call, out),
            Event::Token(token) => self.pending.extend(logprobs::entry(&self.model, token)),
            Event::Warning(warning) => self.warnings.push(warning.clone()),
            Event::Finished(finish) => {
                let status = if is_cut(finish.reason) { Status::Incomplete } else { Status::Completed };
                self.close(status, out);
            }
            _ => {}
        }
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        let response = self.ended(replies);
        let name = format!("response.{}", response.get("status").and_then(Value::as_str).unwrap_or("failed"));
        self.event(&name, json!({ "response": response }), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        let error = json!({ "code": problem.code, "message": problem.message, "param": problem.param });
        self.event("error", error, out);
        let mut response = self.response("failed", None);
        put(&mut response, "error", json!({ "code": "server_error", "message": problem.message }));
        self.event("response.failed", json!({ "response": response }), out);
    }
}

fn is_cut(reason: FinishReason) -> bool {
    matches!(reason, FinishReason::Length | FinishReason::ContextFull | FinishReason::Cancelled)
}

fn usage(totals: Totals) -> Value {
    json!({
        "input_tokens": totals.prompt,
        "input_tokens_details": { "cached_tokens": totals.cached, "cache_write_tokens": 0 },
        "output_tokens": totals.generated,
        "output_tokens_details": { "reasoning_tokens": totals.thinking },
        "total_tokens": totals.prompt + totals.generated,
    })
}
