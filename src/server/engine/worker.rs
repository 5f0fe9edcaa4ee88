//! The thread that owns the slots and the scheduler: jobs come in, forward passes go round, updates go out.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lemmy_core::{
    CancelToken, Event, Finish, FinishReason, GenerateOptions, JobId, Model, Result, Scheduler, Session, Source, Usage,
};

use super::slots::{SlotState, Slots, Wanted};
use super::{EngineOptions, Gauges};
use crate::server::job::{Job, Update};
use crate::server::problem::Problem;

pub(super) struct Worker {
    model: Model,
    options: EngineOptions,
    inbox: Receiver<Job>,
    gauges: Arc<Gauges>,
    stop: CancelToken,
    scheduler: Scheduler,
    slots: Slots,
    queue: VecDeque<Job>,
    running: Vec<Running>,
    /// Nobody can send jobs any more.
    closed: bool,
}

/// A job that has a slot.
struct Running {
    job: Job,
    slot: usize,
    task: u64,
    began: Instant,
    /// Several choices: the prompt is read first, once.
    reads_for_all: bool,
    /// What reading it took, once it is read.
    read: Option<Usage>,
    /// Replies under way, with their choices.
    replies: Vec<(JobId, usize)>,
    /// Tokens of the prompt that were read.
    done: usize,
}

impl Worker {
    pub(super) fn new(
        model: Model,
        options: EngineOptions,
        inbox: Receiver<Job>,
        gauges: Arc<Gauges>,
        stop: CancelToken,
    ) -> Result<Self> {
        let scheduler = scheduler(&model, &options)?;
        let sessions = (0..options.slots).map(|_| session(&model, &options)).collect::<Result<_>>()?;
        let slots = Slots::new(sessions);
        let (queue, running) = (VecDeque::new(), Vec::new());
        let worker = Self { model, options, inbox, gauges, stop, scheduler, slots, queue, running, closed: false };
        // Who looks before the first job comes finds the slots idle.
        worker.publish();
        Ok(worker)
    }

    /// Works until nobody can send jobs and all are done.
    pub(super) fn run(mut self) {
        loop {
            self.receive();
            if self.closed && self.queue.is_empty() && self.running.is_empty() {
                return;
            }
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() && self.rebuild().is_err() {
                // Dropping the jobs tells their clients.
                return;
            }
            self.publish();
        }
    }

