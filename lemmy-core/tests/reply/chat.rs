//! Conversations: what a session keeps of them, and what of them it reads again.

use lemmy_conformance::scripted::Scripted;
use lemmy_core::{
    Chat, Error, Event, FinishReason, GenerateOptions, Message, Part, Session, SyncReport, Thinking, Tool, ToolCall,
    ToolOutput,
};

use crate::stage::{Actor, ids, joined, model, real, text};

fn options() -> GenerateOptions {
    GenerateOptions::new()
}

fn messages(session: &Session) -> &[Message] {
    &session.chat().messages
}

fn chat(messages: Vec<Message>) -> Chat {
    Chat { messages, ..Chat::default() }
}

fn tool(name: &str) -> Tool {
    Tool {
        name: name.into(),
        description: "Does it.".into(),
        parameters_json: r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#.into(),
        strict: false,
    }
}

#[test]
fn questions_and_answers_become_the_conversation() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.model.session().context(1024).system("Be brief.").build().unwrap();
    assert_eq!(session.send("How are you?", options()).unwrap().text().unwrap(), "fine");
    actor.says(&["still fine", "@<turn|>"]);
    assert_eq!(session.send("And now?".to_owned(), options()).unwrap().text().unwrap(), "still fine");
    let expected = [
        Message::System("Be brief.".into()),
        Message::user("How are you?"),
        Message::assistant("fine"),
        Message::user("And now?"),
        Message::assistant("still fine"),
    ];
    assert_eq!(messages(&session), expected);
    // The second prompt is what a fresh session would have read.
    let mut fresh = actor.session();
    fresh.sync(chat(expected[..4].to_vec()), &mut |_, _| {}).unwrap();
    assert!(session.tokens().starts_with(&fresh.tokens()[..fresh.tokens().len() - 10]));
}

#[test]
fn a_cleared_session_keeps_its_instructions_and_begins_anew() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.model.session().context(1024).system("Be brief.").tools(vec![tool("f")]).build().unwrap();
    let mut ask = || {
        session.clear().unwrap();
        assert_eq!((session.tokens(), messages(&session)), (&[][..], &[Message::System("Be brief.".into())][..]));
        assert_eq!(session.chat().tools, [tool("f")]);
        actor.says(&["fine", "@<turn|>"]);
        assert_eq!(session.send("How are you?", options()).unwrap().text().unwrap(), "fine");
        session.tokens().to_vec()
    };
    assert_eq!(ask(), ask());
    // Without instructions nothing is left; a reply in the making is stopped.
    let mut session = actor.session();
    session.begin("How are you?", options()).unwrap();
    session.clear().unwrap();
    assert!(messages(&session).is_empty() && session.step().unwrap().is_none());
}

