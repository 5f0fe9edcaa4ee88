//! llama-server's `/tokenize`, `/detokenize` and `/apply-template`.

use hyper::Request;
use hyper::body::Incoming;
use lemmy_core::chat::RenderOptions;
use lemmy_core::{Chat, Special, Thinking, TokenId};
use serde_json::{Value, json};

use super::{messages, read, sampling};
use crate::server::app::App;
use crate::server::fields::{missing, unexpected};
use crate::server::problem::{Problem, Result};
use crate::server::respond::{self, Answer};

/// `POST /tokenize`.
pub(crate) async fn tokenize(app: &App, request: Request<Incoming>) -> Result<Answer> {
    let tokenizer = app.ready()?.engine.model().tokenizer();
    let mut fields = read(app, request).await?;
    let content = fields.text("content")?.ok_or_else(|| missing("content"))?;
    let special = match fields.flag("parse_special")?.unwrap_or(true) {
        true => Special::Parse,
        false => Special::Text,
    };
    let ids = match fields.flag("add_special")?.unwrap_or(false) {
        true => tokenizer.encode_prompt(&content, special),
        false => tokenizer.encode(&content, special),
    };
    if !fields.flag("with_pieces")?.unwrap_or(false) {
        return Ok(respond::json(&json!({ "tokens": ids })));
    }
    let pieces = ids.into_iter().map(|id| {
        let bytes = tokenizer.piece(id);
        let piece = std::str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text));
        json!({ "id": id, "piece": piece })
    });
    Ok(respond::json(&json!({ "tokens": pieces.collect::<Vec<_>>() })))
}

/// `POST /detokenize`.
pub(crate) async fn detokenize(app: &App, request: Request<Incoming>) -> Result<Answer> {
    let tokenizer = app.ready()?.engine.model().tokenizer();
    let mut fields = read(app, request).await?;
    let list = fields.list("tokens")?.ok_or_else(|| missing("tokens"))?;
    let ids = ids("tokens", &list, tokenizer.vocab_size())?;
    Ok(respond::json(&json!({ "content": tokenizer.decode(&ids) })))
}

/// `POST /apply-template`: what the model would be shown of a conversation, as text.
pub(crate) async fn apply_template(app: &App, request: Request<Incoming>) -> Result<Answer> {
    let model = app.ready()?.engine.model();
    let mut fields = read(app, request).await?;
    let mut warnings = Vec::new();
    let messages = messages::messages(fields.list("messages")?, &app.options.limits, &mut warnings)?;
    let tools = messages::tools(fields.list("tools")?, &mut warnings)?;
    let mut chat = Chat { messages, tools, ..Chat::default() };
    if let Some(effort) = fields.text("reasoning_effort")? {
        chat.thinking = sampling::effort("reasoning_effort", &effort)? != Thinking::Off;
    }
    if let Some(mut kwargs) = fields.object("chat_template_kwargs")? {
        chat.thinking = kwargs.flag("enable_thinking")?.unwrap_or(chat.thinking);
        chat.preserve_thinking = kwargs.flag("preserve_thinking")?.unwrap_or(false);
    }
    let options = match fields.flag("add_generation_prompt")?.unwrap_or(true) {
        true => RenderOptions::for_generation(),
        false => RenderOptions::default(),
    };
    Ok(respond::json(&json!({ "prompt": model.chat_template().render(&chat, &options)? })))
}

/// Token ids of a list.
///
/// # Errors
///
/// 400 for what is no id of the vocabulary.
pub(crate) fn ids(place: &str, list: &[Value], vocabulary: usize) -> Result<Vec<TokenId>> {
    let id = |(i, value): (usize, &Value)| {
        let place = format!("{place}[{i}]");
        let id = value.as_u64().ok_or_else(|| unexpected(&place, "a token id", value))?;
        let id = TokenId::try_from(id).ok().filter(|&id| (id as usize) < vocabulary);
        id.ok_or_else(|| Problem::value(place, format!("found an id outside of the vocabulary of {vocabulary} tokens")))
    };
    list.iter().enumerate().map(id).collect()
}
