//! OpenAI's messages and tools: what the library does not know is named and left out, pictures are counted, the
//! deprecated spelling of calls is translated.

use lemmy_core::chat::{messages_from_json, tools_from_json};
use lemmy_core::{Message, Tool};
use serde_json::{Map, Value, json};

use crate::server::app::Limits;
use crate::server::fields::{missing, unexpected};
use crate::server::problem::{Problem, Result};

/// Most messages of a conversation.
const MESSAGES: usize = 4096;
/// Most tools, the longest name, and all of them together, in bytes.
const TOOLS: usize = 256;
const TOOL_NAME: usize = 64;
const TOOLS_BYTES: usize = 1 << 20;

/// Reads `messages`.
///
/// # Errors
///
/// 400 with the place of what is wrong, 413 for a picture that is too large.
pub(crate) fn messages(list: Option<Vec<Value>>, limits: &Limits, warnings: &mut Vec<String>) -> Result<Vec<Message>> {
    let list = list.ok_or_else(|| missing("messages"))?;
    if !(1..=MESSAGES).contains(&list.len()) {
        let message = format!("found {} messages, expected 1 to {MESSAGES}", list.len());
        return Err(Problem::value("messages", message));
    }
    let mut images = 0;
    let mut known = Vec::with_capacity(list.len());
    for (i, message) in list.into_iter().enumerate() {
        known.push(one(&format!("messages[{i}]"), message, limits, &mut images, warnings)?);
    }
    let text = Value::Array(known).to_string();
    let messages = messages_from_json(&text)?;
    Ok(with_systems_in_front(messages))
}

/// Instructions that came in several places, in order, as the first message.
fn with_systems_in_front(messages: Vec<Message>) -> Vec<Message> {
    let is_in_place = messages.iter().skip(1).all(|message| !matches!(message, Message::System(_)));
    if is_in_place {
        return messages;
    }
    let mut systems = Vec::new();
    let mut others = Vec::new();
    for message in messages {
        match message {
            Message::System(text) => systems.push(text),
            other => others.push(other),
        }
    }
    others.insert(0, Message::System(systems.join("\n\n")));
    others
}

/// A message with only what the library reads.
fn one(place: &str, message: Value, limits: &Limits, images: &mut usize, warnings: &mut Vec<String>) -> Result<Value> {
    let Value::Object(mut message) = message else { return Err(unexpected(place, "an object", &message)) };
    if let Some(call) = message.remove("function_call").filter(Value::is_object) {
        message.insert("tool_calls".into(), json!([{ "type": "function", "function": call }]));
    }
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    let known: &[&str] = match role.as_str() {
        "assistant" => &[
            "role",
            "content",
            "name",
            "tool_calls",
            "reasoning_content",
            "reasoning",
            "refusal",
            "annotations",
            "audio",
        ],
        "tool" | "function" => &["role", "content", "name", "tool_call_id"],
        _ => &["role", "content", "name"],
    };
    keep(place, &mut message, known, warnings);
    if role == "assistant" && !message.contains_key("content") && !message.contains_key("tool_calls") {
        return Err(missing(&format!("{place}.content")));
    }
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        for (i, call) in calls.iter_mut().enumerate() {
            let place = format!("{place}.tool_calls[{i}]");
            let Value::Object(call) = call else { continue };
            keep(&place, call, &["id", "type", "index", "function"], warnings);
            if let Some(Value::Object(function)) = call.get_mut("function") {
                keep(&format!("{place}.function"), function, &["name", "arguments"], warnings);
            }
        }
    }
    if let Some(Value::Array(parts)) = message.get_mut("content") {
        for (i, part) in parts.iter_mut().enumerate() {
            check_part(&format!("{place}.content[{i}]"), part, limits, images, warnings)?;
        }
    }
    Ok(Value::Object(message))
}

/// Leaves out what is not known, and names it.
fn keep(place: &str, object: &mut Map<String, Value>, known: &[&str], warnings: &mut Vec<String>) {
    object.retain(|name, value| {
        let is_known = known.contains(&name.as_str());
        if !is_known && !value.is_null() {
            warnings.push(format!("{place}.{name:.64} is not known here and was ignored"));
        }
        is_known
    });
}

