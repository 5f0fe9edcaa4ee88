//! Messages and tools in the JSON that the whole field writes (OpenAI's).

#![forbid(unsafe_code)]

use super::{Message, Tool};
use crate::error::Result;

/// Reads a JSON array of messages.
pub fn messages_from_json(json: &str) -> Result<Vec<Message>> {
    todo!("{json}")
}

/// Writes messages so that [`messages_from_json`] gives the same back.
pub fn messages_to_json(messages: &[Message]) -> Result<String> {
    todo!("{messages:?}")
}

/// Reads a JSON array of tools.
pub fn tools_from_json(json: &str) -> Result<Vec<Tool>> {
    todo!("{json}")
}
