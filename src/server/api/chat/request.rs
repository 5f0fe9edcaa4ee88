//! From the body of a chat completion to a request.

use std::time::Duration;

use lemmy_core::{Chat, Constraint, GenerateOptions, Message, Thinking};
use serde_json::json;

use crate::server::api::{messages, sampling, tools};
use crate::server::app::{App, Ready};
use crate::server::fields::{Fields, missing};
use crate::server::job::{Ask, Request};
use crate::server::problem::{Problem, Result};
use crate::server::reply::Manner;

/// What cannot change the answer.
const IGNORED: [&str; 12] = [
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "prediction",
    "moderation",
    "repetition_detection",
    "include_obfuscation",
];

/// What a client wants and how it is told.
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) manner: Manner,
    pub(super) shape: Shape,
}

/// How an answer looks.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) choices: usize,
    /// `usage` in a stream: at its end, or on each chunk.
    pub(super) usage: StreamUsage,
    pub(super) has_timings_per_token: bool,
    pub(super) has_progress: bool,
    pub(super) has_logprobs: bool,
    /// Thoughts stand in the content, between their marks.
    pub(super) raw_thoughts: bool,
    /// Thoughts are sent as `reasoning` too.
    pub(super) both_names: bool,
    pub(super) warnings: Vec<String>,
}

/// Whether a stream tells its usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StreamUsage {
    #[default]
    Never,
    AtTheEnd,
    Always,
}

impl Wish {
    /// Reads all fields but `model`.
    ///
    /// # Errors
    ///
    /// 400 with the field that is wrong.
    pub(super) fn read(app: &App, ready: &Ready, mut fields: Fields) -> Result<Self> {
        let limits = &app.options.limits;
        let mut shape = Shape { both_names: app.options.reasoning.are_both(), ..Shape::default() };
        let warnings = &mut shape.warnings;
        fields.ignore(&IGNORED);
        refuse(&mut fields)?;
        if fields.take("verbosity").is_some() {
            warnings.push("verbosity is not supported and was ignored".into());
        }

        let mut options = sampling::options(ready, &mut fields)?;
        options.max_tokens = sampling::max_tokens(&mut fields)?;
        let thoughts = Thoughts::read(&mut fields, warnings)?;
        options.thinking = thoughts.thinking;
        options.constraint = constraint(&mut fields, warnings)?;
        let (tools, choice) = tools::read(&mut fields, warnings)?;
        options.tool_choice = choice;
        options.single_tool_call = fields.flag("parallel_tool_calls")? == Some(false);

        let mut messages = messages::messages(fields.list("messages")?, limits, warnings)?;
        let begun = continued(&mut fields, &mut messages)?;
        let chat = Chat { messages, tools, preserve_thinking: thoughts.preserve, ..Chat::default() };
        let prompt = match begun {
            Some(begun) => {
                // The thought, if there was one, is over.
                options.thinking = Thinking::Off;
                Ask::Continued(chat, begun)
            }
            None => Ask::Chat(chat),
        };

        let most = i64::try_from(limits.choices).unwrap_or(i64::MAX);
        let choices = fields.integer("n", 1..=most)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
        shape.choices = choices;
        shape.has_logprobs = logprobs(&mut fields, &mut options)?;
        let is_streamed = stream(app, &mut fields, &mut shape)?;
        let ping = fields.number("sse_ping_interval", 0.001..=86_400.0)?.map(Duration::from_secs_f64);
        let (slot, reuse) = sampling::slot(&mut fields)?;
        fields.warn_of_rest(&mut shape.warnings);
        let counts = shape.has_timings_per_token || shape.usage == StreamUsage::Always;
        Ok(Self {
            request: Request { prompt, options, choices, slot, reuse, counts },
            manner: Manner { is_streamed, ping: ping.unwrap_or(app.options.ping) },
            shape,
        })
    }
}

/// Refuses what would change the answer and cannot be had.
fn refuse(fields: &mut Fields) -> Result<()> {
    fields.refuse(&["audio"], "the model does not speak")?;
    fields.refuse(&["web_search_options"], "the server does not search")?;
    fields.refuse(&["mirostat", "top_a", "lora", "xtc_probability", "dry_multiplier"], "is not supported")?;
    fields.ignore(&["mirostat_tau", "mirostat_eta"]);
    fields.refuse(&["grammar"], "grammars of clients are not read; use response_format")?;
    let modalities = fields.list("modalities")?.unwrap_or_default();
    match modalities.iter().find(|modality| modality.as_str() != Some("text")) {
        Some(_) => Err(Problem::unsupported("modalities", "only text is answered")),
        None => Ok(()),
    }
}

/// Whether to think, and what of earlier thoughts is shown.
struct Thoughts {
    thinking: Thinking,
    preserve: bool,
}

