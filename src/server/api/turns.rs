//! A conversation in the making, for dialects that are not OpenAI's chat. They say what they found as OpenAI's
//! messages, each with the place that it came from; one reader checks them all, and what is wrong is told with the
//! client's own place.

use lemmy_core::{Message, Tool, ToolChoice};
use serde_json::{Map, Value, json};

use super::{messages, tools};
use crate::server::app::Limits;
use crate::server::fields::Fields;
use crate::server::problem::{Problem, Result};

/// Messages with their places.
#[derive(Debug)]
pub(crate) struct Turns {
    /// What the dialect calls its messages.
    name: &'static str,
    places: Vec<String>,
    messages: Vec<Map<String, Value>>,
}

/// A piece of what the model said.
#[derive(Debug)]
pub(crate) enum Said {
    Thinking(String),
    Text(String),
    /// A call, as OpenAI's `tool_calls` have it.
    Call(Value),
}

impl Turns {
    /// None yet; `name` is the field in which they stand.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, places: Vec::new(), messages: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn push(&mut self, place: &str, message: Value) {
        if let Value::Object(message) = message {
            self.places.push(place.into());
            self.messages.push(message);
        }
    }

    pub(crate) fn system(&mut self, place: &str, content: impl Into<Value>) {
        self.push(place, json!({ "role": "system", "content": content.into() }));
    }

    pub(crate) fn user(&mut self, place: &str, content: impl Into<Value>) {
        self.push(place, json!({ "role": "user", "content": content.into() }));
    }

    /// What a tool answered; the name may be empty.
    pub(crate) fn result(&mut self, place: &str, call: &str, name: &str, content: impl Into<Value>) {
        let content = content.into();
        self.push(place, json!({ "role": "tool", "tool_call_id": call, "name": name, "content": content }));
    }

    /// A message of the model begins.
    pub(crate) fn assistant(&mut self, place: &str) {
        self.push(place, json!({ "role": "assistant", "content": "" }));
    }

    /// Goes on with the model's message. A thought begins a new one unless nothing else was said, and so does text
    /// after calls.
    pub(crate) fn said(&mut self, place: &str, said: Said) {
        let fits = self.messages.last().is_some_and(|last| {
            let has_text = last.get("content").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            let is_mine = last.get("role").is_some_and(|role| role == "assistant");
            is_mine
                && match said {
                    Said::Thinking(_) => !has_text && !last.contains_key("tool_calls"),
                    Said::Text(_) => !last.contains_key("tool_calls"),
                    Said::Call(_) => true,
                }
        });
        if !fits {
            self.assistant(place);
        }
        let Some(last) = self.messages.last_mut() else { return };
        let mut append = |name: &str, more: String| {
            let text = last.entry(name).or_insert_with(|| "".into());
            *text = (text.as_str().unwrap_or_default().to_owned() + &more).into();
        };
        match said {
            Said::Thinking(text) => append("reasoning_content", text),
            Said::Text(text) => append("content", text),
            Said::Call(call) => {
                if let Value::Array(calls) = last.entry("tool_calls").or_insert_with(|| json!([])) {
                    calls.push(call);
                }
            }
        }
    }

    /// The messages.
    ///
    /// # Errors
    ///
    /// As [`messages::messages`], with the places of the dialect.
    pub(crate) fn read(self, limits: &Limits, warnings: &mut Vec<String>) -> Result<Vec<Message>> {
        let mut named = Vec::new();
        let list = self.messages.into_iter().map(Value::Object).collect();
        let read = messages::messages(Some(list), limits, &mut named);
        let place = |text: &str| in_place(text, self.name, &self.places);
        warnings.extend(named.iter().map(|warning| place(warning)));
        read.map_err(|problem| Problem {
            param: problem.param.as_deref().map(place),
            message: place(&problem.message),
            ..problem
        })
    }
}

/// A problem in a dialect's words: pairs of OpenAI's name of a field and the dialect's.
pub(crate) fn renamed(mut problem: Problem, names: &[(&str, &str)]) -> Problem {
    for (from, to) in names {
        let rename = |text: &str| text.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        if let Some(param) = problem.param.as_deref().and_then(rename) {
            problem.param = Some(param);
            if let Some(message) = rename(&problem.message) {
                problem.message = message;
            }
        }
    }
    problem
}

