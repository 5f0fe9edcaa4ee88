//! Replies: from a prompt to events and back into the conversation.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod stage;

mod chat;
mod events;
#[cfg(feature = "grammar")]
mod grammar;
mod options;
mod session;
mod speculation;
