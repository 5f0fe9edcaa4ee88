//! Messages to a prompt, and what a model says back to events.
//!
//! `template` renders messages with the file's own Jinja template, `prompt` turns that into ids so that nothing a user
//! wrote becomes a control token, `parser` reads a reply: thoughts, text, tool calls.

#![forbid(unsafe_code)]

mod engine;
mod guard;
mod json;
mod marks;
mod normalise;
mod parser;
mod bounded;
mod prompt;
mod python;
mod schema;
mod template;
mod versions;

use std::sync::Arc;

pub use self::json::{messages_from_json, messages_from_json_with_images, messages_to_json, tools_from_json};
pub use self::parser::{Control, Controls, Parsed, Parser, Piece, Zone};
pub use self::prompt::{Prompt, StartState};
pub use self::template::{ChatTemplate, RenderOptions};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// Instructions; the first message if there are any.
    System(String),
    /// What a person says and shows.
    User(Vec<Part>),
    /// What the model said.
    Assistant {
        /// The answer.
        text: String,
        /// The thoughts before it, if they are known.
        thinking: Option<String>,
        /// Calls that it made, in order.
        tool_calls: Vec<ToolCall>,
    },
    /// What a tool answered.
    ToolResult {
        /// The call's [`id`](ToolCall::id).
        call_id: String,
        /// The tool's name; may be empty if the id says it.
        name: String,
        /// The answer.
        output: ToolOutput,
    },
}

impl Message {
    /// A user's text.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User(vec![Part::Text(text.into())])
    }

    /// A model's answer.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant { text: text.into(), thinking: None, tool_calls: Vec::new() }
    }
}

/// Piece of a user's message.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image(Image),
}

/// A picture in its file's own bytes (PNG, JPEG, WebP, GIF, BMP). Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Arc<[u8]>,
    budget: Option<u16>,
}

impl Image {
    /// Takes a file's bytes; they are looked at when the picture is used.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { bytes: bytes.into(), budget: None }
    }

    /// Most soft tokens that the picture may take: 70, 140, 280, 560 or 1120; 280 when left out.
    pub fn budget(self, soft_tokens: u16) -> Self {
        Self { budget: Some(soft_tokens), ..self }
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The budget, if one was set.
    pub fn soft_tokens(&self) -> Option<u16> {
        self.budget
    }
}

/// A call that a model made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Unique within its conversation.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: the text of a JSON object.
    pub arguments_json: String,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolOutput {
    /// Plain text.
    Text(String),
    /// The text of a JSON value.
    Json(String),
}

impl ToolOutput {
    /// Its text, whichever it is.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Json(text) => text,
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Letters, digits, `_ - . : /`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON schema of its arguments: an object.
    pub parameters_json: String,
    /// Calls always parse and fit the schema: tokens are masked while a call is written (needs the feature `grammar`).
    pub strict: bool,
}

/// A whole conversation as a stateless client sends it.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    /// All messages, oldest first.
    pub messages: Vec<Message>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// Whether the model is asked to think.
    pub thinking: bool,
    /// Whether thoughts of earlier turns that led to tool calls are shown to the model again.
    pub preserve_thinking: bool,
}
