//! `/api/tags`, `/api/ps`, `/api/show`: the one model that is served.

use hyper::Request;
use hyper::body::Incoming;
use lemmy_core::gguf::Value as Metadata;
use serde_json::{Map, Value, json};

use crate::server::api::models::has_vision;
use crate::server::api::{check_model, read};
use crate::server::app::{App, Ready};
use crate::server::json::put;
use crate::server::log::rfc3339;
use crate::server::problem::Result;
use crate::server::respond::{self, Answer};

/// Longest list in a file's facts that is shown.
const LONGEST: usize = 16;

/// `GET /api/tags`.
pub(crate) fn tags(ready: &Ready) -> Result<Answer> {
    Ok(respond::json(&json!({ "models": [model(ready)] })))
}

/// `GET /api/ps`: it is always loaded.
pub(crate) fn running(ready: &Ready) -> Result<Answer> {
    let mut model = model(ready);
    put(&mut model, "size_vram", 0);
    // Far away, since it never goes.
    put(&mut model, "expires_at", "9999-12-31T23:59:59Z");
    put(&mut model, "context_length", ready.engine.options().context);
    Ok(respond::json(&json!({ "models": [model] })))
}

/// `POST /api/show`.
pub(crate) async fn show(app: &App, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let model = ready.engine.model();
    let facts = model.gguf().keys().map(|(key, value)| (key.to_owned(), shown(value)));
    let facts: Map<String, Value> = facts.collect();
    let mut capabilities = vec!["completion", "tools", "thinking"];
    if has_vision(ready) {
        capabilities.push("vision");
    }
    let sampling = &model.info().sampling;
    let parameters = format!(
        "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\nrepeat_penalty {}",
        sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p, sampling.repeat_penalty
    );
    Ok(respond::json(&json!({
        "details": details(ready),
        "model_info": facts,
        "capabilities": capabilities,
        "template": model.chat_template().source(),
        "parameters": parameters,
        "modified_at": rfc3339(ready.created, 0),
    })))
}

fn model(ready: &Ready) -> Value {
    let model = ready.engine.model();
    let digest: String = model.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "name": ready.id,
        "model": ready.id,
        "modified_at": rfc3339(ready.created, 0),
        "size": model.info().file_bytes,
        "digest": digest,
        "details": details(ready),
    })
}

fn details(ready: &Ready) -> Value {
    let info = ready.engine.model().info();
    let parameters = info.parameters as f64;
    let size = match parameters {
        ..1e9 => format!("{:.1}M", parameters / 1e6),
        _ => format!("{:.1}B", parameters / 1e9),
    };
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": info.architecture,
        "families": [info.architecture],
        "parameter_size": size,
        "quantization_level": info.types.first().map(|(dtype, _)| dtype.to_string()),
    })
}

/// A fact of the model's file; a long list is left out.
fn shown(value: &Metadata) -> Value {
    if let Some(array) = value.as_array() {
        if array.len() > LONGEST {
            return Value::Null;
        }
        let strings = array.strings().map(|all| all.map(|s| json!(String::from_utf8_lossy(s))).collect::<Vec<_>>());
        let integers = || array.integers().map(|all| all.map(Value::from).collect());
        let floats = || array.floats().map(|all| all.map(Value::from).collect());
        return strings.or_else(integers).or_else(floats).into();
    }
    if let Metadata::Bool(flag) = value {
        return (*flag).into();
    }
    let text = || value.as_str().map(Value::from);
    let whole = || value.as_u64().map(Value::from).or_else(|| value.as_i64().map(Value::from));
    let float = || value.as_f64().map(Value::from);
    text().or_else(whole).or_else(float).into()
}
