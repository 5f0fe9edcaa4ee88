//! What is computed from predictions.

use lemmy_core::TokenId;
use serde_json::{Value, json};

/// Log-probabilities below this are left out of a sum: they weigh nothing, and a base does not hold them.
const LEAST: f64 = -16.0;

/// Mean of numbers that come one by one, and how sure it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Mean {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.n()
    }

    /// The standard error of the mean.
    pub(super) fn uncertainty(&self) -> f64 {
        let variance = self.squares / self.n() - self.mean().powi(2);
        if self.count < 2 { 0.0 } else { (variance.max(0.0) / (self.n() - 1.0)).sqrt() }
    }

    #[allow(clippy::cast_precision_loss)] // fewer than 2^53 tokens
    fn n(&self) -> f64 {
        self.count.max(1) as f64
    }
}

/// A row of logits, turned into probabilities where they are needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prediction {
    pub(super) greatest: f32,
    /// Logarithm of the sum of exponentials, in all.
    pub(super) log_sum: f64,
    best: usize,
    /// Log-probability of the token that followed.
    followed: f64,
}

impl Prediction {
    pub(super) fn new(row: &[f32], next: TokenId) -> Self {
        let mut best = (0, f32::NEG_INFINITY);
        for (id, &logit) in row.iter().enumerate() {
            if logit > best.1 {
                best = (id, logit);
            }
        }
        let (best, greatest) = best;
        let sum: f64 = row.iter().map(|&logit| (f64::from(logit) - f64::from(greatest)).exp()).sum();
        let log_sum = f64::from(greatest) + sum.ln();
        let next = usize::try_from(next).ok().and_then(|next| row.get(next));
        let followed = next.map_or(f64::NAN, |&logit| f64::from(logit) - log_sum);
        Self { greatest, log_sum, best, followed }
    }

    /// In nats, that of the token that followed.
    pub(super) fn surprise(&self) -> f64 {
        -self.followed
    }
}

/// How far a model's predictions are from those of a base.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    base: Mean,
    own: Mean,
    product: f64,
    kl: Mean,
    kls: Vec<f32>,
    same_best: Mean,
    /// Difference of the probability of the token that followed, and its square.
    difference: Mean,
    difference_squares: Mean,
}

impl Divergence {
    /// Adds a position: the model's logits, and the base's log-probabilities.
    pub(super) fn add(&mut self, row: &[f32], own: &Prediction, next: TokenId, base: &[f32]) {
        let mut kl = 0.0;
        let mut best = (0, f32::NEG_INFINITY);
        for (id, (&logit, &log)) in row.iter().zip(base).enumerate() {
            if log > best.1 {
                best = (id, log);
            }
            let log = f64::from(log);
            if log > LEAST {
                kl += log.exp() * (log - (f64::from(logit) - own.log_sum));
            }
        }
        let next = usize::try_from(next).ok().and_then(|next| base.get(next));
        let base_followed = next.map_or(f64::NAN, |&log| f64::from(log));
        self.base.add(-base_followed);
        self.own.add(own.surprise());
        self.product += own.surprise() * -base_followed;
        self.kl.add(kl);
        #[allow(clippy::cast_possible_truncation)] // for percentiles
        self.kls.push(kl as f32);
        self.same_best.add(f64::from(u8::from(best.0 == own.best)));
        let difference = own.followed.exp() - base_followed.exp();
        self.difference.add(difference);
        self.difference_squares.add(difference * difference);
    }

    /// The mean of the logarithm of both perplexities' ratio, and how sure it is.
    fn log_ratio(&self) -> (f64, f64) {
        let n = self.own.n();
        let covariance = (self.product / n - self.own.mean() * self.base.mean()) / (n - 1.0).max(1.0);
        let variance = self.own.uncertainty().powi(2) + self.base.uncertainty().powi(2) - 2.0 * covariance;
        (self.own.mean() - self.base.mean(), variance.max(0.0).sqrt())
    }

    /// The divergence that so many of all positions do not exceed.
    fn percentile(&self, fraction: f64) -> f32 {
        let mut sorted = self.kls.clone();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // a place in the list
        let (at, between) = {
            let place = fraction * last as f64;
            (place as usize, place.fract() as f32)
        };
        let value = |at: usize| sorted.get(at.min(last)).copied().unwrap_or_default();
        value(at) * (1.0 - between) + value(at + 1) * between
    }

