//! The tokens that are still in the running, and what each stage does to them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::TokenMask;
use crate::TokenId;

/// A token and its logit. The arithmetic of sampling is in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: TokenId,
    pub(super) logit: f64,
}

/// Best first; the lower id first among equals.
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// How the penalties change the logits of tokens that were said before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Penalties {
    /// Divides positive logits, multiplies others (Keskar et al., "CTRL", 2019, with the sign put right).
    pub(super) repeat: f64,
    /// Taken off for each time that the token was said.
    pub(super) frequency: f64,
    /// Taken off once.
    pub(super) presence: f64,
}

impl Penalties {
    pub(super) fn are_off(&self) -> bool {
        self.repeat == 1.0 && self.frequency == 0.0 && self.presence == 0.0
    }

    fn apply(&self, logit: f64, count: u32) -> f64 {
        let logit = if logit > 0.0 { logit / self.repeat } else { logit * self.repeat };
        logit - f64::from(count) * self.frequency - self.presence
    }
}

/// The whole vocabulary as the model left it, or what a cut has kept of it.
///
/// Only a cut copies candidates, so with `top_k` first the vocabulary is looked at once and never sorted.
#[derive(Debug)]
pub(super) enum Candidates<'l> {
    Whole(Vocabulary<'l>),
    /// Best first.
    Kept(Vec<Candidate>),
}

impl<'l> Candidates<'l> {
    pub(super) fn new(
        logits: &'l [f32],
        bias: &[(TokenId, f32)],
        suppress: &[TokenId],
        allowed: Option<&'l TokenMask>,
    ) -> Self {
        let mut vocabulary = Vocabulary::new(logits, allowed);
        for &(id, bias) in bias {
            vocabulary.change(id, |logit| logit + f64::from(bias));
        }
        // After the bias: nothing brings a suppressed token back.
        for &id in suppress {
            vocabulary.change(id, |_| f64::NEG_INFINITY);
        }
        Self::Whole(vocabulary)
    }

    /// Applies the penalties to the tokens that `counts` names.
    pub(super) fn penalise(&mut self, counts: &BTreeMap<TokenId, u32>, penalties: Penalties) {
        match self {
            Self::Whole(vocabulary) => {
                for (&id, &count) in counts {
                    vocabulary.change(id, |logit| penalties.apply(logit, count));
                }
            }
            Self::Kept(kept) => {
                for candidate in &mut *kept {
                    if let Some(&count) = counts.get(&candidate.id) {
                        candidate.logit = penalties.apply(candidate.logit, count);
                    }
                }
                kept.sort_unstable_by(by_rank);
            }
        }
    }

    /// Divides all logits.
    pub(super) fn divide(&mut self, divisor: f64) {
        match self {
            Self::Whole(vocabulary) => {
                vocabulary.divisor *= divisor;
                vocabulary.changed.values_mut().for_each(|logit| *logit /= divisor);
            }
            Self::Kept(kept) => kept.iter_mut().for_each(|candidate| candidate.logit /= divisor),
        }
    }

    /// Keeps the `k` best.
    pub(super) fn keep_best(&mut self, k: usize) {
        match self {
            Self::Whole(vocabulary) => *self = Self::Kept(vocabulary.best(k)),
            Self::Kept(kept) => kept.truncate(k),
        }
    }

    /// Keeps the shortest list, best first, whose probabilities sum to at least `p`; never nothing.
    pub(super) fn keep_mass(&mut self, p: f64) {
        *self = Self::Kept(self.prefix(|sum| sum >= p));
    }

    /// Keeps what is at least `share` times as probable as the best.
    pub(super) fn keep_share(&mut self, share: f64) {
        let best = self.best();
        let kept = |candidate: &Candidate| best.is_some_and(|best| (candidate.logit - best.logit).exp() >= share);
        match self {
            Self::Whole(vocabulary) => {
                let mut list: Vec<Candidate> = vocabulary.iter().filter(kept).collect();
                list.sort_unstable_by(by_rank);
                *self = Self::Kept(list);
            }
            Self::Kept(list) => list.retain(kept),
        }
    }

    /// The best one, if any can still come.
    pub(super) fn best(&self) -> Option<Candidate> {
        match self {
            Self::Whole(vocabulary) => vocabulary.best(1).first().copied(),
            Self::Kept(kept) => kept.first().copied(),
        }
    }

    /// The token on which `u` in [0, 1) falls when the probabilities are laid side by side, best first.
    pub(super) fn draw(&self, u: f64) -> Option<Candidate> {
        self.prefix(|sum| sum > u).last().copied()
    }

