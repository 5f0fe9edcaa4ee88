//! A conversation in the form that every version of the template shows as it was meant.
//!
//! The templates go wrong, without a word, on calls without ids, on an answer and calls in one message, on results whose
//! call is not the last thing said; the older ones on more. What is repaired by guessing, or lost, is named in a warning.

#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};

use super::engine::Engine;
use super::{Chat, Message, Part, Tool, ToolOutput, bounded, python, schema};
use crate::error::{Error, Result};
use crate::limits;

/// What a template is given.
#[derive(Debug)]
pub(super) struct Normal {
    pub(super) messages: Vec<Value>,
    pub(super) tools: Vec<Value>,
    pub(super) warnings: Vec<String>,
}

/// How a template behaves where its versions differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Habits {
    answers: Answers,
    /// It shows the results of `tool` messages; the first version shows `tool_responses` of the assistant message only.
    reads_tool_messages: bool,
}

/// What becomes of assistant messages that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// One turn.
    Joined,
    /// A turn for each.
    Apart,
    /// The turn is closed after each and opened before the first only.
    Broken,
}

impl Habits {
    /// Tries a template out. One that fails or says nothing of all this is taken for the canonical one.
    pub(super) fn of(engine: &Engine) -> Self {
        let try_out = |messages: Value| {
            let variables = json!({"messages": messages, "bos_token": ""});
            variables.as_object().and_then(|variables| engine.render(variables).ok()).unwrap_or_default()
        };
        let answers = try_out(json!([
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "first"},
            {"role": "assistant", "content": "second"},
        ]));
        let shows_result = |messages: Value| try_out(messages).contains("<|tool_response>response:tool{");
        let user = json!({"role": "user", "content": "q"});
        let calls = json!([{"id": "1", "type": "function", "function": {"name": "tool", "arguments": {}}}]);
        let tool_message = shows_result(json!([
            user,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "1", "name": "tool", "content": "r"},
        ]));
        let responses = json!([{"name": "tool", "response": "r"}]);
        let tool_responses = || {
            shows_result(json!([
                user,
                {"role": "assistant", "content": "", "tool_calls": calls, "tool_responses": responses},
            ]))
        };
        Self {
            answers: match answers.matches("<|turn>model").count() {
                _ if !answers.contains("first") || answers.contains("firstsecond") => Answers::Joined,
                1 => Answers::Broken,
                _ => Answers::Apart,
            },
            reads_tool_messages: tool_message || !tool_responses(),
        }
    }
}

/// Brings a chat into the form that a template with these habits shows as it was meant.
pub(super) fn normalise(chat: &Chat, habits: Habits) -> Result<Normal> {
    check_size(chat)?;
    let mut warnings = Vec::new();
    let tools = chat.tools.iter().enumerate();
    let tools = tools.map(|(i, tool)| tool_json(i, tool, &mut warnings)).collect::<Result<_>>()?;
    let said = join_answers(said(&chat.messages, &mut warnings)?, habits, &mut warnings);
    let last_user = said.iter().rposition(|said| matches!(said, Said::User(_)));
    let mut messages = Vec::new();
    for (i, said) in said.into_iter().enumerate() {
        match said {
            Said::System(text) => messages.push(json!({"role": "system", "content": text})),
            Said::User(parts) => messages.push(json!({"role": "user", "content": content(parts)})),
            Said::Answer(answer) => {
                let current = last_user.is_none_or(|last| i > last);
                answer.write(habits, current, &mut messages);
            }
        }
    }
    Ok(Normal { messages, tools, warnings })
}

/// An argument of a chat that is wrong, with its place in it.
pub(super) fn bad(place: impl std::fmt::Display, reason: impl std::fmt::Display) -> Error {
    Error::Argument { name: "chat", reason: format!("{place}: {reason}") }
}

