//! The door to the worker: requests are looked at, given a place in the queue, and handed over.
//!
//! Looking at a request (template, context, pictures, grammars, sampling) happens on the caller's thread with a spare
//! session, so that a bad request is an answer at once and costs the running replies nothing.

mod slots;
mod worker;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use lemmy_core::chat::{Prompt, StartState};
use lemmy_core::vision::Budget;
use lemmy_core::{
    CancelToken, Chat, GenerateOptions, Image, KvType, Message, Model, Part, Session, Source, Special, StepHook,
    Thinking, TokenEvent, TokenId, ToolChoice,
};
use tokio::sync::mpsc::UnboundedSender;

use self::worker::Worker;
use super::job::{Ask, Job, Place, Request, Ticket, Update};
use super::problem::{Problem, Result};

pub(crate) use self::slots::SlotState;

/// Sizes of the worker.
#[derive(Debug, Clone)]
pub(crate) struct EngineOptions {
    /// Conversations that are served side by side.
    pub(crate) slots: usize,
    /// Tokens of each.
    pub(crate) context: usize,
    pub(crate) kv_type: KvType,
    /// Jobs that may wait.
    pub(crate) queue: usize,
    /// How long one may.
    pub(crate) patience: Duration,
    /// Tokens of one forward pass.
    pub(crate) batch: usize,
    /// Most replies to one prompt.
    pub(crate) choices: usize,
}

/// What others may know of the worker.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Jobs that wait.
    pub(crate) waiting: AtomicUsize,
    /// Jobs that have a slot.
    pub(crate) running: AtomicUsize,
    /// Tokens in the caches of the slots, and those for which there is room.
    pub(crate) cached: AtomicUsize,
    pub(crate) capacity: AtomicUsize,
    /// Bytes of these caches.
    pub(crate) bytes: AtomicU64,
    /// Whether those who wait are to be refused.
    pub(crate) closing: AtomicBool,
    /// Most tokens that a conversation had.
    pub(crate) longest: AtomicUsize,
    /// Forward passes.
    pub(crate) passes: AtomicU64,
    /// Times that the worker panicked.
    pub(crate) panics: AtomicU64,
    /// Jobs that were cancelled.
    pub(crate) cancelled: AtomicU64,
    /// Milliseconds that a job held its slot: a mean that forgets.
    pub(crate) mean_ms: AtomicU64,
    pub(crate) slots: Mutex<Vec<SlotState>>,
    /// When the worker panicked of late.
    pub(crate) recent_panics: Mutex<Vec<Instant>>,
}

impl Gauges {
    /// Whether the worker panicked three times within a minute.
    pub(crate) fn is_degraded(&self) -> bool {
        let recent = self.recent_panics.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().filter(|when| when.elapsed() < Duration::from_secs(60)).count() >= 3
    }

    /// The slots as they are.
    pub(crate) fn slots(&self) -> Vec<SlotState> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Hands jobs to the worker. Dropping it ends the worker once the jobs are done.
#[derive(Debug)]
pub(crate) struct Engine {
    model: Model,
    options: EngineOptions,
    jobs: mpsc::Sender<Job>,
    /// Jobs that are served or wait.
    taken: Arc<AtomicUsize>,
    gauges: Arc<Gauges>,
    /// Sessions that only look at requests.
    spare: Mutex<Vec<Session>>,
    /// Ends every job when triggered.
    stop: CancelToken,
}

impl Engine {
    /// Makes the slots and starts the worker on a thread of its own.
    ///
    /// # Errors
    ///
    /// What making sessions can fail with: no memory, or a cache that this model cannot have.
    pub(crate) fn start(model: &Model, options: EngineOptions) -> lemmy_core::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let gauges = Arc::new(Gauges::default());
        let stop = CancelToken::new();
        let worker = Worker::new(model.clone(), options.clone(), inbox, gauges.clone(), stop.clone())?;
        let thread = std::thread::Builder::new().name("lemmy-worker".into()).spawn(move || worker.run());
        thread.map_err(|source| lemmy_core::Error::Io { what: "cannot start the worker".into(), source })?;
        Ok(Self { model: model.clone(), options, jobs, taken: Arc::default(), gauges, spare: Mutex::default(), stop })
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn options(&self) -> &EngineOptions {
        &self.options
    }

    pub(crate) fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Refuses those who wait; those who are served stay.
    pub(crate) fn close_queue(&self) {
        self.gauges.closing.store(true, Ordering::SeqCst);
    }

    /// Ends every job at once.
    pub(crate) fn cancel_all(&self) {
        self.stop.cancel();
    }

