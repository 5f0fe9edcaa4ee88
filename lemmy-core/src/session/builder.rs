//! Making a session.

#![forbid(unsafe_code)]

use super::{Session, check_memory, with_blocks};
use crate::chat::{Chat, Message, StartState, Tool};
use crate::error::{Error, Result};
use crate::kv::{KvSpec, KvType, Positions};
use crate::limits;
use crate::model::Model;
use crate::threads::CancelToken;
use crate::vision::Budget;

/// Options for a [`Session`].
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    model: Model,
    kv: KvSpec,
    cancel: CancelToken,
    chat: Chat,
}

impl SessionBuilder {
    /// Context when the caller names none and the model's own is longer: enough to talk, cheap to hold.
    pub const DEFAULT_CONTEXT: usize = 32_768;

    pub(crate) fn new(model: Model) -> Self {
        let context = model.plan().spec.context.min(Self::DEFAULT_CONTEXT);
        Self { model, kv: KvSpec::with_context(context), cancel: CancelToken::new(), chat: Chat::default() }
    }

    /// Positions that the session may hold. Memory for them is reserved at once and touched as they fill.
    pub fn context(mut self, tokens: usize) -> Self {
        self.kv.context = tokens;
        self
    }

    /// Number type of the cache.
    pub fn kv_type(mut self, t: KvType) -> Self {
        self.kv.kv_type = t;
        self
    }

    /// Tokens that go through the model at once while a prompt is read; 512 when left out. More is faster and takes more
    /// working memory.
    pub fn batch(mut self, tokens: usize) -> Self {
        self.kv.batch = tokens;
        self
    }

    /// Tokens that can be taken back although sliding layers keep only their window; 0 when left out.
    pub fn rewind_window(mut self, tokens: usize) -> Self {
        self.kv.rewind = tokens;
        self
    }

    /// Stops prefill and decode with [`Error::Cancelled`] when triggered; the session stays usable.
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// Instructions for the conversation that [`send`](Session::send) carries on.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.chat.messages = vec![Message::System(text.into())];
        self
    }

    /// Tools that the model may call in it.
    pub fn tools(mut self, tools: Vec<Tool>) -> Self {
        self.chat.tools = tools;
        self
    }

    /// Makes the session.
    pub fn build(mut self) -> Result<Session> {
        let (context, batch) = (limits::CONTEXT as usize, limits::BATCH);
        for (name, value, most) in [("context", self.kv.context, context), ("batch", self.kv.batch, batch)] {
            if !(1..=most).contains(&value) {
                return Err(Error::Argument { name, reason: format!("found {value}, allowed 1..={most}") });
            }
        }
        self.kv.batch = self.kv.batch.min(self.kv.context);
        self.kv.rewind = self.kv.rewind.min(self.kv.context);
        let picture = self.model.vision().map_or(0, |_| Budget::MAX.soft_tokens());
        let block = self.kv.batch.max(picture).min(self.kv.context);
        check_memory(&self.model, &self.kv, block)?;
        let engine = self.model.engine();
        let blocks = with_blocks(&self.kv, block);
        Ok(Session {
            block,
            cache: engine.new_kv(&blocks)?,
            scratch: Some(engine.new_scratch(self.kv.batch)?),
            positions: Positions::new(&blocks, &self.model.plan().spec.layers),
            tokens: Vec::new(),
            logits: Vec::new(),
            chat: self.chat,
            start: StartState::default(),
            pending: Vec::new(),
            reply: None,
            kv: self.kv,
            cancel: self.cancel,
            model: self.model,
        })
    }
}
