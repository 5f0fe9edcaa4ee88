//! What a caller can ask of a reply: stop strings, budgets of thought, choice of tools, bias, hooks, seeds.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use lemmy_conformance::scripted::Scripted;
use lemmy_core::chat::StartState;
use lemmy_core::{
    Error, Event, FinishReason, GenerateOptions, SamplerParams, Source, StepHook, Thinking, TokenEvent, ToolChoice,
};

use crate::stage::{Actor, ids, joined, model, text};

const CALL_OPEN: usize = 7;
/// The letters follow.
const LETTER_A: usize = 344;

fn options() -> GenerateOptions {
    GenerateOptions::new()
}

fn thoughts(events: &[Event]) -> String {
    events.iter().filter_map(|e| if let Event::Thinking(text) = e { Some(text.as_str()) } else { None }).collect()
}

// ---- stop strings

#[test]
fn stop_strings_that_straddle_tokens_never_leak() {
    let actor = Actor::new(&["one <", "/", "e", "nd", "> two", "@<turn|>"]);
    for (stop, expected) in [("</end>", "one "), ("<", "one "), ("nd", "one </e"), ("d> t", "one </en")] {
        let events = actor.reply(StartState::ClosedThought, options().stop("never").stop(stop));
        for n in 0..events.len() {
            assert!(expected.starts_with(&text(&events[..n])), "{stop}: {:?}", text(&events[..n]));
        }
        let (events, finish) = joined(events);
        assert_eq!(text(&events), expected, "{stop}");
        assert_eq!((finish.reason, finish.stop), (FinishReason::Stop, Some(1)), "{stop}");
    }
}

#[test]
fn what_only_began_like_a_stop_string_comes_at_the_end() {
    let actor = Actor::new(&["one </en", "@<turn|>"]);
    let (events, finish) = joined(actor.reply(StartState::ClosedThought, options().stop("</end>")));
    assert_eq!((text(&events).as_str(), finish.stop), ("one </en", None));
}

#[test]
fn thoughts_and_calls_are_not_searched_and_nothing_reaches_across_them() {
    let said = [
        "@<|channel>",
        "thought\nstop",
        "@<channel|>",
        "a st",
        "@<|tool_call>",
        "call:f{x:",
        "@<|\"|>",
        "stop",
        "@<|\"|>",
        "}",
        "@<tool_call|>",
        "op, stop",
        "@<turn|>",
    ];
    let (events, finish) = joined(Actor::new(&said).reply(StartState::Model, options().stop("stop")));
    assert_eq!(thoughts(&events), "stop");
    assert_eq!(text(&events), "a stop, ");
    // It has called a tool before.
    assert_eq!((finish.reason, finish.stop), (FinishReason::ToolCalls, Some(0)));
    assert!(matches!(&events[2..4], [Event::Text(before), Event::ToolCall(_)] if before == "a st"), "{events:?}");
}

#[test]
fn a_stop_string_ends_the_reply_even_if_only_its_end_shows_it() {
    // The parser holds the newline back, as a thought might follow.
    let actor = Actor::new(&["ab\n"]);
    let (events, finish) = joined(actor.reply(StartState::Answer, options().stop("b\n").max_tokens(3)));
    assert_eq!((text(&events).as_str(), finish.reason, finish.stop), ("a", FinishReason::Stop, Some(0)));
}

