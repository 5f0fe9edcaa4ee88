//! What a dialect asks for and what it gets back, in terms that belong to no dialect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lemmy_core::{CancelToken, Chat, Event, GenerateOptions, Source, TokenId};
use tokio::sync::mpsc;

use super::ids;
use super::problem::Problem;

/// What a dialect makes of a request's body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) prompt: Ask,
    /// For the first choice; others have the same with another seed.
    pub(crate) options: GenerateOptions,
    /// Replies to the one prompt.
    pub(crate) choices: usize,
    /// The slot that has to serve it.
    pub(crate) slot: Option<usize>,
    /// Whether what a slot has read already may be used.
    pub(crate) reuse: bool,
    /// Whether each update tells how many tokens were said; only of requests with one choice.
    pub(crate) counts: bool,
}

/// What a reply answers.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// A conversation.
    Chat(Chat),
    /// A conversation and the beginning of the model's next message, which it goes on with.
    Continued(Chat, String),
    /// A text as tokens.
    Tokens(Vec<TokenId>),
}

/// A request that was looked at and may be queued.
pub(super) struct Job {
    pub(super) source: Source,
    /// Tokens of the prompt, by which a slot is chosen.
    pub(super) ids: Vec<TokenId>,
    /// How many tokens the model reads for it; pictures take more than one.
    pub(super) length: usize,
    pub(super) options: GenerateOptions,
    pub(super) choices: usize,
    /// Number of its first choice, among those of all prompts of the request.
    pub(super) first: usize,
    pub(super) slot: Option<usize>,
    pub(super) reuse: bool,
    /// Counts the tokens that are said, if somebody wants to know while they are.
    pub(super) said: Arc<AtomicUsize>,
    /// Number of the key that came with the request: what one key's requests have read is not used for another's.
    pub(super) owner: usize,
    pub(super) cancel: CancelToken,
    pub(super) queued: Instant,
    pub(super) updates: mpsc::UnboundedSender<Update>,
    /// Its place among those that are served or wait; given back when the job is dropped.
    pub(super) _place: Place,
}

/// One step of a job, as its client may learn of it.
#[derive(Debug)]
pub(crate) enum Update {
    /// A slot has begun to read the prompt, or the first of several.
    Started,
    /// How far the prompt is read, in tokens.
    Prefill {
        /// Of the prompt, in the cache already.
        cached: usize,
        /// Read so far.
        done: usize,
        /// To be read.
        total: usize,
        /// When that was so.
        at: Instant,
    },
    /// A choice's reply goes on, or ends with [`Event::Finished`].
    Said {
        /// Which of the choices.
        choice: usize,
        /// What it said; no `Prefill`.
        event: Event,
        /// Tokens that were said so far, if they are counted.
        said: usize,
        /// When that was so.
        at: Instant,
    },
    /// The last update of a job that failed.
    Failed(Problem),
}

/// The client's side of a job. Dropping it cancels the job.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(super) updates: mpsc::UnboundedReceiver<Update>,
    pub(super) cancel: CancelToken,
    /// Replies that have not ended.
    pub(super) open: usize,
}

impl Ticket {
    /// The next update; `None` once every choice has ended or the job has failed.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        if self.open == 0 {
            return None;
        }
        let mut update = self.updates.recv().await;
        match &mut update {
            Some(Update::Said { event: Event::Finished(_), .. }) => self.open -= 1,
            // The library counts within a conversation; clients may mix several.
            Some(Update::Said { event: Event::ToolCall(call), .. }) => call.id = ids::name("call_"),
            Some(Update::Failed(_)) => self.open = 0,
            Some(_) => {}
            None => {
                // The worker is gone without a word.
                self.open = 0;
                return Some(Update::Failed(Problem::internal("the worker stopped")));
            }
        }
        update
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// A place among the jobs that are served or wait.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place, if fewer than `most` are taken; else the number of those.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Result<Self, usize> {
        taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < most).then_some(n + 1))
            .map(|_| Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_to_the_last() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Place::take(&taken, 2);
        let second = Place::take(&taken, 2);
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(Place::take(&taken, 2), Err(2)));
        drop(first);
        assert!(Place::take(&taken, 2).is_ok());
    }
}
