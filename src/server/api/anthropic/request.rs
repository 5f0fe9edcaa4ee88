//! From the body of a message's request to a request.

use std::time::Duration;

use lemmy_core::{Chat, Constraint, Message, Thinking};
use serde_json::{Value, json};

use super::blocks;
use crate::server::api::{sampling, turns};
use crate::server::app::{App, Ready};
use crate::server::fields::{Fields, missing};
use crate::server::job::{Ask, Request};
use crate::server::problem::{Problem, Result};
use crate::server::reply::Manner;

/// What cannot change the answer.
const IGNORED: [&str; 5] = ["metadata", "service_tier", "cache_control", "inference_geo", "user_profile_id"];
/// What would need Anthropic's machines.
const HOSTED: [&str; 2] = ["mcp_servers", "container"];

/// What a client wants.
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) manner: Manner,
    pub(super) warnings: Vec<String>,
}

impl Wish {
    /// Reads all fields but `model`.
    ///
    /// # Errors
    ///
    /// 400 with the field that is wrong.
    pub(super) fn read(app: &App, ready: &Ready, mut fields: Fields) -> Result<Self> {
        let mut warnings = Vec::new();
        fields.ignore(&IGNORED);
        fields.refuse(&HOSTED, "this server runs no tools")?;
        let mut options = sampling::options(ready, &mut fields)?;
        options.stop.extend(sampling::stop(&mut fields, "stop_sequences")?);
        let most = fields.integer("max_tokens", 0..=i64::MAX)?;
        options.max_tokens = most.and_then(|most| usize::try_from(most).ok());
        let (effort, constraint) = output(&mut fields, &mut warnings)?;
        options.thinking = thinking(&mut fields, effort, &mut warnings)?;
        options.constraint = constraint;
        let list = tools(&mut fields, &mut warnings)?;
        let (choice, single) = choice(&mut fields, &mut warnings)?;
        let (tools, choice) = turns::flat_tools(list, choice, "input_schema", &mut warnings)?;
        (options.tool_choice, options.single_tool_call) = (choice, single);

        let mut turns = turns::Turns::new("messages");
        if let Some(system) = fields.take("system") {
            turns.system("system", blocks::text("system", system, "\n\n", &mut warnings)?);
        }
        let list = fields.list("messages")?.ok_or_else(|| missing("messages"))?;
        if list.is_empty() {
            return Err(Problem::value("messages", "found no message, expected at least one"));
        }
        blocks::messages(list, &mut turns, &mut warnings)?;
        let mut messages = turns.read(&app.options.limits, &mut warnings)?;
        let begun = begun(&mut messages);
        let chat = Chat { messages, tools, ..Chat::default() };
        let prompt = match begun {
            Some(begun) => {
                // The thought, if there was one, is over.
                options.thinking = Thinking::Off;
                Ask::Continued(chat, begun)
            }
            None => Ask::Chat(chat),
        };
        let is_streamed = fields.flag("stream")?.unwrap_or(false);
        let ping = fields.number("sse_ping_interval", 0.001..=86_400.0)?.map(Duration::from_secs_f64);
        let (slot, reuse) = sampling::slot(&mut fields)?;
        fields.warn_of_rest(&mut warnings);
        Ok(Self {
            request: Request { prompt, options, choices: 1, slot, reuse, counts: false },
            manner: Manner { is_streamed, ping: ping.unwrap_or(app.options.ping) },
            warnings,
        })
    }
}

/// The beginning of the answer, if the last message is the model's own and no call; it is taken off the messages.
fn begun(messages: &mut Vec<Message>) -> Option<String> {
    match messages.pop() {
        Some(Message::Assistant { text, tool_calls, .. }) if tool_calls.is_empty() => Some(text),
        other => {
            messages.extend(other);
            None
        }
    }
}

/// `output_config`: how much to think, and what the answer has to look like.
fn output(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(Option<Thinking>, Option<Constraint>)> {
    let Some(mut config) = fields.object("output_config")? else { return Ok((None, None)) };
    let effort = config.text("effort")?.map(|effort| sampling::effort("output_config.effort", &effort)).transpose()?;
    let constraint = match config.object("format")? {
        Some(mut format) => match format.text("type")?.as_deref() {
            Some("json_schema") => {
                let schema = format.required("schema")?;
                Some(sampling::constraint("output_config.format.schema", schema, false, warnings)?)
            }
            Some(other) => {
                let message = format!("found {other:.32?}, expected json_schema");
                return Err(Problem::unsupported("output_config.format.type", message));
            }
            None => return Err(missing("output_config.format.type")),
        },
        None => None,
    };
    config.warn_of_rest(warnings);
    Ok((effort, constraint))
}

fn thinking(fields: &mut Fields, effort: Option<Thinking>, warnings: &mut Vec<String>) -> Result<Thinking> {
    let Some(mut thinking) = fields.object("thinking")? else { return Ok(effort.unwrap_or_default()) };
    let chosen = match thinking.text("type")?.as_deref() {
        Some("disabled") => Thinking::Off,
        Some("adaptive") => effort.unwrap_or(Thinking::On),
        Some("enabled") => {
            let tokens = thinking.integer("budget_tokens", 1..=i64::from(u32::MAX))?;
            tokens.map(sampling::budget).ok_or_else(|| missing("thinking.budget_tokens"))?
        }
        Some(other) => {
            let message = format!("found {other:.32?}, expected enabled, adaptive or disabled");
            return Err(Problem::value("thinking.type", message));
        }
        None => return Err(missing("thinking.type")),
    };
    thinking.ignore(&["budget_tokens", "display"]);
    thinking.warn_of_rest(warnings);
    Ok(chosen)
}

/// Tools as chat completions have them.
fn tools(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Vec<Value>> {
    let mut list = Vec::new();
    for (i, tool) in fields.list("tools")?.unwrap_or_default().into_iter().enumerate() {
        let mut tool = Fields::of(&format!("tools[{i}]"), tool)?;
        if let Some(kind) = tool.text("type")?.filter(|kind| kind != "custom") {
            let message =
                format!("found {kind:.40?}; this server runs no tools, it only has those with an input_schema");
            return Err(Problem::unsupported(tool.place("type"), message));
        }
        let function = json!({
            "name": tool.take("name"),
            "description": tool.take("description"),
            "parameters": tool.take("input_schema"),
            "strict": tool.take("strict"),
        });
        tool.ignore(&["cache_control", "input_examples", "eager_input_streaming"]);
        tool.warn_of_rest(warnings);
        list.push(json!({ "type": "function", "function": function }));
    }
    Ok(list)
}

/// Which tool has to be called, as chat completions have it, and whether one call is all.
fn choice(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<(Value, bool)> {
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok((Value::Null, false)) };
    let chosen = match choice.text("type")?.as_deref() {
        Some("auto") => "auto".into(),
        Some("any") => "required".into(),
        Some("none") => "none".into(),
        Some("tool") => json!({ "type": "function", "function": { "name": choice.required("name")? } }),
        Some(other) => {
            let message = format!("found {other:.32?}, expected auto, any, tool or none");
            return Err(Problem::value("tool_choice.type", message));
        }
        None => return Err(missing("tool_choice.type")),
    };
    let single = choice.flag("disable_parallel_tool_use")?.unwrap_or(false);
    choice.warn_of_rest(warnings);
    Ok((chosen, single))
}
