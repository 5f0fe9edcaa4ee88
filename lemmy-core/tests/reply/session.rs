//! Replies and the session that they belong to: cancel, failure, going on, what is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lemmy_conformance::scripted::Scripted;
use lemmy_core::chat::{Prompt, StartState};
use lemmy_core::{
    CancelToken, Error, Event, FinishReason, GenerateOptions, Model, SamplerParams, Session, Source, TokenId,
};

use crate::stage::{Actor, ids, joined, model, real, text};

fn options() -> GenerateOptions {
    GenerateOptions::new()
}

fn greedy() -> GenerateOptions {
    let mut params = SamplerParams::default();
    params.temperature = 0.0;
    options().sampler(params)
}

fn run(session: &mut Session, source: impl Into<Source>, options: GenerateOptions) -> (Vec<Event>, FinishReason) {
    let events = session.send(source, options).unwrap().map(Result::unwrap).collect();
    let (events, finish) = joined(events);
    (events, finish.reason)
}

fn prompt(n: u32) -> Vec<TokenId> {
    (0..n).map(|i| (i * 37 + 11) % 512).collect()
}

// ---- going on

#[test]
fn a_reply_cut_by_its_length_goes_on_without_a_gap() {
    let actor = Actor::new(&["@<|channel>", "thought\nab cd", "@<channel|>", "ef gh", "@<turn|>"]);
    let whole = joined(actor.reply(StartState::Model, options())).0;
    // In the label of the thought, in the thought, in the answer before and after a space.
    let said = ids(&actor.model, &["@<|channel>", "thought\nab cd", "@<channel|>", "ef gh"]).len();
    for cut in 1..said {
        let mut session = actor.session();
        let (first, reason) = run(&mut session, actor.prompt(StartState::Model), options().max_tokens(cut));
        assert_eq!(reason, FinishReason::Length);
        let (rest, reason) = run(&mut session, Source::Here, options());
        assert_eq!(reason, FinishReason::Stop);
        // The rest of a label that was cut counts as thought.
        let told = |events: Vec<Event>| events.into_iter().filter(|e| matches!(e, Event::Text(_) | Event::Thinking(_)));
        let all: Vec<Event> = told(first).chain(told(rest)).collect();
        assert_eq!(text(&all), text(&whole), "cut after {cut}");
        let thought = |events: &[Event]| -> String {
            events.iter().filter_map(|e| if let Event::Thinking(t) = e { Some(t.as_str()) } else { None }).collect()
        };
        assert!(thought(&all).ends_with(&thought(&whole)), "cut after {cut}: {:?}", thought(&all));
    }
}

#[test]
fn tokens_are_added_after_all_that_was_said() {
    let actor = Actor::new(&["abcdef"]);
    let mut session = actor.session();
    run(&mut session, actor.prompt(StartState::Answer), options().max_tokens(2));
    assert_eq!(session.tokens().len(), 4, "the second token is not evaluated yet");
    let x = actor.model.tokenizer().encode("x", lemmy_core::Special::Text);
    let (events, _) = run(&mut session, Source::Tokens(x.clone()), options().max_tokens(2));
    // After three of the prompt, two said, and one added comes what the script has at place 3.
    assert_eq!(text(&events), "de");
    assert_eq!(session.tokens()[5], x[0]);
}

#[test]
fn whoever_evaluates_tokens_stops_the_reply() {
    let actor = Actor::new(&["abcdef"]);
    let mut session = actor.session();
    session.begin(actor.prompt(StartState::Answer), options()).unwrap();
    while !matches!(session.step().unwrap(), Some(Event::Text(_))) {}
    session.forward(&[5]).unwrap();
    assert_eq!(session.step().unwrap(), None);
    assert_eq!(session.stop(), None);
    session.begin(Source::Here, options()).unwrap();
    session.rewind(2).unwrap();
    assert_eq!((session.step().unwrap(), session.tokens().len()), (None, 2));
}

// ---- what is read again

