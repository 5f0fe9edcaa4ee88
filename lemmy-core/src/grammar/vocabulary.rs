//! A vocabulary as the engine wants it: the bytes of each token, in a prefix tree.

#![forbid(unsafe_code)]

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};

use crate::TokenId;
use crate::error::{Error, Result};
use crate::limits;
use crate::tokenizer::Tokenizer;

/// Starts a control token's name; no byte of valid UTF-8.
const MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// Builds the tree.
///
/// The engine is told that it cannot tokenise, so that it never insists on one way to cut a text into tokens: a mask
/// allows every token that keeps the text within the grammar, and the model chooses.
pub(super) fn token_env(tokenizer: &Tokenizer) -> Result<TokEnv> {
    let words = words(tokenizer);
    let nodes = nodes(&words);
    if nodes >= limits::GRAMMAR_NODES {
        return Err(Error::Unsupported(format!(
            "grammars for this vocabulary: {nodes} different beginnings of tokens, at most {}",
            limits::GRAMMAR_NODES
        )));
    }
    let ends = tokenizer.end_of_generation();
    let first_end = ends.first().copied().unwrap_or(INVALID_TOKEN);
    let mut tree = TokTrie::from(&TokRxInfo::new(words.len() as u32, first_end), &words);
    if !ends.is_empty() {
        tree = tree.with_eos_tokens(ends);
    }
    Ok(Arc::new(ApproximateTokEnv::new(tree)))
}

/// Bytes of each token; empty for those that no text can ask for.
fn words(tokenizer: &Tokenizer) -> Vec<Vec<u8>> {
    let ids = 0..tokenizer.vocab_size() as TokenId;
    let mut words: Vec<Vec<u8>> = ids.map(|id| word(tokenizer, id)).collect();
    // The tree looks through all twins of a token whenever one is added.
    let mut last = (Vec::new(), 0);
    for id in sorted(&words) {
        let Some(word) = words.get_mut(id) else { continue };
        match *word == last.0 {
            true => last.1 += 1,
            false => last = (word.clone(), 1),
        }
        if last.1 > limits::GRAMMAR_TWINS {
            word.clear();
        }
    }
    words
}

fn word(tokenizer: &Tokenizer, id: TokenId) -> Vec<u8> {
    let piece = tokenizer.piece(id);
    if piece.len() > limits::GRAMMAR_TOKEN_BYTES || piece.contains(&MARKER) {
        return Vec::new();
    }
    match tokenizer.is_control(id) {
        false => piece.to_vec(),
        true if is_name(piece) => [&[MARKER], piece].concat(),
        true => Vec::new(),
    }
}

/// Whether a Lark grammar can write a control token so; one with another spelling can still be written by its number.
fn is_name(piece: &[u8]) -> bool {
    let inner = piece.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
    inner.is_some_and(|inner| {
        !inner.is_empty() && !inner.starts_with(b"[") && !inner.iter().any(|b| b"<> \t\r\n".contains(b))
    })
}

/// Places of the words in order of their bytes, lower id first among twins.
fn sorted(words: &[Vec<u8>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..words.len()).collect();
    order.sort_by_key(|&id| words.get(id));
    order
}

/// Nodes of the words' prefix tree.
fn nodes(words: &[Vec<u8>]) -> usize {
    let mut last: &[u8] = &[];
    let mut nodes = 1;
    for word in sorted(words).into_iter().filter_map(|id| words.get(id)) {
        let shared = last.iter().zip(word).take_while(|(a, b)| a == b).count();
        // A twin gets a node of its own.
        nodes += (word.len() - shared).max(usize::from(!word.is_empty()));
        last = word;
    }
    nodes
}
