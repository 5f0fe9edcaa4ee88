//! How far to guess ahead, so that it pays.
//!
//! A pass over the newest token and `k` guessed ones gives `1 + a + a^2 + .. + a^k` tokens on average if each guess is
//! right with probability `a` (Leviathan, Kalman and Matias, "Fast inference from transformers via speculative
//! decoding", 2023, equation 1), and takes `1 + c k` times as long as a pass over one. Both `a` and `c` are measured as
//! the reply goes. They decide about speed only: what is said does not depend on them.

#![forbid(unsafe_code)]

use std::time::Duration;

/// What was learned about guesses and passes.
#[derive(Debug)]
pub(super) struct Pace {
    /// Share of right tokens, by how well the past agreed: 3 or 4 tokens, up to 8, more.
    right: [f64; 3],
    /// Time that one more token adds to a pass, in passes over one token.
    cost: f64,
    /// Seconds of a pass over one token, once there was one.
    single: Option<f64>,
    /// Chances that were let go since the last guess, and how many have to be before the next probe.
    waited: u32,
    patience: u32,
}

/// Weight of the newest observation.
const NEWEST: f64 = 0.1;
/// Chances between two probes: at first, and at most.
const PATIENCE: [u32; 2] = [8, 128];
/// Tokens of a probe.
const PROBE: usize = 2;

impl Default for Pace {
    fn default() -> Self {
        // A mixture of experts reads about a third more per token; the measured figures soon take over.
        Self { right: [0.5, 0.6, 0.8], cost: 0.3, single: None, waited: 0, patience: PATIENCE[0] }
    }
}

impl Pace {
    /// Tokens to guess after a past that agreed for `agreed` tokens; at most `most`.
    pub(super) fn length(&mut self, agreed: usize, most: usize) -> usize {
        let right = self.right.get(class(agreed)).copied().unwrap_or(0.0);
        let (mut best, mut length) = (1.0, 0);
        let (mut tokens, mut chance) = (1.0, 1.0);
        for k in 1..=most {
            chance *= right;
            tokens += chance;
            let speed = tokens / (1.0 + self.cost * k as f64);
            if speed > best {
                (best, length) = (speed, k);
            }
        }
        if length == 0 && most > 0 {
            self.waited += 1;
            if self.waited > self.patience {
                self.patience = (self.patience * 2).min(PATIENCE[1]);
                length = PROBE.min(most);
            }
        }
        if length > 0 {
            self.waited = 0;
        }
        length
    }

    /// `right` guessed tokens came, and then (`missed`) another than the guessed one.
    pub(super) fn learn(&mut self, agreed: usize, right: usize, missed: bool) {
        let Some(share) = self.right.get_mut(class(agreed)) else { return };
        for _ in 0..right {
            *share += NEWEST * (1.0 - *share);
        }
        if missed {
            *share -= NEWEST * *share;
        } else if right > 0 {
            self.patience = PATIENCE[0];
        }
    }

    /// A pass with `guessed` tokens beside the newest took so long.
    pub(super) fn took(&mut self, guessed: usize, time: Duration) {
        let seconds = time.as_secs_f64();
        match (&mut self.single, guessed) {
            (Some(single), 0) => *single += NEWEST * (seconds - *single),
            (none, 0) => *none = Some(seconds),
            (Some(single), n) if *single > 0.0 => {
                // A single slow pass (another program took the processor) must not decide.
                let cost = ((seconds / *single - 1.0) / n as f64).clamp(0.02, 2.0);
                self.cost += NEWEST * (cost - self.cost);
            }
            _ => {}
        }
    }
}

fn class(agreed: usize) -> usize {
    match agreed {
        ..=4 => 0,
        5..=8 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn measured(cost: u32, right: bool) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..200 {
            pace.took(0, 100 * MS);
            pace.took(4, (100 + 4 * cost) * MS);
            pace.learn(10, if right { 4 } else { 0 }, !right);
        }
        pace
    }

    #[test]
    fn good_guesses_grow_long_and_bad_ones_stop() {
        assert_eq!(measured(30, true).length(10, 16), 16);
        assert_eq!(measured(30, false).length(10, 16), 0);
    }

    #[test]
    fn dear_tokens_are_not_guessed_however_right() {
        assert_eq!(measured(120, true).length(10, 16), 0);
    }

    #[test]
    fn classes_are_learned_apart() {
        let mut pace = measured(30, false);
        assert_eq!(pace.length(10, 16), 0);
        assert!(pace.length(3, 16) > 0);
    }

    #[test]
    fn probes_become_rare_and_a_right_one_brings_them_back() {
        let mut pace = measured(30, false);
        let mut gap = || (1..).find(|_| pace.length(10, 16) > 0).unwrap_or(0);
        assert_eq!([gap(), gap(), gap(), gap(), gap(), gap()], [9, 17, 33, 65, 129, 129]);
        pace.learn(10, 2, false);
        assert_eq!((1..).find(|_| pace.length(10, 16) > 0), Some(9));
    }

    #[test]
    fn no_room_is_no_chance() {
        let mut pace = measured(30, false);
        assert!((0..1000).all(|_| pace.length(10, 0) == 0));
    }
}
