//! A reply's tokens to thoughts, text and tool calls.

#![forbid(unsafe_code)]

use super::StartState;
use crate::TokenId;
use crate::tokenizer::Tokenizer;

/// The control tokens that structure a reply; `None` where a vocabulary lacks one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// `<|channel>`
    pub channel_open: Option<TokenId>,
    /// `<channel|>`
    pub channel_close: Option<TokenId>,
    /// `<|tool_call>`
    pub call_open: Option<TokenId>,
    /// `<tool_call|>`
    pub call_close: Option<TokenId>,
    /// `<|"|>`
    pub quote: Option<TokenId>,
    /// What ends a reply.
    pub ends: Vec<TokenId>,
}

impl Controls {
    /// Finds them by their text.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            channel_open: tokenizer.find("<|channel>"),
            channel_close: tokenizer.find("<channel|>"),
            call_open: tokenizer.find("<|tool_call>"),
            call_close: tokenizer.find("<tool_call|>"),
            quote: tokenizer.find("<|\"|>"),
            ends: tokenizer.end_of_generation().to_vec(),
        }
    }

    /// Which of them a token is; `None` for text. Control tokens that structure nothing are [`Control::Other`].
    pub fn of(&self, tokenizer: &Tokenizer, id: TokenId) -> Option<Control> {
        let is = |known: Option<TokenId>| known == Some(id);
        match () {
            () if self.ends.contains(&id) => Some(Control::End),
            () if is(self.channel_open) => Some(Control::ChannelOpen),
            () if is(self.channel_close) => Some(Control::ChannelClose),
            () if is(self.call_open) => Some(Control::CallOpen),
            () if is(self.call_close) => Some(Control::CallClose),
            () if is(self.quote) => Some(Control::Quote),
            () if tokenizer.is_control(id) => Some(Control::Other),
            () => None,
        }
    }
}

/// A control token in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// `<|channel>`
    ChannelOpen,
    /// `<channel|>`
    ChannelClose,
    /// `<|tool_call>`
    CallOpen,
    /// `<tool_call|>`
    CallClose,
    /// `<|"|>`
    Quote,
    /// A token that ends the reply.
    End,
    /// Any other.
    Other,
}

/// What goes into a [`Parser`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Decoded text, cut anywhere between characters.
    Text(&'t str),
    /// A control token.
    Control(Control),
}

/// What comes out of a [`Parser`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parsed {
    /// More of the thoughts.
    Thinking(String),
    /// More of the answer.
    Text(String),
    /// A whole call; `arguments_json` is the text of a JSON object.
    ToolCall {
        /// The tool's name.
        name: String,
        /// Its arguments.
        arguments_json: String,
    },
    /// A fault that was repaired or shown as text; each name once.
    Warning {
        /// A name that does not change, such as `malformed_call`.
        name: &'static str,
        /// The raw text of a call that was given up; empty otherwise.
        raw: String,
    },
}

/// Where in a reply a parser stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// In the answer.
    Text,
    /// In a thought.
    Thought,
    /// In a tool call.
    Call,
}

/// Reads a reply piece by piece. Nothing that it is fed is an error.
#[derive(Debug)]
pub struct Parser {
    zone: Zone,
}

impl Parser {
    /// For a reply that begins so.
    pub fn new(start: StartState) -> Self {
        Self { zone: if start == StartState::OpenThought { Zone::Thought } else { Zone::Text } }
    }

    /// Where it stands.
    pub fn zone(&self) -> Zone {
        self.zone
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: Piece<'_>, out: &mut Vec<Parsed>) {
        todo!("{piece:?} {out:?}")
    }

    /// The reply is over without an end token (length, cancel, stop string): gives out what is still held back.
    pub fn finish(&mut self, out: &mut Vec<Parsed>) {
        todo!("{out:?}")
    }
}
