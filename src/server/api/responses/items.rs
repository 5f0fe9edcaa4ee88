//! The items of an answer.

use lemmy_core::ToolCall;
use serde_json::{Value, json};

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// Cut off.
    Incomplete,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What an item that comes in pieces consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Thought,
    Text,
}

impl Kind {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Thought => "rs_",
            Self::Text => "msg_",
        }
    }

    /// The one part of such an item.
    pub(super) fn part(self, text: &str, logprobs: &[Value]) -> Value {
        match self {
            Self::Thought => json!({ "type": "reasoning_text", "text": text }),
            Self::Text => json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": logprobs }),
        }
    }

    /// The item; one that has only begun has no part yet.
    pub(super) fn item(self, id: &str, text: &str, logprobs: &[Value], status: Status) -> Value {
        let parts = match status {
            Status::InProgress => Vec::new(),
            _ => vec![self.part(text, logprobs)],
        };
        match self {
            Self::Thought => {
                json!({ "id": id, "type": "reasoning", "summary": [], "content": parts, "status": status.name() })
            }
            Self::Text => {
                json!({ "id": id, "type": "message", "role": "assistant", "status": status.name(), "content": parts })
            }
        }
    }
}

/// A call; one that has only begun has no arguments yet.
pub(super) fn call(id: &str, call: &ToolCall, status: Status) -> Value {
    let arguments = if status == Status::InProgress { "" } else { &call.arguments_json };
    json!({
        "id": id,
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": status.name(),
    })
}
