//! Messages in, replies out.

#![forbid(unsafe_code)]

use super::{Generation, Session};
use crate::TokenId;
use crate::chat::{Chat, Message, Part, StartState};
use crate::error::{Error, Result};
use crate::generate::{Event, Finish, FinishReason, GenerateOptions, Reply, Thinking};
use crate::threads::CancelToken;

/// What a reply answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// The next messages of the session's own conversation: what the user says, or what tools answered.
    Turn(Vec<Message>),
    /// A whole conversation. What the session has read of it already is not read again.
    Chat(Chat),
    /// More tokens, as they are.
    Tokens(Vec<TokenId>),
    /// Nothing more: go on from where the session stands.
    Here,
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::Turn(vec![Message::user(text)])
    }
}

impl From<String> for Source {
    fn from(text: String) -> Self {
        Self::Turn(vec![Message::user(text)])
    }
}

impl From<Vec<Part>> for Source {
    fn from(parts: Vec<Part>) -> Self {
        Self::Turn(vec![Message::User(parts)])
    }
}

impl From<Message> for Source {
    fn from(message: Message) -> Self {
        Self::Turn(vec![message])
    }
}

impl From<Vec<Message>> for Source {
    fn from(messages: Vec<Message>) -> Self {
        Self::Turn(messages)
    }
}

impl From<Chat> for Source {
    fn from(chat: Chat) -> Self {
        Self::Chat(chat)
    }
}

/// What reading a conversation took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncReport {
    /// In the cache already.
    pub reused: usize,
    /// To be read, or read.
    pub prefilled: usize,
}

/// A reply in the making and what it belongs to.
pub(super) struct Running {
    pub(super) reply: Reply,
    /// Tokens of the prompt that this reply has read.
    pub(super) read: usize,
    /// Whether what the model says becomes a message of the conversation.
    is_chat: bool,
    /// Messages of the conversation before this reply was asked for, and tools: restored if it fails.
    before: Chat,
    cancel: CancelToken,
}

/// What has to be done before a reply can begin; nothing is changed yet.
struct Preparation {
    ids: Vec<TokenId>,
    reused: usize,
    start: StartState,
    warnings: Vec<String>,
    chat: Option<Chat>,
}

