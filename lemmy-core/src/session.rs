//! A conversation with a model: cached rows and the tokens they stand for.
//!
//! This file is the level of tokens and logits. Above it: `conversation` (messages, replies), `generation` (a reply as an
//! iterator), `work` (one forward pass for one session or many), `mark` (the way back to where a reply began), `save`.
//! Beside it: `pictures` (which one stands where) and `unread` (what of a prompt is still to be read).

#![forbid(unsafe_code)]

mod builder;
mod conversation;
mod generation;
mod mark;
mod pictures;
mod save;
mod unread;
mod work;

use self::conversation::Running;
use self::mark::Mark;
use self::pictures::{Place, read_again};
use self::unread::Unread;
use crate::TokenId;
use crate::backend::{Input, KvStore, Scratch, SeqSlice, Tap};
use crate::chat::{Chat, StartState};
use crate::error::{Error, Result, try_vec};
use crate::kv::{KvSpec, Positions};
use crate::model::Model;
use crate::threads::CancelToken;

pub use self::builder::SessionBuilder;
pub use self::conversation::{Source, SyncReport};
pub use self::generation::Generation;
pub(crate) use self::work::{Work, forward};
pub use crate::kv::KvType;

impl Model {
    /// Options for a session.
    pub fn session(&self) -> SessionBuilder {
        SessionBuilder::new(self.clone())
    }
}

/// One conversation. `Send`; keeps the model alive by itself.
///
/// A call that fails leaves the tokens of the batches that it completed; see [`tokens`](Self::tokens).
pub struct Session {
    model: Model,
    kv: KvSpec,
    /// Largest block of soft tokens, which enters whole.
    block: usize,
    /// The caller's token, if he gave one.
    cancel: Option<CancelToken>,
    cache: Box<dyn KvStore>,
    /// Working memory; a session that runs in a scheduler uses the scheduler's and has none.
    scratch: Option<Box<dyn Scratch>>,
    positions: Positions,
    /// The way back to where the last reply began.
    mark: Mark,
    tokens: Vec<TokenId>,
    /// Which pictures the soft tokens among them are, in order. Those of [`forward_soft`](Self::forward_soft) are none.
    pictures: Vec<Place>,
    logits: Vec<f32>,
    /// The conversation that `send` carries on.
    chat: Chat,
    /// What a reply after the tokens so far begins with.
    start: StartState,
    /// The last token of a reply that is over: said, but not evaluated.
    unread: Option<TokenId>,
    /// What of the prompt is still to be read.
    pending: Unread,
    /// The reply in the making.
    reply: Option<Running>,
    /// What was told about the last prompt, so that it is not told with each.
    warned: Vec<String>,
}

impl Session {
    /// What stands in [`tokens`](Self::tokens) for a soft token.
    pub const SOFT: TokenId = TokenId::MAX;

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens evaluated so far.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// Positions that the session may hold.
    pub fn capacity(&self) -> usize {
        self.positions.capacity()
    }

    /// Bytes reserved for cache and working memory.
    pub fn memory(&self) -> u64 {
        self.cache.bytes()
            + self.scratch.as_ref().map_or(0, |s| s.bytes())
            + self.mark.bytes()
            + (self.logits.capacity() * size_of::<f32>()) as u64
    }

    /// Evaluates tokens without logits; `progress(done, total)` in tokens after each batch.
    pub fn prefill(&mut self, ids: &[TokenId], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.begin_ids(ids)?;
        self.read(ids, progress)
    }

