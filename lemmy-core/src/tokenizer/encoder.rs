//! Text to ids: the characters of a word, then joins of neighbours, strongest first, until none is left.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pieces::{Kind, NO_TOKEN, Pieces};
use super::ranks::{Join, MergeRanks, ScoreRanks};
use super::vocabulary::{Rule, TOKENS, Vocabulary};
use super::words::{SeenWords, WordCuts};
use crate::TokenId;
use crate::error::{Result, try_vec};

/// Joins pieces of text into tokens.
pub(super) struct Encoder {
    ranks: Ranks,
    cuts: WordCuts,
    /// The token of each character by its code point, up to the last that has one.
    chars: Vec<TokenId>,
    /// The token of each byte, for characters that have none.
    bytes: Vec<TokenId>,
}

enum Ranks {
    Merges(MergeRanks),
    Scores(ScoreRanks),
}

/// What one call of encoding works in.
pub(super) struct Scratch {
    symbols: Vec<Symbol>,
    candidates: BinaryHeap<Reverse<Candidate>>,
    seen: SeenWords,
}

impl Scratch {
    pub(super) fn new(text_bytes: usize) -> Self {
        Self { symbols: Vec::new(), candidates: BinaryHeap::new(), seen: SeenWords::new(text_bytes) }
    }
}

/// A stretch of the word: a character or what has been joined so far, in a list linked by index.
#[derive(Clone, Copy)]
struct Symbol {
    /// `NO_TOKEN` for a character without one.
    id: TokenId,
    start: u32,
    /// 0 once the symbol has gone into its left neighbour.
    end: u32,
    previous: u32,
    next: u32,
}

/// End of the list of symbols.
const NONE: u32 = u32::MAX;

/// A join that was possible when it was noted. Ordered as joins are done: by rank, then from left to right; the ids depend
/// on that order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    /// Where the right symbol ended. Symbols only grow, so two neighbours that still span the same bytes are the same two.
    end: u32,
    id: TokenId,
}

impl Encoder {
    pub(super) fn new(vocabulary: Vocabulary<'_>, pieces: &Pieces) -> Result<Self> {
        let chars = char_tokens(pieces)?;
        let bytes = byte_tokens(&vocabulary, pieces)?;
        let (ranks, cuts) = match vocabulary.rule {
            Rule::Merges(merges) => {
                let ranks = MergeRanks::new(vocabulary.file, merges, pieces)?;
                let cuts = WordCuts::new(pieces, ranks.results());
                (Ranks::Merges(ranks), cuts)
            }
            Rule::Scores(scores) => {
                let ranks = ScoreRanks::new(vocabulary.file, scores, pieces.len())?;
                let normal = pieces.iter().filter(|&(_, kind)| kind == Kind::Normal).map(|(id, _)| id);
                (Ranks::Scores(ranks), WordCuts::new(pieces, normal))
            }
        };
        Ok(Self { ranks, cuts, chars, bytes })
    }

    /// Appends the ids of a text without special tokens, its spaces written as spaces.
    pub(super) fn encode(&self, text: &str, pieces: &Pieces, scratch: &mut Scratch, ids: &mut Vec<TokenId>) {
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = self.cuts.split(rest);
            rest = after;
            let key = SeenWords::key(word);
            if key.is_some_and(|key| scratch.seen.repeat(key, ids)) {
                continue;
            }
            let first = ids.len();
            self.encode_word(word, pieces, scratch, ids);
            if let Some(key) = key {
                scratch.seen.remember(key, first, ids);
            }
        }
    }

    fn encode_word(&self, word: &str, pieces: &Pieces, scratch: &mut Scratch, ids: &mut Vec<TokenId>) {
        let Scratch { symbols, candidates, .. } = scratch;
        self.split_characters(word, symbols);
        let joins = Joins { ranks: &self.ranks, pieces, word: word.as_bytes() };
        joins.run(symbols, candidates);

        let mut next = symbols.first().map_or(NONE, |_| 0);
        while let Some(symbol) = symbols.get(next as usize) {
            match symbol.id {
                NO_TOKEN => {
                    let bytes = joins.word.get(symbol.start as usize..symbol.end as usize).unwrap_or_default();
                    ids.extend(bytes.iter().filter_map(|&byte| self.bytes.get(usize::from(byte))));
                }
                id => ids.push(id),
            }
            next = symbol.next;
        }
    }

    fn split_characters(&self, word: &str, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        symbols.extend(word.char_indices().zip(0u32..).map(|((start, c), i)| Symbol {
            id: self.chars.get(c as usize).copied().unwrap_or(NO_TOKEN),
            start: start as u32,
            end: (start + c.len_utf8()) as u32,
            previous: i.wrapping_sub(1),
            next: i + 1,
        }));
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
    }
}

