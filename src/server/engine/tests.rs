#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;

use lemmy_core::{Event, FinishReason, StepHook, TokenEvent};

use super::*;

fn engine(slots: usize) -> Engine {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/tiny-q4_k_m.gguf");
    let options = EngineOptions {
        slots,
        context: 4096,
        kv_type: KvType::F16,
        queue: 2,
        patience: Duration::from_secs(60),
        batch: 32,
        choices: 4,
    };
    Engine::start(&Model::open(tiny).unwrap(), options).unwrap()
}

fn request(options: GenerateOptions) -> Request {
    Request { prompt: Ask::Tokens(vec![2, 9, 11, 13]), options, choices: 1, slot: None, reuse: true, counts: false }
}

/// All updates of a job.
fn updates(mut ticket: Ticket) -> Vec<Update> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut updates = Vec::new();
        while let Some(update) = ticket.next().await {
            updates.push(update);
        }
        updates
    })
}

fn ends_with(updates: &[Update], reason: FinishReason) -> bool {
    let last = updates.last();
    matches!(last, Some(Update::Said { event: Event::Finished(finish), .. }) if finish.reason == reason)
}

struct Panics;

impl StepHook for Panics {
    fn on_token(&mut self, _: &TokenEvent) -> ControlFlow<()> {
        panic!("a fault of the worker");
    }
}

#[test]
fn a_panic_costs_one_request() {
    let engine = engine(1);
    for panics in 1..=3 {
        let failed = updates(engine.submit(vec![request(GenerateOptions::new().hook(Panics))], 0).unwrap());
        let Some(Update::Failed(problem)) = failed.last() else { panic!("{failed:?}") };
        assert_eq!((problem.status.as_u16(), problem.code), (500, Some("internal_error")));
        let said = updates(engine.submit(vec![request(GenerateOptions::new().max_tokens(3))], 0).unwrap());
        assert!(ends_with(&said, FinishReason::Length), "{said:?}");
        assert_eq!(engine.gauges().panics.load(Ordering::Relaxed), panics);
        assert_eq!(engine.gauges().is_degraded(), panics == 3);
    }
}

#[test]
fn a_dropped_ticket_ends_its_job() {
    let engine = engine(1);
    let endless = || vec![request(GenerateOptions::new())];
    let tickets: Vec<Ticket> = (0..3).map(|_| engine.submit(endless(), 0).unwrap()).collect();
    let full = engine.submit(endless(), 0).unwrap_err();
    assert_eq!((full.status.as_u16(), full.code), (429, Some("queue_full")));
    assert!(full.retry_after.is_some_and(|seconds| seconds >= 1));
    drop(tickets);
    while engine.taken.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let said = updates(engine.submit(vec![request(GenerateOptions::new().max_tokens(2))], 0).unwrap());
    assert!(ends_with(&said, FinishReason::Length), "{said:?}");
}

#[test]
fn choices_of_several_prompts_are_numbered_through() {
    let engine = engine(2);
    let two = |seed| Request { choices: 2, ..request(GenerateOptions::new().max_tokens(2).seed(seed)) };
    let said = updates(engine.submit(vec![two(1), two(5)], 0).unwrap());
    let mut ended: Vec<usize> = said
        .iter()
        .filter_map(|update| match update {
            Update::Said { choice, event: Event::Finished(_), .. } => Some(*choice),
            _ => None,
        })
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2, 3]);
}

#[test]
fn who_waits_is_refused_when_the_queue_closes() {
    let engine = engine(1);
    let running = engine.submit(vec![request(GenerateOptions::new())], 0).unwrap();
    let waiting = engine.submit(vec![request(GenerateOptions::new())], 0).unwrap();
    engine.close_queue();
    let refused = updates(waiting);
    assert!(matches!(refused.as_slice(), [Update::Failed(p)] if p.code == Some("shutting_down")), "{refused:?}");
    engine.cancel_all();
    let ended = updates(running);
    assert!(matches!(ended.last(), Some(Update::Failed(_)) | Some(Update::Said { .. })), "{ended:?}");
}