    /// All that can still come, best first, with probabilities.
    pub(super) fn probabilities(&self) -> Vec<(TokenId, f64)> {
        let mut sum = 0.0;
        let all = self.prefix(|_| false);
        let weights: Vec<f64> = all.iter().map(|c| weight(c, all.first())).inspect(|w| sum += w).collect();
        all.iter().zip(weights).map(|(c, w)| (c.id, w / sum)).collect()
    }

    /// The shortest list, best first, whose summed probability is `enough`; everything if it never is.
    fn prefix(&self, enough: impl Fn(f64) -> bool) -> Vec<Candidate> {
        let vocabulary = match self {
            Self::Whole(vocabulary) => vocabulary,
            Self::Kept(kept) => {
                let total = total(kept.iter().copied(), kept.first());
                return cut(kept, total, enough).unwrap_or(kept).to_vec();
            }
        };
        // Mass gathers in few tokens as a rule, so the list is made longer only as long as it has to be.
        let mut length = 256;
        let mut best = vocabulary.best(length);
        let total = total(vocabulary.iter(), best.first());
        loop {
            if let Some(prefix) = cut(&best, total, &enough) {
                return prefix.to_vec();
            }
            if best.len() < length {
                return best;
            }
            length *= 8;
            best = vocabulary.best(length);
        }
    }
}

/// Probability up to a common factor; 1 for the best one.
fn weight(candidate: &Candidate, best: Option<&Candidate>) -> f64 {
    best.map_or(0.0, |best| (candidate.logit - best.logit).exp())
}

fn total(candidates: impl Iterator<Item = Candidate>, best: Option<&Candidate>) -> f64 {
    candidates.map(|candidate| weight(&candidate, best)).sum()
}

fn cut(sorted: &[Candidate], total: f64, enough: impl Fn(f64) -> bool) -> Option<&[Candidate]> {
    let mut sum = 0.0;
    let last = sorted.iter().position(|candidate| {
        sum += weight(candidate, sorted.first()) / total;
        enough(sum)
    })?;
    sorted.get(..=last)
}

/// The model's logits where they lie, which of them count, and the few that were changed.
#[derive(Debug)]
pub(super) struct Vocabulary<'l> {
    logits: &'l [f32],
    /// All if there is no mask.
    allowed: Option<&'l TokenMask>,
    divisor: f64,
    /// Only tokens that are allowed.
    changed: BTreeMap<TokenId, f64>,
}

impl<'l> Vocabulary<'l> {
    pub(super) fn new(logits: &'l [f32], allowed: Option<&'l TokenMask>) -> Self {
        Self { logits, allowed, divisor: 1.0, changed: BTreeMap::new() }
    }

    fn change(&mut self, id: TokenId, f: impl FnOnce(f64) -> f64) {
        if self.allowed.is_some_and(|mask| !mask.contains(id)) {
            return;
        }
        if let Some(&logit) = self.logits.get(id as usize) {
            let now = self.changed.entry(id).or_insert(f64::from(logit) / self.divisor);
            *now = f(*now);
        }
    }

    /// What is allowed, by ascending id. A mask that allows little makes it short.
    pub(super) fn iter(&self) -> impl Iterator<Item = Candidate> {
        let mut changed = self.changed.iter().peekable();
        let all = (0..).zip(self.logits.iter().copied()).take(if self.allowed.is_some() { 0 } else { usize::MAX });
        let some = self.allowed.into_iter().flat_map(TokenMask::iter);
        let some = some.filter_map(|id| Some((id, *self.logits.get(id as usize)?)));
        all.chain(some).map(move |(id, logit)| {
            let logit = match changed.next_if(|&(&at, _)| at == id) {
                Some((_, &changed)) => changed,
                None => f64::from(logit) / self.divisor,
            };
            Candidate { id, logit }
        })
    }

    /// The `n` best (fewer if there are not so many that can come), best first, in one pass.
    pub(super) fn best(&self, n: usize) -> Vec<Candidate> {
        let mut list: Vec<Candidate> = Vec::with_capacity(n.saturating_mul(2).min(self.logits.len()));
        // Ids come in order, so whoever only equals the n-th best so far has lost to it.
        let mut floor = f64::NEG_INFINITY;
        // A loop from within: `for` would ask a chain of iterators at each step which of them it is in.
        self.iter().for_each(|candidate| {
            if candidate.logit > floor {
                list.push(candidate);
                if list.len() == n.saturating_mul(2) {
                    let (_, nth, _) = list.select_nth_unstable_by(n - 1, by_rank);
                    floor = nth.logit;
                    list.truncate(n);
                }
            }
        });
        list.sort_unstable_by(by_rank);
        list.truncate(n);
        list
    }
}
