//! Guesses what comes next from what was said before: if the last tokens stood in the conversation already, what
//! followed them there may follow again ("prompt lookup decoding", Saxena, 2023).
//!
//! A guess costs nothing but its place in the next forward pass, and is never believed: the sampler decides every token
//! as if there had been no guess. `pace` decides whether guessing pays.

#![forbid(unsafe_code)]

mod pace;

use std::collections::HashMap;
use std::time::Duration;

use self::pace::Pace;
use crate::TokenId;

/// Shortest stretch of tokens that must have come before. Two agree by chance too often.
const GRAM: usize = 3;
/// Agreement beyond this makes no guess better.
const LONGEST: usize = 32;
/// Earlier places that are looked at, the latest first.
const PLACES: usize = 32;

/// The tokens of a conversation, and where each stretch of [`GRAM`] of them stood.
#[derive(Debug)]
pub(super) struct Lookup {
    tokens: Vec<TokenId>,
    /// Where the tokens after the latest occurrence of a stretch begin.
    latest: HashMap<[TokenId; GRAM], usize>,
    /// For each place, the place after the occurrence before; 0 where there is none.
    earlier: Vec<usize>,
    vocab: usize,
    most: usize,
    pace: Pace,
    /// Tokens of the guess that is being checked, and how well its past agreed.
    guess: (usize, usize),
}

impl Lookup {
    /// Over a prompt; guesses of at most `most` tokens.
    pub(super) fn new(prompt: &[TokenId], vocab: usize, most: usize) -> Self {
        let mut lookup = Self {
            tokens: Vec::with_capacity(prompt.len()),
            latest: HashMap::new(),
            earlier: vec![0],
            vocab,
            most,
            pace: Pace::default(),
            guess: (0, 0),
        };
        prompt.iter().for_each(|&id| lookup.push(id));
        lookup
    }

    /// Something was said.
    pub(super) fn push(&mut self, id: TokenId) {
        self.tokens.push(id);
        let earlier = match self.tokens.last_chunk::<GRAM>() {
            Some(&gram) => self.latest.insert(gram, self.tokens.len()).unwrap_or(0),
            None => 0,
        };
        self.earlier.push(earlier);
    }

    /// Appends a guess of at most `room` tokens, if one is likely to pay. The next [`learn`](Self::learn) is about it.
    pub(super) fn guess(&mut self, room: usize, out: &mut Vec<TokenId>) {
        self.guess = (0, 0);
        let Some((from, agreed)) = self.best_place() else { return };
        let wanted = self.pace.length(agreed, self.most.min(room));
        let first = out.len();
        for i in 0..wanted {
            // A stretch that repeats itself runs into its own guess.
            let known = self.tokens.get(from + i).copied();
            let guessed = || out.get(first + from + i - self.tokens.len()).copied();
            let Some(id) = known.or_else(guessed) else { break };
            // Pictures stand in a conversation as what is no token.
            if id as usize >= self.vocab {
                break;
            }
            out.push(id);
        }
        self.guess = (out.len() - first, agreed);
    }

    /// How the guess turned out: its first `right` tokens came, and `missed` says whether another came in place of the
    /// next.
    pub(super) fn learn(&mut self, right: usize, missed: bool) {
        let (guessed, agreed) = self.guess;
        if guessed > 0 {
            self.pace.learn(agreed, right.min(guessed), missed);
        }
    }

    /// The forward pass with the last guess took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.pace.took(self.guess.0, time);
    }

    /// Where the last tokens stood before with the longest past in common; of equals, the latest.
    fn best_place(&self) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        let mut place = *self.earlier.last()?;
        for _ in 0..PLACES {
            if place == 0 {
                break;
            }
            let agreed = self.agreement(place);
            if best.is_none_or(|(_, most)| agreed > most) {
                best = Some((place, agreed));
            }
            place = self.earlier.get(place).copied().unwrap_or(0);
        }
        best
    }

    /// How many tokens before `place` equal the last ones.
    fn agreement(&self, place: usize) -> usize {
        let there = self.tokens.get(..place).unwrap_or_default();
        there.iter().rev().zip(self.tokens.iter().rev()).take(LONGEST).take_while(|(a, b)| a == b).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(tokens: &[TokenId], room: usize) -> Vec<TokenId> {
        let mut out = vec![900];
        let mut lookup = Lookup::new(tokens, 1000, 8);
        // Guesses have been right so far, so none is cut short.
        [3, 5, 9].into_iter().for_each(|agreed| lookup.pace.learn(agreed, 100, false));
        lookup.guess(room, &mut out);
        out.remove(0);
        out
    }

    #[test]
    fn what_followed_before_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 5, 6, 1, 2, 3], 2), [4, 5]);
        assert!(guess(&[1, 2, 3, 4, 5, 6, 9, 2, 3], 2).is_empty());
        assert!(guess(&[1, 2], 2).is_empty());
        assert!(guess(&[], 2).is_empty());
        assert!(guess(&[1, 2, 3, 4, 5, 6, 1, 2, 3], 0).is_empty());
    }

    #[test]
    fn the_longest_agreement_wins_then_the_latest() {
        assert_eq!(guess(&[7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 7, 1, 2, 3], 1), [4]);
        assert_eq!(guess(&[7, 1, 2, 3, 4, 8, 1, 2, 3, 5, 9, 1, 2, 3], 1), [5]);
    }

    #[test]
    fn repetition_runs_on_into_the_guess() {
        assert_eq!(guess(&[5, 5, 5, 5], 3), [5, 5, 5]);
        assert_eq!(guess(&[1, 2, 1, 2, 1, 2], 4), [1, 2, 1, 2]);
    }

    #[test]
    fn what_is_no_token_is_not_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, TokenId::MAX, 1, 2, 3], 4), [4]);
        assert!(guess(&[1, 2, 3, TokenId::MAX, 1, 2, 3], 4).is_empty());
    }

    #[test]
    fn a_run_of_wrong_guesses_ends_them_but_for_probes() {
        let mut lookup = Lookup::new(&[1, 2, 3, 4, 1, 2, 3], 1000, 8);
        let mut guesses = Vec::new();
        for _ in 0..1000 {
            let mut out = Vec::new();
            lookup.guess(8, &mut out);
            lookup.learn(0, true);
            guesses.push(out.len());
        }
        let made = guesses.iter().filter(|&&n| n > 0).count();
        assert!((4..60).contains(&made), "{made} guesses of 1000");
        assert!(guesses.iter().skip(500).any(|&n| n > 0), "it never looks again");
    }
}
