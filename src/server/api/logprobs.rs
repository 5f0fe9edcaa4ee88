//! Log-probabilities of tokens, as clients read them.

use lemmy_core::chat::Zone;
use lemmy_core::{Model, TokenEvent};
use serde_json::{Value, json};

use crate::server::json::put;

/// A log-probability that is finite always: JSON has no infinity.
pub(crate) fn finite(logprob: f64) -> f64 {
    if logprob.is_finite() { logprob.max(-9999.0) } else { -9999.0 }
}

/// Whether a token is part of the answer's text.
pub(crate) fn is_text(model: &Model, token: &TokenEvent) -> bool {
    token.zone == Zone::Text && !model.tokenizer().is_control(token.id)
}

/// OpenAI's entry for a token, if it is part of the answer's text.
pub(crate) fn entry(model: &Model, token: &TokenEvent) -> Option<Value> {
    let one = |bytes: &[u8], logprob: f64| {
        let token = String::from_utf8_lossy(bytes);
        json!({ "token": token, "logprob": finite(logprob), "bytes": bytes })
    };
    is_text(model, token).then(|| {
        let mut entry = one(&token.bytes, token.logprob.unwrap_or(f64::NEG_INFINITY));
        let top = token.top.iter().map(|&(id, logprob)| one(model.tokenizer().piece(id), logprob));
        put(&mut entry, "top_logprobs", top.collect::<Vec<_>>());
        entry
    })
}
