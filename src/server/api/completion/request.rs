//! From the body of a native completion to a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lemmy_core::{GenerateOptions, Special, StepHook, TokenId, Tokenizer};
use serde_json::{Value, json};

use crate::server::api::{sampling, tokens};
use crate::server::app::{App, Ready};
use crate::server::fields::{Fields, missing, unexpected};
use crate::server::job::{Ask, Request};
use crate::server::problem::{Problem, Result};
use crate::server::reply::Manner;

/// Far below any logit, and still a number.
const NEVER: f32 = -1e9;
/// What of llama-server's own sampling there is not here, with what is ignored when it is off.
const REFUSED: [&str; 9] = [
    "mirostat",
    "xtc_probability",
    "dry_multiplier",
    "dynatemp_range",
    "top_n_sigma",
    "adaptive_target",
    "grammar",
    "lora",
    "n_indent",
];
/// What tunes those, or is about the machine.
const IGNORED: [&str; 19] = [
    "mirostat_tau",
    "mirostat_eta",
    "xtc_threshold",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "dry_sequence_breakers",
    "dynatemp_exponent",
    "adaptive_decay",
    "n_keep",
    "n_discard",
    "n_cache_reuse",
    "min_keep",
    "samplers",
    "grammar_lazy",
    "grammar_triggers",
    "preserved_tokens",
    "user",
    "backend_sampling",
];

/// What a client wants and how it is told.
pub(super) struct Wish {
    pub(super) request: Request,
    pub(super) manner: Manner,
    pub(super) shape: Shape,
}

/// How an answer looks.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) prompt: String,
    pub(super) settings: Value,
    pub(super) stops: Vec<String>,
    pub(super) slot: Option<usize>,
    pub(super) has_tokens: bool,
    pub(super) has_probabilities: bool,
    /// The only members that are wanted, each as a path; all if there is none.
    pub(super) wanted: Vec<String>,
    /// Whether the reply ended because its time was over.
    pub(super) is_late: Arc<AtomicBool>,
    pub(super) warnings: Vec<String>,
}

impl Wish {
    /// Reads all fields but `model`.
    ///
    /// # Errors
    ///
    /// 400 with the field that is wrong.
    pub(super) fn read(app: &App, ready: &Ready, mut fields: Fields) -> Result<Self> {
        let tokenizer = ready.engine.model().tokenizer();
        fields.refuse(&REFUSED, "is not supported")?;
        fields.refuse(&["post_sampling_probs"], "probabilities are those before sampling")?;
        fields.refuse(&["input_prefix", "input_suffix"], "this model cannot fill a gap")?;
        fields.ignore(&IGNORED);
        let (text, ids) = prompt(tokenizer, &mut fields)?;
        let (slot, reuse) = sampling::slot(&mut fields)?;
        let mut options = sampling::options(ready, &mut fields)?;
        let name = if fields.has("n_predict") { "n_predict" } else { "max_tokens" };
        // -1 is no bound; so is -2, which is llama-server's word for a full context.
        options.max_tokens = fields.integer(name, -2..=i64::MAX)?.and_then(|most| usize::try_from(most).ok());
        let mut warnings = Vec::new();
        if let Some(schema) = fields.take("json_schema") {
            options.constraint = Some(sampling::constraint("json_schema", schema, false, &mut warnings)?);
        }
        if fields.flag("ignore_eos")?.unwrap_or(false) {
            let never = tokenizer.end_of_generation().iter().map(|&id| (id, NEVER));
            options.sampler.get_or_insert_default().bias.extend(never);
        }
        let is_late = Arc::new(AtomicBool::new(false));
        deadline(&mut fields, tokenizer, &mut options, &is_late)?;
        let has_tokens = fields.flag("return_tokens")?.unwrap_or(false);
        let probabilities = fields.integer("n_probs", 0..=20)?.and_then(|n| u8::try_from(n).ok()).filter(|&n| n > 0);
        options.logprobs = probabilities.or(has_tokens.then_some(0));
        let is_streamed = fields.flag("stream")?.unwrap_or(false);
        let ping = fields.number("sse_ping_interval", 0.001..=86_400.0)?.map(Duration::from_secs_f64);
        let wanted = paths(&mut fields)?;
        fields.warn_of_rest(&mut warnings);
        let shape = Shape {
            prompt: text,
            settings: settings(&options, ready, is_streamed, probabilities),
            stops: options.stop.clone(),
            slot,
            has_tokens,
            has_probabilities: probabilities.is_some(),
            wanted,
            is_late,
            warnings,
        };
        Ok(Self {
            request: Request { prompt: Ask::Tokens(ids), options, choices: 1, slot, reuse, counts: false },
            manner: Manner { is_streamed, ping: ping.unwrap_or(app.options.ping) },
            shape,
        })
    }
}

