//! Log-probabilities as users of a model mean them.

use crate::TokenId;
use crate::error::Result;
use crate::sampler::candidates::Vocabulary;

/// Log-probabilities of one position: the log-softmax of the model's own logits, before bias, penalties, cuts and
/// temperature. They say what the model thinks, not what a sampler makes of it.
///
/// ```
/// # fn main() -> Result<(), lemmy_core::Error> {
/// use lemmy_core::sampler::LogProbs;
/// let logits = [0.0, 2.0, 1.0];
/// let probs = LogProbs::new(&logits)?;
/// assert_eq!(probs.top(1).first().map(|&(id, _)| id), Some(1));
/// let sum: f64 = (0..3).filter_map(|id| probs.of(id)).map(f64::exp).sum();
/// assert!((sum - 1.0).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LogProbs<'l> {
    logits: &'l [f32],
    log_total: f64,
}

impl<'l> LogProbs<'l> {
    /// Takes one row of logits, in the order of ids.
    ///
    /// # Errors
    ///
    /// As [`Sampler::sample`](crate::Sampler::sample).
    pub fn new(logits: &'l [f32]) -> Result<Self> {
        super::check(logits)?;
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
        Ok(Self { logits, log_total: max + total.ln() })
    }

    /// Natural logarithm of a token's probability; `None` for an id outside of the vocabulary.
    pub fn of(&self, id: TokenId) -> Option<f64> {
        self.logits.get(id as usize).map(|&logit| f64::from(logit) - self.log_total)
    }

    /// The `n` most probable tokens, best first, with the logarithms of their probabilities.
    pub fn top(&self, n: usize) -> Vec<(TokenId, f64)> {
        Vocabulary::new(self.logits, None).best(n).iter().map(|c| (c.id, c.logit - self.log_total)).collect()
    }
}
