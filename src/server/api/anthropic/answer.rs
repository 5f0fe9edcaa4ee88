//! A message as Anthropic's clients read it, whole and in events.

use lemmy_core::{Event, Finish, FinishReason, ToolCall};
use serde_json::{Map, Value, json};

use crate::server::app::Ready;
use crate::server::job::Update;
use crate::server::problem::Problem;
use crate::server::reply::{Dialect, Reply, Totals};
use crate::server::{ids, sse};

/// Thoughts come as they are; clients want a signature to send them back with.
const SIGNATURE: &str = "lemmy";

/// Tells a message.
pub(super) struct MessageAnswer {
    id: String,
    model_id: String,
    /// The strings at which the reply may end.
    stops: Vec<String>,
    warnings: Vec<String>,
    /// Whether `message_start` is out.
    is_begun: bool,
    /// The block that is under way.
    open: Option<Kind>,
    /// Blocks that have begun.
    blocks: usize,
}

/// What a block that comes in pieces consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thought,
    Text,
}

impl MessageAnswer {
    pub(super) fn new(ready: &Ready, stops: Vec<String>, warnings: Vec<String>) -> Self {
        Self {
            id: ids::name("msg_"),
            model_id: ready.id.clone(),
            stops,
            warnings,
            is_begun: false,
            open: None,
            blocks: 0,
        }
    }

    fn message(&self, content: Vec<Value>, totals: &Totals) -> Map<String, Value> {
        let mut message = Map::new();
        message.insert("id".into(), self.id.as_str().into());
        message.insert("type".into(), "message".into());
        message.insert("role".into(), "assistant".into());
        message.insert("model".into(), self.model_id.as_str().into());
        message.insert("content".into(), content.into());
        message.insert("stop_reason".into(), Value::Null);
        message.insert("stop_sequence".into(), Value::Null);
        message.insert("usage".into(), usage(totals));
        message
    }

    /// `stop_reason` and `stop_sequence`.
    fn ending(&self, finish: Option<&Finish>) -> (&'static str, Option<&str>) {
        let stop = finish.and_then(|finish| self.stops.get(finish.stop?));
        match (finish.map(|finish| finish.reason), stop) {
            (Some(FinishReason::ToolCalls), _) => ("tool_use", None),
            (Some(FinishReason::Length), _) => ("max_tokens", None),
            (Some(FinishReason::ContextFull), _) => ("model_context_window_exceeded", None),
            (_, Some(stop)) => ("stop_sequence", Some(stop)),
            _ => ("end_turn", None),
        }
    }

    /// `message_start`, as soon as it is known how much of the prompt was read before.
    fn begin(&mut self, prompt: usize, cached: usize, out: &mut String) {
        if !self.is_begun {
            self.is_begun = true;
            let message = self.message(Vec::new(), &Totals { prompt, cached, ..Totals::default() });
            event("message_start", json!({ "message": message }), out);
        }
    }

    fn start(&mut self, block: &Value, out: &mut String) {
        event("content_block_start", json!({ "index": self.blocks, "content_block": block }), out);
        self.blocks += 1;
    }

    fn delta(&self, delta: &Value, out: &mut String) {
        let index = self.blocks.saturating_sub(1);
        event("content_block_delta", json!({ "index": index, "delta": delta }), out);
    }

    fn stop(&self, out: &mut String) {
        event("content_block_stop", json!({ "index": self.blocks.saturating_sub(1) }), out);
    }

    /// More of a thought or the text.
    fn go_on(&mut self, kind: Kind, text: &str, out: &mut String) {
        if self.open != Some(kind) {
            self.close(out);
            let block = match kind {
                Kind::Thought => json!({ "type": "thinking", "thinking": "", "signature": "" }),
                Kind::Text => json!({ "type": "text", "text": "" }),
            };
            self.start(&block, out);
            self.open = Some(kind);
        }
        let delta = match kind {
            Kind::Thought => json!({ "type": "thinking_delta", "thinking": text }),
            Kind::Text => json!({ "type": "text_delta", "text": text }),
        };
        self.delta(&delta, out);
    }

    fn close(&mut self, out: &mut String) {
        let Some(kind) = self.open.take() else { return };
        if kind == Kind::Thought {
            self.delta(&json!({ "type": "signature_delta", "signature": SIGNATURE }), out);
        }
        self.stop(out);
    }

    fn call(&mut self, call: &ToolCall, out: &mut String) {
        self.close(out);
        self.start(&tool_use(call, json!({})), out);
        self.delta(&json!({ "type": "input_json_delta", "partial_json": call.arguments_json }), out);
        self.stop(out);
    }

    fn warnings(&self, object: &mut Map<String, Value>) {
        if !self.warnings.is_empty() {
            object.insert("lemmy_warnings".into(), json!(self.warnings));
        }
    }
}

impl Dialect for MessageAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        let mut content = Vec::new();
        for reply in replies {
            if !reply.thinking.is_empty() {
                content.push(json!({ "type": "thinking", "thinking": reply.thinking, "signature": SIGNATURE }));
            }
            if !reply.text.is_empty() {
                content.push(json!({ "type": "text", "text": reply.text }));
            }
            content.extend(reply.calls.iter().map(|call| {
                let input = serde_json::from_str(&call.arguments_json).unwrap_or_else(|_| json!({}));
                tool_use(call, input)
            }));
            self.warnings.extend(reply.warnings.iter().cloned());
        }
        let mut message = self.message(content, &Totals::of(replies));
        let (reason, stop) = self.ending(replies.first().and_then(|reply| reply.finish.as_ref()));
        message.insert("stop_reason".into(), reason.into());
        message.insert("stop_sequence".into(), stop.into());
        self.warnings(&mut message);
        Value::Object(message)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        let said = match update {
            &Update::Prefill { cached, total, .. } => return self.begin(cached + total, cached, out),
            Update::Said { event, .. } => event,
            Update::Started | Update::Failed(_) => return,
        };
        match said {
            Event::Thinking(text) => self.go_on(Kind::Thought, text, out),
            Event::Text(text) => self.go_on(Kind::Text, text, out),
            Event::ToolCall(call) => self.call(call, out),
            Event::Warning(warning) => self.warnings.push(warning.clone()),
            Event::Finished(finish) => {
                self.begin(finish.usage.prompt, finish.usage.cached, out);
                self.close(out);
            }
            _ => {}
        }
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        let (reason, stop) = self.ending(replies.first().and_then(|reply| reply.finish.as_ref()));
        let delta = json!({ "stop_reason": reason, "stop_sequence": stop });
        let mut last = Map::new();
        last.insert("delta".into(), delta);
        last.insert("usage".into(), usage(&Totals::of(replies)));
        self.warnings(&mut last);
        event("message_delta", Value::Object(last), out);
        event("message_stop", json!({}), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        event("error", json!({ "error": super::error(problem) }), out);
    }

    fn keep_alive(&mut self, out: &mut String) {
        event("ping", json!({}), out);
    }
}

/// An event; its data begin with its name.
fn event(name: &str, mut more: Value, out: &mut String) {
    let mut data = json!({ "type": name });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, &mut more) {
        data.append(more);
    }
    sse::event(name, &data, out);
}

fn tool_use(call: &ToolCall, input: Value) -> Value {
    json!({ "type": "tool_use", "id": call.id.replacen("call_", "toolu_", 1), "name": call.name, "input": input })
}

fn usage(totals: &Totals) -> Value {
    json!({
        "input_tokens": totals.prompt.saturating_sub(totals.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": totals.cached,
        "output_tokens": totals.generated,
    })
}