fn check_size(chat: &Chat) -> Result<()> {
    if chat.messages.len() > limits::CHAT_MESSAGES {
        return Err(bad("messages", format_args!("{}, at most {}", chat.messages.len(), limits::CHAT_MESSAGES)));
    }
    if chat.tools.len() > limits::TOOLS {
        return Err(bad("tools", format_args!("{}, at most {}", chat.tools.len(), limits::TOOLS)));
    }
    let messages: usize = chat.messages.iter().map(text_bytes).sum();
    let tools: usize = chat.tools.iter().map(|t| t.name.len() + t.description.len() + t.parameters_json.len()).sum();
    match messages.saturating_add(tools) {
        bytes if bytes > limits::CHAT_BYTES => {
            Err(bad("messages and tools", format_args!("{bytes} bytes of text, at most {}", limits::CHAT_BYTES)))
        }
        _ => Ok(()),
    }
}

fn text_bytes(message: &Message) -> usize {
    match message {
        Message::System(text) => text.len(),
        Message::User(parts) => {
            parts.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 16 }).sum()
        }
        Message::Assistant { text, thinking, tool_calls } => {
            let calls = tool_calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments_json.len() + 16);
            text.len() + thinking.as_ref().map_or(0, String::len) + calls.sum::<usize>()
        }
        Message::ToolResult { call_id, name, output } => call_id.len() + name.len() + output.text().len(),
    }
}

fn tool_json(i: usize, tool: &Tool, warnings: &mut Vec<String>) -> Result<Value> {
    let place = |field: &str| format!("tools[{i}].{field}");
    let legal = |c: char| c.is_alphanumeric() || "_-.:/".contains(c);
    if tool.name.is_empty() || tool.name.len() > limits::TOOL_NAME_BYTES || !tool.name.chars().all(legal) {
        let limit = limits::TOOL_NAME_BYTES;
        let found = tool.name.chars().take(64).collect::<String>();
        let reason = format!("found {found:?}, expected 1 to {limit} bytes of letters, digits and `_ - . : /`");
        return Err(bad(place("name"), reason));
    }
    let mut function = Map::new();
    function.insert("name".into(), tool.name.as_str().into());
    function.insert("description".into(), tool.description.as_str().into());
    if !tool.parameters_json.trim().is_empty() {
        let place = place("parameters_json");
        let schema = bounded::parse(&tool.parameters_json, limits::SCHEMA_BYTES).map_err(|e| bad(&place, e))?;
        let (parameters, lost) = schema::parameters(&schema).map_err(|e| bad(&place, e))?;
        if !lost.is_empty() {
            warnings.push(format!("tools[{i}] ({}): the model is not shown {}", tool.name, lost.join(", ")));
        }
        function.insert("parameters".into(), parameters);
    }
    Ok(json!({"type": "function", "function": function}))
}

/// A message with the results of its calls.
enum Said<'a> {
    System(&'a str),
    User(&'a [Part]),
    Answer(Answer<'a>),
}

#[derive(Default)]
struct Answer<'a> {
    /// What it said before its calls.
    text: String,
    /// What it said after their results, where that is one message.
    after: String,
    thinking: Option<&'a str>,
    calls: Vec<Call<'a>>,
    results: Vec<ToolAnswer>,
}

struct Call<'a> {
    /// What the caller gave it; may be empty or not its own.
    given_id: &'a str,
    /// Unlike that of any other call of the message.
    id: String,
    name: &'a str,
    arguments: Value,
    answered: bool,
}

struct ToolAnswer {
    id: String,
    name: String,
    output: Value,
}

