//! From the body of a response's request to a request.

use std::time::Duration;

use lemmy_core::{Chat, Constraint, GenerateOptions, Thinking, Tool, ToolChoice};
use serde_json::{Map, Value, json};

use super::input;
use crate::server::api::{sampling, turns};
use crate::server::app::{App, Ready};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::job::{Ask, Request};
use crate::server::problem::{Problem, Result};
use crate::server::reply::Manner;

/// What cannot change the answer.
const IGNORED: [&str; 10] = [
    "store",
    "user",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "stream_options",
    "client_metadata",
    "max_tool_calls",
];
/// What would need a memory of earlier requests, or a template kept elsewhere.
const REMEMBERED: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// What a client wants and what of it the answer repeats.
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) manner: Manner,
    pub(super) echo: Map<String, Value>,
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
        fields.refuse(&REMEMBERED, "this server keeps nothing; send the whole conversation as input")?;
        fields.refuse(&["background"], "this server answers at once or not at all")?;
        match fields.text("truncation")?.as_deref() {
            None | Some("disabled") => {}
            Some("auto") => return Err(Problem::unsupported("truncation", "nothing is ever cut off a prompt")),
            Some(other) => return Err(Problem::value("truncation", format!("found {other:.32?}, expected disabled"))),
        }

        let mut options = sampling::options(ready, &mut fields)?;
        let most = fields.integer("max_output_tokens", 0..=i64::MAX)?;
        options.max_tokens = most.and_then(|most| usize::try_from(most).ok());
        logprobs(&mut fields, &mut options, &mut warnings)?;
        let mut echo = Map::new();
        echo.insert("metadata".into(), fields.take("metadata").unwrap_or_else(|| json!({})));
        echo.insert("max_output_tokens".into(), most.into());
        options.constraint = text(&mut fields, &mut echo, &mut warnings)?;
        options.thinking = reasoning(&mut fields, &mut echo, &mut warnings)?;
        let (tools, choice) = tools(&mut fields, &mut echo, &mut warnings)?;
        options.tool_choice = choice;
        let parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
        options.single_tool_call = !parallel;
        echo.insert("parallel_tool_calls".into(), parallel.into());
        let sampler = options.sampler.clone().unwrap_or_default();
        echo.insert("temperature".into(), sampling_number(sampler.temperature));
        echo.insert("top_p".into(), sampling_number(sampler.top_p));
        echo.insert("top_logprobs".into(), options.logprobs.unwrap_or(0).into());

        let mut turns = turns::Turns::new("input");
        let instructions = fields.text("instructions")?;
        echo.insert("instructions".into(), instructions.clone().into());
        if let Some(instructions) = instructions {
            turns.system("instructions", instructions);
        }
        input::read(fields.required("input")?, &mut turns, &mut warnings)?;
        let messages = turns.read(&app.options.limits, &mut warnings)?;
        let is_streamed = fields.flag("stream")?.unwrap_or(false);
        let ping = fields.number("sse_ping_interval", 0.001..=86_400.0)?.map(Duration::from_secs_f64);
        let (slot, reuse) = sampling::slot(&mut fields)?;
        fields.warn_of_rest(&mut warnings);
        let prompt = Ask::Chat(Chat { messages, tools, ..Chat::default() });
        Ok(Self {
            request: Request { prompt, options, choices: 1, slot, reuse, counts: false },
            manner: Manner { is_streamed, ping: ping.unwrap_or(app.options.ping) },
            echo,
            warnings,
        })
    }
}

/// A number as a person would write it: 0.7 and not its nearest neighbour among floats.
fn sampling_number(number: f32) -> Value {
    number.to_string().parse::<f64>().unwrap_or_default().into()
}

/// Whether the probabilities of tokens are wanted, and how many others beside each.
fn logprobs(fields: &mut Fields, options: &mut GenerateOptions, warnings: &mut Vec<String>) -> Result<()> {
    let top = fields.integer("top_logprobs", 0..=20)?.and_then(|top| u8::try_from(top).ok());
    let mut wanted = top.is_some_and(|top| top > 0);
    for (i, name) in fields.list("include")?.unwrap_or_default().iter().enumerate() {
        match name.as_str() {
            Some("message.output_text.logprobs") => wanted = true,
            // Thoughts come as they are.
            Some("reasoning.encrypted_content") => {}
            Some(other) => warnings.push(format!("include[{i}]: there is no {other:.64} here")),
            None => return Err(unexpected(&format!("include[{i}]"), "a string", name)),
        }
    }
    options.logprobs = wanted.then_some(top.unwrap_or(0));
    Ok(())
}

/// `text`: what the answer has to look like.
fn text(fields: &mut Fields, echo: &mut Map<String, Value>, warnings: &mut Vec<String>) -> Result<Option<Constraint>> {
    let mut shown = json!({ "type": "text" });
    let mut constraint = None;
    if let Some(mut text) = fields.object("text")? {
        if text.take("verbosity").is_some() {
            warnings.push("text.verbosity is not supported and was ignored".into());
        }
        if let Some(format) = text.take("format") {
            shown = format.clone();
            constraint = self::format(Fields::of("text.format", format)?, warnings)?;
        }
        text.warn_of_rest(warnings);
    }
    echo.insert("text".into(), json!({ "format": shown }));
    Ok(constraint)
}

fn format(mut format: Fields, warnings: &mut Vec<String>) -> Result<Option<Constraint>> {
    let (schema, strict) = match format.text("type")?.as_deref() {
        Some("text") => return Ok(None),
        Some("json_object") => (json!({ "type": "object" }), false),
        Some("json_schema") => (format.required("schema")?, format.flag("strict")?.unwrap_or(false)),
        Some(other) => {
            let message = format!("found {other:.32?}, expected text, json_object or json_schema");
            return Err(Problem::unsupported("text.format.type", message));
        }
        None => return Err(missing("text.format.type")),
    };
    sampling::constraint("text.format.schema", schema, strict, warnings).map(Some)
}

fn reasoning(fields: &mut Fields, echo: &mut Map<String, Value>, warnings: &mut Vec<String>) -> Result<Thinking> {
    let mut thinking = Thinking::Off;
    let mut effort = None;
    if let Some(mut reasoning) = fields.object("reasoning")? {
        effort = reasoning.text("effort")?;
        if let Some(effort) = &effort {
            thinking = sampling::effort("reasoning.effort", effort)?;
        }
        // Thoughts are told whole, so nothing is summed up.
        reasoning.ignore(&["summary", "generate_summary"]);
        reasoning.warn_of_rest(warnings);
    }
    echo.insert("reasoning".into(), json!({ "effort": effort, "summary": null }));
    Ok(thinking)
}

fn tools(
    fields: &mut Fields,
    echo: &mut Map<String, Value>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Tool>, ToolChoice)> {
    let list = fields.list("tools")?.unwrap_or_default();
    echo.insert("tools".into(), list.clone().into());
    let list = list.into_iter().enumerate().map(|(i, tool)| input::tool(i, tool, warnings));
    let list = list.collect::<Result<Vec<_>>>()?;
    let choice = fields.take("tool_choice").unwrap_or_else(|| "auto".into());
    echo.insert("tool_choice".into(), choice.clone());
    turns::flat_tools(list, nested(choice), "parameters", warnings)
}

/// A choice as chat completions have it: there what is chosen has a name of its own.
fn nested(choice: Value) -> Value {
    let name = match choice.get("type").and_then(Value::as_str) {
        Some("function") => "function",
        Some("allowed_tools") => "allowed_tools",
        _ => return choice,
    };
    json!({ "type": name, name: choice })
}
