//! The options of a reply that dialects share, under the names that llama-server, vLLM and OpenAI agree on.

use lemmy_core::{Constraint, GenerateOptions, SamplerParams, Thinking, TokenId, Tokenizer};
use serde_json::Value;

use crate::server::app::Ready;
use crate::server::fields::{Fields, unexpected};
use crate::server::problem::{Problem, Result};

/// Most entries of `logit_bias`.
const BIASES: usize = 1024;
/// Most stop strings, and the longest, in bytes.
const STOPS: usize = 16;
const STOP_BYTES: usize = 256;
/// Tokens of thought for a low, medium and high effort.
const EFFORTS: [u32; 3] = [512, 2048, 8192];

/// Reads what changes how tokens are chosen, and where the reply ends.
///
/// # Errors
///
/// 400 for what is out of its range.
pub(crate) fn options(ready: &Ready, fields: &mut Fields) -> Result<GenerateOptions> {
    let model = ready.engine.model();
    let mut options = GenerateOptions::new();
    let mut sampler = model.info().sampling.clone();
    options.penalize_reply_only = read_sampler(fields, &mut sampler)?;
    sampler.bias = bias(fields, model.tokenizer())?;
    options.sampler = Some(sampler);
    options.seed = seed(fields)?;
    options.stop = stop(fields, "stop")?;
    Ok(options)
}

/// Reads the sampler's own numbers; whether penalties look at the reply alone.
fn read_sampler(fields: &mut Fields, sampler: &mut SamplerParams) -> Result<bool> {
    // OpenAI allows 2, llama-server 5.
    if let Some(temperature) = fields.number("temperature", 0.0..=5.0)? {
        sampler.temperature = temperature as f32;
    }
    if let Some(k) = fields.integer("top_k", -1..=i64::from(u32::MAX))? {
        // vLLM's -1 is everybody else's 0.
        sampler.top_k = u32::try_from(k).unwrap_or(0);
    }
    if let Some(p) = fields.number("top_p", 0.0..=1.0)? {
        sampler.top_p = p as f32;
    }
    if let Some(p) = fields.number("min_p", 0.0..=1.0)? {
        sampler.min_p = p as f32;
    }
    if fields.number("typical_p", 0.0..=1.0)?.is_some_and(|p| p != 1.0) {
        return Err(Problem::unsupported("typical_p", "only 1 (off) is supported; use min_p"));
    }
    let name = if fields.has("repetition_penalty") { "repetition_penalty" } else { "repeat_penalty" };
    let repeat = fields.number(name, f64::from(f32::MIN_POSITIVE)..=100.0)?;
    if let Some(repeat) = repeat {
        sampler.repeat_penalty = repeat as f32;
    }
    let presence = fields.number("presence_penalty", -2.0..=2.0)?;
    let frequency = fields.number("frequency_penalty", -2.0..=2.0)?;
    sampler.presence_penalty = presence.unwrap_or(0.0) as f32;
    sampler.frequency_penalty = frequency.unwrap_or(0.0) as f32;
    let last = fields.integer("repeat_last_n", -1..=i64::from(u32::MAX))?;
    // OpenAI's penalties know the whole reply and nothing else; `repeat_penalty` looks back on the prompt too.
    let is_openai = repeat.is_none() && (presence.is_some() || frequency.is_some());
    match last {
        Some(last) => sampler.repeat_last = u32::try_from(last).unwrap_or(u32::MAX),
        None if is_openai => sampler.repeat_last = u32::MAX,
        None => {}
    }
    Ok(is_openai)
}

/// `max_completion_tokens` or `max_tokens`: `None` is until the context is full.
pub(crate) fn max_tokens(fields: &mut Fields) -> Result<Option<usize>> {
    let most = fields.integer("max_completion_tokens", -1..=i64::MAX)?;
    let other = fields.integer("max_tokens", -1..=i64::MAX)?;
    Ok(most.or(other).and_then(|most| usize::try_from(most).ok()))
}

/// -1 is llama-server's word for none.
fn seed(fields: &mut Fields) -> Result<Option<u64>> {
    let Some(value) = fields.take("seed") else { return Ok(None) };
    match value.as_i64().map(|seed| seed as u64).or_else(|| value.as_u64()) {
        Some(u64::MAX) => Ok(None),
        Some(seed) => Ok(Some(seed)),
        None => Err(unexpected("seed", "a whole number of 64 bits", &value)),
    }
}

