//! The value of one key.

use lemmy_core::gguf::{Array, Gguf, Value as Key};
use serde_json::{Value, json};

use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;

/// Writes the value: a string as it is, everything else (and everything with `json`) as JSON.
pub(super) fn show(gguf: &Gguf, key: &str, as_json: bool, out: &mut Output) -> Result<()> {
    let value = gguf.get(key).ok_or_else(|| {
        Failure::not_found(format!("{}: no key `{key}`", gguf.name())).hint(match nearest(gguf, key) {
            Some(near) => format!("did you mean --kv {near}?"),
            None => format!("lemmy inspect {} --json lists the main facts", gguf.name()),
        })
    })?;
    match value {
        Key::String(text) if !as_json => out.text(&format!("{text}\n")),
        Key::Array(array) => show_array(array, out),
        scalar => out.json(&scalar_json(scalar)),
    }
}

/// Element by element: a vocabulary is large.
fn show_array(array: &Array, out: &mut Output) -> Result<()> {
    if let Some(strings) = array.strings() {
        show_all(strings.map(|bytes| json!(String::from_utf8_lossy(bytes))), out)
    } else if let Some(integers) = array.integers() {
        show_all(integers.map(Value::from), out)
    } else {
        show_all(array.floats().into_iter().flatten().map(Value::from), out)
    }
}

fn show_all(values: impl Iterator<Item = Value>, out: &mut Output) -> Result<()> {
    out.text("[")?;
    for (i, value) in values.enumerate() {
        out.text(&format!("{}{value}", if i == 0 { "" } else { "," }))?;
    }
    out.text("]\n")
}

fn scalar_json(value: &Key) -> Value {
    match value {
        Key::Bool(b) => json!(b),
        Key::String(text) => json!(text),
        Key::U64(n) => json!(n),
        Key::F32(x) => serde_json::from_str(&format!("{x:?}")).unwrap_or_else(|_| json!(x.to_string())),
        Key::F64(x) if !x.is_finite() => json!(x.to_string()),
        other => other.as_i64().map(Value::from).or_else(|| other.as_f64().map(Value::from)).unwrap_or_default(),
    }
}

/// The key of the file that contains what was asked for, or ends in the same word.
fn nearest<'g>(gguf: &'g Gguf, key: &str) -> Option<&'g str> {
    let last = key.rsplit('.').next().unwrap_or(key);
    let mut keys: Vec<_> = gguf.keys().map(|(name, _)| name).filter(|name| name.contains(last)).collect();
    keys.sort_by_key(|name| name.len());
    keys.first().copied()
}
