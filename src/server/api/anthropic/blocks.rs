//! The blocks of which messages consist.

use serde_json::{Value, json};

use crate::server::api::turns::{Said, Turns, call};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::problem::{Problem, Result};

/// What blocks carry that says nothing to the model.
const MARKS: [&str; 3] = ["cache_control", "citations", "caller"];

/// Reads the messages into turns.
///
/// # Errors
///
/// 400 with the place of what is wrong.
pub(super) fn messages(list: Vec<Value>, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    for (i, message) in list.into_iter().enumerate() {
        let place = format!("messages[{i}]");
        let mut message = Fields::of(&place, message)?;
        let role = message.text("role")?.ok_or_else(|| missing(&format!("{place}.role")))?;
        let content = message.required("content")?;
        match role.as_str() {
            "user" => user(&place, content, turns, warnings)?,
            "assistant" => assistant(&place, content, turns, warnings)?,
            other => {
                let expected = "user or assistant; instructions belong into `system`";
                return Err(Problem::value(
                    format!("{place}.role"),
                    format!("found {other:.32?}, expected {expected}"),
                ));
            }
        }
        message.warn_of_rest(warnings);
    }
    Ok(())
}

/// The text of `system`, or of what a tool answered: a string, or blocks of text.
///
/// # Errors
///
/// 400 for another block.
pub(super) fn text(place: &str, content: Value, glue: &str, warnings: &mut Vec<String>) -> Result<String> {
    let blocks = match content {
        Value::String(text) => return Ok(text),
        Value::Array(blocks) => blocks,
        other => return Err(unexpected(place, "a string or a list", &other)),
    };
    let mut texts = Vec::new();
    for (i, block) in blocks.into_iter().enumerate() {
        let (kind, mut block) = begin(&format!("{place}[{i}]"), block)?;
        match kind.as_str() {
            "text" => texts.push(required(&mut block, "text")?),
            other => return Err(refused(&block, other, "text")),
        }
        block.warn_of_rest(warnings);
    }
    Ok(texts.join(glue))
}

