//! The generation itself: prompt in, tokens out, text as it becomes whole.

use std::time::{Duration, Instant};

use lemmy_core::{Error, Sampler, Session, TextDecoder, TokenId};
use serde_json::{Value, json};

use super::stops::Stops;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Unit};

/// Tokens that are read without a word about progress.
const STRIDE: usize = 512;

/// When an answer ends, besides by the model's own will.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) tokens: usize,
    pub(super) stops: Stops,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// The model ended it, or a stop string came.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// No room is left.
    Context,
    /// A signal came.
    Interrupted,
}

/// What was said, and how long it took.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) finish: Finish,
    pub(super) load: Duration,
    tokens: Vec<TokenId>,
    prompt_tokens: usize,
    prompt: Duration,
    decode: Duration,
}

impl Answer {
    /// Reads the prompt and generates; what is said goes to `out` at once, if there is one.
    pub(super) fn generate(
        session: &mut Session,
        sampler: &mut Sampler,
        prompt: &[TokenId],
        mut limits: Limits,
        mut out: Option<&mut Output>,
    ) -> Result<Self> {
        let model = session.model().clone();
        let tokenizer = model.tokenizer();
        let mut answer = Self {
            text: String::new(),
            finish: Finish::Length,
            load: Duration::ZERO,
            tokens: Vec::new(),
            prompt_tokens: prompt.len(),
            prompt: Duration::ZERO,
            decode: Duration::ZERO,
        };
        prompt.iter().for_each(|&id| sampler.accept(id));
        let mut decoder: TextDecoder<'_> = tokenizer.stream();
        let mut began = Instant::now();
        let mut next = read_all_but_the_end(session, prompt, &mut answer)?;
        while answer.finish == Finish::Length && answer.tokens.len() < limits.tokens {
            if session.tokens().len() + next.len() > session.capacity() {
                answer.finish = Finish::Context;
                break;
            }
            let id = match session.forward(&next).and_then(|mut logits| sampler.sample(logits.last())) {
                Ok(id) => id,
                Err(Error::Cancelled) => {
                    answer.finish = Finish::Interrupted;
                    break;
                }
                Err(e) => return Err(e.into()),
            };
            if answer.tokens.is_empty() {
                answer.prompt = began.elapsed();
                began = Instant::now();
            }
            if tokenizer.end_of_generation().contains(&id) {
                answer.finish = Finish::Stop;
                break;
            }
            sampler.accept(id);
            answer.tokens.push(id);
            next = vec![id];
            answer.say(decoder.push(id), &mut limits.stops, &mut out)?;
        }
        answer.decode = began.elapsed();
        answer.say(decoder.finish(), &mut limits.stops, &mut out)?;
        if !limits.stops.met() {
            answer.show(&limits.stops.finish(), &mut out)?;
        }
        Ok(answer)
    }

    /// Takes the next piece of text; ends the answer at a stop string.
    fn say(&mut self, piece: &str, stops: &mut Stops, out: &mut Option<&mut Output>) -> Result<()> {
        let text = stops.push(piece);
        if stops.met() {
            self.finish = Finish::Stop;
        }
        self.show(&text, out)
    }

    fn show(&mut self, text: &str, out: &mut Option<&mut Output>) -> Result<()> {
        self.text.push_str(text);
        match out {
            Some(out) if !text.is_empty() => {
                out.text(text)?;
                out.flush()
            }
            _ => Ok(()),
        }
    }

    /// The object of `--json`.
    pub(super) fn json(&self, model: &str, failure: Option<&Failure>) -> Value {
        let mut object = json!({
            "model": model,
            "text": self.text,
            "tokens": self.tokens,
            "finish": match self.finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
                Finish::Context => "context",
                Finish::Interrupted => "interrupted",
            },
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.tokens.len(),
                "total_tokens": self.prompt_tokens + self.tokens.len(),
            },
            "timings": {
                "load_s": self.load.as_secs_f64(),
                "prompt_s": self.prompt.as_secs_f64(),
                "prompt_tok_s": rate(self.prompt_tokens, self.prompt),
                "decode_s": self.decode.as_secs_f64(),
                "decode_tok_s": rate(self.decoded(), self.decode),
            },
        });
        if let (Some(failure), Some(object)) = (failure, object.as_object_mut()) {
            object.insert("error".into(), failure.json());
        }
        object
    }

    /// One line about speed.
    pub(super) fn statistics(&self) -> String {
        format!(
            "{:.1} tok/s, {} tok; prompt {} tok in {:.1} s ({:.0} tok/s); loaded in {:.1} s",
            rate(self.decoded(), self.decode),
            self.tokens.len(),
            self.prompt_tokens,
            self.prompt.as_secs_f64(),
            rate(self.prompt_tokens, self.prompt),
            self.load.as_secs_f64(),
        )
    }

    /// Tokens that took a step of their own: the first one came with the prompt.
    fn decoded(&self) -> usize {
        self.tokens.len().saturating_sub(1)
    }
}

/// Reads a long prompt with progress, up to its last [`STRIDE`] tokens or fewer, which it returns.
fn read_all_but_the_end(session: &mut Session, prompt: &[TokenId], answer: &mut Answer) -> Result<Vec<TokenId>> {
    let (start, end) = prompt.split_at(prompt.len().saturating_sub(1) / STRIDE * STRIDE);
    if !start.is_empty() {
        let mut progress = Progress::bar_only("reading the prompt", Unit::Tokens);
        match session.prefill(start, &mut |done, total| progress.set(done as u64, total as u64)) {
            Err(Error::Cancelled) => answer.finish = Finish::Interrupted,
            result => result?,
        }
    }
    Ok(end.to_vec())
}

#[allow(clippy::cast_precision_loss)] // a speed for people
fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}
