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

    /// Whether no token is in it.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// The tokens, ascending.
    pub fn iter(&self) -> impl Iterator<Item = TokenId> {
        (0..).step_by(32).zip(&self.words).flat_map(|(first, &word)| Bits(word).map(move |bit| first + bit))
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

/// Places of the bits that are set, lowest first.
struct Bits(u32);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let lowest = self.0.trailing_zeros();
        // Takes the lowest bit away; nothing if there is none.
        self.0 &= self.0.wrapping_sub(1);
        (lowest < u32::BITS).then_some(lowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut mask = TokenMask::none(70);
        assert!(mask.is_empty());
        let ids = [0, 31, 32, 63, 64, 69];
        ids.iter().for_each(|&id| mask.insert(id));
        mask.insert(1000);
        assert_eq!(mask.iter().collect::<Vec<_>>(), ids);
        assert!(ids.iter().all(|&id| mask.contains(id)) && !mask.contains(1) && !mask.contains(1000));
        ids.iter().for_each(|&id| mask.remove(id));
        assert!(mask.is_empty());
        assert_eq!(TokenMask::from_words(vec![u32::MAX; 2]).iter().collect::<Vec<_>>(), Vec::from_iter(0..64));
    }
}
