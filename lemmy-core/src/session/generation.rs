//! A reply as an iterator.

#![forbid(unsafe_code)]

use super::Session;
use crate::chat::Message;
use crate::error::{Error, Result};
use crate::generate::{Event, Finish};
use crate::threads::CancelToken;

/// A reply in the making: an iterator over its events, no more than a loop over [`Session::step`].
///
/// Dropping it stops the reply; what was said stays in the session.
#[derive(Debug)]
pub struct Generation<'s> {
    session: &'s mut Session,
}

impl<'s> Generation<'s> {
    pub(super) fn new(session: &'s mut Session) -> Self {
        Self { session }
    }
}

impl Generation<'_> {
    /// A token that ends the reply from another thread: the options', else the session's, else one for this reply alone.
    /// The first two end later replies too until they are [`reset`](CancelToken::reset).
    pub fn cancel_token(&self) -> CancelToken {
        self.session.reply_cancel().cloned().unwrap_or_default()
    }

    /// Runs to the end; the answer's text.
    ///
    /// # Errors
    ///
    /// As [`Session::step`].
    pub fn text(mut self) -> Result<String> {
        let mut text = String::new();
        for event in &mut self {
            if let Event::Text(more) = event? {
                text.push_str(&more);
            }
        }
        Ok(text)
    }

    /// Runs to the end; the whole message, and how it ended.
    ///
    /// # Errors
    ///
    /// As [`Session::step`].
    pub fn message(mut self) -> Result<(Message, Finish)> {
        let (mut text, mut thoughts, mut tool_calls) = (String::new(), String::new(), Vec::new());
        for event in &mut self {
            match event? {
                Event::Text(more) => text.push_str(&more),
                Event::Thinking(more) => thoughts.push_str(&more),
                Event::ToolCall(call) => tool_calls.push(call),
                Event::Finished(finish) => {
                    let thinking = (!thoughts.is_empty()).then_some(thoughts);
                    return Ok((Message::Assistant { text, thinking, tool_calls }, finish));
                }
                _ => {}
            }
        }
        Err(Error::Internal("a reply without an end".into()))
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        self.session.step().transpose()
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.session.stop();
    }
}
