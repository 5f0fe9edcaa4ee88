//! From the body of a chat or a completion to a request.

use std::time::Duration;

use lemmy_core::{Chat, Constraint, GenerateOptions, Special, Thinking};
use serde_json::{Value, json};

use super::answer::Shape;
use crate::server::api::turns::{Said, Turns, call};
use crate::server::api::{messages, sampling};
use crate::server::app::{App, Ready};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::job::{Ask, Request};
use crate::server::problem::{Problem, Result};
use crate::server::reply::Manner;

/// Options that are about the machine, not about the answer.
const MACHINE: [&str; 13] = [
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_gqa",
    "numa",
    "low_vram",
    "f16_kv",
    "vocab_only",
    "use_mmap",
    "use_mlock",
    "penalize_newline",
];

/// What a client wants.
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) manner: Manner,
    pub(super) warnings: Vec<String>,
}

impl Wish {
    /// Reads all fields but `model`; `None` if nothing is asked but that the model is there.
    ///
    /// # Errors
    ///
    /// 400 with the field that is wrong.
    pub(super) fn read(app: &App, ready: &Ready, mut fields: Fields, shape: Shape) -> Result<Option<Self>> {
        let mut warnings = Vec::new();
        fields.ignore(&["keep_alive", "context"]);
        fields.refuse(&["suffix"], "this model cannot fill a gap")?;
        fields.refuse(&["template"], "the template is the model's own")?;
        let given = fields.object("options")?.unwrap_or_else(|| Fields::at("options", serde_json::Map::new()));
        let mut options = self::options(ready, given, &mut warnings)?;
        options.constraint = format(&mut fields, &mut warnings)?;
        options.thinking = think(&mut fields)?;
        // What a client of Ollama's expects unless it says otherwise.
        let is_streamed = fields.flag("stream")?.unwrap_or(true);
        let prompt = match shape {
            Shape::Chat => chat(app, &mut fields, &mut warnings)?,
            Shape::Generate => generate(app, ready, &mut fields, &mut warnings)?,
        };
        fields.warn_of_rest(&mut warnings);
        let Some(prompt) = prompt else { return Ok(None) };
        Ok(Some(Self {
            request: Request { prompt, options, choices: 1, slot: None, reuse: true, counts: false },
            // A line without an object would be no line of Ollama's, so silence stays silence.
            manner: Manner { is_streamed, ping: Duration::from_secs(86_400) },
            warnings,
        }))
    }
}

/// `options`: sampling, under the names that llama-server has too, and the length of the answer.
fn options(ready: &Ready, mut fields: Fields, warnings: &mut Vec<String>) -> Result<GenerateOptions> {
    fields.ignore(&MACHINE);
    fields.refuse(&["mirostat"], "is not supported")?;
    fields.ignore(&["mirostat_tau", "mirostat_eta"]);
    let context = ready.engine.options().context;
    if let Some(wanted) = fields.integer("num_ctx", 0..=i64::MAX)?
        && usize::try_from(wanted).is_ok_and(|wanted| wanted > context)
    {
        let message =
            format!("found {wanted}, but a conversation has {context} tokens here; start with a larger --ctx-size");
        return Err(Problem::value("options.num_ctx", message));
    }
    let most = fields.integer("num_predict", -2..=i64::MAX)?;
    let mut options = sampling::options(ready, &mut fields)?;
    options.max_tokens = most.and_then(|most| usize::try_from(most).ok());
    fields.warn_of_rest(warnings);
    Ok(options)
}

/// `format`: `json` or a schema.
fn format(fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<Constraint>> {
    let schema = match fields.take("format") {
        None => return Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "" => return Ok(None),
            "json" => json!({ "type": "object" }),
            other => {
                return Err(Problem::value("format", format!("found {other:.32?}, expected json or a JSON schema")));
            }
        },
        Some(schema) => schema,
    };
    sampling::constraint("format", schema, false, warnings).map(Some)
}

fn think(fields: &mut Fields) -> Result<Thinking> {
    match fields.take("think") {
        None | Some(Value::Bool(false)) => Ok(Thinking::Off),
        Some(Value::Bool(true)) => Ok(Thinking::On),
        Some(Value::String(effort)) => sampling::effort("think", &effort),
        Some(other) => Err(unexpected("think", "true, false or an effort", &other)),
    }
}

