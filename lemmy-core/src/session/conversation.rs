//! Messages in, replies out.

#![forbid(unsafe_code)]

use super::pictures::{Picture, Place, common, expand};
use super::unread::{Next, Unread};
use super::{Generation, Session};
use crate::TokenId;
use crate::backend::Input;
use crate::chat::{Chat, Controls, Message, Part, Prompt, StartState, Zone};
use crate::error::{Error, Result};
use crate::generate::{Event, Finish, FinishReason, GenerateOptions, Opening, Reply};
use crate::threads::CancelToken;
use crate::vision::SoftTokens;

/// What a reply answers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// The next messages of the session's own conversation: what the user says, or what tools answered.
    Turn(Vec<Message>),
    /// A whole conversation; it becomes the session's. What the session has read of it already is not read again.
    Chat(Chat),
    /// A whole prompt as tokens and pictures, whoever made it. What the session has read of it already is not read again.
    Prompt(Prompt),
    /// More tokens after those so far, as they are.
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

impl From<Prompt> for Source {
    fn from(prompt: Prompt) -> Self {
        Self::Prompt(prompt)
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
    /// Of both, soft tokens of pictures.
    pub image_tokens: usize,
}

/// A reply in the making and what it belongs to.
pub(super) struct Running {
    pub(super) reply: Reply,
    /// Tokens of the prompt that this reply has read.
    pub(super) read: usize,
    /// The conversation as it was before, if what the model says becomes a part of it.
    before: Option<Chat>,
    cancel: CancelToken,
}

/// What has to be done before a reply can begin; nothing is changed yet.
struct Preparation {
    ids: Vec<TokenId>,
    /// What of them is to be read.
    unread: Unread,
    reused: usize,
    image_tokens: usize,
    start: StartState,
    warnings: Vec<String>,
    chat: Option<Chat>,
}

impl Session {
    /// Says something and gives the reply: [`Generation`] is an iterator over its events.
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
    /// [`generate`](Self::generate) then gives the reply. For programs that are sent the whole conversation each time.
    ///
    /// ```no_run
    /// use lemmy_core::{Chat, GenerateOptions, Message, Model};
    ///
    /// let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
    /// let mut session = model.session().build()?;
    /// let mut chat = Chat::default();
    /// chat.messages.push(Message::user("Why is the sky blue?"));
    /// let report = session.sync(chat, &mut |done, total| eprintln!("{done} of {total}"))?;
    /// println!("{} tokens were there, {} were read", report.reused, report.prefilled);
    /// let answer = session.generate(GenerateOptions::new())?.text()?;
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin), before anything is changed; what [`prefill`](Self::prefill) can fail with, and then what
    /// has been read stays read.
    pub fn sync(&mut self, chat: Chat, progress: &mut dyn FnMut(usize, usize)) -> Result<SyncReport> {
        self.stop();
        let ready = self.prepare(Source::Chat(chat), None)?;
        let report = ready.report();
        self.go_back(&ready)?;
        self.read_prompt(ready.unread, progress)?;
        self.start = ready.start;
        if let Some(chat) = ready.chat {
            self.chat = chat;
        }
        Ok(report)
    }

    /// Adds a message to the session's conversation; it is read with the next reply. A reply in the making is stopped
    /// first.
    pub fn add(&mut self, message: Message) {
        self.stop();
        self.chat.messages.push(message);
    }

