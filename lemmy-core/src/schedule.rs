//! Many sessions at once over one model: continuous batching without an async runtime.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::generate::{Event, GenerateOptions};
use crate::model::Model;
use crate::session::{Session, Source};

/// Runs the replies of many sessions side by side: one [`tick`](Self::tick) is one forward pass for all of them.
#[derive(Debug)]
pub struct Scheduler {}

/// A reply in a [`Scheduler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl Scheduler {
    /// For sessions of this model; at most `max_batch` tokens go through it in one tick.
    pub fn new(model: &Model, max_batch: usize) -> Result<Self> {
        todo!("{model:?} {max_batch}")
    }

    /// Begins a reply. The session comes back by [`remove`](Self::remove).
    pub fn submit(&mut self, session: Session, source: impl Into<Source>, options: GenerateOptions) -> Result<JobId> {
        let _ = (session, source.into());
        todo!("{options:?}")
    }

    /// One forward pass; events of every job that moved. Empty when no job has work left.
    pub fn tick(&mut self) -> Result<Vec<(JobId, Result<Event>)>> {
        todo!()
    }

    /// Takes a session back, whether its reply is finished or not; `None` for an unknown job.
    pub fn remove(&mut self, job: JobId) -> Option<Session> {
        todo!("{job:?}")
    }
}
