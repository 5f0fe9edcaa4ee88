//! Who waits for whom in a scheduler, and what happens when one of several fails, is cancelled or is taken away.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use lemmy_core::backend::cpu::CpuBackend;
use lemmy_core::backend::{Backend, BackendMemory, Engine, Input, KvStore, Scratch, SeqSlice};
use lemmy_core::kv::KvSpec;
use lemmy_core::plan::{Plan, WeightSource};
use lemmy_core::{
    CancelToken, Error, Event, FinishReason, GenerateOptions, JobId, Model, Result, SamplerParams, Scheduler, Session,
    Source, ThreadPool, TokenId,
};

/// A token with which every pass fails.
const POISON: TokenId = 13;

/// The CPU, but passes with [`POISON`] fail.
struct Poisoned(CpuBackend);
struct PoisonedEngine(Box<dyn Engine>);

impl Backend for Poisoned {
    fn name(&self) -> String {
        "poisoned".into()
    }
    fn check(&self, plan: &Plan) -> Result<()> {
        self.0.check(plan)
    }
    fn estimate(&self, plan: &Plan, weights: &dyn WeightSource, kv: &KvSpec) -> Result<BackendMemory> {
        self.0.estimate(plan, weights, kv)
    }
    fn compile(
        &self,
        plan: Arc<Plan>,
        weights: &dyn WeightSource,
        cancel: &CancelToken,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Engine>> {
        Ok(Box::new(PoisonedEngine(self.0.compile(plan, weights, cancel, progress)?)))
    }
}

impl Engine for PoisonedEngine {
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
    fn new_kv(&self, spec: &KvSpec) -> Result<Box<dyn KvStore>> {
        self.0.new_kv(spec)
    }
    fn new_scratch(&self, batch: usize) -> Result<Box<dyn Scratch>> {
        self.0.new_scratch(batch)
    }
    fn forward(&self, batch: &mut [SeqSlice<'_>], scratch: &mut dyn Scratch, cancel: &CancelToken) -> Result<()> {
        self.0.forward(batch, scratch, cancel)?;
        if batch.iter().any(|slice| matches!(slice.input, Input::Tokens(ids) if ids.contains(&POISON))) {
            return Err(Error::Numeric { step: "poison", layer: None });
        }
        Ok(())
    }
}

fn model() -> Model {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    Model::builder(path).backend(Poisoned(CpuBackend::new(ThreadPool::new(2).unwrap()))).load().unwrap()
}

fn session(model: &Model) -> Session {
    model.session().context(512).batch(128).build().unwrap()
}

fn prompt(n: usize) -> Source {
    Source::Tokens((0..n as u32).map(|i| 20 + i * 37 % 400).collect())
}

/// Greedy, and never at an end or the poison by itself.
fn options(model: &Model, max_tokens: usize) -> GenerateOptions {
    let mut params = SamplerParams::default();
    params.temperature = 0.0;
    params.suppress = model.tokenizer().end_of_generation().iter().copied().chain([POISON]).collect();
    GenerateOptions::new().max_tokens(max_tokens).sampler(params)
}

type Events = Vec<(JobId, Result<Event>)>;

fn to_the_end(scheduler: &mut Scheduler) -> Events {
    let mut events = Vec::new();
    while scheduler.has_work() {
        events.extend(scheduler.tick());
    }
    events
}

fn end(events: &Events, job: JobId) -> Option<FinishReason> {
    events.iter().find_map(|(id, event)| match event {
        Ok(Event::Finished(finish)) if *id == job => Some(finish.reason),
        _ => None,
    })
}

#[test]
fn a_failing_reply_ends_alone_and_its_session_can_be_used() {
    let model = model();
    let alone = {
        let mut session = session(&model);
        session.begin(prompt(30), options(&model, 10)).unwrap();
        while session.step().unwrap().is_some() {}
        session.tokens().to_vec()
    };
    let mut scheduler = Scheduler::new(&model, 64).unwrap();
    let good = scheduler.submit(session(&model), prompt(30), options(&model, 10)).unwrap();
    scheduler.tick();
    let bad = scheduler.submit(session(&model), Source::Tokens(vec![1, POISON]), options(&model, 10)).unwrap();
    let also_good = scheduler.submit(session(&model), prompt(30), options(&model, 10)).unwrap();
    let events = to_the_end(&mut scheduler);

    let of_bad: Vec<_> = events.iter().filter(|(job, _)| *job == bad).collect();
    assert!(matches!(of_bad[..], [(_, Err(Error::Numeric { step: "poison", .. }))]), "{of_bad:?}");
    for job in [good, also_good] {
        assert_eq!(end(&events, job), Some(FinishReason::Length));
        assert_eq!(scheduler.remove(job).unwrap().tokens(), alone);
    }
    let mut session = scheduler.remove(bad).unwrap();
    assert!(session.tokens().is_empty());
    session.begin(prompt(30), options(&model, 10)).unwrap();
    while session.step().unwrap().is_some() {}
    assert_eq!(session.tokens(), alone);
}

#[test]
fn a_cancelled_reply_frees_its_place_within_one_step() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap().max_running(1);
    let token = CancelToken::new();
    let by_token = scheduler.submit(session(&model), prompt(5), options(&model, 400).cancel(token.clone())).unwrap();
    let by_call = scheduler.submit(session(&model), prompt(5), options(&model, 400)).unwrap();
    let in_queue = scheduler.submit(session(&model), prompt(5), options(&model, 400)).unwrap();
    let last = scheduler.submit(session(&model), prompt(5), options(&model, 3)).unwrap();
    for _ in 0..4 {
        scheduler.tick();
    }
    token.cancel();
    assert!(scheduler.cancel(in_queue));
    let events = scheduler.tick();
    assert_eq!(end(&events, by_token), Some(FinishReason::Cancelled));
    assert_eq!(end(&events, in_queue), Some(FinishReason::Cancelled));
    // The next one had its turn at once.
    assert!(events.iter().any(|(job, event)| *job == by_call && matches!(event, Ok(Event::Prefill { .. }))));
    assert!(scheduler.cancel(by_call));
    let events = to_the_end(&mut scheduler);
    assert_eq!(end(&events, by_call), Some(FinishReason::Cancelled));
    assert_eq!(end(&events, last), Some(FinishReason::Length));
    assert!(!scheduler.cancel(last));
    // What was said stays.
    assert_eq!(scheduler.remove(by_token).unwrap().tokens().len(), 5 + 3);
}

#[test]
fn a_long_prompt_starves_nobody() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap().prefill_share(16);
    let speaker = scheduler.submit(session(&model), prompt(3), options(&model, 200)).unwrap();
    scheduler.tick();
    let long = scheduler.submit(session(&model), prompt(400), options(&model, 2)).unwrap();
    let short = scheduler.submit(session(&model), prompt(20), options(&model, 2)).unwrap();
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let before = scheduler.stats();
        let events = scheduler.tick();
        // The speaker's next token, and no more of the prompts than their share.
        assert!(scheduler.stats().last_batch <= 1 + 16 + before.speaking);
        let said = |job| events.iter().any(|(id, event)| *id == job && !matches!(event, Ok(Event::Prefill { .. })));
        assert!(said(speaker) || scheduler.stats().speaking > 0);
        ended.extend([long, short].into_iter().filter(|&job| end(&events, job).is_some()));
    }
    assert_eq!(ended, [short, long]);
    let generated = scheduler.remove(speaker).unwrap().tokens().len() - 3;
    // 400 tokens in portions of at most 16.
    assert!(generated >= 25, "the speaker said {generated} tokens meanwhile");
}

