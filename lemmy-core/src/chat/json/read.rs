//! From JSON to messages and tools.

#![forbid(unsafe_code)]

use std::fmt::Display;

use serde_json::{Map, Value};

use super::base64;
use crate::chat::normalise::arguments;
use crate::chat::{Image, Message, Part, Tool, ToolCall, ToolOutput};
use crate::error::{Error, Result};
use crate::limits;

/// Type of the part that holds a tool's answer which is JSON, but no object: OpenAI's format has no place for it.
pub(super) const JSON_PART: &str = "json";

pub(super) fn message(json: &Value, place: &Place, images: &[Image]) -> Result<Message> {
    let role = match json.get("role") {
        Some(Value::String(role)) => role.as_str(),
        Some(other) => return Err(place.key("role").unexpected("a string", other)),
        None if json.is_object() => return Err(place.bad("`role` is missing")),
        None => return Err(place.unexpected("an object", json)),
    };
    match role {
        "system" | "developer" => {
            let fields = Fields::new(json, place, &["role", "content", "name"])?;
            let parts: Vec<&str> = text_parts(&fields, "content")?.ok_or_else(|| place.bad("`content` is missing"))?;
            match parts.as_slice() {
                [text] => Ok(Message::System((*text).into())),
                parts => Ok(Message::System(parts.iter().map(|part| part.trim()).collect::<Vec<_>>().join(" "))),
            }
        }
        "user" => {
            let fields = Fields::new(json, place, &["role", "content", "name"])?;
            let place = place.key("content");
            match fields.get("content") {
                None => Err(place.bad("is missing")),
                Some(Value::String(text)) => Ok(Message::user(text)),
                Some(Value::Array(parts)) => {
                    let parts = parts.iter().enumerate().map(|(i, part)| user_part(part, &place.at(i), images));
                    Ok(Message::User(parts.collect::<Result<_>>()?))
                }
                Some(other) => Err(place.unexpected("a string or a list", other)),
            }
        }
        "assistant" => assistant(json, place),
        "tool" | "function" => tool_result(json, place),
        other => {
            let expected = "system, developer, user, assistant or tool";
            Err(place.key("role").bad(format_args!("found {other:.64?}, expected {expected}")))
        }
    }
}

fn assistant(json: &Value, place: &Place) -> Result<Message> {
    const KEYS: [&str; 10] = [
        "role",
        "content",
        "name",
        "tool_calls",
        "reasoning_content",
        "reasoning",
        "refusal",
        "annotations",
        "audio",
        "function_call",
    ];
    let fields = Fields::new(json, place, &KEYS)?;
    for name in ["audio", "function_call"] {
        if fields.get(name).is_some() {
            return Err(place.key(name).bad("is not supported"));
        }
    }
    let text = match text_parts(&fields, "content")? {
        Some(parts) => parts.concat(),
        None => fields.text("refusal")?.unwrap_or_default().into(),
    };
    let thinking = match fields.text("reasoning")? {
        Some(thinking) => Some(thinking),
        None => fields.text("reasoning_content")?,
    };
    let place = place.key("tool_calls");
    let tool_calls = match fields.get("tool_calls") {
        None => Vec::new(),
        Some(Value::Array(calls)) => {
            calls.iter().enumerate().map(|(i, call)| tool_call(call, &place.at(i))).collect::<Result<_>>()?
        }
        Some(other) => return Err(place.unexpected("a list", other)),
    };
    Ok(Message::Assistant { text, thinking: thinking.map(str::to_owned), tool_calls })
}

fn tool_call(json: &Value, place: &Place) -> Result<ToolCall> {
    let fields = Fields::new(json, place, &["id", "type", "index", "function"])?;
    fields.is_function()?;
    let place = place.key("function");
    let function = fields.get("function").ok_or_else(|| place.bad("is missing"))?;
    let function = Fields::new(function, &place, &["name", "arguments"])?;
    let place = place.key("arguments");
    let arguments_json = match function.get("arguments") {
        None => "{}".into(),
        Some(Value::String(text)) if text.trim().is_empty() => "{}".into(),
        Some(Value::String(text)) => {
            arguments(text).map_err(|error| place.bad(error))?;
            text.clone()
        }
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(other) => return Err(place.unexpected("an object or its text", other)),
    };
    Ok(ToolCall {
        id: fields.text("id")?.unwrap_or_default().into(),
        name: function.required_text("name")?.into(),
        arguments_json,
    })
}

