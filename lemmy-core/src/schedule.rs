//! Many sessions at once over one model: continuous batching without an async runtime and without threads of its own.
//!
//! A [`Scheduler`] owns the sessions whose replies it makes. Each [`tick`](Scheduler::tick) is one forward pass for all of
//! them; a reply joins at the next tick and leaves when it ends. Weights are read once per pass, so eight sessions
//! together are more than twice as fast as one after another. What each of them says is what it would have said alone,
//! to the last bit of its logits.
//!
//! The scheduler is a value and `Send`: a server gives it a thread, sends new replies through a channel, and sleeps on
//! that channel when there is nothing to do.
//!
//! ```no_run
//! use std::sync::mpsc;
//! use lemmy_core::{GenerateOptions, Model, Scheduler, Session};
//!
//! let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
//! let mut scheduler = Scheduler::new(&model, 256)?;
//! let (sender, receiver) = mpsc::channel::<(Session, String)>();
//! std::thread::spawn(move || loop {
//!     // Sleep while there is nothing to do; else only look whether somebody has come.
//!     let next = if scheduler.has_work() { receiver.try_recv().ok() } else { receiver.recv().ok() };
//!     if let Some((session, text)) = next {
//!         match scheduler.submit(session, text, GenerateOptions::new()) {
//!             Ok(job) => println!("{job:?} begins"),
//!             Err(refused) => println!("{refused}"), // `refused.session` can be used again
//!         }
//!     } else if !scheduler.has_work() {
//!         break; // the other side is gone, and all is said
//!     }
//!     for (job, event) in scheduler.tick() {
//!         println!("{job:?}: {event:?}");
//!     }
//! });
//! # Ok::<(), lemmy_core::Error>(())
//! ```

#![forbid(unsafe_code)]

mod share;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use self::share::fair_shares;
use crate::backend::Scratch;
use crate::error::{Error, Result};
use crate::generate::{Event, FinishReason, GenerateOptions};
use crate::kv::KvSpec;
use crate::limits;
use crate::model::Model;
use crate::session::{Session, Source, Work, forward};
use crate::threads::CancelToken;

/// Runs the replies of many sessions side by side.
///
/// Turns are fair, and nobody waits for ever: in each tick every reply under way gets at least one token. Replies that
/// are being said come first, with the tokens that they guess ahead; what is left of the batch is shared equally among
/// the prompts that are being read. While anybody is speaking, prompts get at most
/// [`prefill_share`](Self::prefill_share) tokens of a pass together (but one each), which bounds how long a speaker waits
/// for the next token.
///
/// A picture is never cut, so it goes through by itself, whatever its size: one in a tick, after the others have had
/// their tokens; of several each in its turn. All wait while it is looked at, unless that was done before
/// ([`Vision::look`](crate::Vision::look)).
pub struct Scheduler {
    model: Model,
    scratch: Box<dyn Scratch>,
    max_batch: usize,
    max_running: usize,
    prefill_share: usize,
    running: Vec<Job>,
    waiting: VecDeque<Job>,
    /// Sessions whose reply is over.
    done: BTreeMap<JobId, Session>,
    next_id: u64,
    ticks: u64,
    passes: u64,
    last_batch: usize,
}

/// A reply in a [`Scheduler`]; never used twice by the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

/// What a [`Scheduler`] is doing, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchedulerStats {
    /// Replies whose prompt is being read.
    pub reading: usize,
    /// Replies that are being said.
    pub speaking: usize,
    /// Replies that wait for a place.
    pub waiting: usize,
    /// Replies that are over and whose session nobody has taken back yet.
    pub done: usize,
    /// Forward passes so far.
    pub passes: u64,
    /// Tokens of the last tick, a picture's included.
    pub last_batch: usize,
    /// Tokens in the caches of all sessions that are here.
    pub cached: usize,
    /// Tokens for which these caches have room.
    pub capacity: usize,
    /// Bytes of these caches and of the working memory.
    pub memory: u64,
}

/// Why a reply was not begun, with the session, as it was.
#[derive(Debug)]
pub struct Refused {
    /// The session.
    pub session: Box<Session>,
    /// The reason.
    pub error: Error,
}

