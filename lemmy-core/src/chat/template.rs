//! The chat template.

#![forbid(unsafe_code)]

use super::Chat;
use crate::error::Result;
use crate::gguf::Gguf;

/// A model's chat template: Jinja, rendered with bounds on time, depth and size.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
}

/// Options for rendering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderOptions {
    /// End where the model is to speak.
    pub add_generation_prompt: bool,
}

impl ChatTemplate {
    /// The file's own template (`tokenizer.chat_template`), the canonical one if it has none.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let source = gguf.get("tokenizer.chat_template").and_then(|v| v.as_str()).unwrap_or_default();
        Self::new(source)
    }

    /// A template of the caller's.
    pub fn new(source: impl Into<String>) -> Result<Self> {
        Ok(Self { source: source.into() })
    }

    /// Its Jinja text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What a person should know about it, for instance that a newer version exists.
    pub fn warning(&self) -> Option<String> {
        None
    }

    /// The prompt's text, as it is: control strings in what users wrote are not told from the template's own. For people
    /// to look at; [`prompt`](Self::prompt) is for the model.
    pub fn render(&self, chat: &Chat, options: &RenderOptions) -> Result<String> {
        todo!("{chat:?} {options:?}")
    }
}
