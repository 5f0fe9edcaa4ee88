//! The state machine of a reply.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::guide::Guide;
use super::lookup::Lookup;
use super::stop::StopSearch;
use super::transcript::Transcript;
use super::{Event, Finish, FinishReason, GenerateOptions, StepHook, TokenEvent, Usage};
use crate::TokenId;
use crate::chat::{Controls, Message, StartState, Tool, Zone};
use crate::error::{Error, Result};
use crate::limits;
use crate::model::Model;
use crate::sampler::{LogProbs, Sampler, SamplerParams};

/// What a reply follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'p> {
    /// The whole prompt, and how much of it needs no reading.
    pub(crate) prompt: &'p [TokenId],
    pub(crate) cached: usize,
    /// Soft tokens of pictures in it.
    pub(crate) image_tokens: usize,
    /// What the reply begins with.
    pub(crate) start: StartState,
    /// Tools that may be called.
    pub(crate) tools: &'p [Tool],
    /// Number of the next call, so that its id is new in the conversation.
    pub(crate) next_call: u64,
}

/// What came of the wanted tokens.
#[derive(Debug)]
pub(crate) struct Absorbed {
    /// How many of them turned out right: the session forgets the others.
    pub(crate) right: usize,
    /// Whether the reply could go on.
    pub(crate) result: Result<()>,
}

/// A reply in the making.
pub(crate) struct Reply {
    model: Model,
    sampler: Sampler,
    guide: Guide,
    transcript: Transcript,
    lookup: Option<Lookup>,
    hook: Option<Box<dyn StepHook>>,
    ends: Vec<TokenId>,
    max_tokens: usize,
    single_tool_call: bool,
    logprobs: Option<usize>,
    /// The newest token, which nobody has evaluated yet.
    newest: Option<TokenId>,
    /// It, and those that are expected after it.
    wanted: Vec<TokenId>,
    /// How many of the wanted tokens are guesses.
    guessed: usize,
    /// The newest token as others see it; kept, so that a hook costs no allocation.
    shown: TokenEvent,
    /// The model's logits before anybody changed them.
    raw: Vec<f32>,
    usage: Usage,
    end: Option<FinishReason>,
    /// Where it stood when it ended.
    zone: Zone,
    is_told: bool,
}

impl Reply {
    /// Begins a reply after a prompt.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for options that make no sense, [`Error::Unsupported`] for what this build cannot do.
    pub(crate) fn new(model: &Model, opening: &Opening<'_>, options: GenerateOptions) -> Result<Self> {
        if let Some(top) = options.logprobs.filter(|&top| top > limits::TOP_LOGPROBS) {
            let reason = format!("found {top}, allowed 0..={}", limits::TOP_LOGPROBS);
            return Err(Error::Argument { name: "logprobs", reason });
        }
        let mut params = options.sampler.clone().unwrap_or_else(|| model.info().sampling.clone());
        params.seed = options.seed.or(params.seed);
        let controls = Controls::new(model.tokenizer());
        let ends = controls.ends.clone();
        let stops = StopSearch::new(&options.stop)?;
        let most = options.speculate.map_or(0, usize::from);
        Ok(Self {
            sampler: sampler(&params, if options.penalize_reply_only { &[] } else { opening.prompt })?,
            guide: Guide::new(model, opening.start, opening.tools, &options)?,
            transcript: Transcript::new(controls, opening.start, stops, opening.next_call),
            lookup: (most > 0).then(|| Lookup::new(opening.prompt, model.plan().spec.vocab, most)),
            hook: options.hook,
            ends,
            max_tokens: options.max_tokens.unwrap_or(usize::MAX),
            single_tool_call: options.single_tool_call,
            logprobs: options.logprobs.map(usize::from),
            newest: None,
            wanted: Vec::new(),
            guessed: 0,
            shown: TokenEvent { id: 0, bytes: Vec::new(), zone: Zone::Text, logprob: None, top: Vec::new() },
            raw: Vec::new(),
            usage: Usage {
                prompt: opening.prompt.len(),
                cached: opening.cached,
                image_tokens: opening.image_tokens,
                ..Usage::default()
            },
            end: None,
            zone: Zone::Text,
            is_told: false,
            model: model.clone(),
        })
    }