fn said<'a>(messages: &'a [Message], warnings: &mut Vec<String>) -> Result<Vec<Said<'a>>> {
    let mut said: Vec<Said<'a>> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        match message {
            Message::System(text) => said.push(Said::System(text)),
            Message::User(parts) => said.push(Said::User(parts)),
            Message::Assistant { text, thinking, tool_calls } => {
                let mut answer = Answer { text: text.clone(), thinking: thinking.as_deref(), ..Answer::default() };
                for (n, call) in tool_calls.iter().enumerate() {
                    let place = format!("messages[{i}].tool_calls[{n}]");
                    if call.name.is_empty() {
                        return Err(bad(format!("{place}.name"), "is empty"));
                    }
                    let arguments =
                        arguments(&call.arguments_json).map_err(|e| bad(format!("{place}.arguments"), e))?;
                    let taken = |id: &str| answer.calls.iter().any(|call| call.id == id);
                    let mut id = call.id.clone();
                    if !id.is_empty() && taken(&id) {
                        warnings
                            .push(format!("{place}: its id {id:.64?} is taken; its results are told by their order"));
                    }
                    let mut number = n;
                    while id.is_empty() || taken(&id) {
                        id = format!("call_{i}_{number}");
                        number += tool_calls.len();
                    }
                    answer.calls.push(Call { given_id: &call.id, id, name: &call.name, arguments, answered: false });
                }
                said.push(Said::Answer(answer));
            }
            Message::ToolResult { call_id, name, output } => {
                let place = format!("messages[{i}]");
                let output = output_json(output).map_err(|e| bad(format!("{place}.output"), e))?;
                if let Some(warning) = attach(&mut said, call_id, name, output) {
                    warnings.push(format!("{place}: {warning}"));
                }
            }
        }
    }
    Ok(said)
}

