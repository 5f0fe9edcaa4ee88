//! Making a session.

#![forbid(unsafe_code)]

use super::mark::Mark;
use super::unread::Unread;
use super::{Session, check_memory, with_blocks};
use crate::chat::{Chat, Message, StartState, Tool};
use crate::error::{Error, Result};
use crate::kv::{KvSpec, KvType, Positions};
use crate::limits;
use crate::model::{MemoryEstimate, Model};
use crate::threads::CancelToken;
use crate::vision::Budget;

/// Options for a [`Session`].
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    pub(super) model: Model,
    pub(super) kv: KvSpec,
    cancel: Option<CancelToken>,
    pub(super) chat: Chat,
}

impl SessionBuilder {
    /// Context when the caller names none and the model's own is longer: enough to talk, cheap to hold.
    pub const DEFAULT_CONTEXT: usize = 32_768;

    pub(crate) fn new(model: Model) -> Self {
        let context = model.plan().spec.context.min(Self::DEFAULT_CONTEXT);
        Self { model, kv: KvSpec::with_context(context), cancel: None, chat: Chat::default() }
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

    /// Tokens that can be taken back although sliding layers keep only their window, whatever happens; 384 when left
    /// out. After calls that succeed it is this and a batch more.
    pub fn rewind_window(mut self, tokens: usize) -> Self {
        self.kv.rewind = tokens;
        self
    }

    /// Stops prefill and decode with [`Error::Cancelled`], and replies, when triggered; the session stays usable, once
    /// the token is [`reset`](CancelToken::reset).
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = Some(token);
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

    /// Memory that the model and the session will take.
    pub fn estimate(&self) -> Result<MemoryEstimate> {
        self.model.estimate_for(&self.spec()?)
    }

    /// Makes the session.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a size out of its range, or if the model's heads do not fit the number type;
    /// [`Error::OutOfMemory`].
    pub fn build(self) -> Result<Session> {
        let kv = self.spec()?;
        let block = self.block(&kv);
        check_memory(&self.model, &kv, block)?;
        let engine = self.model.engine();
        let blocks = with_blocks(&kv, block);
        Ok(Session {
            block,
            cache: engine.new_kv(&blocks)?,
            scratch: Some(engine.new_scratch(kv.batch)?),
            positions: Positions::new(&blocks, &self.model.plan().spec.layers),
            mark: Mark::default(),
            tokens: Vec::new(),
            pictures: Vec::new(),
            logits: Vec::new(),
            chat: self.chat,
            start: StartState::Answer,
            unread: None,
            pending: Unread::default(),
            reply: None,
            warned: Vec::new(),
            kv,
            cancel: self.cancel,
            model: self.model,
        })
    }

    /// Most tokens that enter together: a batch, or a picture, which is never cut.
    pub(super) fn block(&self, kv: &KvSpec) -> usize {
        let picture = self.model.vision().map_or(0, |_| Budget::MAX.soft_tokens());
        kv.batch.max(picture).min(kv.context)
    }

    /// The sizes, checked; a batch is never larger than the context.
    fn spec(&self) -> Result<KvSpec> {
        let KvSpec { context, batch, rewind, kv_type } = self.kv;
        let limits = [("context", context, limits::CONTEXT as usize), ("batch", batch, limits::BATCH)];
        for (name, value, most) in limits {
            if !(1..=most).contains(&value) {
                return Err(Error::Argument { name, reason: format!("found {value}, allowed 1..={most}") });
            }
        }
        Ok(KvSpec { context, batch: batch.min(context), rewind: rewind.min(context), kv_type })
    }
}