#[test]
fn thoughts_and_calls_are_kept_and_tools_can_answer() {
    let actor = Actor::new(&[
        "@<|channel>",
        "thought\nhm\n",
        "@<channel|>",
        "@<|tool_call>",
        "call:f{a:1}",
        "@<tool_call|>",
        "@<|tool_response>",
    ]);
    let mut session = actor.model.session().context(1024).tools(vec![tool("f")]).build().unwrap();
    let think = || options().thinking(Thinking::On);
    let (message, finish) = session.send("go", think()).unwrap().message().unwrap();
    assert_eq!(finish.reason, FinishReason::ToolCalls);
    let call = ToolCall { id: "call_1".into(), name: "f".into(), arguments_json: r#"{"a":1}"#.into() };
    let expected =
        Message::Assistant { text: String::new(), thinking: Some("hm".into()), tool_calls: vec![call.clone()] };
    assert_eq!(message, expected);
    assert_eq!(messages(&session)[1], expected);

    // The tool's answer follows in the same turn, where the model goes on in a thought.
    let result =
        || Message::ToolResult { call_id: "call_1".into(), name: String::new(), output: ToolOutput::Text("7".into()) };
    actor.says(&["seven", "@<channel|>", "It is 7.", "@<|tool_call>", "call:f{a:2}", "@<tool_call|>", "@<eos>"]);
    let cached = session.tokens().len();
    let reply = session.send(result(), think()).unwrap();
    let (events, finish) = joined(reply.map(Result::unwrap).collect());
    let second = ToolCall { id: "call_2".into(), arguments_json: r#"{"a":2}"#.into(), ..call };
    let expected = [Event::Thinking("seven".into()), Event::Text("It is 7.".into()), Event::ToolCall(second)];
    assert_eq!(events.iter().filter(|e| !matches!(e, Event::Prefill { .. })).cloned().collect::<Vec<_>>(), expected);
    // Nothing of the turn is read again: thoughts between calls stay.
    assert_eq!(finish.usage.cached, cached);
}

#[test]
fn what_a_person_should_know_of_the_prompt_is_told_once() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.session();
    let warnings = |session: &mut Session| {
        let (events, _) = joined(session.send("hi", options()).unwrap().map(Result::unwrap).collect());
        events.into_iter().filter(|event| matches!(event, Event::Warning(text) if text.contains("template"))).count()
    };
    assert_eq!([warnings(&mut session), warnings(&mut session)], [1, 0]);
}

#[test]
fn a_dropped_thought_is_read_again_from_there_only() {
    let actor = Actor::new(&["@<|channel>", "thought\nhm hm hm", "@<channel|>", "fine", "@<turn|>"]);
    let mut session = actor.session();
    let first = session.begin("How are you?", options().thinking(Thinking::On)).unwrap();
    while session.step().unwrap().is_some() {}
    let second = session.begin("And now?", options().thinking(Thinking::On)).unwrap();
    assert_eq!(second.reused, first.prefilled, "all up to where the thought began");
    let rest = ["fine", "@<turn|>", "\n", "@<|turn>", "user\nAnd now?", "@<turn|>", "\n", "@<|turn>", "model\n"];
    assert_eq!(second.prefilled, ids(&actor.model, &rest).len());
}

#[test]
fn the_last_turn_of_a_long_chat_is_edited_and_only_it_is_read() {
    let model = real();
    let mut messages = Vec::new();
    for turn in 0..100 {
        messages.push(Message::user(format!("{turn}: the quick brown fox jumps over the lazy dog, and so on and on")));
        messages.push(Message::assistant("it is a fox"));
    }
    messages.push(Message::user("which animal?"));
    let mut session = model.session().context(8192).build().unwrap();
    let report = session.sync(chat(messages.clone()), &mut |_, _| {}).unwrap();
    assert_eq!(report.reused, 0);
    assert!(report.prefilled > 4000, "{report:?}");
    let whole = session.tokens().len();
    // The same again: nothing is read.
    let mut calls = 0;
    let report = session.sync(chat(messages.clone()), &mut |_, _| calls += 1).unwrap();
    assert_eq!((report.reused, report.prefilled, calls), (whole, 0, 0));
    // Another question: the turn's text and what follows it.
    *messages.last_mut().unwrap() = Message::user("and what colour?");
    let report = session.sync(chat(messages.clone()), &mut |_, _| {}).unwrap();
    assert!(report.prefilled < 60, "{report:?}");
    assert_eq!(report.reused + report.prefilled, session.tokens().len());
    let mut fresh = model.session().context(8192).build().unwrap();
    let all = fresh.sync(chat(messages), &mut |_, _| {}).unwrap();
    assert_eq!(all.prefilled, report.reused + report.prefilled);
    let say = |session: &mut Session| session.generate(options().seed(5).max_tokens(8)).unwrap().text().unwrap();
    assert_eq!(say(&mut session), say(&mut fresh));
}

#[test]
fn a_reply_after_sync_reads_one_token() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.session();
    let SyncReport { prefilled, .. } = session.sync(chat(vec![Message::user("hi")]), &mut |_, _| {}).unwrap();
    assert_eq!(actor.backend.evaluated(), prefilled);
    assert_eq!(session.generate(options()).unwrap().text().unwrap(), "fine");
    // The last token for its logits, and all that was said but the end.
    assert_eq!(actor.backend.evaluated(), prefilled + 1 + ids(&actor.model, &["fine"]).len());
}

