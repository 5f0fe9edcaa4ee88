//! Tokens that are cut out of a text as whole strings, before anything is joined.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::Special;
use super::pieces::{Kind, Pieces};
use crate::TokenId;

/// The control tokens of the Gemma family. Some files give them the type "user-defined" or "normal".
pub(super) const CONTROL: [&str; 24] = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|\"|>",
    "<|think|>",
    "<|channel>",
    "<channel|>",
    "<|turn>",
    "<turn|>",
    "<|image>",
    "<|audio>",
    "<|image|>",
    "<|audio|>",
    "<image|>",
    "<audio|>",
    "<|video|>",
];

/// Control tokens that end what a model says: of the text, of a turn (Gemma 4, Gemma 3), and where a tool has to answer.
pub(super) const END_OF_GENERATION: [&str; 4] = ["<eos>", "<turn|>", "<end_of_turn>", "<|tool_response>"];

/// Control tokens that a model's turn never holds: what only a prompt's writer sets, and the places of media.
pub(super) const NEVER_SAMPLED: [&str; 16] = [
    "<pad>",
    "<bos>",
    "<unk>",
    "<mask>",
    "<|tool>",
    "<tool|>",
    "<tool_response|>",
    "<|think|>",
    "<|turn>",
    "<|image>",
    "<|audio>",
    "<|image|>",
    "<|audio|>",
    "<image|>",
    "<audio|>",
    "<|video|>",
];

/// A trie of the spellings of control and user-defined tokens.
///
/// A search takes at most [`SPECIAL_TOKEN_BYTES`](crate::limits::SPECIAL_TOKEN_BYTES) steps from each place of the text,
/// whatever the vocabulary and the text are.
pub(super) struct Specials {
    /// Child of a node by the next byte. Node 0 is the root.
    edges: HashMap<(u32, u8), u32>,
    /// The token that ends at each node.
    ends: Vec<Option<(TokenId, Kind)>>,
    /// First bytes of what is cut out under `Special::Text` and under `Special::Parse`.
    first_text: [bool; 256],
    first_parse: [bool; 256],
}

impl Specials {
    pub(super) fn new(pieces: &Pieces) -> Self {
        let mut specials =
            Self { edges: HashMap::new(), ends: vec![None], first_text: [false; 256], first_parse: [false; 256] };
        for (id, kind) in pieces.iter().filter(|(_, kind)| matches!(kind, Kind::Control | Kind::UserDefined)) {
            // A valid spelling begins and ends between characters wherever it is found in a valid text.
            if let Ok(spelling) = std::str::from_utf8(pieces.piece(id)) {
                specials.insert(spelling.as_bytes(), id, kind);
            }
        }
        specials
    }

    fn insert(&mut self, spelling: &[u8], id: TokenId, kind: Kind) {
        let Some(&first) = spelling.first() else { return };
        let mut node = 0;
        for &byte in spelling {
            let new = self.ends.len() as u32;
            let child = *self.edges.entry((node, byte)).or_insert(new);
            if child == new {
                self.ends.push(None);
            }
            node = child;
        }
        // Of two tokens with one spelling the lower id counts.
        if let Some(end @ None) = self.ends.get_mut(node as usize) {
            *end = Some((id, kind));
        }
        for (table, modes) in [(&mut self.first_text, kind == Kind::UserDefined), (&mut self.first_parse, true)] {
            if let Some(slot) = table.get_mut(first as usize).filter(|_| modes) {
                *slot = true;
            }
        }
    }

    /// Cuts a text at its first special token, of several at one place the longest: what stands before it, the token,
    /// what comes after. `None` if there is none.
    pub(super) fn cut<'t>(&self, text: &'t str, special: Special) -> Option<(&'t str, TokenId, &'t str)> {
        let first = match special {
            Special::Text => &self.first_text,
            Special::Parse => &self.first_parse,
        };
        let bytes = text.as_bytes();
        let mut from = 0;
        loop {
            let rest = bytes.get(from..)?;
            let at = from + rest.iter().position(|&byte| first.get(byte as usize).is_some_and(|&is| is))?;
            if let Some((id, len)) = self.longest(bytes.get(at..)?, special) {
                let (before, found) = text.split_at_checked(at)?;
                return Some((before, id, found.get(len..)?));
            }
            from = at + 1;
        }
    }

    /// The longest special token that a text starts with, and its length.
    fn longest(&self, text: &[u8], special: Special) -> Option<(TokenId, usize)> {
        let (mut node, mut found) = (0, None);
        for (&byte, len) in text.iter().zip(1..) {
            let Some(&child) = self.edges.get(&(node, byte)) else { break };
            node = child;
            match self.ends.get(node as usize).copied().flatten() {
                Some((id, kind)) if special == Special::Parse || kind == Kind::UserDefined => found = Some((id, len)),
                _ => {}
            }
        }
        found
    }
}