    /// Begins anew: forgets all tokens, and all messages but instructions. A reply in the making is stopped first.
    ///
    /// # Errors
    ///
    /// Those of [`rewind`](Self::rewind), which to 0 has none today.
    pub fn clear(&mut self) -> Result<()> {
        self.stop();
        self.cut(0)?;
        let instructions = matches!(self.chat.messages.first(), Some(Message::System(_)));
        self.chat.messages.truncate(instructions.into());
        self.unread = None;
        self.start = StartState::Answer;
        self.warned.clear();
        Ok(())
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
    /// [`Error::Unsupported`] for what this build or model cannot do, [`Error::Template`] if the chat template fails,
    /// [`Error::Image`] for a picture that cannot be read. The session is as it was.
    pub fn begin(&mut self, source: impl Into<Source>, options: GenerateOptions) -> Result<SyncReport> {
        self.stop();
        let ready = self.prepare(source.into(), Some(options.thinking.is_wanted()))?;
        // A token of its own if nobody gave one: once triggered it must not end the replies after this one.
        let cancel = options.cancel.clone().or_else(|| self.cancel.clone()).unwrap_or_default();
        let chat = ready.chat.as_ref().unwrap_or(&self.chat);
        let opening = Opening {
            prompt: &ready.ids,
            cached: ready.reused,
            image_tokens: ready.image_tokens,
            start: ready.start,
            tools: &chat.tools,
            next_call: next_call(&chat.messages),
        };
        let mut reply = Reply::new(&self.model, &opening, options)?;
        for warning in ready.warnings.iter().filter(|warning| !self.warned.contains(warning)) {
            reply.warn(warning.clone());
        }
        let report = ready.report();
        self.go_back(&ready)?;
        self.pending = ready.unread;
        self.warned = ready.warnings;
        self.start = ready.start;
        let before = ready.chat.map(|chat| std::mem::replace(&mut self.chat, chat));
        self.reply = Some(Running { reply, read: 0, before, cancel });
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
            let Some(cancel) = self.reply_cancel().cloned() else { return Ok(None) };
            let moved = if cancel.is_cancelled() { Err(Error::Cancelled) } else { self.advance(&cancel) };
            match moved {
                Ok(()) => {}
                Err(Error::Cancelled) => self.end_reply(FinishReason::Cancelled),
                Err(error) => {
                    self.fail();
                    return Err(error);
                }
            }
        }
    }

    /// Stops the reply in the making; what it has said stays in the conversation, and if it has said nothing yet, the
    /// conversation is as before. `None` if there was none.
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

    /// Ends the reply in the making, unless it has ended by itself.
    pub(crate) fn end_reply(&mut self, reason: FinishReason) {
        if let Some(running) = &mut self.reply {
            running.reply.finish(reason);
        }
    }

    /// Cancel token of the reply in the making.
    pub(crate) fn reply_cancel(&self) -> Option<&CancelToken> {
        self.reply.as_ref().map(|running| &running.cancel)
    }

    /// The reply has failed: the conversation is as before.
    pub(crate) fn fail(&mut self) {
        self.pending = Unread::default();
        if let Some(before) = self.reply.take().and_then(|running| running.before) {
            self.chat = before;
        }
    }

    /// The reply is over: what the model said becomes part of the conversation.
    fn settle(&mut self) {
        self.pending = Unread::default();
        let Some(Running { reply, before, .. }) = self.reply.take() else { return };
        if let Some(newest) = reply.newest() {
            self.unread = Some(newest);
            self.start = match reply.zone() {
                Zone::Thought => StartState::OpenThought,
                Zone::Text | Zone::Call => StartState::Answer,
            };
        }
        let is_cancelled = reply.finished().is_some_and(|finish| finish.reason == FinishReason::Cancelled);
        match (before, reply.message()) {
            (Some(_), Some(message)) => self.chat.messages.push(message),
            (Some(before), None) if is_cancelled => self.chat = before,
            _ => {}
        }
    }

    /// Ids of the whole prompt and how much of them the session has. A reply wants the logits of the last token, so that
    /// one is read in any case; `thinking` is given for a reply.
    fn prepare(&self, source: Source, thinking: Option<bool>) -> Result<Preparation> {
        let so_far = self.tokens.iter().copied().chain(self.unread);
        let is_continued = matches!(source, Source::Tokens(_) | Source::Here);
        let (mut prompt, chat) = match source {
            Source::Turn(messages) => {
                let mut chat = self.chat.clone();
                chat.messages.extend(messages);
                self.render(chat, thinking)?
            }
            Source::Chat(chat) => self.render(chat, thinking)?,
            Source::Prompt(prompt) => (prompt, None),
            Source::Tokens(more) => {
                let start = self.start_after(&more);
                (Prompt::new(so_far.chain(more).collect(), start), None)
            }
            Source::Here => (Prompt::new(so_far.collect(), self.start), None),
        };
        let (start, warnings) = (prompt.start, std::mem::take(&mut prompt.warnings));
        let (ids, pictures) = match is_continued {
            true => (prompt.ids, self.pictures.iter().map(|&place| Picture::past(&self.model, place)).collect()),
            false => expand(&self.model, prompt, self.capacity())?,
        };
        let Some(before_last) = ids.len().checked_sub(1) else { return Err(super::no_tokens()) };
        let most = if thinking.is_some() { before_last } else { ids.len() };
        let same = common((&self.tokens, &self.pictures), (&ids, &pictures), most);
        let reused = self.reachable(same);
        let requested = ids.len() - reused;
        if ids.len() > self.capacity() {
            return Err(Error::ContextFull { used: reused, requested, capacity: self.capacity() });
        }
        self.model.gguf().check_unchanged()?;
        let image_tokens = pictures.iter().map(|picture| picture.place.len()).sum();
        let unread = Unread::new(&ids, pictures, reused, self.model.plan().spec.vocab)?;
        Ok(Preparation { ids, unread, reused, image_tokens, start, warnings, chat })
    }