#[test]
fn a_conversation_too_long_is_refused_before_anything_changes() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.model.session().context(100).build().unwrap();
    session.send("hi", options()).unwrap().text().unwrap();
    let (tokens, before) = (session.tokens().to_vec(), messages(&session).to_vec());
    let long = "x".repeat(200);
    for error in [
        session.begin(long.as_str(), options()).unwrap_err(),
        session.sync(chat(vec![Message::user(&*long)]), &mut |_, _| {}).unwrap_err(),
    ] {
        assert!(matches!(error, Error::ContextFull { capacity: 100, .. }), "{error}");
        assert_eq!((session.tokens(), messages(&session)), (&*tokens, &*before));
    }
    session.send("hi", options()).unwrap().text().unwrap();
}

#[test]
fn a_turn_that_was_cancelled_before_it_said_anything_was_never_asked() {
    let actor = Actor::new(&["fine", "@<turn|>"]);
    let mut session = actor.session();
    session.begin("hi", options()).unwrap();
    assert_eq!(session.stop().unwrap().reason, FinishReason::Cancelled);
    assert!(messages(&session).is_empty());
    // What was said stays.
    let mut reply = session.send("hi", options()).unwrap();
    while !matches!(reply.next(), Some(Ok(Event::Text(_)))) {}
    drop(reply);
    assert_eq!(messages(&session), [Message::user("hi"), Message::assistant("f")]);
    // A prompt that is only to be read stays as well.
    session.send("more", options().max_tokens(0)).unwrap().text().unwrap();
    assert_eq!(messages(&session).last(), Some(&Message::user("more")));
    session.add(Message::user("and more"));
    assert_eq!(session.generate(options()).unwrap().text().unwrap(), "fine");
}

#[test]
fn a_failed_reply_leaves_the_conversation_as_it_was() {
    let backend = Scripted::new(|tokens, row| {
        if tokens.len() > 60 {
            return Err(Error::Internal("too long for this backend".into()));
        }
        row[16] = 60.0; // <turn|>
        Ok(())
    });
    let model = model(&backend);
    let mut session = model.session().context(512).build().unwrap();
    session.send("hi", options()).unwrap().text().unwrap();
    let before = messages(&session).to_vec();
    let long = "x".repeat(60);
    let last = session.send(long.as_str(), options()).unwrap().last().unwrap();
    assert!(matches!(last, Err(Error::Internal(_))), "{last:?}");
    assert_eq!(messages(&session), before);
    let (events, finish) = joined(session.send("ho", options()).unwrap().map(Result::unwrap).collect());
    assert_eq!((text(&events).as_str(), finish.reason), ("", FinishReason::Stop));
}

#[test]
fn call_ids_are_new_whatever_ids_the_conversation_has() {
    let actor = Actor::new(&["@<|tool_call>", "call:f{a:1}", "@<tool_call|>", "@<|tool_response>"]);
    let call = |id: &str| ToolCall { id: id.into(), name: "f".into(), arguments_json: "{}".into() };
    let history = vec![
        Message::user("go"),
        Message::Assistant {
            text: String::new(),
            thinking: None,
            tool_calls: vec![call("call_7"), call("x"), call("call_x"), call("call_99999999999999999999")],
        },
        Message::user("again"),
    ];
    let mut session = actor.session();
    let request = Chat { messages: history, tools: vec![tool("f")], ..Chat::default() };
    let reply = session.send(request, options()).unwrap();
    let (events, _) = joined(reply.map(Result::unwrap).collect());
    assert!(matches!(events.last(), Some(Event::ToolCall(call)) if call.id == "call_8"), "{events:?}");
}

#[test]
fn pictures_are_refused_where_nothing_reads_them() {
    let actor = Actor::new(&["x"]);
    let mut session = actor.session();
    let parts = vec![Part::Text("Look:".into()), Part::Image(lemmy_core::Image::from_bytes(&b"GIF89a"[..]))];
    let error = session.begin(parts, options()).unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(messages(&session).is_empty());
}