    /// The prompt has been read up to here.
    pub(crate) fn read(&mut self, done: usize, total: usize) {
        self.transcript.tell(Event::Prefill { done, total });
    }

    /// Tokens to evaluate next: the newest one and those expected after it, at most `room`. Empty when it is finished.
    pub(crate) fn wanted(&mut self, room: usize) -> &[TokenId] {
        self.wanted.clear();
        self.guessed = 0;
        if self.end.is_some() {
            return &self.wanted;
        }
        self.wanted.extend(self.newest);
        // The last token of all needs no evaluating.
        let left = self.max_tokens.saturating_sub(self.usage.generated + 1);
        let ahead = room.saturating_sub(self.wanted.len()).min(left);
        match self.guide.forced(self.transcript.zone()) {
            Some(id) if ahead > 0 => self.wanted.push(id),
            Some(_) => {}
            None => {
                if let Some(lookup) = &mut self.lookup {
                    let before = self.wanted.len();
                    lookup.guess(ahead, &mut self.wanted);
                    self.guessed = self.wanted.len() - before;
                }
            }
        }
        &self.wanted
    }

    /// Takes the logits of the wanted tokens, one row each (of the prompt's last token: one row).
    pub(crate) fn absorb(&mut self, rows: &mut [f32]) -> Absorbed {
        if self.max_tokens == 0 {
            self.finish(FinishReason::Length);
        }
        let wanted = std::mem::take(&mut self.wanted);
        let mut absorbed = Absorbed { right: 1, result: Ok(()) };
        let mut missed = false;
        let expected = wanted.iter().skip(1).map(Some).chain(std::iter::once(None));
        for (row, expected) in rows.chunks_exact_mut(self.model.plan().spec.vocab).zip(expected) {
            if self.end.is_some() {
                break;
            }
            let id = match self.next(row) {
                Ok(id) => id,
                Err(error) => {
                    absorbed.result = Err(error);
                    break;
                }
            };
            let is_right = expected == Some(&id);
            missed = expected.is_some() && !is_right;
            // The next row is of use only if it follows the token that came, and the reply goes on.
            if !is_right || self.end.is_some() {
                break;
            }
            absorbed.right += 1;
        }
        self.wanted = wanted;
        if self.guessed > 0 {
            let right = absorbed.right - 1;
            self.usage.drafted += self.guessed;
            self.usage.accepted += right;
            if let Some(lookup) = &mut self.lookup {
                lookup.learn(right, missed);
            }
        }
        absorbed
    }

    /// Time that the last forward pass (or look at a picture) took, and what came of it.
    pub(crate) fn took(&mut self, time: Duration, is_prompt: bool) {
        if is_prompt {
            self.usage.prefill += time;
            return;
        }
        self.usage.decode += time;
        if let Some(lookup) = &mut self.lookup {
            lookup.took(time);
        }
    }

    /// Says something to the caller.
    pub(crate) fn warn(&mut self, text: String) {
        self.transcript.tell(Event::Warning(text));
    }

