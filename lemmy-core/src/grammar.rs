//! What a model may say next: token masks from JSON schemas, regular expressions, Lark grammars and tool declarations.
//!
//! A [`Grammars`] knows a vocabulary; a [`Matcher`] follows one reply. A mask holds exactly the tokens after which the
//! text so far can still become one of the grammar's texts, however it is cut into tokens.
//!
//! The types are always here; the engine behind them, llguidance, needs the feature `grammar`. Without it nothing can
//! be compiled.
//!
//! Reading order: `vocabulary` (tokens as the engine wants them), `schema` (bounds of JSON schemas), `text` and `combine`
//! (what keywords mean), `lark` (the text of a grammar), `call` (tools to a grammar), `engine` (compile, follow).

#![forbid(unsafe_code)]

#[cfg(feature = "grammar")]
mod vocabulary;
#[cfg(feature = "grammar")]
mod schema;
#[cfg(feature = "grammar")]
mod text;
#[cfg(feature = "grammar")]
mod combine;
#[cfg(feature = "grammar")]
mod lark;
#[cfg(feature = "grammar")]
mod call;
#[cfg(feature = "grammar")]
mod engine;
#[cfg(not(feature = "grammar"))]
#[path = "grammar/absent.rs"]
mod engine;

use crate::TokenId;
use crate::chat::{Controls, Tool};
use crate::error::Result;
use crate::sampler::TokenMask;
use crate::tokenizer::Tokenizer;

/// What the answer must look like. Thoughts are never constrained.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// JSON that fits this JSON schema; `{"type":"object"}` for any JSON object.
    ///
    /// Between tokens of JSON there are at most two line breaks and 32 blanks. Properties come in the order of the
    /// schema. `$ref` works within the schema (`#/…`). What of the schema cannot be enforced is refused by name, but
    /// for two things: `oneOf` lets a text through that fits several of its branches, and keywords that JSON Schema
    /// does not define say nothing.
    JsonSchema(String),
    /// Text that this regular expression (in the syntax of the crate `regex`, without look-around) matches as a whole.
    Regex(String),
    /// Text of this Lark grammar (llguidance's dialect) from its rule `start`.
    Lark(String),
}

/// Compiles grammars for one vocabulary. Made once per model; shared by its sessions and threads.
pub struct Grammars {
    engine: engine::Engine,
}

impl Grammars {
    /// Prepares a vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported) without the feature `grammar`, or if the vocabulary is too
    /// large for the engine.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        Ok(Self { engine: engine::Engine::new(tokenizer)? })
    }

    /// A matcher for an answer. It ends with one of the tokens that end a reply.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) named `constraint`, with what is wrong: the text does not parse, is
    /// too large or too complex, asks for what cannot be enforced, or no answer can satisfy it.
    pub fn answer(&self, constraint: &Constraint) -> Result<Matcher> {
        Ok(Matcher { follower: self.engine.answer(constraint)? })
    }

    /// A matcher for the inside of one tool call, from behind `<|tool_call>` to `<tool_call|>` inclusive, with any of
    /// these tools.
    ///
    /// A call always parses. Its arguments fit the tool's schema; an object that names its properties has no others
    /// unless the schema says `additionalProperties`, and they come in the order in which the template prints them. Not
    /// promised: that arguments fit only one branch of a `oneOf`, and that a property which no schema names comes once.
    /// Some texts of a `format` and numbers of more than 40 digits are left out.
    ///
    /// For a tool that is not [`strict`](Tool::strict) and whose schema cannot be enforced, any arguments will do.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) named `tools`, with the tool and the keyword that cannot be enforced:
    /// `not`, `if`, `contains`, `propertyNames`, `patternProperties`, `minProperties`, `maxProperties`, `uniqueItems`,
    /// `dependentRequired` and their like, an unknown `format`, look-around in a `pattern`, a `$ref` out of the schema.
    /// [`Error::Unsupported`](crate::Error::Unsupported) if the vocabulary has no tokens for calls.
    pub fn tool_call(&self, tools: &[Tool], controls: &Controls) -> Result<Matcher> {
        Ok(Matcher { follower: self.engine.tool_call(tools, controls)? })
    }
}

/// Follows a text token by token and says what may come next.
///
/// A clone goes its own way from where it was made.
#[derive(Clone)]
pub struct Matcher {
    follower: engine::Follower,
}

impl Matcher {
    /// Tokens that may come next; none when [`is_finished`](Self::is_finished).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) named `constraint` if the grammar turns out to be too complex at
    /// this place, or leaves no token.
    pub fn allowed(&mut self) -> Result<&TokenMask> {
        self.follower.allowed()
    }

    /// Takes a token that [`allowed`](Self::allowed) permits.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) named `token` if it is not permitted: the matcher stays where it
    /// was. Named `constraint` as for `allowed`.
    pub fn accept(&mut self, id: TokenId) -> Result<()> {
        self.follower.accept(id)
    }

    /// Takes back the last tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) if so many were not accepted, or the Lark grammar counts tokens
    /// (`max_tokens`).
    pub fn rollback(&mut self, tokens: usize) -> Result<()> {
        self.follower.rollback(tokens)
    }

    /// Whether nothing more can come.
    pub fn is_finished(&self) -> bool {
        self.follower.is_finished()
    }
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}