/// The joins of one word. O(n log n): each join takes one symbol away and notes at most two new candidates.
struct Joins<'a> {
    ranks: &'a Ranks,
    pieces: &'a Pieces,
    word: &'a [u8],
}

impl Joins<'_> {
    fn run(&self, symbols: &mut [Symbol], candidates: &mut BinaryHeap<Reverse<Candidate>>) {
        candidates.clear();
        candidates.extend(
            symbols
                .windows(2)
                .zip(0u32..)
                .filter_map(|(pair, left)| match pair {
                    [a, b] => self.candidate(left, a, b),
                    _ => None,
                })
                .map(Reverse),
        );
        while let Some(Reverse(join)) = candidates.pop() {
            let Some(left) = self.join(symbols, join) else { continue };
            for pair in [(left.previous, join.left), (join.left, left.next)] {
                if let (Some(a), Some(b)) = (symbols.get(pair.0 as usize), symbols.get(pair.1 as usize)) {
                    candidates.extend(self.candidate(pair.0, a, b).map(Reverse));
                }
            }
        }
    }

    /// What two neighbours can become; `left` is the index of the first.
    fn candidate(&self, left: u32, a: &Symbol, b: &Symbol) -> Option<Candidate> {
        let Join { rank, id } = match self.ranks {
            Ranks::Merges(ranks) => ranks.join(a.id, b.id)?,
            Ranks::Scores(ranks) => ranks.join(self.word.get(a.start as usize..b.end as usize)?, self.pieces)?,
        };
        Some(Candidate { rank, left, end: b.end, id })
    }

    /// Does a join if both of its symbols are still there as they were; gives the joined symbol.
    fn join(&self, symbols: &mut [Symbol], join: Candidate) -> Option<Symbol> {
        let left = *symbols.get(join.left as usize).filter(|left| left.end != 0)?;
        let right = symbols.get_mut(left.next as usize).filter(|right| right.end == join.end)?;
        right.end = 0;
        let joined = Symbol { id: join.id, end: join.end, next: right.next, ..left };
        if let Some(after) = symbols.get_mut(joined.next as usize) {
            after.previous = join.left;
        }
        *symbols.get_mut(join.left as usize)? = joined;
        Some(joined)
    }
}

fn char_tokens(pieces: &Pieces) -> Result<Vec<TokenId>> {
    let mut found = Vec::new();
    for (id, _) in pieces.iter().filter(|&(_, kind)| kind == Kind::Normal) {
        let piece = pieces.piece(id);
        let mut chars = std::str::from_utf8(piece).unwrap_or_default().chars();
        if let (Some(c), None) = (chars.next(), chars.next())
            && pieces.find(piece) == Some(id)
        {
            found.push((c as usize, id));
        }
    }
    let last = found.iter().map(|&(c, _)| c).max();
    let mut chars = try_vec(last.map_or(0, |last| last + 1), NO_TOKEN, "character tokens")?;
    for (c, id) in found {
        if let Some(slot) = chars.get_mut(c) {
            *slot = id;
        }
    }
    Ok(chars)
}

/// The token of each byte; the unknown token where there is none.
fn byte_tokens(vocabulary: &Vocabulary<'_>, pieces: &Pieces) -> Result<Vec<TokenId>> {
    let mut bytes = try_vec(256, NO_TOKEN, "byte tokens")?;
    for (id, _) in pieces.iter().filter(|&(_, kind)| kind == Kind::Byte) {
        if let &[byte] = pieces.piece(id)
            && let Some(slot) = bytes.get_mut(usize::from(byte)).filter(|slot| **slot == NO_TOKEN)
        {
            *slot = id;
        }
    }
    for (slot, byte) in bytes.iter_mut().zip(0u8..=255).filter(|(slot, _)| **slot == NO_TOKEN) {
        *slot = vocabulary.unknown.ok_or_else(|| {
            let found = format!("no token <0x{byte:02X}> and no unknown token");
            vocabulary.error(TOKENS, found, "all of <0x00> to <0xFF>, or `tokenizer.ggml.unknown_token_id`")
        })?;
    }
    Ok(bytes)
}