impl Thoughts {
    /// The more exact field wins: a budget, then the template's switch, then the effort.
    fn read(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Self> {
        let mut thinking = Thinking::Off;
        let mut preserve = false;
        if let Some(effort) = fields.text("reasoning_effort")? {
            thinking = sampling::effort("reasoning_effort", &effort)?;
        }
        if let Some(mut kwargs) = fields.object("chat_template_kwargs")? {
            match kwargs.flag("enable_thinking")? {
                Some(true) if thinking == Thinking::Off => thinking = Thinking::On,
                Some(false) => thinking = Thinking::Off,
                _ => {}
            }
            preserve = kwargs.flag("preserve_thinking")?.unwrap_or(false);
            if let Some(tokens) = kwargs.integer("thinking_budget", -1..=i64::from(u32::MAX))? {
                thinking = sampling::budget(tokens);
            }
            // Never handed to the template: it would be a client's way into it.
            kwargs.warn_of_rest(warnings);
        }
        for name in ["reasoning_budget_tokens", "thinking_budget_tokens"] {
            if let Some(tokens) = fields.integer(name, -1..=i64::from(u32::MAX))? {
                thinking = sampling::budget(tokens);
            }
        }
        Ok(Self { thinking, preserve })
    }
}

/// `response_format`: what the answer has to look like.
fn constraint(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<Constraint>> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(None) };
    let (place, schema, strict) = match format.text("type")?.as_deref() {
        Some("text") => return Ok(None),
        // llama-server's spelling has the schema beside the type.
        Some("json_object") => {
            ("response_format.schema", format.take("schema").unwrap_or_else(|| json!({ "type": "object" })), false)
        }
        Some("json_schema") => {
            let mut named = format.object("json_schema")?.ok_or_else(|| missing("response_format.json_schema"))?;
            let strict = named.flag("strict")?.unwrap_or(false);
            ("response_format.json_schema.schema", named.required("schema")?, strict)
        }
        Some(other) => {
            let message = format!("found {other:.32?}, expected text, json_object or json_schema");
            return Err(Problem::unsupported("response_format.type", message));
        }
        None => return Err(missing("response_format.type")),
    };
    sampling::constraint(place, schema, strict, warnings).map(Some)
}

/// The beginning of the answer, if the last message is one that is to be continued; it is taken off the messages.
fn continued(fields: &mut Fields, messages: &mut Vec<Message>) -> Result<Option<String>> {
    let continues = fields.flag("continue_final_message")?.unwrap_or(false);
    let prompts = fields.flag("add_generation_prompt")?;
    if continues && prompts == Some(true) {
        let message = "cannot be true together with add_generation_prompt";
        return Err(Problem::value("continue_final_message", message));
    }
    if !continues {
        return match prompts {
            Some(false) => Err(Problem::unsupported("add_generation_prompt", "a reply needs it")),
            _ => Ok(None),
        };
    }
    match messages.pop() {
        Some(Message::Assistant { text, tool_calls, .. }) if tool_calls.is_empty() => Ok(Some(text)),
        _ => Err(Problem::value("continue_final_message", "the last message is not one of the assistant's")),
    }
}

/// Whether tokens and their probabilities are wanted.
fn logprobs(fields: &mut Fields, options: &mut GenerateOptions) -> Result<bool> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.integer("top_logprobs", 0..=20)?;
    match (wanted, top) {
        (false, Some(1..)) => Err(Problem::value("top_logprobs", "needs logprobs: true")),
        (false, _) => Ok(false),
        (true, top) => {
            options.logprobs = Some(top.and_then(|top| u8::try_from(top).ok()).unwrap_or(0));
            Ok(true)
        }
    }
}

/// Whether the answer comes as a stream, and what is in it.
fn stream(app: &App, fields: &mut Fields, shape: &mut Shape) -> Result<bool> {
    let is_streamed = fields.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        if options.flag("include_usage")?.unwrap_or(false) {
            shape.usage = StreamUsage::AtTheEnd;
        }
        if options.flag("continuous_usage_stats")?.unwrap_or(false) && shape.usage == StreamUsage::AtTheEnd {
            shape.usage = StreamUsage::Always;
        }
        options.ignore(&["include_obfuscation"]);
        options.warn_of_rest(&mut shape.warnings);
    }
    shape.has_timings_per_token = fields.flag("timings_per_token")?.unwrap_or(false);
    shape.has_progress = fields.flag("return_progress")?.unwrap_or(false);
    shape.both_names = app.options.reasoning.are_both();
    shape.raw_thoughts = match fields.text("reasoning_format")?.as_deref() {
        None | Some("auto" | "deepseek") => false,
        Some("none") => true,
        Some(other) => {
            let message = format!("found {other:.32?}, expected none, auto or deepseek");
            return Err(Problem::value("reasoning_format", message));
        }
    };
    Ok(is_streamed)
}
