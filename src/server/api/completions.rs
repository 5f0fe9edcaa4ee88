//! OpenAI's older `POST /v1/completions`: texts that are continued, without a conversation.

use std::sync::Arc;
use std::time::Duration;

use hyper::Request as HttpRequest;
use hyper::body::Incoming;
use lemmy_core::{Event, FinishReason, GenerateOptions, Model, Special, TokenEvent, TokenId};
use serde_json::{Map, Value, json};

use super::logprobs::finite;
use super::{check_model, read, sampling, tokens};
use crate::server::app::{App, Ready, now};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::job::{Ask, Request, Update};
use crate::server::log::{Trace, finish_name};
use crate::server::problem::{Problem, Result};
use crate::server::reply::{self, Dialect, Manner, Reply, Totals};
use crate::server::respond::Answer;
use crate::server::{ids, sse};

/// Most prompts of a request.
const PROMPTS: usize = 16;

/// What cannot change the answer.
const IGNORED: [&str; 3] = ["user", "store", "metadata"];

/// Continues one text or several.
pub(crate) async fn serve(app: &Arc<App>, trace: &Trace, request: HttpRequest<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let (requests, manner, answer) = wish(app, ready, fields)?;
    reply::answer(app, trace, requests, manner, answer).await
}

fn wish(app: &App, ready: &Ready, mut fields: Fields) -> Result<(Vec<Request>, Manner, TextAnswer)> {
    fields.ignore(&IGNORED);
    fields.refuse(&["suffix"], "this model cannot fill a gap")?;
    fields.refuse(&["mirostat", "lora", "grammar"], "is not supported")?;
    let prompts = prompts(ready, &mut fields)?;
    let mut options = sampling::options(ready, &mut fields)?;
    // The older API says 16 where nothing is said; agents count on it.
    let asked = fields.has("max_tokens") || fields.has("max_completion_tokens");
    options.max_tokens = if asked { sampling::max_tokens(&mut fields)? } else { Some(16) };
    let most = i64::try_from(app.options.limits.choices).unwrap_or(i64::MAX);
    let n = fields.integer("n", 1..=most)?.unwrap_or(1);
    if fields.integer("best_of", 1..=i64::MAX)?.is_some_and(|best_of| best_of != n) {
        return Err(Problem::unsupported("best_of", "has to be the same as n"));
    }
    let choices = usize::try_from(n).unwrap_or(1);
    let echo = fields.flag("echo")?.unwrap_or(false);
    let logprobs = fields.integer("logprobs", 0..=5)?;
    if echo && logprobs.is_some() {
        return Err(Problem::unsupported("logprobs", "those of the prompt cannot be had, so not together with echo"));
    }
    options.logprobs = logprobs.and_then(|top| u8::try_from(top).ok());
    let is_streamed = fields.flag("stream")?.unwrap_or(false);
    let mut has_usage = false;
    if let Some(mut options) = fields.object("stream_options")? {
        has_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    let ping = fields.number("sse_ping_interval", 0.001..=86_400.0)?.map(Duration::from_secs_f64);
    let (slot, reuse) = sampling::slot(&mut fields)?;
    let mut warnings = Vec::new();
    fields.warn_of_rest(&mut warnings);

    let echoed = prompts.iter().map(|(text, _)| if echo { text.clone() } else { String::new() });
    let echoed: Vec<String> = echoed.flat_map(|text| std::iter::repeat_n(text, choices)).collect();
    let request = |(_, ids): (String, Vec<TokenId>), options: GenerateOptions| Request {
        prompt: Ask::Tokens(ids),
        options,
        choices,
        slot,
        reuse,
        counts: false,
    };
    let answer = TextAnswer::new(ready, echoed, options.logprobs.is_some(), has_usage, warnings);
    let requests = prompts.into_iter().map(|prompt| request(prompt, options.choice(0))).collect();
    let manner = Manner { is_streamed, ping: ping.unwrap_or(app.options.ping) };
    Ok((requests, manner, answer))
}

/// The texts, and their tokens.
fn prompts(ready: &Ready, fields: &mut Fields) -> Result<Vec<(String, Vec<TokenId>)>> {
    let tokenizer = ready.engine.model().tokenizer();
    let special = match fields.flag("special")?.unwrap_or(true) {
        true => Special::Parse,
        false => Special::Text,
    };
    let text = |text: String| {
        let ids = tokenizer.encode_prompt(&text, special);
        (text, ids)
    };
    let tokens = |place: &str, list: &[Value]| {
        let ids = tokens::ids(place, list, tokenizer.vocab_size())?;
        Ok((tokenizer.decode(&ids), ids))
    };
    let found = match fields.take("prompt") {
        None => return Err(missing("prompt")),
        Some(Value::String(one)) => vec![text(one)],
        Some(Value::Array(list)) if list.first().is_some_and(Value::is_number) => vec![tokens("prompt", &list)?],
        Some(Value::Array(list)) if (1..=PROMPTS).contains(&list.len()) => {
            let each = list.into_iter().enumerate().map(|(i, value)| match value {
                Value::String(one) => Ok(text(one)),
                Value::Array(ids) => tokens(&format!("prompt[{i}]"), &ids),
                other => Err(unexpected(&format!("prompt[{i}]"), "a string or a list of token ids", &other)),
            });
            each.collect::<Result<_>>()?
        }
        Some(Value::Array(list)) => {
            return Err(Problem::value("prompt", format!("found {} prompts, expected 1 to {PROMPTS}", list.len())));
        }
        Some(other) => return Err(unexpected("prompt", "a string or a list", &other)),
    };
    match found.iter().position(|(_, ids)| ids.is_empty()) {
        Some(_) => Err(Problem::value("prompt", "is empty, and this model has no token that begins a text")),
        None => Ok(found),
    }
}

/// Tells a completion.
struct TextAnswer {
    id: String,
    created: u64,
    model_id: String,
    fingerprint: String,
    model: Model,
    /// What stands before each choice's text.
    echoed: Vec<String>,
    has_logprobs: bool,
    has_usage: bool,
    warnings: Vec<String>,
    /// Of each choice: tokens whose text has not come, and the length of the text that has.
    pending: Vec<(Vec<TokenEvent>, usize)>,
}

impl TextAnswer {
    fn new(ready: &Ready, echoed: Vec<String>, has_logprobs: bool, has_usage: bool, warnings: Vec<String>) -> Self {
        Self {
            id: ids::name("cmpl-"),
            created: now(),
            model_id: ready.id.clone(),
            fingerprint: ready.fingerprint.clone(),
            model: ready.engine.model().clone(),
            pending: echoed.iter().map(|_| (Vec::new(), 0)).collect(),
            echoed,
            has_logprobs,
            has_usage,
            warnings,
        }
    }

    fn object(&self, choices: Value) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("id".into(), self.id.as_str().into());
        object.insert("object".into(), "text_completion".into());
        object.insert("created".into(), self.created.into());
        object.insert("model".into(), self.model_id.as_str().into());
        object.insert("system_fingerprint".into(), self.fingerprint.as_str().into());
        object.insert("choices".into(), choices);
        object
    }

    /// The older form of log-probabilities: four lists side by side.
    fn logprobs(&self, tokens: &[TokenEvent], mut offset: usize) -> Value {
        let tokenizer = self.model.tokenizer();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (mut names, mut values, mut tops, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for token in tokens.iter().filter(|token| !tokenizer.is_control(token.id)) {
            names.push(text(&token.bytes));
            values.push(finite(token.logprob.unwrap_or(f64::NEG_INFINITY)));
            let top = token.top.iter().map(|&(id, logprob)| (text(tokenizer.piece(id)), json!(finite(logprob))));
            tops.push(Value::Object(top.collect()));
            offsets.push(offset);
            offset += text(&token.bytes).chars().count();
        }
        json!({ "tokens": names, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets })
    }

    fn chunk(&mut self, choice: usize, text: &str, finish: Option<FinishReason>, out: &mut String) {
        let Some((tokens, offset)) = self.pending.get_mut(choice) else { return };
        let (tokens, before) = (std::mem::take(tokens), *offset);
        *offset += text.chars().count();
        let logprobs = if tokens.is_empty() { Value::Null } else { self.logprobs(&tokens, before) };
        let finish = finish.map(name_finish);
        let mut object =
            self.object(json!([{ "index": choice, "text": text, "logprobs": logprobs, "finish_reason": finish }]));
        if self.has_usage {
            object.insert("usage".into(), Value::Null);
        }
        sse::data(&Value::Object(object), out);
    }

    fn add_totals(&self, replies: &[Reply], object: &mut Map<String, Value>) {
        let totals = Totals::of(replies);
        object.insert("usage".into(), totals.usage());
        object.insert("timings".into(), totals.timings());
        if !self.warnings.is_empty() {
            object.insert("lemmy_warnings".into(), json!(self.warnings));
        }
    }
}

impl Dialect for TextAnswer {
    fn whole(&mut self, replies: &[Reply]) -> Value {
        let choices = replies.iter().zip(&self.echoed).enumerate().map(|(index, (reply, echoed))| {
            let text = format!("{echoed}{}{}", reply.thinking, reply.text);
            let logprobs = if self.has_logprobs { self.logprobs(&reply.tokens, 0) } else { Value::Null };
            let finish = reply.finish.map(|finish| name_finish(finish.reason));
            json!({ "index": index, "text": text, "logprobs": logprobs, "finish_reason": finish })
        });
        let mut object = self.object(choices.collect());
        self.add_totals(replies, &mut object);
        Value::Object(object)
    }

    fn say(&mut self, update: &Update, out: &mut String) {
        let Update::Said { choice, event, .. } = update else { return };
        let choice = *choice;
        // What comes first has the prompt before it, if that was asked for.
        let mut echoed = || self.echoed.get_mut(choice).map(std::mem::take).unwrap_or_default();
        match event {
            Event::Text(text) | Event::Thinking(text) => {
                let text = echoed() + text;
                self.chunk(choice, &text, None, out);
            }
            Event::Token(token) => {
                if let Some((tokens, _)) = self.pending.get_mut(choice) {
                    tokens.push(token.clone());
                }
            }
            Event::Finished(finish) => {
                let text = echoed();
                self.chunk(choice, &text, Some(finish.reason), out);
            }
            _ => {}
        }
    }

    fn end(&mut self, replies: &[Reply], out: &mut String) {
        if self.has_usage {
            let mut object = self.object(json!([]));
            self.add_totals(replies, &mut object);
            sse::data(&Value::Object(object), out);
        }
        out.push_str(sse::DONE);
    }

    fn fail(&mut self, problem: &Problem, out: &mut String) {
        sse::data(&problem.json(), out);
        out.push_str(sse::DONE);
    }
}

fn name_finish(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Cancelled | FinishReason::ToolCalls => "stop",
        reason => finish_name(reason),
    }
}
