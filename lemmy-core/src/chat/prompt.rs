//! From a conversation to ids.

#![forbid(unsafe_code)]

use super::{Chat, ChatTemplate};
use crate::TokenId;
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// A prompt, ready to be read by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Its tokens, BOS included.
    pub ids: Vec<TokenId>,
    /// What the model's reply begins with.
    pub start: StartState,
    /// What a person should know: messages that had to be repaired, a stale template.
    pub warnings: Vec<String>,
}

impl Prompt {
    /// A prompt of the caller's own making.
    pub fn new(ids: Vec<TokenId>, start: StartState) -> Self {
        Self { ids, start, warnings: Vec::new() }
    }
}

/// Where a prompt ends, so what a reply begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartState {
    /// In a fresh model turn: the model may open a thought.
    #[default]
    Model,
    /// After an empty thought that is closed already: thinking is off.
    ClosedThought,
    /// Inside a thought.
    OpenThought,
}

impl ChatTemplate {
    /// The conversation as tokens, up to where the model is to speak. What users, tools and earlier replies said cannot
    /// become a control token, whatever it is.
    pub fn prompt(&self, tokenizer: &Tokenizer, chat: &Chat) -> Result<Prompt> {
        todo!("{tokenizer:?} {chat:?}")
    }
}