    /// Reads a prompt's rest without logits.
    fn read_prompt(&mut self, mut unread: Unread, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        let total = unread.len();
        let cancel = self.cancel.clone().unwrap_or_default();
        loop {
            if let Some(picture) = unread.picture() {
                picture.look(&self.model, &cancel)?;
            }
            let n = match unread.next(self.kv.batch) {
                None => return Ok(()),
                Some(Next::Tokens(ids)) => {
                    self.run(Input::Tokens(ids), ids.len(), 0, None)?;
                    self.tokens.extend_from_slice(ids);
                    ids.len()
                }
                Some(Next::Picture(picture)) => {
                    let rows = picture.soft().map(SoftTokens::rows).unwrap_or_default();
                    let place = picture.place;
                    self.run(Input::Embeddings { rows, bidirectional: true }, place.len(), 0, None)?;
                    self.show(place);
                    place.len()
                }
            };
            unread.took(n);
            progress(total - unread.len(), total);
        }
    }

    /// The soft tokens of this picture are part of the past.
    pub(super) fn show(&mut self, place: Place) {
        self.tokens.extend(std::iter::repeat_n(Self::SOFT, place.len()));
        self.pictures.push(place);
    }

    /// Where a reply begins if these tokens come first: the last mark of a thought in them decides.
    fn start_after(&self, ids: &[TokenId]) -> StartState {
        let controls = Controls::new(self.model.tokenizer());
        let is_open = ids.iter().rev().find_map(|&id| match Some(id) {
            mark if mark == controls.channel_open => Some(true),
            mark if mark == controls.channel_close => Some(false),
            _ => None,
        });
        match is_open.unwrap_or(self.start == StartState::OpenThought) {
            true => StartState::OpenThought,
            false if ids.is_empty() => self.start,
            false => StartState::Answer,
        }
    }

    /// Forgets what differs from the prompt.
    fn go_back(&mut self, ready: &Preparation) -> Result<()> {
        self.cut(ready.reused)?;
        self.set_mark(ready.reused, ready.reused + ready.unread.len());
        Ok(())
    }

    /// The conversation's prompt; whoever asks for a reply decides whether the model is to think.
    fn render(&self, chat: Chat, thinking: Option<bool>) -> Result<(Prompt, Option<Chat>)> {
        let chat = Chat { thinking: thinking.unwrap_or(chat.thinking), ..chat };
        let prompt = self.model.chat_template().prompt(self.model.tokenizer(), &chat)?;
        Ok((prompt, Some(chat)))
    }
}

impl Preparation {
    fn report(&self) -> SyncReport {
        SyncReport { reused: self.reused, prefilled: self.unread.len(), image_tokens: self.image_tokens }
    }
}

/// A number that no call of the conversation has, `call_N` being their ids.
fn next_call(messages: &[Message]) -> u64 {
    let calls = messages.iter().flat_map(|message| match message {
        Message::Assistant { tool_calls, .. } => tool_calls.as_slice(),
        _ => &[],
    });
    let numbers = calls.filter_map(|call| call.id.strip_prefix("call_")?.parse::<u32>().ok());
    numbers.max().map_or(1, |most| u64::from(most) + 1)
}