fn tool_result(json: &Value, place: &Place) -> Result<Message> {
    let fields = Fields::new(json, place, &["role", "content", "name", "tool_call_id"])?;
    let output = match fields.get("content") {
        None => ToolOutput::Json("null".into()),
        Some(value @ (Value::Object(_) | Value::Number(_) | Value::Bool(_))) => ToolOutput::Json(value.to_string()),
        Some(Value::Array(parts)) => match parts.as_slice() {
            [part] if part.get("type").and_then(Value::as_str) == Some(JSON_PART) => {
                let place = place.key("content").at(0);
                let part = Fields::new(part, &place, &["type", "json"])?;
                ToolOutput::Json(part.value.get("json").unwrap_or(&Value::Null).to_string())
            }
            _ => ToolOutput::Text(text_parts(&fields, "content")?.unwrap_or_default().concat()),
        },
        _ => ToolOutput::Text(text_parts(&fields, "content")?.unwrap_or_default().concat()),
    };
    Ok(Message::ToolResult {
        call_id: fields.text("tool_call_id")?.unwrap_or_default().into(),
        name: fields.text("name")?.unwrap_or_default().into(),
        output,
    })
}

/// A content of text alone: its parts. `None` if it is not there.
fn text_parts<'v>(fields: &Fields<'v, '_>, name: &str) -> Result<Option<Vec<&'v str>>> {
    let place = fields.place.key(name);
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text])),
        Some(Value::Array(parts)) => {
            let parts = parts.iter().enumerate().map(|(i, part)| {
                let place = place.at(i);
                text_part(part, &place)?.ok_or_else(|| place.bad("only text can stand here"))
            });
            parts.collect::<Result<_>>().map(Some)
        }
        Some(other) => Err(place.unexpected("a string or a list", other)),
    }
}

/// The text of a part, if it is one of text.
fn text_part<'v>(json: &'v Value, place: &Place) -> Result<Option<&'v str>> {
    let name = match json.get("type").and_then(Value::as_str) {
        Some("text" | "input_text" | "output_text") => "text",
        Some("refusal") => "refusal",
        _ => return Ok(None),
    };
    Fields::new(json, place, &["type", name])?.required_text(name).map(Some)
}

fn user_part(json: &Value, place: &Place, images: &[Image]) -> Result<Part> {
    if let Some(text) = text_part(json, place)? {
        return Ok(Part::Text(text.into()));
    }
    let image = match json.get("type") {
        Some(Value::String(kind)) => match kind.as_str() {
            "image_url" | "input_image" => image_url(json, place)?,
            "image" => image(json, place, images)?,
            other => {
                let expected = "text, image_url or image";
                return Err(place.key("type").bad(format_args!("found {other:.64?}, expected {expected}")));
            }
        },
        Some(other) => return Err(place.key("type").unexpected("a string", other)),
        None if json.is_object() => return Err(place.bad("`type` is missing")),
        None => return Err(place.unexpected("an object", json)),
    };
    Ok(Part::Image(image))
}

/// `{"type":"image_url","image_url":{"url":..,"detail":..}}`, also with the URL alone and `detail` beside it.
fn image_url(json: &Value, place: &Place) -> Result<Image> {
    let outer = Fields::new(json, place, &["type", "image_url", "detail", "soft_tokens"])?;
    let place = place.key("image_url");
    match outer.get("image_url") {
        Some(Value::String(url)) => outer.budget(from_url(url, &place)?),
        Some(object @ Value::Object(_)) => {
            let inner = Fields::new(object, &place, &["url", "detail", "soft_tokens"])?;
            inner.budget(outer.budget(from_url(inner.required_text("url")?, &place.key("url"))?)?)
        }
        Some(other) => Err(place.unexpected("an object", other)),
        None => Err(place.bad("is missing")),
    }
}

fn from_url(url: &str, place: &Place) -> Result<Image> {
    let rest = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and_then(|_| url.get(5..));
    let rest = rest.ok_or_else(|| place.bad("only data URLs are read (data:image/png;base64,...)"))?;
    let (header, data) = rest.split_once(',').unwrap_or((rest, ""));
    if !header.ends_with(";base64") {
        return Err(place.bad("expected data:image/...;base64,..."));
    }
    from_base64(data, place)
}

fn from_base64(data: &str, place: &Place) -> Result<Image> {
    if data.len() / 4 * 3 > limits::IMAGE_BYTES {
        return Err(place.bad(format_args!("a picture may have {} bytes at most", limits::IMAGE_BYTES)));
    }
    let bytes = base64::decode(data).map_err(|error| place.bad(error))?;
    Ok(Image::from_bytes(bytes))
}

