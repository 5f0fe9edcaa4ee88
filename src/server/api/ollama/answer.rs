//! Answers as Ollama's clients read them: an object, or one a line.

use std::time::{Duration, Instant};

use lemmy_core::{Event, FinishReason, ToolCall};
use serde_json::{Map, Value, json};

use crate::server::app::Ready;
use crate::server::job::Update;
use crate::server::log::timestamp;
use crate::server::problem::Problem;
use crate::server::reply::{Dialect, Reply, Totals};

/// Which of Ollama's two forms an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `message`.
    Chat,
    /// `response`.
    Generate,
}

/// Tells an answer.
pub(super) struct LineAnswer {
    model_id: String,
    shape: Shape,
    warnings: Vec<String>,
    began: Instant,
    /// Calls that were told.
    calls: usize,
}

impl LineAnswer {
    pub(super) fn new(ready: &Ready, shape: Shape, warnings: Vec<String>) -> Self {
        Self { model_id: ready.id.clone(), shape, warnings, began: Instant::now(), calls: 0 }
    }

    /// An object with this much of the answer.
    fn object(&self, text: &str, thinking: &str, calls: Vec<Value>) -> Map<String, Value> {
        let mut object = head(&self.model_id);
        let mut said = Map::new();
        match self.shape {
            Shape::Chat => {
                said.insert("role".into(), "assistant".into());
                said.insert("content".into(), text.into());
            }
            Shape::Generate => drop(said.insert("response".into(), text.into())),
        }
        if !thinking.is_empty() {
            said.insert("thinking".into(), thinking.into());
        }
        if !calls.is_empty() {
            said.insert("tool_calls".into(), calls.into());
        }
        match self.shape {
            Shape::Chat => drop(object.insert("message".into(), said.into())),
            Shape::Generate => object.extend(said),
        }
        object.insert("done".into(), false.into());
        object
    }

    /// What the last object says besides.
    fn end_with(&self, object: &mut Map<String, Value>, replies: &[Reply]) {
        let totals = Totals::of(replies);
        let reason = replies.iter().find_map(|reply| reply.finish).map(|finish| finish.reason);
        let name = match reason {
            Some(FinishReason::Length | FinishReason::ContextFull) => "length",
            _ => "stop",
        };
        object.insert("done".into(), true.into());
        object.insert("done_reason".into(), name.into());
        object.insert("total_duration".into(), nanos(self.began.elapsed()));
        // It was loaded before the request came.
        object.insert("load_duration".into(), 0.into());
        object.insert("prompt_eval_count".into(), totals.prompt.into());
        object.insert("prompt_eval_duration".into(), nanos(totals.prefill));
        object.insert("eval_count".into(), totals.generated.into());
        object.insert("eval_duration".into(), nanos(totals.decode));
        if !self.warnings.is_empty() {
            object.insert("lemmy_warnings".into(), json!(self.warnings));
        }
    }
}

impl Dialect for LineAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        self.warnings.extend(replies.iter().flat_map(|reply| reply.warnings.iter().cloned()));
        let none = Reply::default();
        let reply = replies.first().unwrap_or(&none);
        let calls = reply.calls.iter().enumerate().map(|(i, call)| self::call(i, call)).collect();
        let mut object = self.object(&reply.text, &reply.thinking, calls);
        self.end_with(&mut object, replies);
        Value::Object(object)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        let Update::Said { event, .. } = update else { return };
        let object = match event {
            Event::Text(text) => self.object(text, "", Vec::new()),
            Event::Thinking(text) => self.object("", text, Vec::new()),
            Event::ToolCall(call) => {
                self.calls += 1;
                self.object("", "", vec![self::call(self.calls - 1, call)])
            }
            Event::Warning(warning) => return self.warnings.push(warning.clone()),
            _ => return,
        };
        line(&Value::Object(object), out);
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        let mut object = self.object("", "", Vec::new());
        self.end_with(&mut object, replies);
        line(&Value::Object(object), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        line(&super::words(problem, ""), out);
    }

    /// Clients read every line as an object, so there is nothing to say.
    fn keep_alive(&mut self, _out: &mut String) {}

    fn media_type(&self) -> &'static str {
        "application/x-ndjson"
    }
}

/// The answer to one who only wants the model to be there.
pub(super) fn loaded(ready: &Ready, shape: Shape) -> Value {
    let mut object = head(&ready.id);
    match shape {
        Shape::Chat => drop(object.insert("message".into(), json!({ "role": "assistant", "content": "" }))),
        Shape::Generate => drop(object.insert("response".into(), "".into())),
    }
    object.insert("done".into(), true.into());
    object.insert("done_reason".into(), "load".into());
    Value::Object(object)
}

fn head(model: &str) -> Map<String, Value> {
    let mut head = Map::new();
    head.insert("model".into(), model.into());
    head.insert("created_at".into(), timestamp().into());
    head
}

fn call(index: usize, call: &ToolCall) -> Value {
    let arguments = serde_json::from_str(&call.arguments_json).unwrap_or_else(|_| json!({}));
    json!({ "id": call.id, "function": { "index": index, "name": call.name, "arguments": arguments } })
}

fn nanos(time: Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}

fn line(object: &Value, out: &mut String) {
    out.push_str(&object.to_string());
    out.push('\n');
}
