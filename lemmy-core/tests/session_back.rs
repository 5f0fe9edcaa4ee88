//! The way back to where a reply began, after a reply that is longer than the slack of the sliding layers.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use lemmy_core::chat::{Prompt, StartState};
use lemmy_core::{Error, GenerateOptions, Model, ModelBuilder, Session, StepHook, ThreadPool, TokenId};

const ASKED: usize = 120;
const SAID: usize = 230;

fn builder() -> ModelBuilder {
    let tiny = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    Model::builder(tiny).threads(ThreadPool::new(2).unwrap())
}

/// Rings of 128 rows for a window of 16 positions.
fn session(model: &Model) -> Session {
    model.session().context(1000).batch(32).rewind_window(64).build().unwrap()
}

fn ids(from: usize, n: usize) -> Vec<TokenId> {
    (from..from + n).map(|i| (i * 37 + 11) as u32 % 500 + 10).collect()
}

/// Makes the reply say the same tokens whatever the model thinks, and never an end.
struct Say;

impl StepHook for Say {
    fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
        logits.fill(0.0);
        let id = ids(7 * pos, 1).first().copied().unwrap_or_default();
        if let Some(wanted) = logits.get_mut(id as usize) {
            *wanted = 1000.0;
        }
    }
}

/// A session that was asked something and has given a long reply.
fn answered(model: &Model) -> Session {
    let mut session = session(model);
    say(&mut session, ids(0, ASKED));
    assert!(session.tokens().len() >= ASKED + SAID - 1);
    session
}

/// A reply to these tokens; how many of them were there.
fn say(session: &mut Session, ids: Vec<TokenId>) -> usize {
    let options = GenerateOptions::new().max_tokens(SAID).hook(Say);
    let report = session.begin(Prompt::new(ids, StartState::Answer), options).unwrap();
    while session.step().unwrap().is_some() {}
    report.reused
}

/// The logits after `n` tokens of the past and 40 others, as bits.
fn future(session: &mut Session) -> Vec<u32> {
    session.forward(&ids(900, 40)).unwrap().last().iter().map(|x| x.to_bits()).collect()
}

fn fresh(model: &Model, past: &[TokenId]) -> Vec<u32> {
    let mut session = session(model);
    session.prefill(past, &mut |_, _| {}).unwrap();
    future(&mut session)
}

#[test]
fn the_next_turn_goes_back_to_where_the_reply_began_and_reads_nothing_before_it() {
    let model = builder().load().unwrap();
    let mut session = answered(&model);
    let mut next = ids(0, ASKED - 3);
    next.extend(ids(400, 60));
    assert_eq!(say(&mut session, next), ASKED - 3);
}

#[test]
fn every_place_that_can_be_gone_back_to_has_the_future_it_had() {
    let model = builder().load().unwrap();
    let answered = answered(&model);
    for to in [ASKED - 112, 40, 64, 65, ASKED - 8, ASKED - 1, ASKED] {
        let mut session = answered.fork().unwrap();
        session.rewind(to).unwrap();
        assert_eq!(future(&mut session), fresh(&model, &ids(0, to)), "back to {to}");
    }
    let mut session = answered.fork().unwrap();
    assert!(matches!(session.rewind(ASKED + 1), Err(Error::RewindTooFar { .. })));
    assert_eq!(session.tokens(), answered.tokens());
}

#[test]
fn what_was_gone_back_from_is_not_brought_back() {
    let model = builder().load().unwrap();
    let mut session = answered(&model);
    session.rewind(100).unwrap();
    // Another future, as long as the first: places after 100 are no longer what the mark knew.
    session.prefill(&ids(600, 300), &mut |_, _| {}).unwrap();
    assert!(matches!(session.rewind(110), Err(Error::RewindTooFar { .. })));
    session.rewind(100).unwrap();
    assert_eq!(future(&mut session), fresh(&model, &ids(0, 100)));
}

#[test]
fn a_reply_to_what_was_read_just_before_can_be_edited_as_well() {
    let model = builder().load().unwrap();
    let mut session = session(&model);
    let read = GenerateOptions::new().max_tokens(0);
    session.begin(Prompt::new(ids(0, ASKED), StartState::Answer), read).unwrap();
    while session.step().unwrap().is_some() {}
    assert_eq!(say(&mut session, ids(0, ASKED)), ASKED - 1);
    session.rewind(50).unwrap();
    assert_eq!(future(&mut session), fresh(&model, &ids(0, 50)));
}

#[test]
fn only_one_way_back_is_kept_and_only_after_long_replies() {
    let model = builder().load().unwrap();
    let mut session = session(&model);
    session.forward(&ids(0, 1)).unwrap();
    let before = session.memory();
    say(&mut session, ids(0, ASKED));
    let once = session.memory();
    assert!(once > before);
    for turn in 1..3 {
        let mut next = ids(0, ASKED + 10 * turn);
        next.extend(ids(300, 20));
        say(&mut session, next);
        assert!(session.memory() <= once + (once - before), "turn {turn}: {} bytes", session.memory());
    }
    session.rewind(0).unwrap();
    assert_eq!(session.memory(), before, "nothing to go back to");
}

#[test]
fn a_memory_limit_comes_before_the_way_back() {
    let free = builder().load().unwrap();
    let needed = free.session().context(1000).batch(32).rewind_window(64).estimate().unwrap().total();
    let model = builder().memory_limit(needed + 1000).load().unwrap();
    let mut session = answered(&model);
    assert!(matches!(session.rewind(ASKED), Err(Error::RewindTooFar { .. })));
    let mut next = ids(0, ASKED - 3);
    next.extend(ids(400, 60));
    assert_eq!(say(&mut session, next), 0, "everything is read again");
}
