//! llama-server's `/props` and `/slots`: how the server is set up and what it is doing. No prompt is in them.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::models::has_vision;
use crate::server::app::{App, Ready};
use crate::server::problem::{Problem, Result};
use crate::server::respond::{self, Answer};

/// `GET /props`; `POST` would change them, and nothing here does.
///
/// # Errors
///
/// 501 for `POST`.
pub(crate) fn props(app: &App, ready: &Ready, method: &Method) -> Result<Answer> {
    if method == Method::POST {
        return Err(Problem::not_supported("properties are set by flags when the server starts"));
    }
    let model = ready.engine.model();
    let tokenizer = model.tokenizer();
    let piece = |id| String::from_utf8_lossy(tokenizer.piece(id)).into_owned();
    let name = ready.file.file_name().unwrap_or_default().to_string_lossy();
    let path = if app.options.shows_model_path { ready.file.to_string_lossy() } else { name };
    let sampling = &model.info().sampling;
    Ok(respond::json(&json!({
        "default_generation_settings": {
            "n_ctx": ready.engine.options().context,
            "params": {
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
                "min_p": sampling.min_p,
                "repeat_penalty": sampling.repeat_penalty,
                "repeat_last_n": sampling.repeat_last,
                "presence_penalty": sampling.presence_penalty,
                "frequency_penalty": sampling.frequency_penalty,
                "seed": -1,
                "n_predict": -1,
            },
        },
        "total_slots": ready.engine.options().slots,
        "model_path": path,
        "model_alias": ready.id,
        "chat_template": model.chat_template().source(),
        "chat_template_caps": {
            "supports_system_role": true,
            "supports_tools": true,
            "supports_tool_calls": true,
            "supports_parallel_tool_calls": true,
            "supports_preserve_reasoning": true,
        },
        "modalities": { "vision": has_vision(ready), "audio": false },
        "bos_token": tokenizer.bos().map(piece),
        "eos_token": tokenizer.end_of_generation().first().copied().map(piece),
        "build_info": format!("lemmy {}", env!("CARGO_PKG_VERSION")),
    })))
}

/// `GET /slots`.
///
/// # Errors
///
/// 501 with `--no-slots`; 503 with `?fail_on_no_slot=1` if none is free.
pub(crate) fn slots(app: &App, ready: &Ready, query: Option<&str>) -> Result<Answer> {
    if !app.options.has_slots {
        return Err(Problem::not_supported("the server was started with --no-slots"));
    }
    let slots = ready.engine.gauges().slots();
    let wants_free = query.is_some_and(|query| query.split('&').any(|part| part == "fail_on_no_slot=1"));
    if wants_free && slots.iter().all(|slot| slot.is_processing) {
        let message = "no slot is free";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", "no_slot", message);
        return Err(Problem { retry_after: Some(1), ..problem });
    }
    let context = ready.engine.options().context;
    let slots = slots.iter().enumerate().map(|(id, slot)| {
        json!({
            "id": id,
            "n_ctx": context,
            "is_processing": slot.is_processing,
            "id_task": slot.task,
            "n_prompt_tokens_processed": slot.read,
        })
    });
    Ok(respond::json(&slots.collect()))
}
