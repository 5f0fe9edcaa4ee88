//! `input`: a text, or a list of messages, thoughts, calls and their answers.

use serde_json::{Value, json};

use crate::server::api::turns::{Said, Turns, call};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::problem::{Problem, Result};

/// What items carry that says nothing to the model.
const MARKS: [&str; 3] = ["id", "status", "phase"];

/// Reads the items into turns.
///
/// # Errors
///
/// 400 with the place of what is wrong.
pub(super) fn read(input: Value, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    match input {
        Value::String(text) => turns.user("input", text),
        Value::Array(items) => {
            for (i, item) in items.into_iter().enumerate() {
                one(&format!("input[{i}]"), item, turns, warnings)?;
            }
        }
        other => return Err(unexpected("input", "a string or a list", &other)),
    }
    Ok(())
}

fn one(place: &str, item: Value, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    let mut item = Fields::of(place, item)?;
    let kind = item.text("type")?.unwrap_or_else(|| "message".into());
    item.ignore(&MARKS);
    match kind.as_str() {
        "message" => message(place, &mut item, turns)?,
        "reasoning" => {
            if let Some(parts) = item.list("content")? {
                let thought = texts(&format!("{place}.content"), parts, &["reasoning_text", "text"])?.concat();
                turns.said(place, Said::Thinking(thought));
            }
            item.ignore(&["summary", "encrypted_content"]);
        }
        "function_call" => {
            let id = item.text("call_id")?.ok_or_else(|| missing(&format!("{place}.call_id")))?;
            let made = call(Some(id), Some(item.required("name")?), item.take("arguments"));
            turns.said(place, Said::Call(made));
        }
        "function_call_output" => {
            let id = item.text("call_id")?.ok_or_else(|| missing(&format!("{place}.call_id")))?;
            let output = match item.required("output")? {
                Value::Array(parts) => texts(&format!("{place}.output"), parts, &["input_text", "text"])?.concat(),
                Value::String(text) => text,
                other => return Err(unexpected(&format!("{place}.output"), "a string or a list", &other)),
            };
            turns.result(place, &id, "", output);
        }
        other => {
            let expected = "message, reasoning, function_call or function_call_output";
            let message = format!("found {other:.40?}, expected {expected}");
            return Err(Problem::unsupported(format!("{place}.type"), message));
        }
    }
    item.warn_of_rest(warnings);
    Ok(())
}

fn message(place: &str, item: &mut Fields, turns: &mut Turns) -> Result<()> {
    let role = item.text("role")?.ok_or_else(|| missing(&format!("{place}.role")))?;
    let content = item.required("content")?;
    let content_place = format!("{place}.content");
    match role.as_str() {
        "user" => turns.user(place, content),
        "system" | "developer" => turns.system(place, content),
        "assistant" => {
            let text = match content {
                Value::String(text) => text,
                Value::Array(parts) => {
                    texts(&content_place, parts, &["output_text", "input_text", "text", "refusal"])?.concat()
                }
                other => return Err(unexpected(&content_place, "a string or a list", &other)),
            };
            turns.said(place, Said::Text(text));
        }
        other => {
            let message = format!("found {other:.32?}, expected user, assistant, system or developer");
            return Err(Problem::value(format!("{place}.role"), message));
        }
    }
    Ok(())
}

/// The texts of parts that can be nothing else.
fn texts(place: &str, parts: Vec<Value>, kinds: &[&str]) -> Result<Vec<String>> {
    let one = |(i, part): (usize, Value)| {
        let mut part = Fields::of(&format!("{place}[{i}]"), part)?;
        let kind = part.text("type")?.ok_or_else(|| missing(&part.place("type")))?;
        if !kinds.contains(&kind.as_str()) {
            let message = format!("found {kind:.40?}, expected {}", kinds.join(" or "));
            return Err(Problem::unsupported(part.place("type"), message));
        }
        let name = if kind == "refusal" { "refusal" } else { "text" };
        part.text(name)?.ok_or_else(|| missing(&part.place(name)))
    };
    parts.into_iter().enumerate().map(one).collect()
}

/// A flat tool as chat completions have it.
///
/// # Errors
///
/// 400 for tools that run on OpenAI's machines, by their names.
pub(super) fn tool(i: usize, tool: Value, warnings: &mut Vec<String>) -> Result<Value> {
    let mut tool = Fields::of(&format!("tools[{i}]"), tool)?;
    match tool.text("type")?.as_deref() {
        Some("function") => {}
        Some(other) => {
            let message = format!("found {other:.40?}; this server runs no tools, it only has function");
            return Err(Problem::unsupported(tool.place("type"), message));
        }
        None => return Err(missing(&tool.place("type"))),
    }
    let function = json!({
        "name": tool.take("name"),
        "description": tool.take("description"),
        "parameters": tool.take("parameters"),
        "strict": tool.take("strict"),
    });
    tool.warn_of_rest(warnings);
    Ok(json!({ "type": "function", "function": function }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

    use lemmy_core::Message;

    use super::*;
    use crate::server::app::Limits;

    fn messages(input: Value) -> Result<Vec<Message>> {
        let mut turns = Turns::new("input");
        read(input, &mut turns, &mut Vec::new())?;
        turns.read(&Limits::DEFAULT, &mut Vec::new())
    }

    #[test]
    fn items_become_turns() {
        let items = json!([
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [],
             "content": [{"type": "reasoning_text", "text": "Look."}]},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "x"},
            {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "sunny"}]},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Sunny.", "annotations": [], "logprobs": []}]},
        ]);
        let messages = messages(items).unwrap();
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert_eq!(messages[1], Message::user("Weather in Paris?"));
        let Message::Assistant { thinking, tool_calls, .. } = &messages[2] else { panic!("{messages:?}") };
        assert_eq!((thinking.as_deref(), tool_calls[0].id.as_str()), (Some("Look."), "call_1"));
        assert!(matches!(&messages[3], Message::ToolResult { call_id, .. } if call_id == "call_1"));
        assert_eq!(messages[4], Message::assistant("Sunny."));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        for (item, param) in [
            (json!({"type": "item_reference", "id": "x"}), "input[0].type"),
            (json!({"role": "robot", "content": ""}), "input[0].role"),
            (json!({"role": "user"}), "input[0].content"),
            (json!({"role": "user", "content": [{"type": "input_file"}]}), "input[0].content[0].type"),
            (json!({"type": "function_call", "name": "f"}), "input[0].call_id"),
            (
                json!({"type": "function_call_output", "call_id": "a", "output": [{"type": "input_image"}]}),
                "input[0].output[0].type",
            ),
        ] {
            assert_eq!(messages(json!([item])).unwrap_err().param.as_deref(), Some(param), "{item}");
        }
        for kind in ["web_search", "mcp", "code_interpreter", "shell", "custom"] {
            let problem = tool(2, json!({"type": kind}), &mut Vec::new()).unwrap_err();
            assert_eq!(problem.param.as_deref(), Some("tools[2].type"));
            assert!(problem.message.contains(kind), "{}", problem.message);
        }
    }
}
