//! Server-sent events.

use serde_json::Value;

/// How streams of OpenAI's dialects end.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// An event that is only data. JSON text has no line breaks, so it is one line.
pub(crate) fn data(value: &Value, out: &mut String) {
    out.push_str("data: ");
    out.push_str(&value.to_string());
    out.push_str("\n\n");
}

/// An event with a name.
pub(crate) fn event(name: &str, value: &Value, out: &mut String) {
    out.push_str("event: ");
    out.push_str(name);
    out.push('\n');
    data(value, out);
}
