//! The state machine of a reply.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::{Event, Finish, FinishReason, GenerateOptions};
use crate::TokenId;
use crate::chat::{Message, StartState, Tool};
use crate::error::Result;
use crate::model::Model;

/// A reply in the making.
pub(crate) struct Reply {
    events: VecDeque<Event>,
}

impl Reply {
    /// Begins a reply after a prompt.
    pub(crate) fn new(
        model: &Model,
        prompt: &[TokenId],
        cached: usize,
        start: StartState,
        tools: &[Tool],
        options: GenerateOptions,
    ) -> Result<Self> {
        todo!("{model:?} {prompt:?} {cached} {start:?} {tools:?} {options:?}")
    }

    /// The prompt has been read up to here.
    pub(crate) fn read(&mut self, done: usize, total: usize) {
        self.events.push_back(Event::Prefill { done, total });
    }

    /// Tokens to evaluate next: the newest one and those guessed ahead, at most `room`. Empty when it is finished.
    pub(crate) fn wanted(&mut self, room: usize) -> &[TokenId] {
        todo!("{room}")
    }

    /// Takes the logits of the wanted tokens, one row each (of the prompt's last token: one row). Says how many of the
    /// wanted tokens turned out right: the session forgets the others.
    pub(crate) fn absorb(&mut self, rows: &mut [f32]) -> Result<usize> {
        todo!("{rows:?}")
    }

    /// Says something to the caller.
    pub(crate) fn warn(&mut self, text: String) {
        self.events.push_back(Event::Warning(text));
    }

    /// The next event that is ready.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Ends it now.
    pub(crate) fn finish(&mut self, reason: FinishReason) {
        todo!("{reason:?}")
    }

    /// How it ended, once it has.
    pub(crate) fn finished(&self) -> Option<Finish> {
        todo!()
    }

    /// The message so far; `None` if nothing was said.
    pub(crate) fn message(&self) -> Option<Message> {
        todo!()
    }
}
