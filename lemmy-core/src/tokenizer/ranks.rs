//! Which two neighbours may be joined, how strongly, and what they become.

#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

use super::pieces::{Kind, NO_TOKEN, Pieces, push_printed};
use super::vocabulary::{List, MERGES, SCORES, key_error};
use crate::TokenId;
use crate::error::{Result, try_vec};

/// A possible join: the lower the rank, the sooner it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) rank: u32,
    pub(super) id: TokenId,
}

/// Byte-pair merges by id: a hash table from two neighbours to their merge.
pub(super) struct MergeRanks {
    /// Open addressing; half of the slots at least are free.
    slots: Vec<Merge>,
    /// Odd and random: a file cannot be made so that its merges collide ("multiply-shift" is a universal hash).
    multiplier: u64,
    shift: u32,
}

#[derive(Clone, Copy)]
struct Merge {
    left: TokenId,
    right: TokenId,
    join: Join,
}

const FREE: Merge = Merge { left: NO_TOKEN, right: NO_TOKEN, join: Join { rank: 0, id: NO_TOKEN } };

impl MergeRanks {
    /// Reads "LEFT RIGHT" lines; the place in the list is the rank.
    ///
    /// Both sides and what they make must be tokens with a text. A merge that would use or make a control or user-defined
    /// token is left out: such tokens are never the work of joining. Of equal pairs the first counts.
    pub(super) fn new(file: &str, merges: List<'_, &[u8]>, pieces: &Pieces) -> Result<Self> {
        // First all lines, then all of the table: each part stays in the processor's cache.
        let mut read = try_vec(merges.len, FREE, "merges")?;
        let mut joined = Vec::new();
        for ((merge, line), rank) in read.iter_mut().zip(merges.items).zip(0..) {
            let error = |expected: &str| {
                key_error(file, MERGES, format!("merge {rank} `{:.64}`", String::from_utf8_lossy(line)), expected)
            };
            let (left, right) = split_merge(line).ok_or_else(|| error("two tokens and a space between them"))?;
            joined.clear();
            push_printed(left, &mut joined);
            let middle = joined.len();
            push_printed(right, &mut joined);
            let (left, right) = joined.split_at_checked(middle).unwrap_or_default();
            let (Some(left), Some(right)) = (pieces.find(left), pieces.find(right)) else {
                return Err(error("two tokens of the vocabulary"));
            };
            let id = pieces.find(&joined).ok_or_else(|| error("a pair that makes a token of the vocabulary"))?;
            if [left, right, id].iter().all(|&id| pieces.kind(id) == Some(Kind::Normal)) {
                *merge = Merge { left, right, join: Join { rank, id } };
            }
        }

        let count = merges.len.max(1).next_power_of_two() * 2;
        let mut ranks = Self {
            slots: try_vec(count, FREE, "merge table")?,
            multiplier: RandomState::new().hash_one(0) | 1,
            shift: u64::BITS - count.trailing_zeros(),
        };
        for merge in read.into_iter().filter(|merge| merge.left != NO_TOKEN) {
            ranks.insert(merge);
        }
        Ok(ranks)
    }

    fn insert(&mut self, merge: Merge) {
        let place = self.place(merge.left, merge.right);
        if let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.left == NO_TOKEN) {
            *slot = merge;
        }
    }

    /// The slot of a pair, or the free one where it would be.
    fn place(&self, left: TokenId, right: TokenId) -> usize {
        let pair = u64::from(left) << 32 | u64::from(right);
        let mut place = (pair.wrapping_mul(self.multiplier) >> self.shift) as usize;
        while let Some(slot) = self.slots.get(place) {
            if slot.left == NO_TOKEN || (slot.left == left && slot.right == right) {
                break;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }

    pub(super) fn join(&self, left: TokenId, right: TokenId) -> Option<Join> {
        if left == NO_TOKEN || right == NO_TOKEN {
            return None;
        }
        self.slots.get(self.place(left, right)).map(|slot| slot.join).filter(|join| join.id != NO_TOKEN)
    }

    /// What the merges can make.
    pub(super) fn results(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.slots.iter().map(|slot| slot.join.id).filter(|&id| id != NO_TOKEN)
    }
}

/// At the first space that is not the first byte: a left side is never empty.
fn split_merge(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().skip(1).position(|&byte| byte == b' ')? + 1;
    let (left, right) = line.split_at_checked(space)?;
    Some((left, right.strip_prefix(b" ").filter(|right| !right.is_empty())?))
}

/// SentencePiece scores as ranks: the highest score has the lowest rank.
pub(super) struct ScoreRanks {
    ranks: Vec<u32>,
}

impl ScoreRanks {
    pub(super) fn new(file: &str, scores: List<'_, f64>, vocab: usize) -> Result<Self> {
        if scores.len != vocab {
            let found = format!("{} scores", scores.len);
            return Err(key_error(file, SCORES, found, format!("{vocab}, one per token")));
        }
        let mut ranks = try_vec(vocab, 0, "token ranks")?;
        for ((slot, score), id) in ranks.iter_mut().zip(scores.items).zip(0..) {
            let score = score as f32;
            if !score.is_finite() {
                return Err(key_error(file, SCORES, format!("{score} for token {id}"), "finite numbers"));
            }
            *slot = descending(score);
        }
        Ok(Self { ranks })
    }

    /// Two neighbours are joined if what they spell together is a normal token.
    pub(super) fn join(&self, text: &[u8], pieces: &Pieces) -> Option<Join> {
        let id = pieces.find_normal(text)?;
        Some(Join { rank: *self.ranks.get(id as usize)?, id })
    }
}

/// A number that grows as the score falls, equal for equal scores.
fn descending(score: f32) -> u32 {
    // IEEE 754 numbers of one sign are ordered as their bits are. Adding 0 turns -0 into 0, its equal.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}
