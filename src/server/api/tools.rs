//! Which tools may or must be called: `tools`, `tool_choice` and the deprecated `functions`, `function_call`.

use lemmy_core::{Tool, ToolChoice};
use serde_json::{Value, json};

use crate::server::api::messages;
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::problem::{Problem, Result};

/// Reads tools and the choice among them.
///
/// # Errors
///
/// 400 for a choice that no tool satisfies.
pub(crate) fn read(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(Vec<Tool>, ToolChoice)> {
    let mut list = fields.list("tools")?;
    if let Some(functions) = fields.list("functions")?
        && list.is_none()
    {
        list = Some(functions.into_iter().map(|function| json!({"type": "function", "function": function})).collect());
    }
    let tools = messages::tools(list, warnings)?;
    let choice = match (fields.take("tool_choice"), fields.take("function_call")) {
        (Some(choice), _) => choice,
        (None, Some(Value::Object(call))) => json!({"type": "function", "function": call}),
        (None, Some(choice)) => choice,
        (None, None) => return Ok((tools, ToolChoice::Auto)),
    };
    let (tools, choice) = match choice {
        Value::String(word) => (tools, self::word("tool_choice", &word)?),
        Value::Object(choice) => object(Fields::at("tool_choice", choice), tools)?,
        other => return Err(unexpected("tool_choice", "a string or an object", &other)),
    };
    match &choice {
        ToolChoice::Required if tools.is_empty() => {
            Err(Problem::value("tool_choice", "a call is required, but there are no tools"))
        }
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => {
            Err(Problem::value("tool_choice", "there is no tool of this name in `tools`"))
        }
        _ => Ok((tools, choice)),
    }
}

fn word(place: &str, word: &str) -> Result<ToolChoice> {
    match word {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        "required" => Ok(ToolChoice::Required),
        other => Err(Problem::value(place, format!("found {other:.32?}, expected auto, none or required"))),
    }
}

/// A named function, or a list of those that are allowed.
fn object(mut choice: Fields, tools: Vec<Tool>) -> Result<(Vec<Tool>, ToolChoice)> {
    match choice.text("type")?.as_deref() {
        Some("function") => {
            let mut function = choice.object("function")?.ok_or_else(|| missing("tool_choice.function"))?;
            let name = function.text("name")?.ok_or_else(|| missing("tool_choice.function.name"))?;
            Ok((tools, ToolChoice::Named(name)))
        }
        Some("allowed_tools") => allowed(&mut choice, tools),
        Some(other) => {
            let message = format!("found {other:.32?}, expected function or allowed_tools");
            Err(Problem::unsupported("tool_choice.type", message))
        }
        None => Err(missing("tool_choice.type")),
    }
}

fn allowed(choice: &mut Fields, tools: Vec<Tool>) -> Result<(Vec<Tool>, ToolChoice)> {
    let mut allowed = choice.object("allowed_tools")?.ok_or_else(|| missing("tool_choice.allowed_tools"))?;
    let mode = allowed.text("mode")?.unwrap_or_else(|| "auto".into());
    let mode = word("tool_choice.allowed_tools.mode", &mode)?;
    let place = "tool_choice.allowed_tools.tools";
    let list = allowed.list("tools")?.ok_or_else(|| missing(place))?;
    let mut names = Vec::new();
    for (i, entry) in list.iter().enumerate() {
        let name = entry.pointer("/function/name").or_else(|| entry.get("name")).and_then(Value::as_str);
        let known = name.filter(|name| tools.iter().any(|tool| tool.name == *name));
        let known = known.ok_or_else(|| Problem::value(format!("{place}[{i}]"), "there is no such tool in `tools`"))?;
        names.push(known);
    }
    Ok((tools.into_iter().filter(|tool| names.contains(&tool.name.as_str())).collect(), mode))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn choose(choice: Value) -> Result<(Vec<Tool>, ToolChoice)> {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
        let body = json!({"tools": [tool("a"), tool("b")], "tool_choice": choice});
        read(&mut Fields::of("", body).unwrap(), &mut Vec::new())
    }

    #[test]
    fn choices_are_words_names_or_lists() {
        assert_eq!(choose(Value::Null).unwrap().1, ToolChoice::Auto);
        assert_eq!(choose(json!("required")).unwrap().1, ToolChoice::Required);
        let named = json!({"type": "function", "function": {"name": "b"}});
        assert_eq!(choose(named).unwrap().1, ToolChoice::Named("b".into()));
        let tools = json!([{"type": "function", "function": {"name": "b"}}]);
        let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": tools}});
        let (tools, choice) = choose(allowed).unwrap();
        assert_eq!((tools.len(), choice), (1, ToolChoice::Required));
        for wrong in [
            json!("any"),
            json!(1),
            json!({"type": "function", "function": {"name": "c"}}),
            json!({"type": "custom"}),
            json!({"type": "allowed_tools", "allowed_tools": {"tools": [{"name": "c"}]}}),
        ] {
            assert!(choose(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn functions_are_tools_of_old() {
        let body = json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}});
        let (tools, choice) = read(&mut Fields::of("", body).unwrap(), &mut Vec::new()).unwrap();
        assert_eq!((tools.len(), choice), (1, ToolChoice::Named("f".into())));
        let body = json!({"tool_choice": "required", "tools": []});
        assert!(read(&mut Fields::of("", body).unwrap(), &mut Vec::new()).is_err());
    }
}
