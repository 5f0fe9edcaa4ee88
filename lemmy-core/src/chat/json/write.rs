//! From messages to JSON.

#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};

use super::read::Place;
use super::{base64, read};
use crate::chat::{Image, Message, Part, ToolOutput, bounded};
use crate::error::Result;
use crate::limits;

pub(super) fn message(message: &Message, place: &Place) -> Result<Value> {
    Ok(match message {
        Message::System(text) => json!({"role": "system", "content": text}),
        Message::User(parts) => match parts.as_slice() {
            [Part::Text(text)] => json!({"role": "user", "content": text}),
            parts => json!({"role": "user", "content": parts.iter().map(part).collect::<Vec<_>>()}),
        },
        Message::Assistant { text, thinking, tool_calls } => {
            let mut message = Map::new();
            message.insert("role".into(), "assistant".into());
            message.insert("content".into(), text.as_str().into());
            if let Some(thinking) = thinking {
                message.insert("reasoning_content".into(), thinking.as_str().into());
            }
            if !tool_calls.is_empty() {
                let calls = tool_calls.iter().map(|call| {
                    let function = json!({"name": call.name, "arguments": call.arguments_json});
                    json!({"id": call.id, "type": "function", "function": function})
                });
                message.insert("tool_calls".into(), calls.collect());
            }
            message.into()
        }
        Message::ToolResult { call_id, name, output } => {
            let content = match output {
                ToolOutput::Text(text) => text.as_str().into(),
                ToolOutput::Json(json) => {
                    let value = bounded::parse(json, limits::ARGUMENTS_BYTES);
                    let value = value.map_err(|error| place.key("output").bad(error))?;
                    match value {
                        Value::Object(_) => value,
                        value => json!([{"type": read::JSON_PART, "json": value}]),
                    }
                }
            };
            json!({"role": "tool", "tool_call_id": call_id, "name": name, "content": content})
        }
    })
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(image) => {
            let url = format!("data:{};base64,{}", media_type(image), base64::encode(image.bytes()));
            let mut image_url = Map::new();
            image_url.insert("url".into(), url.into());
            if let Some(budget) = image.soft_tokens() {
                image_url.insert("soft_tokens".into(), budget.into());
            }
            json!({"type": "image_url", "image_url": image_url})
        }
    }
}

/// By the first bytes; a hint only, readers look at the bytes too.
fn media_type(image: &Image) -> &'static str {
    match image.bytes() {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xFF, 0xD8, 0xFF, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'B', b'M', ..] => "image/bmp",
        _ => "application/octet-stream",
    }
}
