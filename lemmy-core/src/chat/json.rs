//! Messages and tools in the JSON that the whole field writes (OpenAI's).
//!
//! What a client may leave out may also be `null`. A key that is not known is refused by its name: it might change what
//! the message means. Limits on size, depth and number of values are in [`limits`](crate::limits).

#![forbid(unsafe_code)]

mod base64;
mod read;
mod write;

use serde_json::Value;

use self::read::Place;
use super::{Image, Message, Tool, bounded};
use crate::error::{Error, Result};
use crate::limits;

/// Reads a JSON array of messages.
///
/// Roles are `system`, `developer` (the same), `user`, `assistant` and `tool`. Content is a string, `null`, or a list of
/// parts `{"type":"text","text":..}` and `{"type":"image_url","image_url":{"url":"data:image/png;base64,..","detail":..}}`.
/// An assistant's thoughts are `reasoning_content` or `reasoning`; arguments of `tool_calls` are the text of a JSON object
/// or the object itself. A tool's answer may be a JSON object too.
///
/// # Errors
///
/// [`Error::Argument`] with the place, such as `messages[3].tool_calls[0].function.arguments`.
///
/// ```
/// use lemmy_core::chat::{Message, messages_from_json};
/// let messages = messages_from_json(r#"[{"role": "user", "content": "Why is the sky blue?"}]"#)?;
/// assert_eq!(messages, [Message::user("Why is the sky blue?")]);
/// # Ok::<(), lemmy_core::Error>(())
/// ```
pub fn messages_from_json(json: &str) -> Result<Vec<Message>> {
    messages_from_json_with_images(json, &[])
}

/// Like [`messages_from_json`]; a part `{"type":"image","index":0}` is the first of `images`.
pub fn messages_from_json_with_images(json: &str, images: &[Image]) -> Result<Vec<Message>> {
    let list = list("messages", json, limits::CHAT_JSON_BYTES, limits::CHAT_MESSAGES)?;
    let messages = list.iter().enumerate();
    messages.map(|(i, message)| read::message(message, &Place::root("messages").at(i), images)).collect()
}

/// Writes messages so that [`messages_from_json`] gives the same back. Pictures become data URLs.
pub fn messages_to_json(messages: &[Message]) -> Result<String> {
    let messages = messages.iter().enumerate();
    let messages = messages.map(|(i, message)| write::message(message, &Place::root("messages").at(i)));
    Ok(Value::Array(messages.collect::<Result<_>>()?).to_string())
}

/// Reads a JSON array of tools: `{"type":"function","function":{"name":..,"description":..,"parameters":{..},"strict":..}}`.
///
/// # Errors
///
/// [`Error::Argument`] with the place, such as `tools[0].function.name`.
pub fn tools_from_json(json: &str) -> Result<Vec<Tool>> {
    let list = list("tools", json, 4 * limits::SCHEMA_BYTES, limits::TOOLS)?;
    list.iter().enumerate().map(|(i, tool)| read::tool(tool, &Place::root("tools").at(i))).collect()
}

fn list(name: &'static str, json: &str, bytes: usize, most: usize) -> Result<Vec<Value>> {
    let bad = |reason| Error::Argument { name, reason };
    match bounded::parse(json, bytes).map_err(bad)? {
        Value::Array(list) if list.len() <= most => Ok(list),
        Value::Array(list) => Err(bad(format!("{} entries, at most {most}", list.len()))),
        other => Err(bad(format!("expected a list, found {}", read::kind(&other)))),
    }
}

#[cfg(test)]
mod tests;
