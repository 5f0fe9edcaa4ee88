//! What a model may say next: token masks from JSON schemas, regular expressions, Lark grammars and tool declarations.
//!
//! The types are always here; the engine behind them needs the feature `grammar`.

#![forbid(unsafe_code)]

use crate::TokenId;
use crate::chat::{Controls, Tool};
use crate::error::Result;
use crate::sampler::TokenMask;
use crate::tokenizer::Tokenizer;

/// What the answer must look like. Thoughts are never constrained.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// JSON that fits this JSON schema.
    JsonSchema(String),
    /// Text that this regular expression matches as a whole.
    Regex(String),
    /// Text of this Lark grammar (llguidance's dialect); `start` is its first rule.
    Lark(String),
}

/// Compiles grammars for one vocabulary. Made once per model; shared by its sessions.
pub struct Grammars {}

impl Grammars {
    /// Prepares a vocabulary.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        todo!("{tokenizer:?}")
    }

    /// A matcher for an answer. It ends with one of the tokens that end a reply.
    pub fn answer(&self, constraint: &Constraint) -> Result<Matcher> {
        todo!("{constraint:?}")
    }

    /// A matcher for the inside of one tool call, from behind `<|tool_call>` to `<tool_call|>` inclusive, with any of
    /// these tools.
    pub fn tool_call(&self, tools: &[Tool], controls: &Controls) -> Result<Matcher> {
        todo!("{tools:?} {controls:?}")
    }
}

/// Follows a text token by token and says what may come next.
pub struct Matcher {}

impl Matcher {
    /// Tokens that may come next.
    pub fn allowed(&mut self) -> Result<&TokenMask> {
        todo!()
    }

    /// Takes a token that [`allowed`](Self::allowed) permits.
    pub fn accept(&mut self, id: TokenId) -> Result<()> {
        todo!("{id}")
    }

    /// Whether nothing more can come.
    pub fn is_finished(&self) -> bool {
        todo!()
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").finish_non_exhaustive()
    }
}
