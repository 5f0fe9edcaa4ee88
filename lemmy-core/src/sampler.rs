//! From logits to the next token: ordered stages over the candidates, and our own seeded generator.
//!
//! Bias, suppression and the caller's mask come first; then the stages of [`SamplerParams::order`], each of which narrows or reweighs what
//! the one before it left; then a softmax and one draw. Among equal logits the lower id comes first. The arithmetic is
//! in f64.

#![forbid(unsafe_code)]

mod candidates;
mod defaults;
mod logprobs;
mod mask;
mod rng;
#[cfg(test)]
mod golden;

use std::collections::{BTreeMap, VecDeque};

use crate::TokenId;
use crate::error::{Error, Result};
use candidates::{Candidates, Penalties};
use rng::Rng;

pub use logprobs::LogProbs;
pub use mask::TokenMask;

/// Options of a [`Sampler`]. [`Default`] is neutral: temperature 1, nothing cut, nothing penalised.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplerParams {
    /// Divides the logits; 0 or less: greedy.
    pub temperature: f32,
    /// Keep the k best; 0: all.
    pub top_k: u32,
    /// Keep the shortest prefix, best first, with at least this probability; 1: all.
    pub top_p: f32,
    /// Keep what has at least this share of the best one's probability; 0: all.
    pub min_p: f32,
    /// Divides positive logits of tokens in the window, multiplies others; 1: off.
    pub repeat_penalty: f32,
    /// Tokens that the penalties look back on; 0: none, `u32::MAX`: all.
    pub repeat_last: u32,
    /// Taken off a token's logit for each time that it is in the window; 0: off.
    pub frequency_penalty: f32,
    /// Taken off the logit of every token in the window; 0: off.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens; ids outside of the vocabulary mean nothing.
    pub bias: Vec<(TokenId, f32)>,
    /// Tokens that can never come, whatever their bias; ids outside of the vocabulary mean nothing.
    pub suppress: Vec<TokenId>,
    /// Seed; `None`: from the operating system. [`Sampler::seed`] tells which.
    pub seed: Option<u64>,
    /// Order of the stages, each at most once; a stage that is left out is off. With [`Stage::Temperature`] last (the
    /// default) the cuts see the model's own probabilities; other programs heat them first, so that the cuts keep other
    /// sets.
    pub order: Vec<Stage>,
}

/// One stage of a sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// `repeat_penalty`, then `frequency_penalty` and `presence_penalty`.
    Penalties,
    /// `top_k`.
    TopK,
    /// `top_p`.
    TopP,
    /// `min_p`.
    MinP,
    /// `temperature`.
    Temperature,
}

impl Default for SamplerParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            bias: Vec::new(),
            suppress: Vec::new(),
            seed: None,
            order: vec![Stage::Penalties, Stage::TopK, Stage::TopP, Stage::MinP, Stage::Temperature],
        }
    }
}

impl SamplerParams {
    /// Refuses values that are no numbers or out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] that names the field.
    pub fn validate(&self) -> Result<()> {
        let finite = |name, x: f32| require(name, x, x.is_finite(), "a finite number");
        let share = |name, x: f32| require(name, x, (0.0..=1.0).contains(&x), "a number from 0 to 1");
        finite("temperature", self.temperature)?;
        share("top_p", self.top_p)?;
        share("min_p", self.min_p)?;
        let repeat = self.repeat_penalty;
        require("repeat_penalty", repeat, repeat.is_finite() && repeat > 0.0, "a finite number above 0")?;
        finite("frequency_penalty", self.frequency_penalty)?;
        finite("presence_penalty", self.presence_penalty)?;
        for &(_, bias) in &self.bias {
            finite("bias", bias)?;
        }
        for (i, stage) in self.order.iter().enumerate() {
            if self.order.iter().skip(i + 1).any(|later| later == stage) {
                let reason = format!("found {stage:?} twice, expected each stage at most once");
                return Err(Error::Argument { name: "order", reason });
            }
        }
        Ok(())
    }

    fn penalties(&self) -> Penalties {
        Penalties {
            repeat: self.repeat_penalty.into(),
            frequency: self.frequency_penalty.into(),
            presence: self.presence_penalty.into(),
        }
    }
}

fn require(name: &'static str, found: f32, holds: bool, expected: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Argument { name, reason: format!("found {found}, expected {expected}") }) }
}

/// Picks tokens. Same parameters, seed and logits: same tokens.
///
/// ```
/// use lemmy_core::{Sampler, SamplerParams};
///
/// # fn main() -> Result<(), lemmy_core::Error> {
/// let logits = [0.5, 3.0, -1.0, 2.5];
/// assert_eq!(Sampler::greedy().sample(&logits)?, 1);
///
/// let mut params = SamplerParams::default();
/// params.top_k = 2;
/// params.seed = Some(42);
/// let mut sampler = Sampler::new(&params)?;
/// let token = sampler.sample(&logits)?;
/// sampler.accept(token);
/// assert!(token == 1 || token == 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sampler {
    params: SamplerParams,
    seed: u64,
    rng: Rng,
    /// What the penalties look back on, and how often each token stands there.
    window: VecDeque<TokenId>,
    counts: BTreeMap<TokenId, u32>,
}