#[test]
fn only_what_differs_is_read() {
    let model = real();
    let mut session = model.session().context(512).rewind_window(64).build().unwrap();
    let mut ids = prompt(100);
    let read = |session: &mut Session, ids: &[TokenId]| {
        let report = session.begin(Prompt::new(ids.to_vec(), StartState::Answer), greedy().max_tokens(4)).unwrap();
        let mut prefilled = 0;
        let mut said = String::new();
        let mut cached = None;
        while let Some(event) = session.step().unwrap() {
            match event {
                Event::Prefill { done, total } => {
                    assert_eq!(total, report.prefilled);
                    prefilled = done;
                }
                Event::Text(text) => said.push_str(&text),
                Event::Finished(finish) => cached = Some(finish.usage.cached),
                _ => {}
            }
        }
        assert_eq!((prefilled, cached), (report.prefilled, Some(report.reused)));
        ((report.reused, report.prefilled), said)
    };
    assert_eq!(read(&mut session, &ids).0, (0, 100));
    // The same again: only the last token, for its logits.
    let (report, said) = read(&mut session, &ids);
    assert_eq!(report, (99, 1));
    assert_eq!(said, read(&mut model.session().build().unwrap(), &ids).1);
    // Another end.
    ids.truncate(80);
    ids.extend([400, 401, 402]);
    let (report, said) = read(&mut session, &ids);
    assert_eq!(report, (80, 3));
    assert_eq!(said, read(&mut model.session().build().unwrap(), &ids).1);
}

#[test]
fn what_the_rings_have_lost_is_read_from_the_beginning_and_the_report_says_so() {
    let model = real();
    let mut session = model.session().context(1000).batch(32).rewind_window(0).build().unwrap();
    let mut ids = prompt(600);
    session.begin(Prompt::new(ids.clone(), StartState::Answer), greedy().max_tokens(1)).unwrap();
    while session.step().unwrap().is_some() {}
    ids[200] += 1;
    let report = session.begin(Prompt::new(ids, StartState::Answer), greedy().max_tokens(1)).unwrap();
    assert_eq!((report.reused, report.prefilled), (0, 600));
}

#[test]
fn a_soft_token_cannot_be_read_again() {
    let model = real();
    let mut session = model.session().context(64).build().unwrap();
    session.forward_soft(&vec![0.5; 2 * model.plan().spec.hidden]).unwrap();
    let error = session.begin(Source::Here, options()).unwrap_err();
    assert!(matches!(error, Error::Argument { name: "ids", .. }), "{error}");
    // With a token after them they need not be.
    let (_, reason) = run(&mut session, Source::Tokens(vec![5]), greedy().max_tokens(2).speculate(4));
    assert_eq!(reason, FinishReason::Length);
    assert_eq!(session.tokens()[..3], [Session::SOFT, Session::SOFT, 5]);
}

// ---- cancel

#[test]
fn a_reply_is_cancelled_while_the_prompt_is_read_and_the_next_is_as_in_a_fresh_session() {
    let model = real();
    let ids = prompt(400);
    for batches in [0, 1, 3] {
        let token = CancelToken::new();
        let mut session = model.session().context(512).batch(32).build().unwrap();
        session.begin(Prompt::new(ids.clone(), StartState::Answer), greedy().cancel(token.clone())).unwrap();
        for _ in 0..batches {
            assert!(matches!(session.step().unwrap(), Some(Event::Prefill { .. })));
        }
        let other = token.clone();
        std::thread::spawn(move || other.cancel()).join().unwrap();
        let Some(Event::Finished(finish)) = session.step().unwrap() else { panic!("not finished") };
        assert_eq!((finish.reason, finish.usage.generated), (FinishReason::Cancelled, 0));
        assert_eq!(session.step().unwrap(), None);
        assert_eq!(session.tokens(), &ids[..32 * batches]);
        same_as_fresh(&model, &mut session, &ids);
    }
}

#[test]
fn a_reply_is_cancelled_in_the_middle_of_a_pass() {
    let model = real();
    let ids = prompt(900);
    let token = CancelToken::new();
    let mut session = model.session().context(1000).batch(900).build().unwrap();
    let source = Prompt::new(ids.clone(), StartState::Answer);
    let mut reply = session.send(source, greedy().cancel(token.clone())).unwrap();
    let other = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(2));
        token.cancel();
    });
    let last = reply.by_ref().map(Result::unwrap).last().unwrap();
    other.join().unwrap();
    drop(reply);
    assert!(matches!(last, Event::Finished(finish) if finish.reason == FinishReason::Cancelled), "{last:?}");
    same_as_fresh(&model, &mut session, &ids);
}