#[test]
fn without_speakers_prompts_fill_the_batch_in_equal_parts() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap().prefill_share(4);
    let jobs = [300, 300, 10].map(|n| scheduler.submit(session(&model), prompt(n), options(&model, 1)).unwrap());
    let events = scheduler.tick();
    let read = jobs.map(|job| {
        events.iter().find_map(|(id, event)| match event {
            Ok(Event::Prefill { done, .. }) if *id == job => Some(*done),
            _ => None,
        })
    });
    assert_eq!(read, [Some(27), Some(27), Some(10)]);
    assert_eq!(scheduler.stats().last_batch, 64);
}

#[test]
fn more_replies_than_a_batch_has_tokens_all_come_to_an_end() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 3).unwrap().max_running(100);
    let jobs: Vec<_> =
        (1..9).map(|n| scheduler.submit(session(&model), prompt(n), options(&model, 4)).unwrap()).collect();
    assert_eq!(scheduler.stats().waiting, 8);
    let events = to_the_end(&mut scheduler);
    assert!(jobs.iter().all(|&job| end(&events, job) == Some(FinishReason::Length)));
}

#[test]
fn a_refused_session_comes_back_as_it_was() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap();
    let mut used = session(&model);
    used.prefill(&[30, 31, 32], &mut |_, _| {}).unwrap();
    let refused = scheduler.submit(used, prompt(600), options(&model, 1)).unwrap_err();
    assert!(matches!(refused.error, Error::ContextFull { .. }), "{refused}");
    assert_eq!(refused.session.tokens(), [30, 31, 32]);

    let stranger = self::model();
    let refused = scheduler.submit(session(&stranger), prompt(3), options(&model, 1)).unwrap_err();
    assert!(matches!(Error::from(refused), Error::Argument { name: "session", .. }));
    assert!(!scheduler.has_work());
    assert!(matches!(Scheduler::new(&model, 0), Err(Error::Argument { name: "max_batch", .. })));
}

#[test]
fn sessions_are_taken_away_at_any_time_and_go_on_by_themselves() {
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap().max_running(2);
    let jobs = [4, 200, 6].map(|n| scheduler.submit(session(&model), prompt(n), options(&model, 50)).unwrap());
    for _ in 0..3 {
        scheduler.tick();
    }
    let mut lengths = Vec::new();
    for job in jobs {
        let mut session = scheduler.remove(job).unwrap();
        assert!(scheduler.remove(job).is_none());
        lengths.push(session.tokens().len());
        session.begin(prompt(5), options(&model, 2)).unwrap();
        while session.step().unwrap().is_some() {}
    }
    // Speaking, half read, waiting.
    assert!(lengths[0] > 4 && (1..200).contains(&lengths[1]) && lengths[2] == 0, "{lengths:?}");
    assert!(!scheduler.has_work());
    assert!(scheduler.tick().is_empty());
}

#[test]
fn a_scheduler_travels_between_threads_and_counts_its_memory() {
    fn send<T: Send>() {}
    send::<Scheduler>();
    let model = model();
    let mut scheduler = Scheduler::new(&model, 64).unwrap();
    let empty = scheduler.stats().memory;
    let session = session(&model);
    let alone = session.memory();
    let job = scheduler.submit(session, prompt(10), options(&model, 5)).unwrap();
    // Its working memory is given back: the scheduler's does for all.
    assert!(scheduler.stats().memory - empty < alone);
    let (job, scheduler) = std::thread::spawn(move || {
        while scheduler.has_work() {
            scheduler.tick();
        }
        (job, scheduler)
    })
    .join()
    .unwrap();
    let stats = scheduler.stats();
    assert_eq!((stats.cached, stats.capacity, stats.done), (10 + 4, 512, 1));
    assert!(stats.passes >= 5 && scheduler.stats().reading + stats.speaking + stats.waiting == 0);
    assert!({ scheduler }.remove(job).is_some());
}
