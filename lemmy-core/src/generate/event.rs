//! What a reply consists of.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::TokenId;
use crate::chat::ToolCall;

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
    /// One sampled token; only if log-probabilities were asked for. Comes before the text that it makes.
    Token(TokenEvent),
    /// Something a person should know and that did not stop the reply.
    Warning(String),
    /// The reply is over; the last event.
    Finished(Finish),
}

/// One sampled token.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TokenEvent {
    /// The token.
    pub id: TokenId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability in the model's own distribution.
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
    /// The caller's cancel token was triggered, a hook answered `Break`, or [`stop`](crate::Session::stop) was called.
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
    /// Tokens generated, the end token included.
    pub generated: usize,
    /// Of these, in thoughts.
    pub thinking: usize,
    /// Tokens guessed ahead.
    pub drafted: usize,
    /// Of these, right.
    pub accepted: usize,
    /// Time to read the prompt.
    pub prefill: Duration,
    /// Time to generate.
    pub decode: Duration,
}
