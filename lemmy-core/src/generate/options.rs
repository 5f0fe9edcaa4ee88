//! What a caller may ask of a reply.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;

use super::TokenEvent;
use crate::grammar::Constraint;
use crate::sampler::SamplerParams;
use crate::threads::CancelToken;

/// Options for one reply; [`Default`] is the model's recommended sampling, no thinking, as long as it likes.
///
/// ```
/// use lemmy_core::{GenerateOptions, Thinking};
///
/// let options = GenerateOptions::new().max_tokens(500).thinking(Thinking::Budget(200)).stop("\n\n").seed(7);
/// assert_eq!(options.max_tokens, Some(500));
/// ```
#[derive(Default)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// Most tokens to generate, thoughts included; until the context is full when left out. With 0 the prompt is read
    /// and nothing is said.
    pub max_tokens: Option<usize>,
    /// Sampling; the model's recommended values when left out.
    pub sampler: Option<SamplerParams>,
    /// Seed, in place of the sampler's own.
    pub seed: Option<u64>,
    /// Strings in the answer at which the reply ends; they are not part of it. Thoughts and calls are not searched. At
    /// most [`STOP_STRINGS`](crate::limits::STOP_STRINGS) of 1 to [`STOP_BYTES`](crate::limits::STOP_BYTES) bytes.
    pub stop: Vec<String>,
    /// Whether to think first. A conversation's prompt is made so; other prompts stay as they are.
    pub thinking: Thinking,
    /// What the answer must look like (needs the feature `grammar`). Thoughts before it are free, and in place of it the
    /// model may call tools, if there are any.
    pub constraint: Option<Constraint>,
    /// Whether and which tools must be called.
    pub tool_choice: ToolChoice,
    /// At most one call per reply: it ends with it.
    pub single_tool_call: bool,
    /// Give [`Event::Token`](super::Event::Token)s with this many alternatives, at most
    /// [`TOP_LOGPROBS`](crate::limits::TOP_LOGPROBS).
    pub logprobs: Option<u8>,
    /// Ends the reply early, in place of the session's own token.
    pub cancel: Option<CancelToken>,
    /// Guess up to this many tokens ahead from what was said before, where that pays. The reply does not change: each
    /// token is sampled from the same logits with the same random number as without.
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
    /// At most so many tokens between the marks of thoughts; then the thought is closed and the answer begins. With 0 the
    /// model is not asked to think, and a thought that is open is closed at once.
    Budget(u32),
}

impl Thinking {
    /// Whether the model is asked to think at all.
    pub(crate) fn is_wanted(self) -> bool {
        !matches!(self, Self::Off | Self::Budget(0))
    }
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
    /// Before a token is sampled; may edit the logits. `pos` is the position that the token will have. Grammar and
    /// `tool_choice` come after it, log-probabilities before.
    fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
        let _ = (pos, logits);
    }

    /// After a token came (sampled, or forced to close a thought); `Break` ends the reply as cancelled. What the token
    /// makes is given out all the same.
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

    /// Sets [`seed`](Self::seed).
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
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

    /// Sets [`single_tool_call`](Self::single_tool_call).
    pub fn single_tool_call(self, single: bool) -> Self {
        Self { single_tool_call: single, ..self }
    }

    /// Sets [`penalize_reply_only`](Self::penalize_reply_only).
    pub fn penalize_reply_only(self, reply_only: bool) -> Self {
        Self { penalize_reply_only: reply_only, ..self }
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

    /// The same options for choice `i` of several replies to one prompt: the seed, if there is one, is `i` higher (it
    /// wraps). A hook sees one reply only, so the copy has none.
    ///
    /// ```no_run
    /// use lemmy_core::{GenerateOptions, Message, Model, Source};
    ///
    /// let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
    /// let mut chat = lemmy_core::Chat::default();
    /// chat.messages.push(Message::user("A name for a cat?"));
    /// let mut session = model.session().build()?;
    /// session.sync(chat, &mut |_, _| {})?; // the prompt is read once
    /// let options = GenerateOptions::new().seed(42);
    /// for i in 0..4 {
    ///     let mut choice = session.fork()?;
    ///     println!("{}", choice.generate(options.choice(i))?.text()?);
    /// }
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    pub fn choice(&self, i: u64) -> Self {
        let mut sampler = self.sampler.clone();
        if let Some(params) = &mut sampler {
            params.seed = params.seed.map(|seed| seed.wrapping_add(i));
        }
        Self {
            max_tokens: self.max_tokens,
            sampler,
            seed: self.seed.map(|seed| seed.wrapping_add(i)),
            stop: self.stop.clone(),
            thinking: self.thinking,
            constraint: self.constraint.clone(),
            tool_choice: self.tool_choice.clone(),
            single_tool_call: self.single_tool_call,
            logprobs: self.logprobs,
            cancel: self.cancel.clone(),
            speculate: self.speculate,
            penalize_reply_only: self.penalize_reply_only,
            hook: None,
        }
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