#[test]
fn a_reply_is_cancelled_while_it_is_said() {
    let model = real();
    let ids = prompt(100);
    for tokens in [1, 5] {
        let mut session = model.session().context(512).build().unwrap();
        let mut reply = session.send(Prompt::new(ids.clone(), StartState::Answer), greedy().logprobs(0)).unwrap();
        let token = reply.cancel_token();
        let mut said = 0;
        let mut last = None;
        for event in &mut reply {
            let event = event.unwrap();
            said += usize::from(matches!(event, Event::Token(_)));
            if said == tokens {
                token.cancel();
            }
            last = Some(event);
        }
        let Some(Event::Finished(finish)) = last else { panic!("{last:?}") };
        assert_eq!((finish.reason, finish.usage.generated), (FinishReason::Cancelled, tokens));
        drop(reply);
        // The token was for that reply alone.
        same_as_fresh(&model, &mut session, &ids);
    }
}

fn same_as_fresh(model: &Model, session: &mut Session, ids: &[TokenId]) {
    let say = |session: &mut Session| {
        let reply = session.send(Prompt::new(ids.to_vec(), StartState::Answer), greedy().max_tokens(12)).unwrap();
        joined(reply.map(Result::unwrap).collect())
            .0
            .into_iter()
            .filter(|e| !matches!(e, Event::Prefill { .. }))
            .collect()
    };
    let expected: Vec<Event> = say(&mut model.session().context(1000).build().unwrap());
    assert_eq!(say(session), expected);
}

#[test]
fn a_reply_that_is_dropped_stops_and_keeps_what_was_said() {
    let actor = Actor::new(&["abcdef"]);
    let mut session = actor.session();
    let mut reply = session.send(actor.prompt(StartState::Answer), options()).unwrap();
    while !matches!(reply.next(), Some(Ok(Event::Text(text))) if text == "b") {}
    drop(reply);
    let (events, _) = run(&mut session, Source::Here, options().max_tokens(2));
    assert_eq!(text(&events), "cd");
}

// ---- failure

#[test]
fn a_failed_pass_is_told_once_and_loses_nothing() {
    let passes = Arc::new(AtomicUsize::new(0));
    let count = passes.clone();
    let backend = Scripted::new(move |tokens, row| {
        if count.fetch_add(1, Ordering::Relaxed) == 2 {
            return Err(Error::Internal("the third pass fails".into()));
        }
        row[344 + tokens.len()] = 60.0;
        Ok(())
    });
    let model = model(&backend);
    let mut session = model.session().context(64).build().unwrap();
    let mut reply = session.send(Source::Tokens(vec![2, 3]), options().max_tokens(5)).unwrap();
    let said: Vec<_> = reply.by_ref().collect();
    assert!(matches!(said.last(), Some(Err(Error::Internal(_)))), "{said:?}");
    let texts = said.iter().filter(|event| matches!(event, Ok(Event::Text(_)))).count();
    assert_eq!(texts, 2);
    drop(reply);
    assert_eq!(session.tokens(), [2, 3, 346], "what was evaluated is there");
    let (events, reason) =
        run(&mut session, Source::Prompt(Prompt::new(vec![2, 3], StartState::Answer)), options().max_tokens(3));
    assert_eq!((text(&events).as_str(), reason), ("cde", FinishReason::Length));
}

#[test]
fn logits_that_are_no_numbers_end_the_reply_and_guesses_are_forgotten() {
    let backend = Scripted::new(|tokens, row| {
        row[344 + tokens.len() % 3] = if tokens.len() > 14 { f32::NAN } else { 60.0 };
        Ok(())
    });
    let model = model(&backend);
    for speculate in [0, 8] {
        let mut session = model.session().context(64).build().unwrap();
        let start: Vec<TokenId> = (0..10).map(|i| if i == 0 { 2 } else { 344 + i % 3 }).collect();
        let reply = session.send(Source::Tokens(start), options().speculate(speculate)).unwrap();
        let last = reply.last().unwrap();
        assert!(matches!(last, Err(Error::Numeric { .. })), "{last:?}");
        assert_eq!(session.tokens().len(), 15, "all that was said and evaluated");
    }
}

#[test]
fn a_sessions_own_token_ends_replies_until_it_is_reset() {
    let actor = Actor::new(&["ab", "@<turn|>"]);
    let token = CancelToken::new();
    let mut session = actor.model.session().context(64).cancel(token.clone()).build().unwrap();
    token.cancel();
    for _ in 0..2 {
        assert_eq!(run(&mut session, actor.prompt(StartState::Answer), options()).1, FinishReason::Cancelled);
    }
    assert!(matches!(session.forward(&[1]), Err(Error::Cancelled)));
    token.reset();
    assert_eq!(text(&run(&mut session, actor.prompt(StartState::Answer), options()).0), "ab");
}
