//! `GET /v1/models`: the one model that is served.

use serde_json::{Value, json};

use crate::server::app::Ready;
use crate::server::problem::{Problem, Result};
use crate::server::respond::{self, Answer};

/// All models.
pub(crate) fn list(ready: &Ready) -> Result<Answer> {
    let capabilities = if has_vision(ready) { vec!["completion", "multimodal"] } else { vec!["completion"] };
    Ok(respond::json(&json!({
        "object": "list",
        "data": [object(ready)],
        "models": [{ "name": ready.id, "model": ready.id, "capabilities": capabilities }],
    })))
}

/// The model of this name.
///
/// # Errors
///
/// 404 for any other.
pub(crate) fn one(ready: &Ready, id: &str) -> Result<Answer> {
    match ready.is_called(id) {
        true => Ok(respond::json(&object(ready))),
        false => Err(Problem::not_found("model_not_found", format!("no such model; this server has {}", ready.id))),
    }
}

fn object(ready: &Ready) -> Value {
    let model = ready.engine.model();
    let info = model.info();
    let context = ready.engine.options().context;
    let inputs = if has_vision(ready) { vec!["text", "image"] } else { vec!["text"] };
    json!({
        "id": ready.id,
        "object": "model",
        "created": ready.created,
        "owned_by": "lemmy",
        "aliases": ready.aliases,
        "max_model_len": context,
        "meta": {
            "n_vocab": model.tokenizer().vocab_size(),
            "n_ctx": context,
            "n_ctx_train": info.context,
            "n_embd": model.plan().spec.hidden,
            "n_params": info.parameters,
            "size": info.file_bytes,
            "ftype": info.types.first().map(|(dtype, _)| dtype.to_string()),
        },
        "architecture": { "input_modalities": inputs, "output_modalities": ["text"] },
    })
}

/// Whether pictures can be shown to it.
pub(crate) fn has_vision(ready: &Ready) -> bool {
    ready.engine.model().vision().is_some()
}
