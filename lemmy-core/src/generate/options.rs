//! What a caller may ask of a reply.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use super::TokenEvent;
use crate::grammar::Constraint;
use crate::sampler::SamplerParams;
use crate::threads::CancelToken;

/// Options for one reply; [`Default`] is the model's recommended sampling, no thinking, as long as it likes.
#[derive(Default)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// Most tokens to generate, thoughts included; until the context is full when left out.
    pub max_tokens: Option<usize>,
    /// Sampling; the model's recommended values when left out.
    pub sampler: Option<SamplerParams>,
    /// Strings in the answer at which the reply ends; they are not part of it. Thoughts and calls are not searched.
    pub stop: Vec<String>,
    /// Whether to think first.
    pub thinking: Thinking,
    /// What the answer must look like.
    pub constraint: Option<Constraint>,
    /// Whether and which tools must be called.
    pub tool_choice: ToolChoice,
    /// At most one call per reply.
    pub single_tool_call: bool,
    /// Give [`Event::Token`](super::Event::Token)s with this many alternatives, at most 20.
    pub logprobs: Option<u8>,
    /// Ends the reply early.
    pub cancel: Option<CancelToken>,
    /// Guess up to this many tokens ahead from what was said before, where that pays. The distribution of the reply does
    /// not change.
    pub speculate: Option<u8>,
    /// Penalties look at the generated tokens only, not at the prompt.
    pub penalize_reply_only: bool,
    /// Sees each step.
    pub hook: Option<Box<dyn StepHook>>,
}

/// Whether the model thinks before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Thinking {
    /// It does not.
    #[default]
    Off,
    /// As long as it likes.
    On,
    /// At most so many tokens; then the thought is closed and the answer begins.
    Budget(u32),
}

/// Whether and which tools must be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// None.
    None,
    /// At least one (needs the feature `grammar`).
    Required,
    /// This one (needs the feature `grammar`).
    Named(String),
}

/// Sees each step of a reply on the thread that runs it.
pub trait StepHook: Send {
    /// Before a token is sampled; may edit the logits. `pos` is the position that the token will have.
    fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
        let _ = (pos, logits);
    }

    /// After a token was sampled; `Break` ends the reply as cancelled.
    fn on_token(&mut self, token: &TokenEvent) -> ControlFlow<()> {
        let _ = token;
        ControlFlow::Continue(())
    }
}

impl GenerateOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`max_tokens`](Self::max_tokens).
    pub fn max_tokens(self, n: usize) -> Self {
        Self { max_tokens: Some(n), ..self }
    }

    /// Sets [`sampler`](Self::sampler).
    pub fn sampler(self, params: SamplerParams) -> Self {
        Self { sampler: Some(params), ..self }
    }

    /// Adds a string at which the reply ends.
    pub fn stop(mut self, text: impl Into<String>) -> Self {
        self.stop.push(text.into());
        self
    }

    /// Sets [`thinking`](Self::thinking).
    pub fn thinking(self, thinking: Thinking) -> Self {
        Self { thinking, ..self }
    }

    /// Sets [`constraint`](Self::constraint).
    pub fn constraint(self, constraint: Constraint) -> Self {
        Self { constraint: Some(constraint), ..self }
    }

    /// Sets [`tool_choice`](Self::tool_choice).
    pub fn tool_choice(self, choice: ToolChoice) -> Self {
        Self { tool_choice: choice, ..self }
    }

    /// Sets [`logprobs`](Self::logprobs).
    pub fn logprobs(self, top: u8) -> Self {
        Self { logprobs: Some(top), ..self }
    }

    /// Sets [`cancel`](Self::cancel).
    pub fn cancel(self, token: CancelToken) -> Self {
        Self { cancel: Some(token), ..self }
    }

    /// Sets [`speculate`](Self::speculate).
    pub fn speculate(self, tokens: u8) -> Self {
        Self { speculate: Some(tokens), ..self }
    }

    /// Sets [`hook`](Self::hook).
    pub fn hook(self, hook: impl StepHook + 'static) -> Self {
        Self { hook: Some(Box::new(hook)), ..self }
    }
}

impl std::fmt::Debug for GenerateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GenerateOptions")
            .field("max_tokens", &self.max_tokens)
            .field("thinking", &self.thinking)
            .finish_non_exhaustive()
    }
}
