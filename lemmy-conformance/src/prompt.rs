//! What a forward pass is fed: tokens, and blocks of soft tokens between them.

use std::ops::Range;

use lemmy_core::TokenId;

use crate::tiny::Rng;

/// A piece of a prompt.
#[derive(Debug, Clone)]
pub enum Segment {
    /// Token ids.
    Tokens(Vec<TokenId>),
    /// A block of soft tokens: rows of the hidden width that see each other in both directions where a layer allows it.
    Soft(Vec<f32>),
}

/// A whole prompt.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// Its pieces in order.
    pub segments: Vec<Segment>,
    /// Width of a soft token.
    pub hidden: usize,
}

impl Prompt {
    /// A prompt of tokens alone.
    pub fn tokens(ids: &[TokenId]) -> Self {
        Self { segments: vec![Segment::Tokens(ids.to_vec())], hidden: 0 }
    }

    /// `before` tokens, a block of `soft` soft tokens, `after` tokens; all random.
    pub fn with_soft_block(seed: u64, vocab: usize, hidden: usize, [before, soft, after]: [usize; 3]) -> Self {
        let mut rng = Rng::new(seed);
        let first = random_tokens(rng.next(), vocab, before);
        let rows = (0..soft * hidden).map(|_| rng.normal() as f32).collect();
        let last = random_tokens(rng.next(), vocab, after);
        Self { segments: vec![Segment::Tokens(first), Segment::Soft(rows), Segment::Tokens(last)], hidden }
    }

    /// The segments with the positions that they fill.
    pub fn places(&self) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let mut start = 0;
        self.segments.iter().map(move |segment| {
            let n = match segment {
                Segment::Tokens(ids) => ids.len(),
                Segment::Soft(rows) => rows.len() / self.hidden.max(1),
            };
            start += n;
            (segment, start - n..start)
        })
    }

    /// The block of soft tokens that a position lies in.
    pub fn block(&self, position: usize) -> Option<Range<usize>> {
        self.places()
            .find(|(segment, range)| matches!(segment, Segment::Soft(_)) && range.contains(&position))
            .map(|(_, range)| range)
    }
}

/// Random tokens of a vocabulary, its first and its last one among them.
pub fn random_tokens(seed: u64, vocab: usize, n: usize) -> Vec<TokenId> {
    let mut rng = Rng::new(seed);
    let last = vocab as u64 - 1;
    (0..n as u64)
        .map(|i| match i {
            1 => last as TokenId,
            2 => 0,
            _ => (rng.next() % (last + 1)) as TokenId,
        })
        .collect()
}