/// Answers of tools, text and pictures.
fn user(place: &str, content: Value, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    let blocks = match content {
        Value::String(text) => {
            turns.user(place, text);
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        other => return Err(unexpected(&format!("{place}.content"), "a string or a list", &other)),
    };
    let mut parts = Vec::new();
    for (i, block) in blocks.into_iter().enumerate() {
        let (kind, mut block) = begin(&format!("{place}.content[{i}]"), block)?;
        match kind.as_str() {
            "text" => parts.push(json!({ "type": "text", "text": required(&mut block, "text")? })),
            "image" => parts.push(image(&mut block)?),
            "tool_result" => {
                if !parts.is_empty() {
                    turns.user(place, std::mem::take(&mut parts));
                }
                result(place, &mut block, turns, warnings)?;
            }
            other => return Err(refused(&block, other, "text, image or tool_result")),
        }
        block.warn_of_rest(warnings);
    }
    if !parts.is_empty() {
        turns.user(place, parts);
    }
    Ok(())
}

fn image(block: &mut Fields) -> Result<Value> {
    let mut source = block.object("source")?.ok_or_else(|| missing(&block.place("source")))?;
    match source.text("type")?.as_deref() {
        Some("base64") => {
            let media_type = required(&mut source, "media_type")?;
            let data = required(&mut source, "data")?;
            let url = format!("data:{media_type};base64,{data}");
            Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        Some("url") => {
            let url = required(&mut source, "url")?;
            if !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
                let message = "this server fetches no pictures; send the picture itself as base64";
                return Err(Problem::unsupported(source.place("url"), message));
            }
            Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        Some(other) => Err(refused(&source, other, "base64")),
        None => Err(missing(&source.place("type"))),
    }
}

fn result(place: &str, block: &mut Fields, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    let id = required(block, "tool_use_id")?;
    let content = block.take("content").unwrap_or_else(|| "".into());
    let text = text(&block.place("content"), content, "\n", warnings)?;
    match block.flag("is_error")?.unwrap_or(false) {
        true => turns.result(place, &id, "", json!({ "error": text })),
        false => turns.result(place, &id, "", text),
    }
    Ok(())
}

/// What the model said: thoughts, text, calls.
fn assistant(place: &str, content: Value, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    turns.assistant(place);
    let blocks = match content {
        Value::String(text) => {
            turns.said(place, Said::Text(text));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        other => return Err(unexpected(&format!("{place}.content"), "a string or a list", &other)),
    };
    for (i, block) in blocks.into_iter().enumerate() {
        let (kind, mut block) = begin(&format!("{place}.content[{i}]"), block)?;
        match kind.as_str() {
            "text" => turns.said(place, Said::Text(required(&mut block, "text")?)),
            "thinking" => {
                turns.said(place, Said::Thinking(required(&mut block, "thinking")?));
                block.ignore(&["signature"]);
            }
            // Nobody here can read it.
            "redacted_thinking" => block.ignore(&["data"]),
            "tool_use" => {
                let id = required(&mut block, "id")?;
                let name = block.required("name")?;
                let input = block.take("input").unwrap_or_else(|| json!({}));
                if !input.is_object() {
                    return Err(unexpected(&block.place("input"), "an object", &input));
                }
                turns.said(place, Said::Call(call(Some(id), Some(name), Some(input))));
            }
            other => return Err(refused(&block, other, "text, thinking or tool_use")),
        }
        block.warn_of_rest(warnings);
    }
    Ok(())
}

/// A block's type and its other members.
fn begin(place: &str, block: Value) -> Result<(String, Fields)> {
    let mut block = Fields::of(place, block)?;
    let kind = required(&mut block, "type")?;
    block.ignore(&MARKS);
    Ok((kind, block))
}

fn required(block: &mut Fields, name: &str) -> Result<String> {
    block.text(name)?.ok_or_else(|| missing(&block.place(name)))
}

fn refused(block: &Fields, found: &str, expected: &str) -> Problem {
    Problem::unsupported(block.place("type"), format!("found {found:.40?}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use lemmy_core::{Message, Part};

    use super::*;
    use crate::server::app::Limits;

    fn read(list: Value) -> Result<(Vec<Message>, Vec<String>)> {
        let (mut turns, mut warnings) = (Turns::new("messages"), Vec::new());
        messages(list.as_array().cloned().unwrap_or_default(), &mut turns, &mut warnings)?;
        Ok((turns.read(&Limits::DEFAULT, &mut warnings)?, warnings))
    }

    #[test]
    fn blocks_become_turns() {
        let (messages, warnings) = read(json!([
            {"role": "user", "content": [{"type": "text", "text": "Weather?", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Look.", "signature": "x"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no net", "is_error": true},
                {"type": "text", "text": "And?", "new": 1}]},
        ]))
        .unwrap();
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert!(matches!(&messages[0], Message::User(parts) if matches!(parts[..], [Part::Text(_), Part::Image(_)])));
        let Message::Assistant { text, thinking, tool_calls } = &messages[1] else { panic!("{messages:?}") };
        assert_eq!((text.as_str(), thinking.as_deref()), ("I look.", Some("Look.")));
        assert_eq!(
            (tool_calls[0].id.as_str(), tool_calls[0].arguments_json.as_str()),
            ("toolu_1", r#"{"city":"Paris"}"#)
        );
        let output = |at: usize| match &messages[at] {
            Message::ToolResult { output, .. } => output.text().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!((output(2).as_str(), output(3).as_str()), ("sunny", r#"{"error":"no net"}"#));
        assert_eq!(messages[4], Message::user("And?"));
        assert_eq!(warnings, ["messages[2].content[2].new is not known here and was ignored"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let user = |block: Value| json!([{"role": "user", "content": [block]}]);
        let url = json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}});
        for (list, param) in [
            (json!([{"role": "system", "content": "x"}]), "messages[0].role"),
            (json!([{"role": "user"}]), "messages[0].content"),
            (user(json!({"type": "document"})), "messages[0].content[0].type"),
            (user(json!({"type": "text"})), "messages[0].content[0].text"),
            (
                user(json!({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image"}]})),
                "messages[0].content[0].content[0].type",
            ),
            (user(url), "messages[0].content[0].source.url"),
            (
                json!([{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "x"}]}]),
                "messages[0].content[0].input",
            ),
        ] {
            assert_eq!(read(list.clone()).unwrap_err().param.as_deref(), Some(param), "{list}");
        }
    }
}
