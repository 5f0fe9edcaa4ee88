//! Replies made side by side are the replies that each session gives alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lemmy_core::{
    CancelToken, Event, FinishReason, GenerateOptions, JobId, Model, SamplerParams, Scheduler, Session, Source,
    StepHook, ThreadPool, TokenId,
};
use proptest::prelude::*;

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf");
        Model::builder(path).threads(ThreadPool::new(2).unwrap()).load().unwrap()
    })
}

/// A reply that somebody asks for.
#[derive(Debug, Clone)]
struct Request {
    prompt: Vec<TokenId>,
    /// The tick before which it comes.
    arrival: usize,
    /// The tick before which it is cancelled.
    cancelled: Option<usize>,
    max_tokens: usize,
    context: usize,
    batch: usize,
    temperature: f32,
    speculate: Option<u8>,
    stop: Option<String>,
}

/// What came of it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Outcome {
    /// Without what may differ: how far the prompt is, times, guesses.
    events: Vec<Event>,
    /// All logits from which tokens were chosen, as bits.
    logits: Vec<u64>,
    /// Tokens of the session in the end.
    tokens: Vec<TokenId>,
}

/// Keeps a digest of each row of logits.
struct Witness(Arc<Mutex<Vec<u64>>>);

impl StepHook for Witness {
    fn on_logits(&mut self, _: usize, logits: &mut [f32]) {
        // FNV-1a
        let digest = logits.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, x| {
            (hash ^ u64::from(x.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.0.lock().unwrap().push(digest);
    }
}

impl Request {
    fn session(&self) -> Session {
        model().session().context(self.context).batch(self.batch).rewind_window(16).build().unwrap()
    }

    fn options(&self, witness: &Arc<Mutex<Vec<u64>>>, cancel: &CancelToken) -> GenerateOptions {
        let mut params = SamplerParams::default();
        params.temperature = self.temperature;
        let mut options = GenerateOptions::new()
            .max_tokens(self.max_tokens)
            .sampler(params)
            .seed(7)
            .cancel(cancel.clone())
            .hook(Witness(witness.clone()));
        options.speculate = self.speculate;
        options.stop.extend(self.stop.clone());
        options
    }

    fn source(&self) -> Source {
        Source::Tokens(self.prompt.clone())
    }

    fn alone(&self) -> Outcome {
        let (witness, mut session) = (Arc::default(), self.session());
        session.begin(self.source(), self.options(&witness, &CancelToken::new())).unwrap();
        let mut events = Vec::new();
        while let Some(event) = session.step().unwrap() {
            events.extend(plain(event));
        }
        Outcome { events, logits: std::mem::take(&mut witness.lock().unwrap()), tokens: session.tokens().to_vec() }
    }
}

fn plain(event: Event) -> Option<Event> {
    match event {
        Event::Prefill { .. } => None,
        Event::Finished(mut finish) => {
            (finish.usage.prefill, finish.usage.decode) = (Duration::ZERO, Duration::ZERO);
            (finish.usage.drafted, finish.usage.accepted) = (0, 0);
            Some(Event::Finished(finish))
        }
        event => Some(event),
    }
}

fn reason(outcome: &Outcome) -> FinishReason {
    match outcome.events.last() {
        Some(Event::Finished(finish)) => finish.reason,
        other => panic!("a reply without an end: {other:?}"),
    }
}

/// All requests through one scheduler.
fn together(requests: &[Request], mut scheduler: Scheduler) -> Vec<Outcome> {
    let witnesses: Vec<Arc<Mutex<Vec<u64>>>> = requests.iter().map(|_| Arc::default()).collect();
    let cancels: Vec<CancelToken> = requests.iter().map(|_| CancelToken::new()).collect();
    let mut outcomes = vec![Outcome::default(); requests.len()];
    let mut jobs: BTreeMap<JobId, usize> = BTreeMap::new();
    for tick in 0.. {
        assert!(tick < 2000, "no end");
        for (i, request) in requests.iter().enumerate() {
            if request.arrival == tick {
                let options = request.options(&witnesses[i], &cancels[i]);
                jobs.insert(scheduler.submit(request.session(), request.source(), options).unwrap(), i);
            }
            if request.cancelled == Some(tick) {
                cancels[i].cancel();
            }
        }
        for (job, event) in scheduler.tick() {
            outcomes[jobs[&job]].events.extend(plain(event.unwrap()));
        }
        if jobs.len() == requests.len() && !scheduler.has_work() {
            break;
        }
    }
    assert_eq!(scheduler.stats().done, requests.len());
    for (job, i) in jobs {
        outcomes[i].tokens = scheduler.remove(job).unwrap().tokens().to_vec();
        outcomes[i].logits = std::mem::take(&mut witnesses[i].lock().unwrap());
    }
    outcomes
}

fn request() -> impl Strategy<Value = Request> {
    let prompt = prop_oneof![
        prop::collection::vec(0..512u32, 1..80),
        // Repeats itself, so that guesses come right.
        (prop::collection::vec(0..512u32, 1..6), 2..12usize).prop_map(|(ids, n)| ids.repeat(n)),
    ];
    let stop = prop::option::weighted(0.3, "[a-e ]");
    let cancelled = prop::option::weighted(0.3, 0..25usize);
    let speculate = prop::option::of(1..6u8);
    let temperature = prop_oneof![Just(0.0f32), Just(1.0)];
    (prompt, 0..12usize, cancelled, 0..24usize, (100..130usize, 1..70usize), temperature, speculate, stop).prop_map(
        |(prompt, arrival, cancelled, max_tokens, (context, batch), temperature, speculate, stop)| Request {
            prompt,
            arrival,
            cancelled,
            // Some want more than there is room for.
            max_tokens: if max_tokens == 23 { 500 } else { max_tokens },
            context,
            batch,
            temperature,
            speculate,
            stop,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_session_says_what_it_says_alone(
        requests in prop::collection::vec(request(), 1..7),
        max_batch in 1..90usize,
        max_running in 1..8usize,
        share in 1..40usize,
    ) {
        let scheduler = Scheduler::new(model(), max_batch).unwrap().max_running(max_running).prefill_share(share);
        for (request, found) in requests.iter().zip(together(&requests, scheduler)) {
            let alone = request.alone();
            if reason(&found) == FinishReason::Cancelled {
                prop_assert!(request.cancelled.is_some());
                prop_assert!(alone.logits.starts_with(&found.logits));
                prop_assert!(alone.tokens.starts_with(&found.tokens));
                continue;
            }
            prop_assert_eq!(found, alone);
        }
    }
}
