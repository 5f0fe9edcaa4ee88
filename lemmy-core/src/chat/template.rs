//! The chat template.

#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::Chat;
use super::engine::Engine;
use super::marks::Marked;
use super::normalise::{Habits, Normal, normalise};
use super::versions;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// The newest template of Gemma 4 that is known, by Google, under Apache-2.0 (`canonical.md`).
const CANONICAL: &str = include_str!("canonical.jinja");
const KEY: &str = "tokenizer.chat_template";

/// A model's chat template: Jinja, rendered with bounds on time, depth and size. Clones share it.
///
/// ```
/// use lemmy_core::chat::{Chat, ChatTemplate, Message, RenderOptions};
/// let chat = Chat { messages: vec![Message::user("Why is the sky blue?")], ..Chat::default() };
/// let text = ChatTemplate::canonical()?.render(&chat, &RenderOptions::default())?;
/// assert_eq!(text, "<bos><|turn>user\nWhy is the sky blue?<turn|>\n");
/// # Ok::<(), lemmy_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatTemplate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: String,
    engine: Engine,
    habits: Habits,
    marked: OnceLock<Marked>,
    warning: Option<String>,
}

/// Options for rendering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderOptions {
    /// End where the model is to speak.
    pub add_generation_prompt: bool,
}

impl RenderOptions {
    /// For a model that is to speak: with the generation prompt.
    pub fn for_generation() -> Self {
        Self { add_generation_prompt: true }
    }
}

impl ChatTemplate {
    /// The file's own template (`tokenizer.chat_template`). The canonical one if it has none, or one that cannot be read:
    /// [`warning`](Self::warning) says so.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let canonical = |why: String| {
            Self::with_warning(CANONICAL, Some(format!("{why}: the canonical one of {} is used", versions::CANONICAL)))
        };
        let Some(value) = gguf.get(KEY) else { return canonical("the file has no chat template".into()) };
        match value.as_str().map(|source| Self::with_warning(source, versions::warning(source))) {
            Some(Ok(template)) => Ok(template),
            Some(Err(Error::Template(reason))) => {
                canonical(format!("the file's chat template cannot be read ({reason})"))
            }
            Some(Err(error)) => Err(error),
            None => canonical(format!("the file's `{KEY}` is no text")),
        }
    }

    /// A template of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] with the line if it is no Jinja, or longer than
    /// [`TEMPLATE_BYTES`](crate::limits::TEMPLATE_BYTES).
    pub fn new(source: impl Into<String>) -> Result<Self> {
        let source = source.into();
        let warning = versions::warning(&source);
        Self::with_warning(source, warning)
    }

    /// The newest template of Gemma 4 that this library knows. It replaces a stale one in a file:
    /// `builder.chat_template(ChatTemplate::canonical()?.source())`.
    pub fn canonical() -> Result<Self> {
        Self::with_warning(CANONICAL, None)
    }

    fn with_warning(source: impl Into<String>, warning: Option<String>) -> Result<Self> {
        let source = source.into();
        let engine = Engine::new(&source, versions::trust(&source))?;
        let habits = Habits::of(&engine);
        Ok(Self(Arc::new(Inner { source, engine, habits, marked: OnceLock::new(), warning })))
    }

    /// Its Jinja text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The day on which Google published it, if it is one of the known versions, byte for byte.
    pub fn version(&self) -> Option<&'static str> {
        versions::of(&self.0.source)
    }

    /// What a person should know about it, for instance that a newer version exists, and what to do.
    pub fn warning(&self) -> Option<String> {
        self.0.warning.clone()
    }

    /// The prompt's text, as it is: control strings in what users wrote are not told from the template's own. For people
    /// to look at; [`prompt`](Self::prompt) is for the model.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] names the message or tool and the field that is wrong or too large, [`Error::Template`] says
    /// what the template stopped with.
    pub fn render(&self, chat: &Chat, options: &RenderOptions) -> Result<String> {
        let normal = normalise(chat, self.0.habits)?;
        let variables = variables(chat, normal.messages, normal.tools, options.add_generation_prompt, "<bos>", "<eos>");
        let mut text = self.0.engine.render(&variables)?;
        if options.add_generation_prompt && text.ends_with(TURN_END) {
            text.push_str(generation_prompt(chat.thinking));
        }
        Ok(text)
    }

    pub(super) fn normalise(&self, chat: &Chat) -> Result<Normal> {
        normalise(chat, self.0.habits)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The template with marks, once it was needed.
    pub(super) fn kept(&self) -> &OnceLock<Marked> {
        &self.0.marked
    }
}

/// What closes a turn.
pub(super) const TURN_END: &str = "<turn|>\n";

/// What some templates forget after a model's turn, so that the model would have to open its turn itself.
pub(super) fn generation_prompt(thinking: bool) -> &'static str {
    if thinking { "<|turn>model\n" } else { "<|turn>model\n<|channel>thought\n<channel|>" }
}

/// What the templates of Gemma 4 read.
pub(super) fn variables(
    chat: &Chat,
    messages: Vec<Value>,
    tools: Vec<Value>,
    add_generation_prompt: bool,
    bos: &str,
    eos: &str,
) -> Map<String, Value> {
    let tools = if tools.is_empty() { Value::Null } else { Value::Array(tools) };
    [
        ("messages", Value::Array(messages)),
        ("tools", tools),
        ("bos_token", bos.into()),
        ("eos_token", eos.into()),
        ("add_generation_prompt", add_generation_prompt.into()),
        ("enable_thinking", chat.thinking.into()),
        ("preserve_thinking", chat.preserve_thinking.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
