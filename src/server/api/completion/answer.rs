//! A native completion as llama-server's clients read it, whole and in events.

use std::sync::atomic::Ordering;

use lemmy_core::{Event, Finish, FinishReason, Model, TokenEvent};
use serde_json::{Map, Value, json};

use super::request::Shape;
use crate::server::api::logprobs;
use crate::server::app::Ready;
use crate::server::job::Update;
use crate::server::json::put;
use crate::server::problem::Problem;
use crate::server::reply::{Dialect, Reply, Totals};
use crate::server::sse;

/// Tells a completion.
pub(super) struct NativeAnswer {
    model_id: String,
    model: Model,
    shape: Shape,
    /// Tokens whose text has not come yet.
    pending: Vec<TokenEvent>,
}

impl NativeAnswer {
    pub(super) fn new(ready: &Ready, shape: Shape) -> Self {
        Self { model_id: ready.id.clone(), model: ready.engine.model().clone(), shape, pending: Vec::new() }
    }

    /// What every object has.
    fn object(&self, content: &str, tokens: &[TokenEvent], is_over: bool) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("index".into(), 0.into());
        object.insert("content".into(), content.into());
        let ids = tokens.iter().filter(|token| self.shape.has_tokens && self.is_said(token)).map(|token| token.id);
        object.insert("tokens".into(), ids.collect::<Vec<_>>().into());
        object.insert("id_slot".into(), self.shape.slot.map_or(json!(-1), |slot| json!(slot)));
        object.insert("stop".into(), is_over.into());
        if self.shape.has_probabilities {
            let entries = tokens.iter().filter(|token| self.is_said(token)).map(|token| self.probability(token));
            object.insert("completion_probabilities".into(), entries.collect());
        }
        object
    }

    /// The end token is no part of what was said.
    fn is_said(&self, token: &TokenEvent) -> bool {
        !self.model.tokenizer().end_of_generation().contains(&token.id)
    }

    fn probability(&self, token: &TokenEvent) -> Value {
        let entry = |id, bytes: &[u8], logprob: f64| {
            let token = String::from_utf8_lossy(bytes);
            json!({ "id": id, "token": token, "bytes": bytes, "logprob": logprobs::finite(logprob) })
        };
        let mut told = entry(token.id, &token.bytes, token.logprob.unwrap_or(f64::NEG_INFINITY));
        let top = token.top.iter().map(|&(id, logprob)| entry(id, self.model.tokenizer().piece(id), logprob));
        put(&mut told, "top_logprobs", top.collect::<Vec<_>>());
        told
    }

    /// What is said once the reply is over.
    fn end_with(&self, object: &mut Map<String, Value>, replies: &[Reply]) {
        let totals = Totals::of(replies);
        let finish = replies.iter().find_map(|reply| reply.finish);
        let (kind, word) = self.ending(finish.as_ref());
        object.insert("model".into(), self.model_id.as_str().into());
        object.insert("tokens_predicted".into(), totals.generated.into());
        object.insert("tokens_evaluated".into(), totals.prompt.into());
        object.insert("tokens_cached".into(), totals.cached.into());
        object.insert("truncated".into(), false.into());
        object.insert("has_new_line".into(), replies.iter().any(|reply| reply.text.contains('\n')).into());
        object.insert("stop_type".into(), kind.into());
        object.insert("stopping_word".into(), word.into());
        object.insert("generation_settings".into(), self.shape.settings.clone());
        object.insert("prompt".into(), self.shape.prompt.as_str().into());
        object.insert("timings".into(), totals.timings());
        let warnings = replies.iter().flat_map(|reply| &reply.warnings);
        let warnings: Vec<&String> = self.shape.warnings.iter().chain(warnings).collect();
        if !warnings.is_empty() {
            object.insert("lemmy_warnings".into(), json!(warnings));
        }
    }

    /// `stop_type` and `stopping_word`.
    fn ending(&self, finish: Option<&Finish>) -> (&'static str, &str) {
        let word = finish.and_then(|finish| self.shape.stops.get(finish.stop?));
        match (finish.map(|finish| finish.reason), word) {
            (Some(FinishReason::Length | FinishReason::ContextFull), _) => ("limit", ""),
            (Some(FinishReason::Stop), Some(word)) => ("word", word),
            (Some(FinishReason::Stop), None) if self.shape.is_late.load(Ordering::Relaxed) => ("limit", ""),
            (Some(FinishReason::Stop), None) => ("eos", ""),
            _ => ("none", ""),
        }
    }

    /// An object with only what was asked for.
    fn cut(&self, object: Map<String, Value>) -> Value {
        if self.shape.wanted.is_empty() {
            return object.into();
        }
        let whole = Value::Object(object);
        let members = self.shape.wanted.iter().filter_map(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            Some((name.to_owned(), whole.pointer(&format!("/{path}"))?.clone()))
        });
        Value::Object(members.collect())
    }
}

impl Dialect for NativeAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        let none = Reply::default();
        let reply = replies.first().unwrap_or(&none);
        let text = format!("{}{}", reply.thinking, reply.text);
        let mut object = self.object(&text, &reply.tokens, true);
        self.end_with(&mut object, replies);
        self.cut(object)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        match update {
            Update::Said { event: Event::Text(text) | Event::Thinking(text), .. } => {
                let tokens = std::mem::take(&mut self.pending);
                sse::data(&Value::Object(self.object(text, &tokens, false)), out);
            }
            Update::Said { event: Event::Token(token), .. } => self.pending.push(token.clone()),
            _ => {}
        }
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        let tokens = std::mem::take(&mut self.pending);
        let mut object = self.object("", &tokens, true);
        self.end_with(&mut object, replies);
        sse::data(&self.cut(object), out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        sse::data(&problem.json(), out);
    }
}