struct Job {
    id: JobId,
    session: Session,
}

/// What a job gets from a pass.
struct Part {
    /// Its place among the running ones.
    job: usize,
    work: Work,
}

impl Scheduler {
    /// Replies that run at the same time unless [`max_running`](Self::max_running) says otherwise.
    const DEFAULT_RUNNING: usize = 16;

    /// For sessions of this model; at most `max_batch` tokens go through it in one pass. Working memory for so many is
    /// reserved; sessions that run here give theirs back.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a batch of no tokens or of too many, [`Error::OutOfMemory`].
    pub fn new(model: &Model, max_batch: usize) -> Result<Self> {
        if !(1..=limits::BATCH).contains(&max_batch) {
            let reason = format!("found {max_batch}, allowed 1..={}", limits::BATCH);
            return Err(Error::Argument { name: "max_batch", reason });
        }
        let kv = KvSpec { batch: max_batch, ..KvSpec::with_context(0) };
        let what = format!("the model with a scheduler of {max_batch} tokens");
        model.check_memory(&what, model.estimate_for(&kv)?.total())?;
        Ok(Self {
            scratch: model.engine().new_scratch(max_batch)?,
            model: model.clone(),
            max_batch,
            max_running: Self::DEFAULT_RUNNING.min(max_batch),
            prefill_share: (max_batch / 4).max(1),
            running: Vec::new(),
            waiting: VecDeque::new(),
            done: BTreeMap::new(),
            next_id: 0,
            ticks: 0,
            passes: 0,
            last_batch: 0,
        })
    }

    /// Replies that run at the same time; others wait in the order in which they came. 16 when left out, and never more
    /// than `max_batch`, so that each has a place in every pass.
    pub fn max_running(mut self, replies: usize) -> Self {
        self.max_running = replies.clamp(1, self.max_batch);
        self
    }

    /// Tokens of prompts in a pass in which somebody is speaking; a quarter of `max_batch` when left out. Less keeps
    /// speech even, more reads faster.
    pub fn prefill_share(mut self, tokens: usize) -> Self {
        self.prefill_share = tokens.clamp(1, self.max_batch);
        self
    }

    /// Begins a reply, as [`Session::begin`] does. The session comes back by [`remove`](Self::remove).
    ///
    /// # Errors
    ///
    /// Those of [`Session::begin`], and [`Error::Argument`] for the session of another model; the session comes back as
    /// it was.
    pub fn submit(
        &mut self,
        mut session: Session,
        source: impl Into<Source>,
        options: GenerateOptions,
    ) -> Result<JobId, Refused> {
        let begun = if session.model().is_same(&self.model) {
            session.begin(source, options)
        } else {
            Err(Error::Argument { name: "session", reason: "it belongs to another model".into() })
        };
        if let Err(error) = begun {
            return Err(Refused { session: Box::new(session), error });
        }
        session.release_scratch();
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.waiting.push_back(Job { id, session });
        Ok(id)
    }

    /// One forward pass for every reply under way, and one for a picture; what came of it, job by job, each job's events in
    /// order.
    ///
    /// The last event of a job is [`Event::Finished`], or an error: then its conversation is as it was before, and the
    /// others have not noticed. A job that is cancelled ends at the next tick. Empty when no reply is under way.
    pub fn tick(&mut self) -> Vec<(JobId, Result<Event>)> {
        let mut events = Vec::new();
        self.end_cancelled();
        self.tell(&mut events);
        self.admit();
        let picture = self.next_picture();
        let parts = self.plan();
        self.last_batch = parts.iter().map(|part| part.work.len()).sum();
        let mut failed = self.evaluate(&parts);
        if let Some(job) = picture {
            failed.extend(self.show(job).err().map(|error| (job, error)));
        }
        let mut errors = self.fail(failed);
        self.tell(&mut events);
        for (id, error) in errors.drain(..) {
            events.push((id, Err(error)));
        }
        events
    }

