//! One forward pass for one session or many.

#![forbid(unsafe_code)]

use std::time::Instant;

use super::pictures::Place;
use super::unread::Next;
use super::{Session, set_len};
use crate::TokenId;
use crate::backend::{Input, Scratch, SeqSlice};
use crate::error::{Error, Result};
use crate::generate::FinishReason;
use crate::model::Model;
use crate::threads::CancelToken;
use crate::vision::SoftTokens;

/// What a session wants evaluated next.
#[derive(Debug)]
pub(crate) struct Work {
    feed: Feed,
    /// Of how many tokens, counted from the end, it wants the logits.
    rows: usize,
    /// Whether they belong to the prompt.
    is_prompt: bool,
    /// When it was wanted.
    since: Instant,
}

#[derive(Debug)]
enum Feed {
    Tokens(Vec<TokenId>),
    /// The soft tokens of a picture.
    Picture(Place, SoftTokens),
}

impl Work {
    pub(crate) fn len(&self) -> usize {
        match &self.feed {
            Feed::Tokens(tokens) => tokens.len(),
            Feed::Picture(place, _) => place.len(),
        }
    }

    fn input(&self) -> Input<'_> {
        match &self.feed {
            Feed::Tokens(tokens) => Input::Tokens(tokens),
            Feed::Picture(_, soft) => Input::Embeddings { rows: soft.rows(), bidirectional: true },
        }
    }
}

/// Evaluates each session's work in one pass; each is then ready for [`Session::absorb`].
///
/// After an error no session has moved.
pub(crate) fn forward(
    model: &Model,
    parts: &mut [(&mut Session, &Work)],
    scratch: &mut dyn Scratch,
    cancel: &CancelToken,
) -> Result<()> {
    model.gguf().check_unchanged()?;
    let vocab = model.plan().spec.vocab;
    for (session, work) in &mut *parts {
        session.positions.check_room(work.len())?;
        set_len(&mut session.logits, work.rows * vocab)?;
        session.keep_mark(work.len());
    }
    let mut slices: Vec<SeqSlice<'_>> = Vec::with_capacity(parts.len());
    for (session, work) in &mut *parts {
        session.positions.writing(work.len());
        slices.push(SeqSlice {
            pos: session.positions.len(),
            kv: &mut *session.cache,
            input: work.input(),
            logits: (work.rows > 0).then_some(&mut session.logits),
            tap: None,
        });
    }
    model.engine().forward(&mut slices, scratch, cancel)
}

impl Session {
    /// What the running reply wants evaluated next: at most `most` tokens, or a whole picture, at which the session must
    /// have [looked](Self::look). `None` when it is over or there is none.
    pub(crate) fn next_work(&mut self, most: usize) -> Option<Work> {
        let since = Instant::now();
        let most = most.min(self.kv.batch);
        let running = self.reply.as_mut()?;
        if running.reply.finished().is_some() {
            return None;
        }
        if !self.pending.is_empty() {
            let feed = match self.pending.next(most)? {
                Next::Tokens(tokens) => Feed::Tokens(tokens.to_vec()),
                Next::Picture(picture) => Feed::Picture(picture.place, picture.soft()?.clone()),
            };
            let mut work = Work { feed, rows: 0, is_prompt: true, since };
            work.rows = usize::from(work.len() == self.pending.len());
            return Some(work);
        }
        let room = self.positions.capacity() - self.positions.len();
        if room == 0 {
            running.reply.finish(FinishReason::ContextFull);
            return None;
        }
        let tokens = running.reply.wanted(room.min(most)).to_vec();
        let rows = tokens.len();
        (rows > 0).then_some(Work { feed: Feed::Tokens(tokens), rows, is_prompt: false, since })
    }

    /// If a picture comes next, has the tower look at it.
    pub(crate) fn look(&mut self, cancel: &CancelToken) -> Result<()> {
        let (Some(picture), Some(running)) = (self.pending.picture(), &mut self.reply) else { return Ok(()) };
        let since = Instant::now();
        picture.look(&self.model, cancel)?;
        running.reply.took(since.elapsed(), true);
        Ok(())
    }

    /// Whether the running reply's prompt is still being read.
    pub(crate) fn is_reading(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a picture of the prompt comes next.
    pub(crate) fn is_at_picture(&self) -> bool {
        matches!(self.pending.next(1), Some(Next::Picture(_)))
    }

    /// Tokens of the prompt that can be read before the next picture.
    pub(crate) fn unread_prompt(&self) -> usize {
        self.pending.run()
    }

    /// Takes what a forward pass over `work` has given: the tokens are part of the past, the reply moves on. Tokens that
    /// were guessed wrong are forgotten again.
    pub(crate) fn absorb(&mut self, work: &Work) -> Result<()> {
        self.positions.advance(work.len());
        match &work.feed {
            Feed::Tokens(tokens) => self.tokens.extend_from_slice(tokens),
            Feed::Picture(place, _) => self.show(*place),
        }
        self.unread = None;
        let Some(running) = &mut self.reply else {
            return Err(Error::Internal("logits without a reply".into()));
        };
        if work.is_prompt {
            self.pending.took(work.len());
            running.read += work.len();
            running.reply.read(running.read, running.read + self.pending.len());
        }
        if work.rows == 0 {
            running.reply.took(work.since.elapsed(), work.is_prompt);
            return Ok(());
        }
        let absorbed = running.reply.absorb(&mut self.logits);
        running.reply.took(work.since.elapsed(), work.is_prompt);
        if !work.is_prompt {
            self.cut(self.tokens.len() - work.len().saturating_sub(absorbed.right))?;
        }
        absorbed.result
    }

    /// One forward pass for this session alone.
    pub(super) fn advance(&mut self, cancel: &CancelToken) -> Result<()> {
        self.look(cancel)?;
        let Some(work) = self.next_work(usize::MAX) else { return Ok(()) };
        let model = self.model.clone();
        if work.len() > self.kv.batch {
            // As with `forward_soft`: what a picture needs beyond the usual is given back.
            let mut scratch = model.engine().new_scratch(work.len())?;
            forward(&model, &mut [(&mut *self, &work)], &mut *scratch, cancel)?;
            return self.absorb(&work);
        }
        let mut scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => model.engine().new_scratch(self.kv.batch)?,
        };
        let result = forward(&model, &mut [(&mut *self, &work)], &mut *scratch, cancel);
        self.scratch = Some(scratch);
        result?;
        self.absorb(&work)
    }

    /// Gives its working memory back; it gets new one when it runs alone again.
    pub(crate) fn release_scratch(&mut self) {
        self.scratch = None;
    }
}