/// `{"type":"image","index":n}`, or with the bytes as base64 in `data`.
fn image(json: &Value, place: &Place, images: &[Image]) -> Result<Image> {
    let fields = Fields::new(json, place, &["type", "index", "data", "detail", "soft_tokens"])?;
    if let Some(data) = fields.text("data")? {
        return fields.budget(from_base64(data, &place.key("data"))?);
    }
    let place = place.key("index");
    let index = fields.get("index").ok_or_else(|| place.bad("is missing"))?;
    let index = index.as_u64().ok_or_else(|| place.unexpected("a number from 0", index))?;
    match images.get(index as usize) {
        Some(image) => fields.budget(image.clone()),
        None => Err(place.bad(format_args!("found {index}, but {} pictures are given", images.len()))),
    }
}

pub(super) fn tool(json: &Value, place: &Place) -> Result<Tool> {
    let fields = Fields::new(json, place, &["type", "function"])?;
    fields.is_function()?;
    let place = place.key("function");
    let function = fields.get("function").ok_or_else(|| place.bad("is missing"))?;
    let function = Fields::new(function, &place, &["name", "description", "parameters", "strict"])?;
    let parameters_json = match function.get("parameters") {
        None => String::new(),
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(other) => return Err(place.key("parameters").unexpected("an object", other)),
    };
    let strict = match function.get("strict") {
        None => false,
        Some(Value::Bool(strict)) => *strict,
        Some(other) => return Err(place.key("strict").unexpected("true or false", other)),
    };
    Ok(Tool {
        name: function.required_text("name")?.into(),
        description: function.text("description")?.unwrap_or_default().into(),
        parameters_json,
        strict,
    })
}

/// An object whose keys are all known.
struct Fields<'v, 'p> {
    value: &'v Map<String, Value>,
    place: &'p Place,
}

impl<'v, 'p> Fields<'v, 'p> {
    fn new(value: &'v Value, place: &'p Place, known: &[&str]) -> Result<Self> {
        let value = value.as_object().ok_or_else(|| place.unexpected("an object", value))?;
        match value.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(place.bad(format_args!("the key {key:.64?} is not known here"))),
            None => Ok(Self { value, place }),
        }
    }

    /// What is null is not there.
    fn get(&self, name: &str) -> Option<&'v Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'v str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.place.key(name).unexpected("a string", other)),
        }
    }

    fn required_text(&self, name: &str) -> Result<&'v str> {
        self.text(name)?.ok_or_else(|| self.place.key(name).bad("is missing"))
    }

    fn is_function(&self) -> Result<()> {
        match self.text("type")? {
            None | Some("function") => Ok(()),
            Some(other) => Err(self.place.key("type").bad(format_args!("found {other:.64?}, expected function"))),
        }
    }

    /// Sets what `detail` or `soft_tokens` say.
    fn budget(&self, image: Image) -> Result<Image> {
        if let Some(tokens) = self.get("soft_tokens") {
            let known = tokens.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| BUDGETS.contains(n));
            let place = self.place.key("soft_tokens");
            return known.map(|n| image.budget(n)).ok_or_else(|| place.unexpected("70, 140, 280, 560 or 1120", tokens));
        }
        match self.text("detail")? {
            None => Ok(image),
            Some("auto") => Ok(image.budget(280)),
            Some("low") => Ok(image.budget(70)),
            Some("high") => Ok(image.budget(560)),
            Some("original") => Ok(image.budget(1120)),
            Some(other) => {
                let expected = "auto, low, high or original";
                Err(self.place.key("detail").bad(format_args!("found {other:.64?}, expected {expected}")))
            }
        }
    }
}

/// Soft tokens that a picture may take.
const BUDGETS: [u16; 5] = [70, 140, 280, 560, 1120];

/// Where in the JSON something stands.
pub(super) struct Place {
    root: &'static str,
    path: String,
}

impl Place {
    pub(super) fn root(root: &'static str) -> Self {
        Self { root, path: root.into() }
    }

    pub(super) fn at(&self, index: usize) -> Self {
        Self { root: self.root, path: format!("{}[{index}]", self.path) }
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self { root: self.root, path: format!("{}.{key}", self.path) }
    }

    pub(super) fn bad(&self, reason: impl Display) -> Error {
        Error::Argument { name: self.root, reason: format!("{}: {reason}", self.path) }
    }

    fn unexpected(&self, expected: &str, found: &Value) -> Error {
        self.bad(format_args!("expected {expected}, found {}", kind(found)))
    }
}

/// What a value is, without its content: that may be private, or long.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