    /// Asks a reply to end: the next [`tick`](Self::tick) gives its last events. False for an unknown job and for one
    /// that is over.
    pub fn cancel(&mut self, job: JobId) -> bool {
        let found = self.running.iter_mut().chain(&mut self.waiting).find(|j| j.id == job);
        found.map(|job| job.session.end_reply(FinishReason::Cancelled)).is_some()
    }

    /// Takes a session back, whether its reply is over or not; what was said stays in it. `None` for an unknown job.
    pub fn remove(&mut self, job: JobId) -> Option<Session> {
        if let Some(session) = self.done.remove(&job) {
            return Some(session);
        }
        let mut session = if let Some(i) = self.running.iter().position(|j| j.id == job) {
            self.running.remove(i).session
        } else {
            let i = self.waiting.iter().position(|j| j.id == job)?;
            self.waiting.remove(i)?.session
        };
        session.stop();
        Some(session)
    }

    /// Whether [`tick`](Self::tick) has anything to do.
    pub fn has_work(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    /// What is going on.
    pub fn stats(&self) -> SchedulerStats {
        let reading = self.running.iter().filter(|job| job.session.is_reading()).count();
        let jobs = self.running.iter().chain(&self.waiting).map(|job| &job.session);
        let mut stats = SchedulerStats {
            reading,
            speaking: self.running.len() - reading,
            waiting: self.waiting.len(),
            done: self.done.len(),
            passes: self.passes,
            last_batch: self.last_batch,
            memory: self.scratch.bytes(),
            ..SchedulerStats::default()
        };
        for session in jobs.chain(self.done.values()) {
            stats.cached += session.tokens().len();
            stats.capacity += session.capacity();
            stats.memory += session.memory();
        }
        stats
    }

    /// Ends the replies whose cancel token was triggered.
    fn end_cancelled(&mut self) {
        for job in self.running.iter_mut().chain(&mut self.waiting) {
            if job.session.reply_cancel().is_some_and(CancelToken::is_cancelled) {
                job.session.end_reply(FinishReason::Cancelled);
            }
        }
    }

    /// Gives free places to those who wait.
    fn admit(&mut self) {
        while self.running.len() < self.max_running
            && let Some(job) = self.waiting.pop_front()
        {
            self.running.push(job);
        }
    }

    /// The running ones in the order of this tick. The first turn goes round, so that what cannot be divided falls to each
    /// in its turn.
    fn turns(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.running.len();
        let first = (self.ticks % count.max(1) as u64) as usize;
        (0..count).map(move |i| (first + i) % count)
    }

    /// Who may show the model a picture.
    fn next_picture(&self) -> Option<usize> {
        self.turns().find(|&i| self.running.get(i).is_some_and(|job| job.session.is_at_picture()))
    }

    /// Shows the model the picture that comes next in a job's prompt.
    fn show(&mut self, place: usize) -> Result<()> {
        let Some(job) = self.running.get_mut(place) else { return Ok(()) };
        job.session.look(&job.session.reply_cancel().cloned().unwrap_or_default())?;
        let Some(work) = job.session.next_work(usize::MAX) else { return Ok(()) };
        let part = Part { job: place, work };
        self.last_batch += part.work.len();
        self.pass(&[&part])?;
        self.running.get_mut(place).map_or(Ok(()), |job| job.session.absorb(&part.work))
    }

    /// Who gets which tokens of the next pass.
    fn plan(&mut self) -> Vec<Part> {
        let at_picture = |i: &usize| self.running.get(*i).is_some_and(|job| job.session.is_at_picture());
        let turns: Vec<usize> = self.turns().filter(|i| !at_picture(i)).collect();
        let (reading, speaking): (Vec<usize>, Vec<usize>) =
            turns.into_iter().partition(|&i| self.running.get(i).is_some_and(|job| job.session.is_reading()));
        self.ticks += 1;

        let count = reading.len() + speaking.len();
        let mut parts = Vec::with_capacity(count);
        // One token for each is set aside.
        let mut left = self.max_batch.saturating_sub(count);
        for &i in &speaking {
            let work = self.running.get_mut(i).and_then(|job| job.session.next_work(1 + left));
            left -= work.as_ref().map_or(0, |work| work.len() - 1);
            parts.extend(work.map(|work| Part { job: i, work }));
        }
        left += reading.len();
        if !parts.is_empty() {
            left = left.min(self.prefill_share.max(reading.len()));
        }
        let unread: Vec<usize> =
            reading.iter().filter_map(|&i| Some(self.running.get(i)?.session.unread_prompt())).collect();
        for (&i, share) in reading.iter().zip(fair_shares(left, &unread)) {
            let work = self.running.get_mut(i).and_then(|job| job.session.next_work(share));
            parts.extend(work.map(|work| Part { job: i, work }));
        }
        parts.sort_by_key(|part| part.job);
        parts
    }

    /// Runs a pass; the places of the jobs that failed, each by itself.
    fn evaluate(&mut self, parts: &[Part]) -> Vec<(usize, Error)> {
        let all: Vec<&Part> = parts.iter().collect();
        let mut failed = Vec::new();
        match self.pass(&all) {
            Ok(()) => {}
            // No session has moved: each tries alone, and what is wrong with one does not touch another.
            Err(_) if all.len() > 1 => {
                for part in &all {
                    failed.extend(self.pass(&[part]).err().map(|error| (part.job, error)));
                }
            }
            Err(error) => failed.extend(all.first().map(|part| (part.job, error))),
        }
        for part in parts {
            let Some(job) = self.running.get_mut(part.job) else { continue };
            if failed.iter().all(|(i, _)| *i != part.job)
                && let Err(error) = job.session.absorb(&part.work)
            {
                failed.push((part.job, error));
            }
        }
        failed
    }

    /// One forward pass over these parts. A part alone can be stopped by its own cancel token; of several each looks at
    /// its own between passes, since the others go on.
    fn pass(&mut self, parts: &[&Part]) -> Result<()> {
        let Some(only) = parts.first() else { return Ok(()) };
        let alone = self.running.get(only.job).filter(|_| parts.len() == 1);
        let cancel = alone.and_then(|job| job.session.reply_cancel()).cloned().unwrap_or_default();
        let mut works = parts.iter().peekable();
        let mut slices = Vec::with_capacity(parts.len());
        for (i, job) in self.running.iter_mut().enumerate() {
            if let Some(part) = works.next_if(|part| part.job == i) {
                slices.push((&mut job.session, &part.work));
            }
        }
        self.passes += 1;
        let needed = parts.iter().map(|part| part.work.len()).sum();
        if needed > self.max_batch {
            // A picture that is larger than a batch comes rarely: what it needs beyond the usual is given back.
            return forward(&self.model, &mut slices, &mut *self.model.engine().new_scratch(needed)?, &cancel);
        }
        forward(&self.model, &mut slices, &mut *self.scratch, &cancel)
    }

    /// Ends the replies that failed. A cancelled one has not: it ends as such.
    fn fail(&mut self, mut failed: Vec<(usize, Error)>) -> Vec<(JobId, Error)> {
        // From the last place to the first: those before stay where they are.
        failed.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        let mut errors = Vec::new();
        for (place, error) in failed {
            if let (Error::Cancelled, Some(job)) = (&error, self.running.get_mut(place)) {
                job.session.end_reply(FinishReason::Cancelled);
                continue;
            }
            let Job { id, mut session } = self.running.remove(place);
            session.fail();
            self.done.insert(id, session);
            errors.push((id, error));
        }
        errors.reverse();
        errors
    }

    /// Collects what the replies have to say, and puts those aside that are over.
    fn tell(&mut self, events: &mut Vec<(JobId, Result<Event>)>) {
        let mut over = Vec::new();
        for job in self.running.iter_mut().chain(&mut self.waiting) {
            while let Some(event) = job.session.next_event() {
                if matches!(event, Event::Finished(_)) {
                    over.push(job.id);
                }
                events.push((job.id, Ok(event)));
            }
        }
        for id in over {
            if let Some(session) = self.remove(id) {
                self.done.insert(id, session);
            }
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("max_batch", &self.max_batch)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl From<Refused> for Error {
    /// The session is dropped.
    fn from(refused: Refused) -> Self {
        refused.error
    }
}