#[test]
fn options_that_make_no_sense_are_refused_and_nothing_is_changed() {
    let actor = Actor::new(&["x"]);
    let mut session = actor.session();
    session.prefill(&[4, 5], &mut |_, _| {}).unwrap();
    let mut hot = SamplerParams::default();
    hot.temperature = f32::NAN;
    let named = ToolChoice::Named("f".into());
    for (name, options) in [
        ("stop", options().stop("")),
        ("logprobs", options().logprobs(21)),
        ("temperature", options().sampler(hot)),
        ("tool_choice", options().tool_choice(ToolChoice::Required)),
        ("tool_choice", options().tool_choice(named)),
    ] {
        let error = session.begin(Source::Tokens(vec![6]), options).unwrap_err();
        assert!(matches!(error, Error::Argument { name: n, .. } if n == name), "{name}: {error}");
        assert_eq!(session.tokens(), [4, 5]);
    }
    assert_eq!(actor.backend.evaluated(), 2);
    assert_eq!(session.send(Source::Here, options().max_tokens(2)).unwrap().text().unwrap(), "xx");
}

// ---- thoughts

#[test]
fn a_spent_budget_closes_the_thought_and_the_answer_begins() {
    let backend = Scripted::new(|tokens, row| {
        // Thinks for ever; once the thought is closed it answers.
        let close = 14;
        let end = 16;
        let next = match tokens.iter().position(|&id| id == close) {
            Some(at) => [b'y', b'e', b's'].get(tokens.len() - 1 - at).map_or(end, |&letter| letter as usize - 33 + 280),
            None => b'h' as usize - 33 + 280,
        };
        row[next] = 60.0;
        Ok(())
    });
    let model = model(&backend);
    let control = |text: &str| model.tokenizer().find(text).unwrap();
    assert_eq!([control("<channel|>"), control("<turn|>"), control("h")], [14, 16, u32::from(b'h') - 33 + 280]);
    for (budget, speculate) in [(0, 0), (1, 0), (7, 0), (7, 4)] {
        let mut session = model.session().context(512).build().unwrap();
        let prompt = lemmy_core::chat::Prompt::new(ids(&model, &["@<bos>", "a"]), StartState::OpenThought);
        let reply = session.send(prompt, options().thinking(Thinking::Budget(budget)).speculate(speculate)).unwrap();
        let (events, finish) = joined(reply.map(Result::unwrap).collect());
        assert_eq!(thoughts(&events), "h".repeat(budget as usize));
        assert_eq!((text(&events).as_str(), finish.reason), ("yes", FinishReason::Stop));
        let usage = finish.usage;
        assert_eq!((usage.thinking, usage.generated), (budget as usize + 1, budget as usize + 1 + 4));
        // The forced token goes with the one before it: the prompt, the thought, the answer, no pass of its own.
        if speculate == 0 && budget > 0 {
            let passes = backend.passes();
            let reply: Vec<usize> = passes[passes.len() - (budget as usize + 4)..].iter().flatten().copied().collect();
            let thought = std::iter::repeat_n(1, budget as usize - 1);
            assert_eq!(reply, [2].into_iter().chain(thought).chain([2, 1, 1, 1]).collect::<Vec<_>>());
        }
    }
}

#[test]
fn no_budget_is_no_limit_and_the_mark_of_a_thought_is_free() {
    let said = ["@<|channel>", "thought\nlong thought", "@<channel|>", "yes", "@<turn|>"];
    let actor = Actor::new(&said);
    for thinking in [Thinking::Off, Thinking::On, Thinking::Budget(100)] {
        let (events, _) = joined(actor.reply(StartState::Model, options().thinking(thinking)));
        assert_eq!((thoughts(&events).as_str(), text(&events).as_str()), ("long thought", "yes"), "{thinking:?}");
    }
}

#[test]
fn without_a_budget_left_no_thought_is_opened() {
    let actor = Actor::new(&["@<|channel>"]);
    let (events, finish) =
        joined(actor.reply(StartState::Model, options().thinking(Thinking::Budget(0)).max_tokens(5)));
    assert_eq!((thoughts(&events).as_str(), finish.usage.thinking), ("", 0));
}

// ---- tools and grammar