    /// Root mean square of the difference of probabilities.
    fn rms(&self) -> f64 {
        self.difference_squares.mean().sqrt()
    }

    pub(super) fn json(&self) -> Value {
        let (ratio, ratio_error) = self.log_ratio();
        json!({
            "perplexity": self.base.mean().exp(),
            "ln_ppl_ratio": ratio,
            "ln_ppl_ratio_error": ratio_error,
            "kl_mean": self.kl.mean(),
            "kl_mean_error": self.kl.uncertainty(),
            "kl_median": self.percentile(0.5),
            "kl_p99": self.percentile(0.99),
            "kl_max": self.percentile(1.0),
            "same_top": self.same_best.mean(),
            "same_top_error": self.same_best.uncertainty(),
            "delta_p_mean": self.difference.mean(),
            "delta_p_rms": self.rms(),
        })
    }

    pub(super) fn text(&self) -> String {
        let (ratio, ratio_error) = self.log_ratio();
        let line = |name: &str, value: String| format!("{name:<22} {value}\n");
        line("PPL of the base", format!("{:.4}", self.base.mean().exp()))
            + &line("ln(PPL / PPL of base)", format!("{ratio:.6} ± {ratio_error:.6}"))
            + &line("KL divergence, mean", format!("{:.6} ± {:.6}", self.kl.mean(), self.kl.uncertainty()))
            + &line(
                "  median, 99 %, most",
                format!("{:.6}  {:.6}  {:.6}", self.percentile(0.5), self.percentile(0.99), self.percentile(1.0)),
            )
            + &line(
                "same best token",
                format!("{:.3} ± {:.3} %", 100.0 * self.same_best.mean(), 100.0 * self.same_best.uncertainty()),
            )
            + &line("Δp, mean and RMS", format!("{:.3} %  {:.3} %", 100.0 * self.difference.mean(), 100.0 * self.rms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_and_its_error() {
        let mut mean = Mean::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| mean.add(value));
        assert_eq!(mean.mean(), 5.0);
        assert!((mean.uncertainty() - (4.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Mean::default().uncertainty(), 0.0);
    }

    #[test]
    fn even_logits_surprise_by_the_logarithm_of_their_number() {
        let prediction = Prediction::new(&[3.0; 8], 5);
        assert!((prediction.surprise() - 8.0_f64.ln()).abs() < 1e-12);
        assert!(Prediction::new(&[3.0; 8], 8).surprise().is_nan());
    }

    #[test]
    fn a_model_does_not_diverge_from_itself_and_does_from_others() {
        let row = [1.0_f32, 0.0, -1.0];
        let own = Prediction::new(&row, 1);
        #[allow(clippy::cast_possible_truncation)]
        let same: Vec<_> = row.iter().map(|&logit| (f64::from(logit) - own.log_sum) as f32).collect();
        let mut divergence = Divergence::default();
        divergence.add(&row, &own, 1, &same);
        assert!(divergence.kl.mean().abs() < 1e-6 && divergence.same_best.mean() == 1.0);
        assert!(divergence.log_ratio().0.abs() < 1e-6);
        // Half and half against these: KL by hand.
        let half = [-f32::INFINITY, 0.5_f32.ln(), 0.5_f32.ln()];
        let mut divergence = Divergence::default();
        divergence.add(&row, &own, 1, &half);
        let expected = 0.5_f64.ln() - 0.5 * ((0.0 - own.log_sum) + (-1.0 - own.log_sum));
        assert!((divergence.kl.mean() - expected).abs() < 1e-6, "{}", divergence.kl.mean());
        assert_eq!(divergence.same_best.mean(), 0.0);
    }

    #[test]
    fn percentiles_lie_between() {
        let divergence = Divergence { kls: vec![4.0, 1.0, 2.0, 3.0, 5.0], ..Divergence::default() };
        assert_eq!(
            (divergence.percentile(0.0), divergence.percentile(0.5), divergence.percentile(1.0)),
            (1.0, 3.0, 5.0)
        );
        assert_eq!(divergence.percentile(0.125), 1.5);
        assert_eq!(Divergence::default().percentile(0.5), 0.0);
    }
}