    /// Evaluates tokens; logits of the last one.
    pub fn forward(&mut self, ids: &[TokenId]) -> Result<Logits<'_>> {
        let before = ids.len().checked_sub(1).ok_or_else(no_tokens)?;
        self.begin_ids(ids)?;
        let (whole, rest) = ids.split_at(before - before % self.kv.batch);
        self.read(whole, &mut |_, _| {})?;
        self.run(Input::Tokens(rest), rest.len(), 1, None)?;
        self.tokens.extend_from_slice(rest);
        Ok(self.rows())
    }

    /// Evaluates tokens; logits of each.
    pub fn forward_all(&mut self, ids: &[TokenId]) -> Result<Logits<'_>> {
        self.forward_tokens(ids, None)
    }

    /// Evaluates tokens and shows every step's output to `tap`, batch by batch; logits of each.
    #[doc(hidden)]
    pub fn forward_tapped(&mut self, ids: &[TokenId], tap: &mut Tap<'_>) -> Result<Logits<'_>> {
        self.forward_tokens(ids, Some(tap))
    }

    /// Evaluates a block of soft tokens (rows of the hidden width, entered as they are); logits of each. They see each
    /// other in both directions on the layers that allow it, so a block is never cut: it must fit one batch, or have at
    /// most 1120 rows if the model was loaded with a vision tower. Each stands in [`tokens`](Self::tokens) as
    /// [`SOFT`](Self::SOFT). They are no picture that the session knows: one in a message or a [`Prompt`](crate::chat::Prompt)
    /// is, and need not be read twice.
    pub fn forward_soft(&mut self, rows: &[f32]) -> Result<Logits<'_>> {
        let hidden = self.model.plan().spec.hidden;
        let n = rows.len() / hidden;
        if !rows.len().is_multiple_of(hidden) || !(1..=self.block).contains(&n) {
            let reason = format!("found {} numbers, allowed 1..={} rows of {hidden}", rows.len(), self.block);
            return Err(Error::Argument { name: "rows", reason });
        }
        self.check_room(n)?;
        self.run(Input::Embeddings { rows, bidirectional: true }, n, n, None)?;
        self.tokens.extend(std::iter::repeat_n(Self::SOFT, n));
        Ok(self.rows())
    }

    /// Forgets everything from position `to` on. A reply in the making is stopped first.
    ///
    /// # Errors
    ///
    /// [`Error::RewindTooFar`] if the sliding layers no longer hold what a query there looks back on (see
    /// [`rewind_window`](SessionBuilder::rewind_window)), [`Error::Argument`] if there are not so many tokens, or in the
    /// middle of a picture: its soft tokens have seen each other.
    pub fn rewind(&mut self, to: usize) -> Result<()> {
        self.stop();
        if let Some(picture) = self.pictures.iter().find(|picture| picture.is_cut_at(to)) {
            let reason = format!("{to} is inside a picture ({}..{})", picture.at, picture.end());
            return Err(Error::Argument { name: "to", reason });
        }
        self.cut(to)
    }

    /// A second session with the same past, and the same cancel token. A reply in the making stays with the first.
    ///
    /// Several replies to one prompt: read it once with [`sync`](Self::sync), fork, and let each fork
    /// [`generate`](Self::generate) with [`GenerateOptions::choice`](crate::GenerateOptions::choice).
    pub fn fork(&self) -> Result<Session> {
        check_memory(&self.model, &self.kv, self.block)?;
        Ok(Session {
            cache: self.cache.fork()?,
            scratch: None,
            model: self.model.clone(),
            kv: self.kv,
            block: self.block,
            cancel: self.cancel.clone(),
            positions: self.positions.clone(),
            mark: self.mark.clone(),
            tokens: self.tokens.clone(),
            pictures: self.pictures.clone(),
            logits: Vec::new(),
            chat: self.chat.clone(),
            start: self.start,
            unread: self.unread,
            pending: Unread::default(),
            reply: None,
            warned: self.warned.clone(),
        })
    }

    fn forward_tokens(&mut self, ids: &[TokenId], mut tap: Option<&mut Tap<'_>>) -> Result<Logits<'_>> {
        if ids.is_empty() {
            return Err(no_tokens());
        }
        self.begin_ids(ids)?;
        let vocab = self.model.plan().spec.vocab;
        let mut all = try_vec(ids.len() * vocab, 0.0, "logits of every token")?;
        for (batch, rows) in ids.chunks(self.kv.batch).zip(all.chunks_mut(self.kv.batch * vocab)) {
            let tap = tap.as_deref_mut();
            self.run(Input::Tokens(batch), batch.len(), batch.len(), tap)?;
            rows.copy_from_slice(&self.logits);
            self.tokens.extend_from_slice(batch);
        }
        self.logits = all;
        Ok(self.rows())
    }

    /// Refuses what cannot be done before anything is.
    fn begin_ids(&self, ids: &[TokenId]) -> Result<()> {
        check_ids(ids, self.model.plan().spec.vocab)?;
        self.check_room(ids.len())
    }

    fn check_room(&self, n: usize) -> Result<()> {
        self.model.gguf().check_unchanged()?;
        self.positions.check_room(n)
    }

    /// Evaluates tokens batch by batch, without logits.
    fn read(&mut self, ids: &[TokenId], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        let mut done = 0;
        for batch in ids.chunks(self.kv.batch) {
            self.run(Input::Tokens(batch), batch.len(), 0, None)?;
            self.tokens.extend_from_slice(batch);
            done += batch.len();
            progress(done, ids.len());
        }
        Ok(())
    }

    /// One batch; the last `wanted` rows' logits end up in `self.logits`.
    fn run(&mut self, input: Input<'_>, n: usize, wanted: usize, mut tap: Option<&mut Tap<'_>>) -> Result<()> {
        // Whoever evaluates tokens directly has the word now.
        self.stop();
        self.unread = None;
        self.start = StartState::Answer;
        self.keep_mark(n);
        let vocab = self.model.plan().spec.vocab;
        set_len(&mut self.logits, wanted * vocab)?;
        let is_tapped = tap.is_some();
        let mut show = |name, layer, width, values: &[f32]| {
            if let Some(tap) = &mut tap {
                tap(name, layer, width, values);
            }
        };
        let slice = SeqSlice {
            kv: &mut *self.cache,
            input,
            pos: self.positions.len(),
            logits: (wanted > 0).then_some(&mut self.logits),
            tap: is_tapped.then_some(&mut show),
        };
        self.positions.writing(n);
        let engine = self.model.engine();
        let cancel = self.cancel.clone().unwrap_or_default();
        if n > self.kv.batch {
            // A block that is larger than a batch comes rarely: what it needs beyond the usual is given back.
            engine.forward(&mut [slice], &mut *engine.new_scratch(n)?, &cancel)?;
        } else {
            let scratch = match &mut self.scratch {
                Some(scratch) => scratch,
                none => none.insert(engine.new_scratch(self.kv.batch)?),
            };
            engine.forward(&mut [slice], &mut **scratch, &cancel)?;
        }
        self.positions.advance(n);
        Ok(())
    }

    fn rows(&mut self) -> Logits<'_> {
        Logits { vocab: self.model.plan().spec.vocab, rows: &mut self.logits }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("kv", &self.kv).field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// Logits of one or more positions, each a row of the vocabulary's length.
#[derive(Debug)]
pub struct Logits<'s> {
    rows: &'s mut [f32],
    vocab: usize,
}