#[test]
fn tools_that_must_not_be_called_are_not() {
    let model = model(&Scripted::new(|_, row| {
        row[CALL_OPEN] = 90.0;
        row[LETTER_A] = 60.0;
        Ok(())
    }));
    assert_eq!(ids(&model, &["@<|tool_call>", "a"]), [CALL_OPEN as u32, LETTER_A as u32]);
    let mut session = model.session().context(64).build().unwrap();
    let options = options().tool_choice(ToolChoice::None).max_tokens(4);
    assert_eq!(session.send(Source::Tokens(vec![2]), options).unwrap().text().unwrap(), "aaaa");
}

#[cfg(not(feature = "grammar"))]
#[test]
fn without_the_grammar_engine_what_needs_it_is_refused_at_once() {
    use lemmy_core::{Constraint, Tool};
    let actor = Actor::new(&["x"]);
    let tool = |strict| Tool {
        name: "f".into(),
        description: String::new(),
        parameters_json: r#"{"type":"object","properties":{}}"#.into(),
        strict,
    };
    let mut plain = actor.model.session().context(64).tools(vec![tool(false)]).build().unwrap();
    let mut strict = actor.model.session().context(64).tools(vec![tool(true)]).build().unwrap();
    let here = || Source::Tokens(vec![5]);
    for error in [
        plain.begin(here(), options().constraint(Constraint::Regex("a+".into()))).unwrap_err(),
        plain.begin(here(), options().tool_choice(ToolChoice::Required)).unwrap_err(),
        plain.begin(here(), options().tool_choice(ToolChoice::Named("f".into()))).unwrap_err(),
        strict.begin(here(), options()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
    assert!(plain.tokens().is_empty() && strict.tokens().is_empty());
    // Where no tool may be called, none has to be strict.
    strict.begin(here(), options().tool_choice(ToolChoice::None)).unwrap();
    plain.begin(here(), options()).unwrap();
}

// ---- logits

#[test]
fn a_bias_moves_tokens_and_log_probabilities_stay_the_models_own() {
    let actor = Actor::new(&["aaaa"]);
    let [a, b] = [ids(&actor.model, &["a"])[0], ids(&actor.model, &["b"])[0]];
    let mut params = SamplerParams::default();
    params.bias = vec![(b, 100.0)];
    params.temperature = 0.0;
    let events = actor.reply(StartState::Answer, options().sampler(params).max_tokens(2).logprobs(1));
    assert_eq!(text(&events), "bb");
    let tokens: Vec<&TokenEvent> =
        events.iter().filter_map(|e| if let Event::Token(token) = e { Some(token) } else { None }).collect();
    assert_eq!(tokens.len(), 2);
    for token in tokens {
        assert_eq!((token.id, token.top[0].0), (b, a));
        assert!((token.logprob.unwrap() + 60.0).abs() < 1e-9, "{:?}", token.logprob);
    }
}

/// Forbids one token, notes what it is shown, and ends the reply after a number of tokens.
#[derive(Clone)]
struct Hook {
    never: u32,
    most: usize,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl StepHook for Hook {
    fn on_logits(&mut self, pos: usize, logits: &mut [f32]) {
        logits[self.never as usize] = f32::NEG_INFINITY;
        logits[self.never as usize + 1] += 1.0;
        self.seen.lock().unwrap().push((pos, String::new()));
    }

    fn on_token(&mut self, token: &TokenEvent) -> ControlFlow<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.last_mut().unwrap().1 = String::from_utf8_lossy(&token.bytes).into_owned();
        if seen.len() == self.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn a_hook_sees_each_step_edits_logits_and_ends_the_reply() {
    let actor = Actor::new(&["aba", "@<turn|>"]);
    let a = ids(&actor.model, &["a"])[0];
    for (most, expected, reason) in [(2, "bb", FinishReason::Cancelled), (9, "bbb", FinishReason::Stop)] {
        let hook = Hook { never: a, most, seen: Arc::default() };
        let mut params = SamplerParams::default();
        params.temperature = 0.0;
        let mut session = actor.session();
        let reply = session.send(actor.prompt(StartState::Answer), options().sampler(params).hook(hook.clone()));
        let (events, finish) = joined(reply.unwrap().map(Result::unwrap).collect());
        assert_eq!((text(&events).as_str(), finish.reason), (expected, reason));
        let seen = hook.seen.lock().unwrap();
        let positions: Vec<usize> = seen.iter().map(|(pos, _)| *pos).collect();
        assert_eq!(positions, (3..3 + seen.len()).collect::<Vec<_>>());
        assert!(seen.iter().take(expected.len()).all(|(_, bytes)| bytes == "b"));
    }
}

// ---- seeds and choices

/// Letters with unlike chances that depend on the tokens before.
fn dice() -> Scripted {
    Scripted::new(|tokens, row| {
        let letters = LETTER_A..LETTER_A + 26;
        let past = tokens.iter().rev().take(3).fold(7u32, |hash, &id| hash.wrapping_mul(31).wrapping_add(id));
        for id in letters {
            row[id] = 10.0 + ((past.wrapping_mul(id as u32 + 1) >> 3) % 4) as f32;
        }
        Ok(())
    })
}

#[test]
fn a_seed_gives_the_same_reply_and_the_finish_tells_it() {
    let model = model(&dice());
    let say = |options: GenerateOptions| {
        let mut session = model.session().context(256).build().unwrap();
        let reply = session.send(Source::Tokens(vec![2, LETTER_A as u32]), options.max_tokens(40)).unwrap();
        let (events, finish) = joined(reply.map(Result::unwrap).collect());
        (text(&events), finish.seed)
    };
    let (first, seed) = say(options().seed(7));
    assert_eq!(seed, 7);
    assert_eq!(say(options().seed(7)).0, first);
    assert_ne!(say(options().seed(8)).0, first);
    // A seed from the system can be used again.
    let (random, seed) = say(options());
    assert_eq!(say(options().seed(seed)).0, random);
}

#[test]
fn choices_of_one_prompt_are_what_single_replies_with_their_seeds_are() {
    let backend = dice();
    let model = model(&backend);
    let prompt: Vec<u32> = std::iter::once(2).chain(LETTER_A as u32..).take(21).collect();
    let base = options().seed(u64::MAX).max_tokens(20).stop("zzz");
    let mut session = model.session().context(256).build().unwrap();
    session.prefill(&prompt, &mut |_, _| {}).unwrap();
    let before = backend.evaluated();
    let choices: Vec<String> =
        (0..3).map(|i| session.fork().unwrap().generate(base.choice(i)).unwrap().text().unwrap()).collect();
    // Each fork reads the last token again for its logits, and evaluates all but the last token that it says.
    assert_eq!(backend.evaluated() - before, 3 * (1 + 19));
    for (choice, seed) in choices.iter().zip([u64::MAX, 0, 1]) {
        let mut alone = model.session().context(256).build().unwrap();
        let options = options().seed(seed).max_tokens(20);
        assert_eq!(alone.send(Source::Tokens(prompt.clone()), options).unwrap().text().unwrap(), *choice);
    }
    assert_ne!(choices[0], choices[1]);
}

#[test]
fn penalties_look_at_the_prompt_unless_told_otherwise() {
    let backend = Scripted::new(|_, row| {
        row[LETTER_A] = 5.0;
        row[LETTER_A + 1] = 4.0;
        Ok(())
    });
    let model = model(&backend);
    let say = |reply_only| {
        let mut params = SamplerParams::default();
        (params.temperature, params.presence_penalty) = (0.0, 3.0);
        let options = options().sampler(params).penalize_reply_only(reply_only).max_tokens(2);
        let mut session = model.session().context(64).build().unwrap();
        session.send(Source::Tokens(vec![2, LETTER_A as u32]), options).unwrap().text().unwrap()
    };
    assert_eq!(say(false), "ba");
    assert_eq!(say(true), "ab");
}