/// A call as OpenAI's messages have it; the arguments are an object or its text.
pub(crate) fn call(id: Option<String>, name: Option<Value>, arguments: Option<Value>) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

/// Puts the dialect's place where a text begins with a message's number.
fn in_place(text: &str, name: &str, places: &[String]) -> String {
    let Some(rest) = text.strip_prefix("messages") else { return text.to_owned() };
    let number = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let numbered = number.and_then(|(number, rest)| Some((places.get(number.parse::<usize>().ok()?)?, rest)));
    match numbered {
        Some((place, rest)) => format!("{place}{rest}"),
        None => format!("{name}{rest}"),
    }
}

/// Tools of a dialect that has no `function` around them, given as OpenAI's, and the choice among them; `schema` is the
/// dialect's name of the parameters.
///
/// # Errors
///
/// As [`tools::read`], with the places of the dialect.
pub(crate) fn flat_tools(
    list: Vec<Value>,
    choice: Value,
    schema: &str,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Tool>, ToolChoice)> {
    let parameters = format!("].{schema}");
    let flat = |text: &str| {
        let pairs = [
            ("].function", "]"),
            ("].parameters", parameters.as_str()),
            ("tool_choice.function", "tool_choice"),
            ("tool_choice.allowed_tools", "tool_choice"),
        ];
        pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replacen(from, to, 1))
    };
    let mut named = Vec::new();
    let members = [("tools".to_owned(), list.into()), ("tool_choice".to_owned(), choice)];
    let read = tools::read(&mut Fields::new(Map::from_iter(members)), &mut named);
    warnings.extend(named.iter().map(|warning| flat(warning)));
    read.map_err(|problem| Problem {
        param: problem.param.as_deref().map(flat),
        message: flat(&problem.message),
        ..problem
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn weather() -> Value {
        call(Some("a".into()), Some("get_weather".into()), Some("{\"city\":\"Paris\"}".into()))
    }

    #[test]
    fn pieces_of_one_turn_become_one_message() {
        let mut turns = Turns::new("input");
        turns.user("input[0]", "Hi");
        turns.said("input[1]", Said::Thinking("Hm".into()));
        turns.said("input[2]", Said::Text("Let me ".into()));
        turns.said("input[3]", Said::Text("look.".into()));
        turns.said("input[4]", Said::Call(weather()));
        turns.said("input[5]", Said::Call(weather()));
        turns.said("input[6]", Said::Text("Done".into()));
        let messages = turns.read(&Limits::DEFAULT, &mut Vec::new()).unwrap();
        assert_eq!(messages.len(), 3, "{messages:?}");
        let Message::Assistant { text, thinking, tool_calls } = &messages[1] else { panic!("{messages:?}") };
        assert_eq!((text.as_str(), thinking.as_deref(), tool_calls.len()), ("Let me look.", Some("Hm"), 2));
        assert_eq!(messages[2], Message::assistant("Done"));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_place_of_the_dialect() {
        let mut turns = Turns::new("input");
        turns.user("input[3]", "Hi");
        turns.user("input[7]", json!([{"type": "input_audio"}]));
        let problem = turns.read(&Limits::DEFAULT, &mut Vec::new()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("input[7].content[0].type"));
        assert!(problem.message.starts_with("input[7].content[0].type: "), "{}", problem.message);
        let problem = Turns::new("input").read(&Limits::DEFAULT, &mut Vec::new()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("input"));

        let tools = vec![json!({"type": "function", "function": {"name": "a b"}})];
        let problem = flat_tools(tools, Value::Null, "input_schema", &mut Vec::new()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("tools[0].name"));
        let tools = vec![json!({"type": "function", "function": {"name": "a", "parameters": 1}})];
        let problem = flat_tools(tools, Value::Null, "input_schema", &mut Vec::new()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("tools[0].input_schema"));
        let choice = json!({"type": "function", "function": {"name": "b"}});
        let tools = vec![json!({"type": "function", "function": {"name": "a"}})];
        let problem = flat_tools(tools, choice, "parameters", &mut Vec::new()).unwrap_err();
        assert_eq!(problem.param.as_deref(), Some("tool_choice"));
    }
}