impl Logits<'_> {
    /// The last position's row.
    pub fn last(&mut self) -> &mut [f32] {
        let start = self.rows.len() - self.vocab;
        self.rows.get_mut(start..).unwrap_or_default()
    }

    /// All rows in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.rows.chunks_exact(self.vocab)
    }
}

/// Refuses what is no token that can be read.
fn check_ids(ids: &[TokenId], vocab: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab) {
        Some(&Session::SOFT) => Err(read_again()),
        Some(id) => {
            let reason = format!("token {id} in a vocabulary of {vocab} tokens");
            Err(Error::Argument { name: "ids", reason })
        }
        None => Ok(()),
    }
}

/// Makes room for so many logits. The memory is kept: how many are wanted changes from pass to pass.
fn set_len(logits: &mut Vec<f32>, n: usize) -> Result<()> {
    if n > logits.capacity() {
        *logits = try_vec(n, 0.0, "logits")?;
    }
    logits.resize(n, 0.0);
    Ok(())
}

/// The cache of a session in which blocks of up to `block` tokens enter whole.
fn with_blocks(kv: &KvSpec, block: usize) -> KvSpec {
    KvSpec { batch: kv.batch.max(block), ..*kv }
}

/// Refuses a session with which the model would need more than the caller's limit.
fn check_memory(model: &Model, kv: &KvSpec, block: usize) -> Result<()> {
    let what = format!("the model with a session of {} tokens", kv.context);
    model.check_memory(&what, model.estimate_for(&with_blocks(kv, block))?.total())
}

fn no_tokens() -> Error {
    Error::Argument { name: "ids", reason: "no tokens".into() }
}