    /// Takes what has come in; sleeps while there is nothing to do.
    fn receive(&mut self) {
        let mut is_idle = self.running.is_empty() && self.queue.is_empty();
        loop {
            let next = match is_idle {
                true => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.inbox.try_recv().map_err(|e| match e {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
            };
            match next {
                Ok(job) => self.queue.push_back(job),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.closed = true;
                    return;
                }
            }
            is_idle = false;
        }
    }

    /// Jobs to slots, one forward pass, updates to their clients.
    fn turn(&mut self) {
        if self.stop.is_cancelled() {
            self.fail_all(&Problem::unavailable("shutting_down", "the server is shutting down"));
        }
        self.leave_queue();
        while let Some((job, slot)) = self.next_job() {
            self.begin(job, slot);
        }
        for (id, event) in self.scheduler.tick() {
            match event {
                Ok(event) => self.tell(id, event),
                Err(error) => self.fail(id, &error.into()),
            }
        }
    }

    /// Lets those go who have left or waited too long.
    fn leave_queue(&mut self) {
        let patience = self.options.patience;
        let before = self.queue.len();
        self.queue.retain(|job| {
            let is_late = job.queued.elapsed() > patience;
            if self.gauges.closing.load(Ordering::SeqCst) {
                let problem = Problem::unavailable("shutting_down", "the server is shutting down");
                let _ = job.updates.send(Update::Failed(problem));
                return false;
            }
            if is_late {
                let message = format!("no slot was free for {} s", patience.as_secs());
                let _ = job.updates.send(Update::Failed(Problem::unavailable("queue_timeout", message)));
            }
            !is_late && !job.cancel.is_cancelled()
        });
        self.gauges.waiting.fetch_sub(before - self.queue.len(), Ordering::SeqCst);
    }

    /// The first job in the queue for which a slot is free.
    fn next_job(&mut self) -> Option<(Job, usize)> {
        if !self.slots.has_idle() {
            return None;
        }
        let (at, slot) = self.queue.iter().enumerate().find_map(|(at, job)| {
            let wanted = Wanted { ids: &job.ids, slot: job.slot, owner: job.owner };
            Some((at, self.slots.choose(&wanted)?))
        })?;
        let job = self.queue.remove(at)?;
        self.gauges.waiting.fetch_sub(1, Ordering::SeqCst);
        Some((job, slot))
    }

    /// Begins to read a job's prompt.
    fn begin(&mut self, mut job: Job, slot: usize) {
        let Some((session, task)) = self.slots.give(slot, job.owner, job.reuse) else { return };
        let reads_for_all = job.choices > 1;
        let options = match reads_for_all {
            true => reading(&job.options),
            false => std::mem::take(&mut job.options),
        };
        let _ = job.updates.send(Update::Started);
        match self.scheduler.submit(session, job.source.clone(), options) {
            Ok(id) => {
                let (began, replies) = (Instant::now(), vec![(id, 0)]);
                self.running.push(Running { job, slot, task, began, reads_for_all, read: None, replies, done: 0 });
            }
            Err(refused) => {
                self.slots.put(slot, *refused.session);
                let _ = job.updates.send(Update::Failed(refused.error.into()));
            }
        }
    }

    /// Passes an event on to the job's client.
    fn tell(&mut self, id: JobId, event: Event) {
        let Some(place) = self.place_of(id) else { return };
        let Some(running) = self.running.get_mut(place) else { return };
        let choice = running.replies.iter().find(|(reply, _)| *reply == id).map_or(0, |(_, choice)| *choice);
        let (said, at) = (running.job.said.load(Ordering::Relaxed), Instant::now());
        let update = match event {
            Event::Prefill { done, total } if running.read.is_none() => {
                running.done = done;
                Update::Prefill { cached: running.job.length.saturating_sub(total), done, total, at }
            }
            Event::Prefill { .. } => return,
            Event::Finished(finish) if running.reads_for_all && running.read.is_none() => {
                return self.fork(place, id, &finish);
            }
            Event::Finished(finish) => return self.finish(place, id, choice, finish),
            event => Update::Said { choice: running.job.first + choice, event, said, at },
        };
        let _ = running.job.updates.send(update);
    }

    /// The prompt is read: every choice gets a copy of the session.
    fn fork(&mut self, at: usize, id: JobId, read: &Finish) {
        let Some(session) = self.scheduler.remove(id) else { return };
        let Some(running) = self.running.get_mut(at) else { return };
        running.read = Some(read.usage);
        running.replies.clear();
        let options = std::mem::take(&mut running.job.options);
        let copies: Result<Vec<Session>> = (1..running.job.choices).map(|_| session.fork()).collect();
        let copies = match copies {
            Ok(copies) => copies,
            Err(error) => {
                self.slots.put(running.slot, session);
                return self.end(at, Some(&error.into()));
            }
        };
        for (choice, session) in std::iter::once(session).chain(copies).enumerate() {
            match self.scheduler.submit(session, Source::Here, options.choice(choice as u64)) {
                Ok(id) => running.replies.push((id, choice)),
                Err(refused) => {
                    if choice == 0 {
                        self.slots.put(running.slot, *refused.session);
                    }
                    return self.end(at, Some(&refused.error.into()));
                }
            }
        }
    }

    /// A choice has ended; with the last one the job has.
    fn finish(&mut self, at: usize, id: JobId, choice: usize, mut finish: Finish) {
        let session = self.scheduler.remove(id);
        let Some(running) = self.running.get_mut(at) else { return };
        if let (0, Some(session)) = (choice, session) {
            self.slots.put(running.slot, session);
        }
        if let Some(read) = running.read {
            // It was read once for all choices.
            (finish.usage.prompt, finish.usage.cached, finish.usage.prefill) = (read.prompt, read.cached, read.prefill);
        }
        if finish.reason == FinishReason::Cancelled {
            self.gauges.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        running.replies.retain(|(reply, _)| *reply != id);
        let is_last = running.replies.is_empty();
        self.gauges.longest.fetch_max(finish.usage.prompt + finish.usage.generated, Ordering::Relaxed);
        let choice = running.job.first + choice;
        let _ = running.job.updates.send(Update::Said {
            choice,
            event: Event::Finished(finish),
            said: finish.usage.generated,
            at: Instant::now(),
        });
        if is_last {
            self.end(at, None);
        }
    }

    /// A reply has failed, and the job with it.
    fn fail(&mut self, id: JobId, problem: &Problem) {
        if let Some(at) = self.place_of(id) {
            self.end(at, Some(problem));
        }
    }

    /// A job is over. The sessions that are still out come back.
    fn end(&mut self, at: usize, problem: Option<&Problem>) {
        let running = self.running.remove(at);
        for (id, choice) in running.replies {
            let session = self.scheduler.remove(id);
            if let (0, Some(session)) = (choice, session) {
                self.slots.put(running.slot, session);
            }
        }
        if let Some(problem) = problem {
            let _ = running.job.updates.send(Update::Failed(problem.clone()));
        }
        let held = u64::try_from(running.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mean = self.gauges.mean_ms.load(Ordering::Relaxed);
        let mean = if mean == 0 { held } else { mean - mean / 8 + held / 8 };
        self.gauges.mean_ms.store(mean.max(1), Ordering::Relaxed);
    }

    fn fail_all(&mut self, problem: &Problem) {
        while !self.running.is_empty() {
            self.end(0, Some(problem));
        }
        self.gauges.waiting.fetch_sub(self.queue.len(), Ordering::SeqCst);
        for job in self.queue.drain(..) {
            let _ = job.updates.send(Update::Failed(problem.clone()));
        }
    }

    /// After a panic nothing that took part in the pass can be trusted: its jobs fail, its sessions are made anew.
    fn rebuild(&mut self) -> Result<()> {
        self.gauges.panics.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.gauges.recent_panics.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|when| when.elapsed() < Duration::from_secs(60));
        recent.push(Instant::now());
        drop(recent);
        for running in self.running.drain(..) {
            let problem = Problem::internal("the worker stopped in the middle of this reply and was started again");
            let _ = running.job.updates.send(Update::Failed(problem));
        }
        self.scheduler = scheduler(&self.model, &self.options)?;
        for slot in self.slots.out().collect::<Vec<_>>() {
            self.slots.put(slot, session(&self.model, &self.options)?);
        }
        Ok(())
    }

    fn place_of(&self, id: JobId) -> Option<usize> {
        self.running.iter().position(|running| running.replies.iter().any(|(reply, _)| *reply == id))
    }

    /// Tells those who look how things are.
    fn publish(&self) {
        let stats = self.scheduler.stats();
        let idle = |of: &dyn Fn(&Session) -> usize| self.slots.sessions().map(of).sum::<usize>();
        let gauges = &self.gauges;
        gauges.cached.store(stats.cached + idle(&|session| session.tokens().len()), Ordering::Relaxed);
        gauges.capacity.store(stats.capacity + idle(&Session::capacity), Ordering::Relaxed);
        let idle_bytes: u64 = self.slots.sessions().map(Session::memory).sum();
        gauges.bytes.store(stats.memory + idle_bytes, Ordering::Relaxed);
        gauges.passes.store(stats.passes, Ordering::Relaxed);
        let mut slots = gauges.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.resize(self.options.slots, SlotState::default());
        slots.iter_mut().for_each(|slot| slot.is_processing = false);
        for running in &self.running {
            if let Some(slot) = slots.get_mut(running.slot) {
                *slot = SlotState { is_processing: true, task: Some(running.task), read: running.done };
            }
        }
        gauges.running.store(self.running.len(), Ordering::SeqCst);
    }
}

/// Options that matter while a prompt is read for several replies.
fn reading(options: &GenerateOptions) -> GenerateOptions {
    let mut reading = GenerateOptions::new().max_tokens(0).thinking(options.thinking);
    reading.cancel = options.cancel.clone();
    reading
}

fn scheduler(model: &Model, options: &EngineOptions) -> Result<Scheduler> {
    // Each reply has a place in every pass.
    let replies = options.slots * options.choices;
    Ok(Scheduler::new(model, options.batch.max(replies))?.max_running(replies))
}

fn session(model: &Model, options: &EngineOptions) -> Result<Session> {
    model.session().context(options.context).kv_type(options.kv_type).batch(options.batch).build()
}