/// Looks at one part of a content.
fn check_part(
    place: &str,
    part: &mut Value,
    limits: &Limits,
    images: &mut usize,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Value::Object(part) = part else { return Err(unexpected(place, "an object", part)) };
    let kind = match part.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(other) => return Err(unexpected(&format!("{place}.type"), "a string", other)),
        None => return Err(missing(&format!("{place}.type"))),
    };
    match kind.as_str() {
        "text" | "input_text" | "output_text" => keep(place, part, &["type", "text"], warnings),
        "refusal" => keep(place, part, &["type", "refusal"], warnings),
        "image_url" | "input_image" | "image" => {
            keep(place, part, &["type", "image_url", "data", "detail", "soft_tokens"], warnings);
            *images += 1;
            if *images > limits.images {
                let message = format!("found more than {} pictures in one request", limits.images);
                return Err(Problem::value(place, message));
            }
            if let Some(Value::Object(inner)) = part.get_mut("image_url") {
                keep(&format!("{place}.image_url"), inner, &["url", "detail", "soft_tokens"], warnings);
            }
            check_image(place, part, limits)?;
        }
        other => {
            let message = format!("found {other:.32?}, expected text or image_url");
            return Err(Problem::unsupported(format!("{place}.type"), message));
        }
    }
    Ok(())
}

/// Looks at where a picture comes from and how large it is.
fn check_image(place: &str, part: &Map<String, Value>, limits: &Limits) -> Result<()> {
    let (place, source) = match (part.get("image_url"), part.get("data")) {
        (Some(Value::Object(inner)), _) => (format!("{place}.image_url.url"), inner.get("url")),
        (Some(url), _) => (format!("{place}.image_url"), Some(url)),
        (None, data) => (format!("{place}.data"), data),
    };
    let Some(Value::String(source)) = source else {
        return Err(Problem::bad("missing_required_parameter", format!("{place}: expected a data URL")).param(place));
    };
    let data = match source.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        true => source.split_once(',').map_or("", |(_, data)| data),
        false if part.contains_key("data") => source,
        false => {
            let message = "this server fetches no pictures; send the picture itself as data:image/png;base64,…";
            return Err(Problem::unsupported(place, message));
        }
    };
    let bytes = data.len() / 4 * 3 - data.bytes().rev().take(2).filter(|&b| b == b'=').count().min(data.len() / 4 * 3);
    if bytes > limits.image_bytes {
        let message = format!("{place}: the picture has {bytes} bytes, at most {} are read", limits.image_bytes);
        return Err(Problem::refused(hyper::StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).param(place));
    }
    Ok(())
}

/// Reads `tools`.
///
/// # Errors
///
/// 400 with the place of what is wrong.
pub(crate) fn tools(list: Option<Vec<Value>>, warnings: &mut Vec<String>) -> Result<Vec<Tool>> {
    let Some(mut list) = list else { return Ok(Vec::new()) };
    if list.len() > TOOLS {
        return Err(Problem::value("tools", format!("found {} tools, expected at most {TOOLS}", list.len())));
    }
    for (i, tool) in list.iter_mut().enumerate() {
        let place = format!("tools[{i}]");
        let Value::Object(tool) = tool else { return Err(unexpected(&place, "an object", tool)) };
        match tool.get("type").and_then(Value::as_str) {
            Some("function") | None => {}
            Some(other) => {
                let message = format!("found {other:.32?}, expected function");
                return Err(Problem::unsupported(format!("{place}.type"), message));
            }
        }
        keep(&place, tool, &["type", "function"], warnings);
        let place = format!("{place}.function");
        match tool.get_mut("function") {
            Some(Value::Object(function)) => {
                keep(&place, function, &["name", "description", "parameters", "strict"], warnings);
                check_name(&format!("{place}.name"), function.get("name"))?;
            }
            Some(other) => return Err(unexpected(&place, "an object", other)),
            None => return Err(missing(&place)),
        }
    }
    let text = Value::Array(list).to_string();
    if text.len() > TOOLS_BYTES {
        let message = format!("found {} bytes of tools, expected at most {TOOLS_BYTES}", text.len());
        return Err(Problem::value("tools", message));
    }
    Ok(tools_from_json(&text)?)
}