fn chat(app: &App, fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<Ask>> {
    let mut turns = Turns::new("messages");
    for (i, message) in fields.list("messages")?.unwrap_or_default().into_iter().enumerate() {
        one(&format!("messages[{i}]"), message, &mut turns, warnings)?;
    }
    let tools = messages::tools(fields.list("tools")?, warnings)?;
    if turns.is_empty() {
        return Ok(None);
    }
    let messages = turns.read(&app.options.limits, warnings)?;
    Ok(Some(Ask::Chat(Chat { messages, tools, ..Chat::default() })))
}

fn one(place: &str, message: Value, turns: &mut Turns, warnings: &mut Vec<String>) -> Result<()> {
    let mut message = Fields::of(place, message)?;
    let role = message.text("role")?.ok_or_else(|| missing(&format!("{place}.role")))?;
    let text = message.text("content")?.unwrap_or_default();
    match role.as_str() {
        "system" => turns.system(place, text),
        "user" => {
            let images = message.list("images")?.unwrap_or_default();
            turns.user(place, parts(text, images));
        }
        "assistant" => {
            turns.assistant(place);
            if let Some(thinking) = message.text("thinking")? {
                turns.said(place, Said::Thinking(thinking));
            }
            turns.said(place, Said::Text(text));
            for (i, made) in message.list("tool_calls")?.unwrap_or_default().into_iter().enumerate() {
                let mut made = Fields::of(&format!("{place}.tool_calls[{i}]"), made)?;
                let mut function = made.object("function")?.ok_or_else(|| missing(&made.place("function")))?;
                let call = call(made.text("id")?, Some(function.required("name")?), function.take("arguments"));
                turns.said(place, Said::Call(call));
            }
        }
        "tool" => {
            let name = message.text("tool_name")?.unwrap_or_default();
            let id = message.text("tool_call_id")?.unwrap_or_default();
            turns.result(place, &id, &name, text);
        }
        other => {
            let message = format!("found {other:.32?}, expected system, user, assistant or tool");
            return Err(Problem::value(format!("{place}.role"), message));
        }
    }
    message.warn_of_rest(warnings);
    Ok(())
}

/// A text, and the pictures that come with it.
fn parts(text: String, images: Vec<Value>) -> Value {
    if images.is_empty() {
        return text.into();
    }
    let pictures = images.into_iter().map(|image| match &image {
        Value::String(url) if url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) => {
            json!({ "type": "image_url", "image_url": image })
        }
        _ => json!({ "type": "image", "data": image }),
    });
    let mut parts: Vec<Value> = pictures.collect();
    parts.push(json!({ "type": "text", "text": text }));
    parts.into()
}

fn generate(app: &App, ready: &Ready, fields: &mut Fields, warnings: &mut Vec<String>) -> Result<Option<Ask>> {
    let prompt = fields.text("prompt")?.unwrap_or_default();
    let images = fields.list("images")?.unwrap_or_default();
    let system = fields.text("system")?.filter(|system| !system.is_empty());
    let is_raw = fields.flag("raw")?.unwrap_or(false);
    if prompt.is_empty() && images.is_empty() {
        return Ok(None);
    }
    if is_raw {
        if !images.is_empty() || system.is_some() {
            return Err(Problem::unsupported("raw", "a raw prompt has neither pictures nor a system text"));
        }
        return Ok(Some(Ask::Tokens(ready.engine.model().tokenizer().encode_prompt(&prompt, Special::Parse))));
    }
    let mut turns = Turns::new("prompt");
    if let Some(system) = system {
        turns.system("system", system);
    }
    turns.user("prompt", parts(prompt, images));
    let messages = turns.read(&app.options.limits, warnings)?;
    Ok(Some(Ask::Chat(Chat { messages, ..Chat::default() })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

    use lemmy_core::{Message, Part};

    use super::*;
    use crate::server::app::Limits;

    #[test]
    fn messages_become_turns() {
        let list = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this?", "images": ["AAAA", "data:image/png;base64,AAAA"]},
            {"role": "assistant", "content": "", "thinking": "Look.",
             "tool_calls": [{"function": {"name": "f", "arguments": {"city": "Paris"}}}]},
            {"role": "tool", "tool_name": "f", "content": "sunny"},
        ]);
        let (mut turns, mut warnings) = (Turns::new("messages"), Vec::new());
        for (i, message) in list.as_array().unwrap().iter().enumerate() {
            one(&format!("messages[{i}]"), message.clone(), &mut turns, &mut warnings).unwrap();
        }
        let messages = turns.read(&Limits::DEFAULT, &mut warnings).unwrap();
        assert_eq!(messages.len(), 4, "{messages:?}");
        let Message::User(parts) = &messages[1] else { panic!("{messages:?}") };
        assert!(matches!(parts[..], [Part::Image(_), Part::Image(_), Part::Text(_)]), "{parts:?}");
        let Message::Assistant { thinking, tool_calls, .. } = &messages[2] else { panic!("{messages:?}") };
        assert_eq!(
            (thinking.as_deref(), tool_calls[0].arguments_json.as_str()),
            (Some("Look."), r#"{"city":"Paris"}"#)
        );
        assert!(matches!(&messages[3], Message::ToolResult { name, .. } if name == "f"));
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}