/// The prompt as text and as tokens: a text, tokens, or both mixed.
fn prompt(tokenizer: &Tokenizer, fields: &mut Fields) -> Result<(String, Vec<TokenId>)> {
    let ids = match fields.take("prompt") {
        None => return Err(missing("prompt")),
        Some(Value::String(text)) => {
            let ids = tokenizer.encode_prompt(&text, Special::Parse);
            return checked(text, ids);
        }
        Some(Value::Array(list)) => {
            let mut ids = Vec::new();
            for (i, piece) in list.iter().enumerate() {
                match piece {
                    Value::String(text) if i == 0 => ids.extend(tokenizer.encode_prompt(text, Special::Parse)),
                    Value::String(text) => ids.extend(tokenizer.encode(text, Special::Parse)),
                    Value::Number(_) => {
                        let id = tokens::ids("prompt", std::slice::from_ref(piece), tokenizer.vocab_size());
                        ids.extend(id.map_err(|problem| Problem { param: Some(format!("prompt[{i}]")), ..problem })?);
                    }
                    other => return Err(unexpected(&format!("prompt[{i}]"), "a string or a token id", other)),
                }
            }
            ids
        }
        Some(other) => return Err(unexpected("prompt", "a string or a list", &other)),
    };
    checked(tokenizer.decode(&ids), ids)
}

fn checked(text: String, ids: Vec<TokenId>) -> Result<(String, Vec<TokenId>)> {
    match ids.is_empty() {
        true => Err(Problem::value("prompt", "is empty, and there is no token that begins a text")),
        false => Ok((text, ids)),
    }
}

/// `response_fields`: the members of the answer that are wanted, such as `timings/prompt_n`.
fn paths(fields: &mut Fields) -> Result<Vec<String>> {
    let path = |(i, path): (usize, Value)| match path {
        Value::String(path) => Ok(path),
        other => Err(unexpected(&format!("response_fields[{i}]"), "a string", &other)),
    };
    fields.list("response_fields")?.unwrap_or_default().into_iter().enumerate().map(path).collect()
}

/// `t_max_predict_ms`: how long the reply may be in the making, from its first token on.
fn deadline(
    fields: &mut Fields,
    tokenizer: &Tokenizer,
    options: &mut GenerateOptions,
    is_late: &Arc<AtomicBool>,
) -> Result<()> {
    let Some(ms) = fields.integer("t_max_predict_ms", -1..=i64::MAX)?.and_then(|ms| u64::try_from(ms).ok()) else {
        return Ok(());
    };
    if ms == 0 {
        return Ok(());
    }
    if options.constraint.is_some() {
        return Err(Problem::unsupported("t_max_predict_ms", "would cut off what json_schema promises"));
    }
    options.hook = Some(Box::new(Deadline {
        time: Duration::from_millis(ms),
        began: None,
        ends: tokenizer.end_of_generation().to_vec(),
        is_late: is_late.clone(),
    }));
    Ok(())
}

/// Once the time is over, only the end can come.
struct Deadline {
    time: Duration,
    began: Option<Instant>,
    ends: Vec<TokenId>,
    is_late: Arc<AtomicBool>,
}

impl StepHook for Deadline {
    fn on_logits(&mut self, _: usize, logits: &mut [f32]) {
        if self.began.get_or_insert_with(Instant::now).elapsed() < self.time {
            return;
        }
        self.is_late.store(true, Ordering::Relaxed);
        logits.fill(NEVER);
        for &end in &self.ends {
            if let Some(logit) = logits.get_mut(end as usize) {
                *logit = 0.0;
            }
        }
    }
}

/// `generation_settings`: what the reply was made with.
fn settings(options: &GenerateOptions, ready: &Ready, is_streamed: bool, probabilities: Option<u8>) -> Value {
    let sampler = options.sampler.clone().unwrap_or_default();
    let number = |number: f32| number.to_string().parse::<f64>().unwrap_or_default();
    json!({
        "n_ctx": ready.engine.options().context,
        "n_predict": options.max_tokens.map_or(json!(-1), |most| json!(most)),
        "temperature": number(sampler.temperature),
        "top_k": sampler.top_k,
        "top_p": number(sampler.top_p),
        "min_p": number(sampler.min_p),
        "repeat_penalty": number(sampler.repeat_penalty),
        "repeat_last_n": sampler.repeat_last,
        "presence_penalty": number(sampler.presence_penalty),
        "frequency_penalty": number(sampler.frequency_penalty),
        "seed": options.seed.map_or(json!(-1), |seed| json!(seed)),
        "stop": options.stop,
        "n_probs": probabilities.unwrap_or(0),
        "stream": is_streamed,
    })
}