    /// Looks at the prompts of a request and queues them. Takes milliseconds (a large grammar: more), so not for an
    /// async thread. Choices are numbered through.
    ///
    /// # Errors
    ///
    /// What is wrong with the request; 429 if too many wait.
    pub(crate) fn submit(&self, requests: Vec<Request>, owner: usize) -> Result<Ticket> {
        let (updates, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut ticket = Ticket { updates: receiver, cancel: CancelToken::new(), open: 0 };
        let mut jobs = Vec::with_capacity(requests.len());
        for request in requests {
            let choices = request.choices;
            jobs.push(self.job(request, owner, ticket.open, &ticket.cancel, updates.clone())?);
            ticket.open += choices;
        }
        for job in jobs {
            self.gauges.waiting.fetch_add(1, Ordering::SeqCst);
            self.jobs.send(job).map_err(|_| Problem::unavailable("shutting_down", "the server is shutting down"))?;
        }
        Ok(ticket)
    }

    /// A request that was looked at, with its place.
    fn job(
        &self,
        request: Request,
        owner: usize,
        first: usize,
        cancel: &CancelToken,
        updates: UnboundedSender<Update>,
    ) -> Result<Job> {
        let place = self.place()?;
        let Request { prompt, mut options, choices, slot, reuse, counts } = request;
        if let Some(slot) = slot.filter(|&slot| slot >= self.options.slots) {
            let message = format!("found {slot}, expected -1 or a slot below {}", self.options.slots);
            return Err(Problem::value("id_slot", message));
        }
        let (source, ids) = self.source(prompt, options.thinking)?;
        if let Source::Prompt(_) = source {
            // The session's own conversation, to which the tools belong, is another one.
            options.tool_choice = ToolChoice::None;
        }
        let mut session = self.take_spare()?;
        let report = session.begin(source.clone(), options.choice(0))?;
        session.stop();
        self.put_spare(session);
        self.look(&source, cancel)?;
        options.cancel = Some(cancel.clone());
        let said = Arc::new(AtomicUsize::new(0));
        if counts {
            options.hook = Some(Box::new(Counter(said.clone())));
        }
        let (cancel, queued) = (cancel.clone(), Instant::now());
        Ok(Job {
            source,
            ids,
            length: report.reused + report.prefilled,
            options,
            choices,
            first,
            slot,
            reuse,
            said,
            owner,
            cancel,
            queued,
            updates,
            _place: place,
        })
    }

    /// Lets the vision tower see a prompt's pictures here: in a forward pass it would hold up everybody's reply.
    fn look(&self, source: &Source, cancel: &CancelToken) -> Result<()> {
        let Some(vision) = self.model.vision() else { return Ok(()) };
        let images: Vec<&Image> = match source {
            Source::Prompt(prompt) => prompt.pictures.iter().collect(),
            Source::Chat(chat) => chat.messages.iter().flat_map(images).collect(),
            _ => Vec::new(),
        };
        for image in images {
            let budget = image.soft_tokens().map_or(Ok(Budget::default()), Budget::new)?;
            vision.look(image.bytes(), budget, cancel)?;
        }
        Ok(())
    }

    /// Tokens of a request's prompt, as its answer's usage would have them.
    ///
    /// # Errors
    ///
    /// What is wrong with the request.
    pub(crate) fn count(&self, request: Request) -> Result<usize> {
        let (source, _) = self.source(request.prompt, request.options.thinking)?;
        let mut session = self.take_spare()?;
        let report = session.begin(source, GenerateOptions::new().thinking(request.options.thinking))?;
        session.stop();
        self.put_spare(session);
        Ok(report.reused + report.prefilled)
    }

    /// The prompt for the session, and its tokens.
    fn source(&self, prompt: Ask, thinking: Thinking) -> Result<(Source, Vec<TokenId>)> {
        let wanted = !matches!(thinking, Thinking::Off | Thinking::Budget(0));
        let render = |chat: &Chat| {
            let chat = Chat { thinking: wanted, ..chat.clone() };
            self.model.chat_template().prompt(self.model.tokenizer(), &chat)
        };
        Ok(match prompt {
            Ask::Chat(chat) => {
                let ids = render(&chat)?.ids;
                (Source::Chat(chat), ids)
            }
            Ask::Continued(chat, begun) => {
                let mut prompt = render(&chat)?;
                prompt.ids.extend(self.model.tokenizer().encode(&begun, Special::Text));
                prompt.start = StartState::Answer;
                let ids = prompt.ids.clone();
                (Source::Prompt(prompt), ids)
            }
            Ask::Tokens(ids) => (Source::Prompt(Prompt::new(ids.clone(), StartState::Answer)), ids),
        })
    }

    fn place(&self) -> Result<Place> {
        let most = self.options.slots + self.options.queue;
        Place::take(&self.taken, most).map_err(|taken| {
            let mean = self.gauges.mean_ms.load(Ordering::Relaxed).max(1);
            // When the next slot frees, so that somebody can leave the queue.
            let seconds = mean.div_ceil(1000 * self.options.slots as u64).clamp(1, 120) as u32;
            Problem::queue_full(taken.saturating_sub(self.options.slots), seconds)
        })
    }

    fn take_spare(&self) -> Result<Session> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // A batch of one: it never evaluates anything.
        let build =
            || self.model.session().context(self.options.context).kv_type(self.options.kv_type).batch(1).build();
        Ok(spare.map_or_else(build, Ok)?)
    }

    fn put_spare(&self, session: Session) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

/// The pictures of a message.
fn images(message: &Message) -> impl Iterator<Item = &Image> {
    let parts = if let Message::User(parts) = message { parts.as_slice() } else { &[] };
    parts.iter().filter_map(|part| if let Part::Image(image) = part { Some(image) } else { None })
}

/// Counts the tokens of a reply.
struct Counter(Arc<AtomicUsize>);

impl StepHook for Counter {
    fn on_token(&mut self, _: &TokenEvent) -> ControlFlow<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests;
