//! From tokens to events: a scripted model says known tokens, and every event is known.

use lemmy_core::chat::{StartState, Zone};
use lemmy_core::{Event, FinishReason, GenerateOptions, Message, SamplerParams, ToolCall};

use crate::stage::{Actor, ids, joined, text};

fn options() -> GenerateOptions {
    GenerateOptions::new()
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), arguments_json: arguments.into() }
}

#[test]
fn every_kind_of_event_comes_in_its_order() {
    let actor = Actor::new(&[
        "@<|channel>",
        "thought\nhm, \u{e4}\n",
        "@<channel|>",
        "\nLet me look",
        "@<|tool_call>",
        "call:f{a:1,s:",
        "@<|\"|>",
        "x y",
        "@<|\"|>",
        "}",
        "@<tool_call|>",
        "@<|tool_call>",
        "call:g{}",
        "@<tool_call|>",
        "@<|tool_response>",
    ]);
    let (events, finish) = joined(actor.reply(StartState::Model, options()));
    let calls = [call("call_1", "f", r#"{"a":1,"s":"x y"}"#), call("call_2", "g", "{}")];
    let expected = [
        Event::Prefill { done: 3, total: 3 },
        Event::Thinking("hm, \u{e4}".into()),
        Event::Text("Let me look".into()),
        Event::ToolCall(calls[0].clone()),
        Event::ToolCall(calls[1].clone()),
    ];
    assert_eq!(events, expected);
    assert_eq!((finish.reason, finish.stop), (FinishReason::ToolCalls, None));
    let usage = finish.usage;
    assert_eq!((usage.prompt, usage.cached), (3, 0));
    let said = ["@<|channel>", "thought\nhm, \u{e4}\n", "@<channel|>"];
    assert_eq!(usage.thinking, ids(&actor.model, &said).len());
    assert!(usage.generated > usage.thinking && usage.decode > usage.prefill / 1000);
}

#[test]
fn a_message_is_what_its_events_were() {
    let actor = Actor::new(&[
        "@<|channel>",
        "thought\nhm",
        "@<channel|>",
        "yes",
        "@<|tool_call>",
        "call:f{}",
        "@<tool_call|>",
        "@<|tool_response>",
    ]);
    let mut session = actor.session();
    let (message, finish) = session.send(actor.prompt(StartState::Model), options()).unwrap().message().unwrap();
    let tool_calls = vec![call("call_1", "f", "{}")];
    assert_eq!(message, Message::Assistant { text: "yes".into(), thinking: Some("hm".into()), tool_calls });
    assert_eq!(finish.reason, FinishReason::ToolCalls);
    // The end token was said but needs no evaluating.
    assert_eq!(actor.backend.evaluated(), 3 + finish.usage.generated - 1);
}

#[test]
fn a_prompt_that_ends_in_a_thought_begins_with_one() {
    let actor = Actor::new(&["so", "@<channel|>", "  yes", "@<turn|>"]);
    let (events, finish) = joined(actor.reply(StartState::OpenThought, options()));
    assert_eq!(events[1..], [Event::Thinking("so".into()), Event::Text("yes".into())]);
    assert_eq!((finish.reason, finish.usage.thinking), (FinishReason::Stop, 3));
}

#[test]
fn characters_come_whole_and_unfinished_ones_as_a_mark() {
    let actor = Actor::new(&["a\u{20ac}"]);
    let all = ids(&actor.model, &["a\u{20ac}"]);
    assert_eq!(all.len(), 4, "the sign is three byte tokens");
    let events = actor.reply(StartState::Answer, options().max_tokens(4));
    assert_eq!(events[1..3], [Event::Text("a".into()), Event::Text("\u{20ac}".into())]);
    let events = actor.reply(StartState::Answer, options().max_tokens(3));
    assert_eq!(text(&events), "a\u{fffd}");
}

#[test]
fn what_cannot_be_read_comes_as_text_with_a_warning() {
    let actor = Actor::new(&["ok ", "@<|tool_call>", "no call", "@<tool_call|>", "@<turn|>"]);
    let (events, finish) = joined(actor.reply(StartState::ClosedThought, options()));
    assert_eq!(text(&events), "okno call");
    assert!(matches!(events.last(), Some(Event::Warning(name)) if name == "malformed_call"), "{events:?}");
    assert_eq!(finish.reason, FinishReason::Stop);
}

#[test]
fn replies_end_at_their_length() {
    let actor = Actor::new(&["abcdef"]);
    for n in [1, 2, 5] {
        let (events, finish) = joined(actor.reply(StartState::Answer, options().max_tokens(n)));
        assert_eq!(text(&events), "abcdef"[..n]);
        assert_eq!((finish.reason, finish.usage.generated), (FinishReason::Length, n));
    }
    let (events, finish) = joined(actor.reply(StartState::Answer, options().max_tokens(0)));
    assert_eq!(events, [Event::Prefill { done: 3, total: 3 }]);
    assert_eq!((finish.reason, finish.usage.generated), (FinishReason::Length, 0));
}

#[test]
fn a_full_session_ends_a_reply_and_refuses_a_prompt_before_anything_changes() {
    let actor = Actor::new(&["abcdefghijklmnop"]);
    let mut session = actor.model.session().context(8).build().unwrap();
    let reply = session.send(actor.prompt(StartState::Answer), options()).unwrap();
    let (events, finish) = joined(reply.map(Result::unwrap).collect());
    // Five tokens are evaluated after the prompt; the last row still gives one.
    assert_eq!((text(&events).as_str(), finish.reason), ("abcdef", FinishReason::ContextFull));
    let before = session.tokens().to_vec();
    let error = session.begin(lemmy_core::Source::Tokens(vec![5, 6]), options()).unwrap_err();
    assert!(matches!(error, lemmy_core::Error::ContextFull { capacity: 8, .. }), "{error}");
    assert_eq!(session.tokens(), before);
}

#[test]
fn a_single_call_ends_the_reply_if_asked_for() {
    let said = ["@<|tool_call>", "call:f{}", "@<tool_call|>", "@<|tool_call>", "call:g{}", "@<tool_call|>", "@<eos>"];
    let actor = Actor::new(&said);
    let (events, finish) = joined(actor.reply(StartState::ClosedThought, options().single_tool_call(true)));
    assert_eq!(events[1..], [Event::ToolCall(call("call_1", "f", "{}"))]);
    assert_eq!(finish.reason, FinishReason::ToolCalls);
    let (events, _) = joined(actor.reply(StartState::ClosedThought, options()));
    assert_eq!(events.len(), 3);
}

#[test]
fn tokens_are_shown_before_the_text_that_they_make() {
    let actor = Actor::new(&["@<|channel>", "thought\nh", "@<channel|>", "a\u{e4}", "@<turn|>"]);
    let events = actor.reply(StartState::Model, options().logprobs(2));
    let mut zones = Vec::new();
    let (mut bytes, mut shown_text) = (Vec::new(), String::new());
    for event in &events {
        match event {
            Event::Token(token) => {
                assert_eq!(actor.model.tokenizer().piece(token.id), token.bytes);
                assert_eq!(token.top.len(), 2);
                assert!(token.logprob.unwrap().abs() < 1e-12, "one logit of 60 among zeros");
                assert_eq!(token.top[0], (token.id, token.logprob.unwrap()));
                zones.push(token.zone);
                if token.zone == Zone::Text && !actor.model.tokenizer().is_control(token.id) {
                    bytes.extend_from_slice(&token.bytes);
                }
            }
            Event::Text(text) => {
                shown_text.push_str(text);
                assert!(bytes.starts_with(shown_text.as_bytes()), "text before its token");
            }
            _ => {}
        }
    }
    assert_eq!(bytes, shown_text.as_bytes());
    let thought = ids(&actor.model, &["@<|channel>", "thought\nh", "@<channel|>"]).len();
    assert!(zones[..thought].iter().all(|&zone| zone == Zone::Thought));
    assert!(zones[thought..].iter().all(|&zone| zone == Zone::Text));
}

#[test]
fn the_corpus_of_replies_gives_the_recorded_events() {
    let corpus: toml::Table = include_str!("../../../tests/fixtures/chat/parser_cases.toml").parse().unwrap();
    let actor = Actor::new(&["x"]);
    let mut cases = 0;
    for case in corpus["case"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let pieces: Vec<&str> = case["pieces"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
        let said = ids(&actor.model, &pieces);
        if said.is_empty() {
            continue;
        }
        actor.says(&pieces);
        let start = match case["start"].as_str().unwrap() {
            "model" => StartState::Model,
            "closed_thought" => StartState::ClosedThought,
            "open_thought" => StartState::OpenThought,
            other => panic!("{name}: start state {other}"),
        };
        // Some cases say what a sampler would never let through.
        let anything = options().sampler(SamplerParams::default()).max_tokens(said.len());
        let (events, finish) = joined(actor.reply(start, anything));

        let warnings: Vec<&str> = case["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        let is_given_up = warnings.iter().any(|w| w.ends_with("_call") && !w.starts_with("unterminated"));
        let (mut thoughts, mut texts, mut calls) = (String::new(), String::new(), Vec::new());
        for event in case["events"].as_array().unwrap() {
            match event["kind"].as_str().unwrap() {
                "thinking" => thoughts.push_str(event["text"].as_str().unwrap()),
                "text" => texts.push_str(event["text"].as_str().unwrap()),
                "call" => calls.push((event["name"].as_str().unwrap(), json(event["arguments"].as_str().unwrap()))),
                other => panic!("{name}: event {other}"),
            }
        }
        let (mut found_thoughts, mut found_calls, mut found_warnings) = (String::new(), Vec::new(), Vec::new());
        for event in &events {
            match event {
                Event::Thinking(text) => found_thoughts.push_str(text),
                Event::ToolCall(call) => found_calls.push((call.name.as_str(), json(&call.arguments_json))),
                Event::Warning(name) => found_warnings.push(name.as_str()),
                _ => {}
            }
        }
        assert_eq!((found_thoughts, found_calls), (thoughts, calls), "{name}");
        found_warnings.dedup();
        assert_eq!(found_warnings, warnings, "{name}");
        // The raw text of a call that was given up comes beside the recorded text.
        assert!(is_given_up || text(&events) == texts, "{name}: {events:?}");
        let reason = match case["finish"].as_str().unwrap() {
            "stop" => FinishReason::Stop,
            "tool_calls" => FinishReason::ToolCalls,
            "length" => FinishReason::Length,
            other => panic!("{name}: finish {other}"),
        };
        assert_eq!(finish.reason, reason, "{name}");
        cases += 1;
    }
    assert!(cases > 100, "{cases} cases");
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}