/// Strings at which the reply ends.
pub(crate) fn stop(fields: &mut Fields, name: &str) -> Result<Vec<String>> {
    let place = fields.place(name);
    let strings = match fields.take(name) {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => {
            let strings = list.into_iter().enumerate().map(|(i, value)| match value {
                Value::String(text) => Ok(text),
                other => Err(unexpected(&format!("{place}[{i}]"), "a string", &other)),
            });
            strings.collect::<Result<_>>()?
        }
        Some(other) => return Err(unexpected(&place, "a string or a list of strings", &other)),
    };
    if strings.len() > STOPS {
        return Err(Problem::value(place, format!("found {} strings, expected at most {STOPS}", strings.len())));
    }
    match strings.iter().map(String::len).find(|len| !(1..=STOP_BYTES).contains(len)) {
        Some(len) => Err(Problem::value(place, format!("found a string of {len} bytes, expected 1 to {STOP_BYTES}"))),
        None => Ok(strings),
    }
}

/// `logit_bias`: an object of token ids as strings, or a list of pairs.
fn bias(fields: &mut Fields, tokenizer: &Tokenizer) -> Result<Vec<(TokenId, f32)>> {
    const NAME: &str = "logit_bias";
    let entries: Vec<(Value, Value)> = match fields.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Object(map)) => map.into_iter().map(|(id, bias)| (Value::String(id), bias)).collect(),
        Some(Value::Array(list)) => {
            let pairs = list.into_iter().enumerate().map(|(i, pair)| match pair {
                Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                    Ok([id, bias]) => Ok((id, bias)),
                    Err(_) => Err(Problem::value(format!("{NAME}[{i}]"), "expected a token id and a number")),
                },
                other => Err(unexpected(&format!("{NAME}[{i}]"), "a list of two", &other)),
            });
            pairs.collect::<Result<_>>()?
        }
        Some(other) => return Err(unexpected(NAME, "an object", &other)),
    };
    if entries.len() > BIASES {
        return Err(Problem::value(NAME, format!("found {} entries, expected at most {BIASES}", entries.len())));
    }
    let read = |(id, bias): (Value, Value)| {
        let id = id.as_u64().or_else(|| id.as_str()?.parse().ok());
        let id = id.and_then(|id| TokenId::try_from(id).ok()).filter(|&id| (id as usize) < tokenizer.vocab_size());
        let id = id.ok_or_else(|| {
            Problem::value(NAME, format!("found an id outside of the vocabulary of {} tokens", tokenizer.vocab_size()))
        })?;
        let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias));
        let bias =
            bias.ok_or_else(|| Problem::value(NAME, format!("token {id}: expected a number from -100 to 100")))?;
        Ok((id, bias as f32))
    };
    entries.into_iter().map(read).collect()
}

/// Whether and how long to think, as `reasoning_effort` says it.
pub(crate) fn effort(place: &str, word: &str) -> Result<Thinking> {
    let [low, medium, high] = EFFORTS;
    Ok(match word {
        "none" | "minimal" => Thinking::Off,
        "low" => Thinking::Budget(low),
        "medium" => Thinking::Budget(medium),
        "high" => Thinking::Budget(high),
        "xhigh" | "max" => Thinking::On,
        other => {
            let expected = "none, minimal, low, medium, high, xhigh or max";
            return Err(Problem::value(place, format!("found {other:.32?}, expected {expected}")));
        }
    })
}

/// A number of tokens to think: -1 as many as it likes, 0 none.
pub(crate) fn budget(tokens: i64) -> Thinking {
    match u32::try_from(tokens) {
        Ok(0) => Thinking::Off,
        Ok(tokens) => Thinking::Budget(tokens),
        Err(_) => Thinking::On,
    }
}

/// A constraint to answers that fit a JSON schema. What of it cannot be enforced is refused if the client is strict
/// about it, else ignored with a warning.
pub(crate) fn constraint(
    place: &str,
    mut schema: Value,
    strict: bool,
    warnings: &mut Vec<String>,
) -> Result<Constraint> {
    if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
        return Err(unexpected(place, "a JSON schema", &schema));
    }
    if !strict {
        super::schema::loosen(&mut schema, place, warnings);
    }
    Ok(Constraint::JsonSchema(schema.to_string()))
}

/// Which slot is to serve the request, and whether what it has read may be used.
pub(crate) fn slot(fields: &mut Fields) -> Result<(Option<usize>, bool)> {
    let slot = fields.integer("id_slot", -1..=i64::from(u16::MAX))?;
    let reuse = fields.flag("cache_prompt")?.unwrap_or(true);
    Ok((slot.and_then(|slot| usize::try_from(slot).ok()), reuse))
}