impl Sampler {
    /// A sampler with these options.
    ///
    /// # Errors
    ///
    /// Those of [`SamplerParams::validate`].
    pub fn new(params: &SamplerParams) -> Result<Self> {
        params.validate()?;
        Ok(Self::with(params.clone()))
    }

    /// Always the best token.
    pub fn greedy() -> Self {
        Self::with(SamplerParams { temperature: 0.0, seed: Some(0), ..SamplerParams::default() })
    }

    fn with(params: SamplerParams) -> Self {
        let seed = params.seed.unwrap_or_else(rng::seed_from_os);
        Self { params, seed, rng: Rng::new(seed), window: VecDeque::new(), counts: BTreeMap::new() }
    }

    /// The seed in use.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Picks a token for one row of logits, in the order of ids.
    ///
    /// With a temperature of 0 it is the best one after bias and penalties, and no random number is used up; else
    /// exactly one is.
    ///
    /// # Errors
    ///
    /// [`Error::Numeric`] if a logit is NaN or positive infinity; [`Error::Argument`] if nothing is left to pick from
    /// because every token is suppressed or has a logit of negative infinity.
    pub fn sample(&mut self, logits: &[f32]) -> Result<TokenId> {
        self.sample_within(logits, None)
    }

    /// Like [`sample`](Self::sample), of the allowed tokens alone (`None`: of all): as if every other logit were
    /// negative infinity.
    ///
    /// A suppressed token cannot come even if it is allowed.
    ///
    /// # Errors
    ///
    /// As `sample`, where a logit that is not allowed counts as damage too. [`Error::Argument`] if every allowed token
    /// is suppressed or has a logit of negative infinity.
    pub fn sample_within(&mut self, logits: &[f32], allowed: Option<&TokenMask>) -> Result<TokenId> {
        let candidates = self.candidates(logits, allowed)?;
        let picked = if self.is_greedy() { candidates.best() } else { candidates.draw(self.rng.unit()) };
        picked.map(|candidate| candidate.id).ok_or_else(nothing_left)
    }

    /// What [`sample`](Self::sample) would choose from: tokens, best first, with their probabilities.
    ///
    /// # Errors
    ///
    /// As `sample`.
    pub fn distribution(&self, logits: &[f32]) -> Result<Vec<(TokenId, f64)>> {
        self.distribution_within(logits, None)
    }

    /// What [`sample_within`](Self::sample_within) would choose from: tokens, best first, with their probabilities.
    ///
    /// # Errors
    ///
    /// As `sample_within`.
    pub fn distribution_within(&self, logits: &[f32], allowed: Option<&TokenMask>) -> Result<Vec<(TokenId, f64)>> {
        let candidates = self.candidates(logits, allowed)?;
        let list = match candidates.best() {
            Some(best) if self.is_greedy() => vec![(best.id, 1.0)],
            _ => candidates.probabilities(),
        };
        if list.is_empty() { Err(nothing_left()) } else { Ok(list) }
    }

    /// Tells the penalties what was said (prompt and answer alike).
    pub fn accept(&mut self, id: TokenId) {
        if self.params.repeat_last == 0 || self.params.penalties().are_off() {
            return;
        }
        self.window.push_back(id);
        *self.counts.entry(id).or_default() += 1;
        if self.window.len() > self.params.repeat_last as usize
            && let Some(oldest) = self.window.pop_front()
            && let Some(count) = self.counts.get_mut(&oldest)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&oldest);
            }
        }
    }

    fn is_greedy(&self) -> bool {
        self.params.temperature <= 0.0
    }

    fn candidates<'l>(&self, logits: &'l [f32], allowed: Option<&'l TokenMask>) -> Result<Candidates<'l>> {
        check(logits)?;
        let p = &self.params;
        let mut candidates = Candidates::new(logits, &p.bias, &p.suppress, allowed);
        for stage in &p.order {
            match stage {
                Stage::Penalties => candidates.penalise(&self.counts, p.penalties()),
                // The best token survives every cut, and heat leaves it the best.
                _ if self.is_greedy() => {}
                Stage::TopK if p.top_k > 0 => candidates.keep_best(p.top_k as usize),
                Stage::TopP if p.top_p < 1.0 => candidates.keep_mass(p.top_p.into()),
                Stage::MinP if p.min_p > 0.0 => candidates.keep_share(p.min_p.into()),
                Stage::Temperature => candidates.divide(p.temperature.into()),
                Stage::TopK | Stage::TopP | Stage::MinP => {}
            }
        }
        Ok(candidates)
    }
}

/// Refuses logits that no softmax can be taken of.
fn check(logits: &[f32]) -> Result<()> {
    // One comparison catches both: it is false for NaN as well.
    if !logits.iter().all(|&logit| logit < f32::INFINITY) {
        return Err(Error::Numeric { step: "sample", layer: None });
    }
    if logits.iter().all(|&logit| logit == f32::NEG_INFINITY) {
        return Err(nothing_left());
    }
    Ok(())
}

fn nothing_left() -> Error {
    let reason = "found no token that may come, expected a finite logit that is allowed and not suppressed";
    Error::Argument { name: "logits", reason: reason.into() }
}
