//! A reply in the making: from one row of logits to the next token, and from tokens to events.
//!
//! `Reply` knows nothing of the forward pass. It says which tokens it wants evaluated and takes their logits; a session
//! or a scheduler does the evaluating. `options` is what a caller may ask for, `event` what comes out. `guide` decides
//! which tokens may come, `transcript` makes events of them, `stop` finds stop strings, `lookup` guesses ahead.

#![forbid(unsafe_code)]

mod event;
mod guide;
mod lookup;
mod options;
mod reply;
mod stop;
mod transcript;

pub use self::event::{Event, Finish, FinishReason, TokenEvent, Usage};
pub use self::options::{GenerateOptions, StepHook, Thinking, ToolChoice};
pub(crate) use self::reply::{Opening, Reply};