    /// The next event that is ready.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.transcript.next_event() {
            return Some(event);
        }
        let finish = self.finished().filter(|_| !self.is_told)?;
        self.is_told = true;
        Some(Event::Finished(finish))
    }

    /// Ends it now, if it has not ended by itself.
    pub(crate) fn finish(&mut self, reason: FinishReason) {
        if self.end.is_some() {
            return;
        }
        self.zone = self.transcript.zone();
        self.transcript.close(self.newest.is_some_and(|id| self.ends.contains(&id)));
        // What was held back may have completed a stop string.
        let reason = if self.transcript.stopped().is_some() { FinishReason::Stop } else { reason };
        self.end = Some(match reason {
            FinishReason::Stop if self.transcript.calls() > 0 => FinishReason::ToolCalls,
            reason => reason,
        });
    }

    /// How it ended, once it has.
    pub(crate) fn finished(&self) -> Option<Finish> {
        let (stop, seed) = (self.transcript.stopped(), self.sampler.seed());
        self.end.map(|reason| Finish { reason, stop, seed, usage: self.usage })
    }

    /// The message so far; `None` if nothing was said.
    pub(crate) fn message(&self) -> Option<Message> {
        self.transcript.message()
    }

    /// The newest token: said, but not evaluated.
    pub(crate) fn newest(&self) -> Option<TokenId> {
        self.newest
    }

    /// Where the reply stood when it ended.
    pub(crate) fn zone(&self) -> Zone {
        self.zone
    }

    /// The next token.
    fn next(&mut self, logits: &mut [f32]) -> Result<TokenId> {
        let id = self.choose(logits)?;
        self.take(id)?;
        Ok(id)
    }

    /// Decides on the next token.
    fn choose(&mut self, logits: &mut [f32]) -> Result<TokenId> {
        if self.logprobs.is_some() {
            self.raw.clear();
            self.raw.extend_from_slice(logits);
        }
        let zone = self.transcript.zone();
        if let Some(forced) = self.guide.forced(zone) {
            return Ok(forced);
        }
        if let Some(hook) = &mut self.hook {
            hook.on_logits(self.usage.prompt + self.usage.generated, logits);
        }
        self.guide.pick(zone, logits, &mut self.sampler)
    }

    /// The next token has come.
    fn take(&mut self, id: TokenId) -> Result<()> {
        self.newest = Some(id);
        self.usage.generated += 1;
        self.sampler.accept(id);
        if let Some(lookup) = &mut self.lookup {
            lookup.push(id);
        }
        let before = self.transcript.zone();
        let is_stopped_by_hook = if self.logprobs.is_some() || self.hook.is_some() { self.show(id)? } else { false };
        self.transcript.push(self.model.tokenizer(), id);
        let after = self.transcript.zone();
        self.usage.thinking += usize::from(before == Zone::Thought || after == Zone::Thought);
        self.guide.accept(id, before, after)?;

        if self.ends.contains(&id) || self.transcript.stopped().is_some() {
            self.finish(FinishReason::Stop);
        } else if self.single_tool_call && self.transcript.calls() > 0 {
            self.finish(FinishReason::ToolCalls);
        } else if is_stopped_by_hook {
            self.finish(FinishReason::Cancelled);
        } else if self.usage.generated >= self.max_tokens {
            self.finish(FinishReason::Length);
        }
        Ok(())
    }

    /// Shows a token to those who asked; whether the hook wants to end the reply.
    fn show(&mut self, id: TokenId) -> Result<bool> {
        let tokenizer = self.model.tokenizer();
        let shown = &mut self.shown;
        shown.id = id;
        shown.zone = self.transcript.zone_of(tokenizer, id);
        shown.bytes.clear();
        shown.bytes.extend_from_slice(tokenizer.piece(id));
        if let Some(top) = self.logprobs {
            let probs = LogProbs::new(&self.raw)?;
            shown.logprob = probs.of(id);
            shown.top = probs.top(top);
            self.transcript.tell(Event::Token(shown.clone()));
        }
        Ok(self.hook.as_mut().is_some_and(|hook| hook.on_token(shown).is_break()))
    }
}

/// A sampler whose penalties know what was said before.
fn sampler(params: &SamplerParams, said: &[TokenId]) -> Result<Sampler> {
    let mut sampler = Sampler::new(params)?;
    let seen = said.len().min(params.repeat_last as usize);
    said.iter().skip(said.len() - seen).for_each(|&id| sampler.accept(id));
    Ok(sampler)
}
