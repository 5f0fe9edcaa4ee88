//! What a reply consists of.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::TokenId;
use crate::chat::{ToolCall, Zone};

/// One step of a reply.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The prompt is being read, in tokens; reused ones are not counted.
    Prefill {
        /// Read so far.
        done: usize,
        /// To be read.
        total: usize,
    },
    /// More of the thoughts.
    Thinking(String),
    /// More of the answer.
    Text(String),
    /// A whole tool call.
    ToolCall(ToolCall),
    /// One token; only if log-probabilities were asked for. Comes before the text that it makes.
    Token(TokenEvent),
    /// Something a person should know and that did not stop the reply: a sentence about the prompt, or the name of a
    /// fault in what the model said, such as `malformed_call`. A tool call that cannot be read has come as text before.
    Warning(String),
    /// The reply is over; the last event.
    Finished(Finish),
}

/// One token of a reply, control tokens and the end token included.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TokenEvent {
    /// The token.
    pub id: TokenId,
    /// Its bytes, as [`Tokenizer::piece`](crate::Tokenizer::piece) has them: not always whole characters.
    pub bytes: Vec<u8>,
    /// Where it stands; the marks of a thought and of a call belong to it.
    pub zone: Zone,
    /// Natural logarithm of its probability in the model's own distribution (before bias, grammar, penalties, cuts and
    /// temperature), if that was asked for.
    pub logprob: Option<f64>,
    /// The most probable tokens, best first, with theirs.
    pub top: Vec<(TokenId, f64)>,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// Which of the stop strings came, if one did: its place in [`GenerateOptions::stop`](crate::GenerateOptions::stop).
    pub stop: Option<usize>,
    /// The seed that was used: with it and the same options, the same prompt gives the same reply again.
    pub seed: u64,
    /// What it took.
    pub usage: Usage,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model was done, or a stop string came.
    Stop,
    /// `max_tokens` were generated.
    Length,
    /// The model waits for the answers of tools.
    ToolCalls,
    /// The cancel token was triggered, a hook answered `Break`, or [`stop`](crate::Session::stop) was called.
    Cancelled,
    /// No room is left in the session.
    ContextFull,
}

/// What a reply took, in tokens and time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Of these, already in the cache.
    pub cached: usize,
    /// Of the prompt's tokens, soft tokens of pictures; the marks around a picture do not count.
    pub image_tokens: usize,
    /// Tokens generated, the end token included.
    pub generated: usize,
    /// Of these, in thoughts, their marks included.
    pub thinking: usize,
    /// Tokens guessed ahead.
    pub drafted: usize,
    /// Of these, right.
    pub accepted: usize,
    /// Time of the forward passes that read the prompt, up to the first token; looking at its pictures included.
    pub prefill: Duration,
    /// Time of the forward passes after that, sampling included. What the caller does between two steps is not counted.
    pub decode: Duration,
}