fn check_name(place: &str, name: Option<&Value>) -> Result<()> {
    let name = match name {
        Some(Value::String(name)) => name,
        Some(other) => return Err(unexpected(place, "a string", other)),
        None => return Err(missing(place)),
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    match (1..=TOOL_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(Problem::value(place, format!("expected 1 to {TOOL_NAME} letters, digits, `_`, `.` and `-`"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIMITS: Limits = Limits { images: 2, image_bytes: 30, ..Limits::DEFAULT };

    fn read(list: Value) -> Result<(Vec<Message>, Vec<String>)> {
        let mut warnings = Vec::new();
        let messages = messages(list.as_array().cloned(), &LIMITS, &mut warnings)?;
        Ok((messages, warnings))
    }

    fn picture(bytes: usize) -> Value {
        let url = format!("data:image/png;base64,{}", "AAAA".repeat(bytes / 3));
        json!({"type": "image_url", "image_url": {"url": url}})
    }

    #[test]
    fn what_is_not_known_is_named_and_left_out() {
        let (messages, warnings) = read(json!([
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {}}], "weight": 1},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "parsed": 1}, "extra": {}}]},
        ]))
        .unwrap();
        assert_eq!(messages.first(), Some(&Message::user("a")));
        assert!(matches!(messages.get(1), Some(Message::Assistant { tool_calls, .. }) if tool_calls.len() == 1));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings.iter().any(|w| w.starts_with("messages[2].tool_calls[0].function.parsed ")));
        assert!(warnings.iter().any(|w| w.starts_with("messages[0].content[0].cache_control ")));
    }

    #[test]
    fn conversations_and_tools_have_bounds() {
        let many = |n: usize| Value::Array(vec![json!({"role": "user", "content": "a"}); n]);
        assert!(read(many(MESSAGES)).is_ok());
        assert_eq!(read(many(MESSAGES + 1)).unwrap_err().param.as_deref(), Some("messages"));
        let tool = |description: usize| {
            let function = json!({"name": "f", "description": "d".repeat(description)});
            vec![json!({"type": "function", "function": function})]
        };
        let bare = Value::Array(tool(0)).to_string().len();
        let read_tools = |bytes: usize| tools(Some(tool(bytes - bare)), &mut Vec::new());
        assert!(read_tools(TOOLS_BYTES).is_ok());
        assert_eq!(read_tools(TOOLS_BYTES + 1).unwrap_err().param.as_deref(), Some("tools"));
    }

    #[test]
    fn instructions_come_first() {
        let (messages, _) = read(json!([
            {"role": "user", "content": "hi"},
            {"role": "developer", "content": "one"},
            {"role": "system", "content": "two"},
        ]))
        .unwrap();
        assert_eq!(messages, [Message::System("one\n\ntwo".into()), Message::user("hi")]);
    }

    #[test]
    fn pictures_are_counted_and_measured() {
        let user = |parts: Vec<Value>| json!([{"role": "user", "content": parts}]);
        assert!(read(user(vec![picture(30), picture(30)])).is_ok());
        assert_eq!(read(user(vec![picture(3); 3])).unwrap_err().param.as_deref(), Some("messages[0].content[2]"));
        assert_eq!(read(user(vec![picture(33)])).unwrap_err().status, 413);
        for url in ["https://example.com/a.png", "file:///etc/passwd", "/etc/passwd"] {
            let part = json!({"type": "image_url", "image_url": url});
            assert_eq!(read(user(vec![part])).unwrap_err().code, Some("unsupported_parameter"), "{url}");
        }
        let audio = read(user(vec![json!({"type": "input_audio"})])).unwrap_err();
        assert_eq!(audio.param.as_deref(), Some("messages[0].content[0].type"));
    }

    #[test]
    fn tools_have_plain_names_and_one_type() {
        let tool = |name: &str| json!([{"type": "function", "function": {"name": name, "x": 1}}]);
        let read = |list: Value| tools(list.as_array().cloned(), &mut Vec::new());
        assert!(read(tool(&"a".repeat(64))).is_ok());
        for name in ["", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(read(tool(name)).unwrap_err().param.as_deref(), Some("tools[0].function.name"), "{name}");
        }
        assert_eq!(read(json!([{"type": "custom"}])).unwrap_err().code, Some("unsupported_parameter"));
        let many = |n: usize| Value::Array(vec![tool("f").get(0).cloned().unwrap(); n]);
        assert!(read(many(TOOLS)).is_ok() && read(many(TOOLS + 1)).is_err());
    }
}
