//! Cuts a text into words that can be joined each on its own, and remembers the ones just seen.

#![forbid(unsafe_code)]

use super::pieces::Pieces;
use crate::TokenId;

/// Longest word in bytes, far beyond any prompt; symbols count bytes in `u32`.
const WORD_BYTES: usize = 1 << 30;

/// Which bytes may be neighbours inside one token.
///
/// If no token that joining can make holds the last byte of one character followed by the first byte of the next, then no
/// join ever reaches across that place, and both sides give the same tokens apart as together. In Gemma's vocabulary this
/// cuts between a newline and anything else and before nearly every space.
pub(super) struct WordCuts {
    /// A bit for each pair of bytes.
    neighbours: Vec<u64>,
}

impl WordCuts {
    /// `results` are the tokens that joining can make.
    pub(super) fn new(pieces: &Pieces, results: impl Iterator<Item = TokenId>) -> Self {
        let mut cuts = Self { neighbours: vec![0; 256 * 256 / 64] };
        for id in results {
            for pair in pieces.piece(id).windows(2) {
                if let &[left, right] = pair {
                    cuts.allow(left, right);
                }
            }
        }
        // Inside a character nothing is ever cut.
        for left in 0..=255 {
            for continuation in 0x80..0xC0 {
                cuts.allow(left, continuation);
            }
        }
        cuts
    }

    fn allow(&mut self, left: u8, right: u8) {
        let (word, bit) = place(left, right);
        if let Some(bits) = self.neighbours.get_mut(word) {
            *bits |= 1 << bit;
        }
    }

    fn separates(&self, left: u8, right: u8) -> bool {
        let (word, bit) = place(left, right);
        self.neighbours.get(word).is_some_and(|bits| bits >> bit & 1 == 0)
    }

    /// The first word of a text, and the rest.
    pub(super) fn split<'t>(&self, text: &'t str) -> (&'t str, &'t str) {
        let mut end = text
            .as_bytes()
            .windows(2)
            .take(WORD_BYTES)
            .position(|pair| matches!(pair, &[left, right] if self.separates(left, right)))
            .map_or(text.len().min(WORD_BYTES), |last| last + 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.split_at_checked(end).unwrap_or((text, ""))
    }
}

fn place(left: u8, right: u8) -> (usize, u32) {
    (usize::from(left) << 2 | usize::from(right) >> 6, u32::from(right) & 63)
}

/// Words of this text that were joined before, and where their ids stand in the result.
///
/// A word has one place by its hash and the newest word keeps it, so a bad case costs nothing but the joins.
pub(super) struct SeenWords {
    slots: Vec<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    /// The word and its length; 0 is no word.
    word: u128,
    first: usize,
    count: usize,
}

impl SeenWords {
    /// As many places as a text of this length can use.
    pub(super) fn new(text_bytes: usize) -> Self {
        let count = (text_bytes / 16).next_power_of_two().min(1 << 13);
        Self { slots: vec![Seen { word: 0, first: 0, count: 0 }; count] }
    }

    /// A word of up to 15 bytes as a number. Most are shorter, and long ones seldom come again.
    pub(super) fn key(word: &str) -> Option<u128> {
        let mut key = [0; 16];
        let (len, bytes) = key.split_last_mut()?;
        bytes.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
        *len = word.len() as u8;
        Some(u128::from_le_bytes(key))
    }

    fn slot(&mut self, key: u128) -> Option<&mut Seen> {
        // Fibonacci hashing of the two halves.
        let hash = (key as u64 ^ ((key >> 64) as u64).rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = (hash >> 40) as usize & (self.slots.len() - 1);
        self.slots.get_mut(place)
    }

    /// Appends the ids of a word seen before; false if it was not.
    pub(super) fn repeat(&mut self, key: u128, ids: &mut Vec<TokenId>) -> bool {
        let Some(seen) = self.slot(key).filter(|seen| seen.word == key) else { return false };
        ids.extend_from_within(seen.first..seen.first + seen.count);
        true
    }

    /// Notes that the ids from `first` on are those of this word.
    pub(super) fn remember(&mut self, key: u128, first: usize, ids: &[TokenId]) {
        if let Some(slot) = self.slot(key) {
            *slot = Seen { word: key, first, count: ids.len() - first };
        }
    }
}