impl Session {
    /// Says something and gives the reply: `Generation` is an iterator over its events.
    ///
    /// ```no_run
    /// use lemmy_core::{Event, GenerateOptions, Model};
    ///
    /// let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
    /// let mut session = model.session().system("Be brief.").build()?;
    /// for event in session.send("Why is the sky blue?", GenerateOptions::new())? {
    ///     if let Event::Text(text) = event? {
    ///         print!("{text}");
    ///     }
    /// }
    /// let answer = session.send("And at dusk?", GenerateOptions::new())?.text()?;
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn send(&mut self, source: impl Into<Source>, options: GenerateOptions) -> Result<Generation<'_>> {
        self.begin(source, options)?;
        Ok(Generation::new(self))
    }

    /// A reply to what the session has read.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn generate(&mut self, options: GenerateOptions) -> Result<Generation<'_>> {
        self.send(Source::Here, options)
    }

    /// Makes this the session's conversation and reads what of it is not read yet; `progress(done, total)` in tokens.
    /// [`generate`](Self::generate) then gives the reply.
    ///
    /// # Errors
    ///
    /// [`Error::ContextFull`] before anything is changed; what [`prefill`](Self::prefill) can fail with.
    pub fn sync(&mut self, chat: Chat, progress: &mut dyn FnMut(usize, usize)) -> Result<SyncReport> {
        self.stop();
        let ready = self.prepare(Source::Chat(chat), None)?;
        let report = self.enter(&ready)?;
        let unread = std::mem::take(&mut self.pending);
        self.read(&unread, progress)?;
        self.start = ready.start;
        if let Some(chat) = ready.chat {
            self.chat = chat;
        }
        Ok(report)
    }

    /// Adds a message to the session's conversation; it is read with the next reply.
    pub fn add(&mut self, message: Message) {
        self.chat.messages.push(message);
    }

    /// The session's conversation.
    pub fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Begins a reply; [`step`](Self::step) moves it on. A reply in the making is stopped first.
    ///
    /// # Errors
    ///
    /// [`Error::ContextFull`] if the prompt does not fit, [`Error::Argument`] for options or messages that make no sense,
    /// [`Error::Template`] if the chat template fails. The session is as it was.
    pub fn begin(&mut self, source: impl Into<Source>, options: GenerateOptions) -> Result<SyncReport> {
        self.stop();
        let ready = self.prepare(source.into(), Some(options.thinking != Thinking::Off))?;
        let cancel = options.cancel.clone().unwrap_or_else(|| self.cancel.clone());
        let tools = &ready.chat.as_ref().unwrap_or(&self.chat).tools;
        let mut reply = Reply::new(&self.model, &ready.ids, ready.reused, ready.start, tools, options)?;
        for warning in &ready.warnings {
            reply.warn(warning.clone());
        }
        let report = self.enter(&ready)?;
        self.start = ready.start;
        let before = self.chat.clone();
        let is_chat = ready.chat.is_some();
        if let Some(chat) = ready.chat {
            self.chat = chat;
        }
        self.reply = Some(Running { reply, read: 0, is_chat, before, cancel });
        Ok(report)
    }

    /// The next event of the reply in the making; `None` when there is none or it is over.
    ///
    /// # Errors
    ///
    /// What a forward pass can fail with. The reply is over then, and the conversation is as it was before it began; a
    /// cancelled reply is not an error but ends with [`FinishReason::Cancelled`].
    pub fn step(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            let Some(running) = &mut self.reply else { return Ok(None) };
            let cancel = running.cancel.clone();
            if cancel.is_cancelled() {
                running.reply.finish(FinishReason::Cancelled);
                continue;
            }
            match self.advance(&cancel) {
                Ok(()) => {}
                Err(Error::Cancelled) => self.end_reply(FinishReason::Cancelled),
                Err(error) => {
                    self.fail();
                    return Err(error);
                }
            }
        }
    }

    /// Stops the reply in the making; what it has said stays in the conversation. `None` if there was none.
    pub fn stop(&mut self) -> Option<Finish> {
        self.end_reply(FinishReason::Cancelled);
        let finish = self.reply.as_ref()?.reply.finished();
        self.settle();
        finish
    }

    /// The next event that is ready without another forward pass.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.reply.as_mut()?.reply.next_event()?;
        if matches!(event, Event::Finished(_)) {
            self.settle();
        }
        Some(event)
    }

    pub(crate) fn end_reply(&mut self, reason: FinishReason) {
        if let Some(running) = &mut self.reply
            && running.reply.finished().is_none()
        {
            running.reply.finish(reason);
        }
    }

    /// Cancel token of the reply in the making.
    pub(crate) fn reply_cancel(&self) -> Option<&CancelToken> {
        self.reply.as_ref().map(|running| &running.cancel)
    }

    /// The reply has failed: the conversation is as before.
    pub(crate) fn fail(&mut self) {
        self.pending.clear();
        if let Some(running) = self.reply.take() {
            self.chat = running.before;
        }
    }

    /// The reply is over: what the model said becomes part of the conversation.
    fn settle(&mut self) {
        self.pending.clear();
        let Some(running) = self.reply.take() else { return };
        if running.is_chat
            && let Some(message) = running.reply.message()
        {
            self.chat.messages.push(message);
        }
    }

    /// Ids of the whole prompt and how much of them the session has.
    fn prepare(&self, source: Source, thinking: Option<bool>) -> Result<Preparation> {
        let (mut ids, mut start, mut warnings) = (Vec::new(), self.start, Vec::new());
        let chat = match source {
            Source::Turn(messages) => {
                let mut chat = self.chat.clone();
                chat.messages.extend(messages);
                Some(chat)
            }
            Source::Chat(chat) => Some(chat),
            Source::Tokens(more) => {
                self.begin_ids(&more)?;
                ids = [&self.tokens, &*more].concat();
                None
            }
            Source::Here => {
                ids.clone_from(&self.tokens);
                None
            }
        };
        let chat = chat.map(|chat| Chat { thinking: thinking.unwrap_or(chat.thinking), ..chat });
        if let Some(chat) = &chat {
            let prompt = self.model.chat_template().prompt(self.model.tokenizer(), chat)?;
            (ids, start, warnings) = (prompt.ids, prompt.start, prompt.warnings);
        }
        // The last token's logits are wanted, so it is read in any case.
        let Some(most) = ids.len().checked_sub(1) else { return Err(super::no_tokens()) };
        let same = self.tokens.iter().zip(&ids).take_while(|(a, b)| a == b).count();
        let reused = if self.positions.can_rewind(same.min(most)) { same.min(most) } else { 0 };
        if ids.len() > self.capacity() {
            let (used, requested) = (reused, ids.len() - reused);
            return Err(Error::ContextFull { used, requested, capacity: self.capacity() });
        }
        Ok(Preparation { ids, reused, start, warnings, chat })
    }

    /// Forgets what differs and queues what is to be read.
    fn enter(&mut self, ready: &Preparation) -> Result<SyncReport> {
        self.rewind(ready.reused)?;
        self.pending = ready.ids.get(ready.reused..).unwrap_or_default().to_vec();
        Ok(SyncReport { reused: ready.reused, prefilled: self.pending.len() })
    }
}