/// Gives a result to its call. Returns what had to be guessed or was lost.
fn attach(said: &mut [Said<'_>], call_id: &str, name: &str, output: Value) -> Option<String> {
    let mut answers = said.iter_mut().rev().map(|said| match said {
        Said::Answer(answer) if !answer.calls.is_empty() => Some(answer),
        _ => None,
    });
    if let Some(Some(answer)) = answers.next() {
        let (call, guessed) = answer.call_of(call_id, name);
        let (id, shown) = match call.and_then(|call| answer.calls.get_mut(call)) {
            Some(call) => {
                call.answered = true;
                (call.id.clone(), call.name.to_owned())
            }
            None => (
                format!("{}_more", answer.calls.iter().map(|call| call.id.as_str()).collect::<String>()),
                name.to_owned(),
            ),
        };
        let warning = match (call, guessed) {
            (None, _) => Some("there are more results than calls".to_owned()),
            (_, true) => Some(format!("no call has the id {call_id:.64?}; it is taken for a result of `{shown:.64}`")),
            _ => None,
        };
        answer.results.push(ToolAnswer { id, name: shown, output });
        return warning;
    }
    for answer in answers.flatten() {
        let mut calls = answer.calls.iter_mut();
        if let Some(call) = calls.find(|call| !call.answered && !call_id.is_empty() && call.given_id == call_id) {
            call.answered = true;
            answer.results.push(ToolAnswer { id: call.id.clone(), name: call.name.to_owned(), output });
            return Some("this result comes late; it is shown at its call".into());
        }
    }
    Some("this result has no call before it; it is left out".into())
}

impl Answer<'_> {
    /// The call that a result belongs to, and whether its id had to be overlooked for that.
    fn call_of(&self, call_id: &str, name: &str) -> (Option<usize>, bool) {
        let find = |wanted: &dyn Fn(&Call<'_>) -> bool| self.calls.iter().position(wanted);
        let by_id = || {
            (!call_id.is_empty()).then_some(()).and_then(|()| {
                find(&|c| c.given_id == call_id && !c.answered).or_else(|| find(&|c| c.given_id == call_id))
            })
        };
        let in_order = || {
            let named = (!name.is_empty()).then(|| find(&|c| !c.answered && c.name == name)).flatten();
            named.or_else(|| find(&|c| !c.answered))
        };
        match by_id() {
            Some(call) => (Some(call), false),
            None => (in_order(), !call_id.is_empty()),
        }
    }

    fn has_text(&self) -> bool {
        !self.text.chars().all(python::is_space)
    }

    /// Writes the message and its results. `current`: nobody has spoken since but the model and tools.
    fn write(self, habits: Habits, current: bool, messages: &mut Vec<Value>) {
        let mut thinking = self.thinking.filter(|thinking| !thinking.is_empty());
        let message = |text: &str, thinking: Option<&str>| {
            let mut message = Map::new();
            message.insert("role".into(), "assistant".into());
            message.insert("content".into(), text.into());
            if let Some(thinking) = thinking {
                message.insert("reasoning_content".into(), thinking.into());
            }
            message
        };
        // In one message the template would print the text after the calls. Thoughts of earlier turns are shown with
        // calls only.
        let mut text = self.text.as_str();
        if habits.answers != Answers::Broken && self.has_text() && !self.calls.is_empty() {
            let first = if current { thinking.take() } else { None };
            messages.push(message(text, first).into());
            text = &self.after;
        } else if !self.after.is_empty() {
            text = &self.after;
        }
        let mut main = message(text, thinking);
        if !self.calls.is_empty() {
            let calls = self.calls.into_iter().map(|call| {
                json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
            });
            main.insert("tool_calls".into(), calls.collect());
        }
        if habits.reads_tool_messages {
            messages.push(main.into());
            messages.extend(self.results.into_iter().map(|result| {
                json!({"role": "tool", "tool_call_id": result.id, "name": result.name, "content": result.output})
            }));
            return;
        }
        if !self.results.is_empty() {
            let results =
                self.results.into_iter().map(|result| json!({"name": result.name, "response": result.output}));
            main.insert("tool_responses".into(), results.collect());
        }
        messages.push(main.into());
    }
}

/// Puts answers that follow each other into one message where an older template would break the turn between them.
fn join_answers<'a>(said: Vec<Said<'a>>, habits: Habits, warnings: &mut Vec<String>) -> Vec<Said<'a>> {
    let broken = habits.answers == Answers::Broken;
    let before_calls = |said: &Said<'_>| matches!(said, Said::Answer(a) if a.has_text() && !a.calls.is_empty());
    if broken && said.iter().any(before_calls) {
        warnings.push("this chat template shows what was said before a tool call after it".into());
    }
    let mut joined: Vec<Said<'a>> = Vec::with_capacity(said.len());
    for next in said {
        match (joined.last_mut(), next) {
            (Some(Said::Answer(last)), Said::Answer(mut answer)) if last.calls.is_empty() && broken => {
                answer.text = format!("{}{}", last.text.trim_matches(python::is_space), answer.text);
                answer.thinking = answer.thinking.or(last.thinking);
                *last = answer;
            }
            (Some(Said::Answer(last)), Said::Answer(mut answer)) if broken => {
                if last.has_text() {
                    answer.text = format!("{}\n\n{}", std::mem::take(&mut last.text), answer.text);
                }
                joined.push(Said::Answer(answer));
            }
            // Calls, their results and the answer to them are one message of the first version.
            (Some(Said::Answer(last)), Said::Answer(answer))
                if !habits.reads_tool_messages
                    && !last.results.is_empty()
                    && last.after.is_empty()
                    && answer.calls.is_empty() =>
            {
                last.after = answer.text;
            }
            (_, next) => joined.push(next),
        }
    }
    joined
}

fn content(parts: &[Part]) -> Value {
    match parts {
        [] => "".into(),
        [Part::Text(text)] => text.as_str().into(),
        parts => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => json!({"type": "text", "text": text}),
                Part::Image(_) => json!({"type": "image"}),
            })
            .collect(),
    }
}

/// A call's arguments; no text at all means that there are none.
pub(super) fn arguments(text: &str) -> Result<Value, String> {
    if text.trim().is_empty() {
        return Ok(json!({}));
    }
    match bounded::parse(text, limits::ARGUMENTS_BYTES)? {
        arguments @ Value::Object(_) => Ok(arguments),
        _ => Err("expected the text of a JSON object".into()),
    }
}

/// What a tool answered, so that a template prints it as one value.
fn output_json(output: &ToolOutput) -> Result<Value, String> {
    match output {
        ToolOutput::Text(text) => Ok(text.as_str().into()),
        ToolOutput::Json(text) => match bounded::parse(text, limits::ARGUMENTS_BYTES)? {
            // A list would be taken for the parts of a message.
            list @ Value::Array(_) => Ok(json!({"value": list})),
            value => Ok(value),
        },
    }
}

#[cfg(test)]
mod tests;
