//! A set of tokens.

use crate::TokenId;

/// A set of tokens: one bit for each id of a vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u32>,
}

impl TokenMask {
    /// The empty set over a vocabulary.
    pub fn none(vocab: usize) -> Self {
        Self { words: vec![0; vocab.div_ceil(32)] }
    }

    /// The set whose bit `i % 32` of word `i / 32` says whether token `i` is in it.
    pub fn from_words(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// The words, 32 ids each, lowest bit first.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Whether a token is in it; ids outside of the vocabulary are not.
    pub fn contains(&self, id: TokenId) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// Adds a token; ids outside of the vocabulary mean nothing.
    pub fn insert(&mut self, id: TokenId) {
        if let Some(word) = self.words.get_mut(id as usize / 32) {
            *word |= 1 << (id % 32);
        }
    }

    /// Takes a token out.
    pub fn remove(&mut self, id: TokenId) {
        if let Some(word) = self.words.get_mut(id as usize / 32) {
            *word &= !(1 << (id % 32));
        }
    }
}
