//! What a model writes back, as thoughts, text and calls: the corpus at every cut, and what no model should write.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::time::{Duration, Instant};

use lemmy_core::chat::{Control, Parsed, Parser, Piece, StartState, Zone};
use lemmy_core::limits;
use proptest::prelude::*;

/// A piece that owns its text.
#[derive(Debug, Clone, PartialEq)]
enum Input {
    Text(String),
    Control(Control),
}

use Input::Text;

const CALL_OPEN: Input = Input::Control(Control::CallOpen);
const CALL_CLOSE: Input = Input::Control(Control::CallClose);
const QUOTE: Input = Input::Control(Control::Quote);
const END: Input = Input::Control(Control::End);

/// All that came out: adjacent text merged, each thought one event, warnings with their raw text.
#[derive(Debug, Clone, Default, PartialEq)]
struct Reply {
    events: Vec<Event>,
    warnings: Vec<(String, String)>,
    finish: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Thinking(String),
    Text(String),
    Call(String, String),
}

impl Reply {
    fn warning_names(&self) -> Vec<&str> {
        self.warnings.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn read(start: StartState, pieces: &[Input]) -> Reply {
    let mut parser = Parser::new(start);
    let mut reply = Reply::default();
    let mut out = Vec::new();
    let mut in_thought = false;
    for piece in pieces {
        parser.push(piece.borrow(), &mut out);
        merge(&mut out, &mut reply, &mut in_thought);
        in_thought &= parser.zone() == Zone::Thought;
    }
    parser.finish(&mut out);
    merge(&mut out, &mut reply, &mut in_thought);
    reply.finish = match (parser.has_ended(), parser.has_called()) {
        (true, true) => "tool_calls",
        (true, false) => "stop",
        (false, _) => "length",
    };
    reply
}

impl Input {
    fn borrow(&self) -> Piece<'_> {
        match self {
            Text(text) => Piece::Text(text),
            Self::Control(control) => Piece::Control(*control),
        }
    }
}

/// `in_thought`: the last event is a thought that goes on.
fn merge(out: &mut Vec<Parsed>, reply: &mut Reply, in_thought: &mut bool) {
    for parsed in out.drain(..) {
        let last = reply.events.last_mut();
        match parsed {
            Parsed::Thinking(more) => {
                match last {
                    Some(Event::Thinking(text)) if *in_thought => text.push_str(&more),
                    _ => reply.events.push(Event::Thinking(more)),
                }
                *in_thought = true;
            }
            Parsed::Text(more) => match last {
                Some(Event::Text(text)) => text.push_str(&more),
                _ => reply.events.push(Event::Text(more)),
            },
            Parsed::ToolCall { name, arguments_json } => {
                serde_json::from_str::<serde_json::Map<_, _>>(&arguments_json).expect("a JSON object");
                reply.events.push(Event::Call(name, arguments_json));
            }
            Parsed::Warning { name, raw } => reply.warnings.push((name.into(), raw)),
            other => panic!("unknown: {other:?}"),
        }
    }
}

/// Adjacent texts joined.
fn joined(pieces: &[Input]) -> Vec<Input> {
    let mut joined: Vec<Input> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Text(text)), Text(more)) => text.push_str(more),
            _ => joined.push(piece.clone()),
        }
    }
    joined
}

fn by_character(pieces: &[Input]) -> Vec<Input> {
    let split = |piece: &Input| match piece {
        Text(text) => text.chars().map(|c| Text(c.into())).collect(),
        control => vec![control.clone()],
    };
    pieces.iter().flat_map(split).collect()
}

/// Every way of cutting one text in two.
fn single_cuts(pieces: &[Input]) -> Vec<Vec<Input>> {
    let mut cuts = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let Text(text) = piece else { continue };
        for (at, _) in text.char_indices().skip(1) {
            let halves = [Text(text[..at].into()), Text(text[at..].into())];
            let mut cut = pieces.to_vec();
            cut.splice(i..=i, halves);
            cuts.push(cut);
        }
    }
    cuts
}

struct Case {
    name: String,
    start: StartState,
    pieces: Vec<Input>,
    expected: Reply,
}

fn corpus() -> Vec<Case> {
    let text = include_str!("../../tests/fixtures/chat/parser_cases.toml");
    let table: toml::Table = toml::from_str(text).unwrap();
    table["case"].as_array().unwrap().iter().map(case).collect()
}

fn case(case: &toml::Value) -> Case {
    let string = |key: &str| case[key].as_str().unwrap().to_owned();
    let strings = |key: &str| case[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>();
    let event = |event: &toml::Value| {
        let string = |key: &str| event[key].as_str().unwrap().to_owned();
        match event["kind"].as_str().unwrap() {
            "thinking" => Event::Thinking(string("text")),
            "text" => Event::Text(string("text")),
            "call" => Event::Call(string("name"), string("arguments")),
            other => panic!("kind {other}"),
        }
    };
    let finish = ["stop", "tool_calls", "length"].into_iter().find(|f| *f == string("finish")).unwrap();
    Case {
        name: string("name"),
        start: match string("start").as_str() {
            "model" => StartState::Model,
            "closed_thought" => StartState::ClosedThought,
            "open_thought" => StartState::OpenThought,
            other => panic!("start {other}"),
        },
        pieces: strings("pieces").into_iter().map(input).collect(),
        expected: Reply {
            events: case["events"].as_array().unwrap().iter().map(event).collect(),
            warnings: strings("warnings").into_iter().map(|name| (name.into(), String::new())).collect(),
            finish,
        },
    }
}

fn input(piece: &str) -> Input {
    match piece.strip_prefix('@') {
        None => Text(piece.into()),
        Some("<|channel>") => Input::Control(Control::ChannelOpen),
        Some("<channel|>") => Input::Control(Control::ChannelClose),
        Some("<|tool_call>") => CALL_OPEN,
        Some("<tool_call|>") => CALL_CLOSE,
        Some("<|\"|>") => QUOTE,
        Some("<turn|>" | "<eos>" | "<|tool_response>") => END,
        Some("<|turn>" | "<|image|>") => Input::Control(Control::Other),
        Some(other) => panic!("control {other}"),
    }
}

#[test]
fn corpus_at_every_cut() {
    let cases = corpus();
    assert_eq!(cases.len(), 105);
    for Case { name, start, pieces, expected } in cases {
        let whole = joined(&pieces);
        let mut cuts = single_cuts(&whole);
        cuts.extend([by_character(&whole), pieces, whole]);
        for cut in cuts {
            for (start, cut) in starts(start, cut) {
                let reply = read(start, &cut);
                assert_eq!(reply.events, expected.events, "{name}: {start:?} {cut:?}");
                assert_eq!(reply.warning_names(), expected.warning_names(), "{name}: {start:?} {cut:?}");
                assert_eq!(reply.finish, expected.finish, "{name}: {start:?} {cut:?}");
            }
        }
    }
}

/// The other ways to begin that make no difference: a reply that begins outside a thought may begin in either state, or in
/// a thought that it closes at once.
fn starts(start: StartState, pieces: Vec<Input>) -> Vec<(StartState, Vec<Input>)> {
    if start == StartState::OpenThought {
        return vec![(start, pieces)];
    }
    let mut closes = vec![Input::Control(Control::ChannelClose)];
    closes.extend_from_slice(&pieces);
    vec![(StartState::Model, pieces.clone()), (StartState::ClosedThought, pieces), (StartState::OpenThought, closes)]
}

/// A whole reply that is one call; `§` stands for the delimiter.
fn call(body: &str) -> Reply {
    let mut pieces = vec![CALL_OPEN];
    pieces.extend(call_body(body));
    pieces.extend([CALL_CLOSE, END]);
    read(StartState::Model, &pieces)
}

fn call_body(body: &str) -> Vec<Input> {
    let mut pieces = Vec::new();
    for (i, text) in body.split('§').enumerate() {
        if i > 0 {
            pieces.push(QUOTE);
        }
        pieces.push(Text(text.into()));
    }
    pieces
}

#[test]
fn arguments_and_repairs() {
    let table: &[(&str, &str, &[&str])] = &[
        ("call:f{n:-0,m:0.10,k:1E+05}", r#"{"n":-0,"m":0.10,"k":1E+05}"#, &[]),
        (
            "call:f{a:1.,b:.5,c:-,d:1e,e:00,f:0x1,g:٣}",
            r#"{"a":"1.","b":".5","c":"-","d":"1e","e":"00","f":"0x1","g":"٣"}"#,
            &["bare_string"],
        ),
        ("call:f{s:§\u{1}\r\\u0041§}", r#"{"s":"\u0001\r\\u0041"}"#, &[]),
        (r#"call:f{s:"\u0041\n\"\ud83d\ude80\ud800\q"}"#, r#"{"s":"A\n\"🚀\\ud800\\q"}"#, &["json_string"]),
        (r#"call:f{s:"\u12"}"#, r#"{"s":"\\u12"}"#, &["json_string"]),
        (r#"call:f{s:'say "hi"'}"#, r#"{"s":"say \"hi\""}"#, &["single_quoted"]),
        (r#"call:f{s:"a §b§ c"}"#, r#"{"s":"a \"b\" c"}"#, &["json_string", "interior_delim"]),
        ("call:f{a:1,b:2,a:{c:3}}", r#"{"a":{"c":3},"b":2}"#, &["duplicate_key"]),
        ("call:f{,a:1,,b:2}", r#"{"a":1,"b":2}"#, &["trailing_comma"]),
        ("call:f{a:[1 ,2 , ]}", r#"{"a":[1,2]}"#, &["trailing_comma"]),
        ("call:f{a:[§x§ §y§]}", r#"{"a":["x\" \"y"]}"#, &["interior_delim"]),
        ("call:f{a:[[1][2]]}", r#"{"a":[[1],[2]]}"#, &["missing_comma"]),
        ("call:f{a:[x,y,z§]}", r#"{"a":["x,y,z"]}"#, &["missing_open_delim"]),
        ("call:f{a:x,b:[y§]}", r#"{"a":"x","b":["y"]}"#, &["bare_string", "missing_open_delim"]),
        ("call:f(a=[1,2],b={c:x})", r#"{"a":[1,2],"b":{"c":"x"}}"#, &["paren_call", "bare_string"]),
        ("call:f (a=§(x)§, b=1)", r#"{"a":"(x)","b":1}"#, &["paren_call"]),
        ("call:मौसम्{a:1} and more", r#"{"a":1}"#, &["trailing_text"]),
        ("f (a=nil)§", r#"{"a":null}"#, &["missing_call_prefix", "paren_call", "python_literal", "trailing_text"]),
    ];
    for (body, arguments, warnings) in table {
        let reply = call(body);
        assert_eq!(reply.warning_names(), *warnings, "{body}: {reply:?}");
        let [Event::Call(_, json)] = &reply.events[..] else { panic!("{body}: {reply:?}") };
        assert_eq!(json, arguments, "{body}");
    }
}

#[test]
fn given_up_calls_keep_their_text() {
    let table = [
        ("", "truncated_call"),
        (" \n", "truncated_call"),
        ("call:", "truncated_call"),
        ("call:f{a", "truncated_call"),
        ("call:f{§a", "truncated_call"),
        ("call:f{a:[1,", "truncated_call"),
        ("call:f{a:§x, b:1}", "truncated_call"),
        ("call:f{a:§x§ y}", "truncated_call"),
        ("call:f{a:\"x}", "truncated_call"),
        ("call:f{a:\"x\\", "truncated_call"),
        ("call:f{a=1", "truncated_call"),
        ("§", "malformed_call"),
        ("call", "malformed_call"),
        ("call:f§x§{a:1}", "malformed_call"),
        ("call:{a:1}", "malformed_call"),
        ("call:f g{a:1}", "malformed_call"),
        ("call:f!{a:1}", "malformed_call"),
        ("call:f{a}", "malformed_call"),
        ("call:f(a)", "malformed_call"),
        ("call:f{:1}", "malformed_call"),
        ("call:f{§§:1}", "malformed_call"),
        ("call:f{a:[1}}", "malformed_call"),
        ("call:f(a=[1)", "malformed_call"),
        ("call:f{a:]}", "malformed_call"),
        ("call:f{a:{b:1]}", "malformed_call"),
        ("call:f{a:[1] y}", "malformed_call"),
    ];
    for (body, name) in table {
        let reply = call(body);
        assert_eq!(reply.events, [], "{body}");
        assert_eq!(reply.warnings, [(name.to_owned(), body.replace('§', "<|\"|>"))], "{body}");
        assert_eq!(reply.finish, "stop", "{body}");
    }
    // Each of several, and neither their repairs nor what was dropped in them.
    let other = Input::Control(Control::Other);
    let first = [CALL_OPEN, Text("call:f{a=1,".into()), other, Input::Control(Control::ChannelOpen), CALL_OPEN];
    let second = [Text("call:g".into()), END];
    let reply = read(StartState::Model, &[&first[..], &second[..]].concat());
    let warning = |raw: &str| ("truncated_call".to_owned(), raw.to_owned());
    assert_eq!(reply.warnings, [warning("call:f{a=1,"), warning("call:g")]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("call:f{{a:{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let deepest = call(&nested(limits::CALL_DEPTH));
    assert!(matches!(&deepest.events[..], [Event::Call(_, json)] if json.contains("[1]")), "{deepest:?}");
    let siblings = call(&format!("call:f{{a:[{}]}}", "{b:[]},".repeat(500)));
    assert_eq!(siblings.warning_names(), ["trailing_comma"]);
    for depth in [limits::CALL_DEPTH + 1, 10_000, 500_000] {
        assert_eq!(call(&nested(depth)).warning_names(), ["malformed_call"], "{depth}");
    }
}

#[test]
fn oversized_call_is_read_as_text() {
    let fits = format!("call:f{{a:§{}§}}", "x".repeat(limits::CALL_BYTES - "call:f{a:}".len() - 10));
    let reply = call(&fits);
    assert!(matches!(&reply.events[..], [Event::Call(_, json)] if json.len() > limits::CALL_BYTES - 100));
    for more in ["x", "§"] {
        let mut pieces = vec![Text("Look:\n".into()), CALL_OPEN];
        pieces.extend(call_body(&format!("{fits}{more} ")));
        let reply = read(StartState::Model, &pieces);
        let more = more.replace('§', "\"");
        let text = format!("Look:{}{more} ", fits.replace('§', "<|\"|>"));
        assert!(reply.events == [Event::Text(text)], "other text");
        assert_eq!(reply.warning_names(), ["oversized_call"]);
        assert_eq!(reply.finish, "length");
    }
}

/// Whatever a model writes, a megabyte of it takes no more than a moment.
#[test]
fn time_is_linear() {
    const BYTES: usize = 1 << 20;
    let repeat = |text: &str| text.repeat(BYTES / text.len());
    let bodies = [
        format!("call:f{{a:§{}§}}", repeat("x")),
        format!("call:f{{a:§{}§}}", repeat("§")),
        format!("call:f{{a:{}", repeat("§b:")),
        format!("call:f{{a:§{}§}}", repeat("§ b=")),
        format!("call:f{{a:[{}]}}", repeat("b,")),
        format!("call:f{{a:[{}§]}}", repeat("b,")),
        format!("call:f{{{}}}", repeat("a:1,")),
        format!("call:f{{{}}}", repeat("a:1 ")),
        format!("call:f{{{}}}", (0..BYTES / 9).map(|i| format!("{i}:0,")).collect::<String>()),
        format!("call:f{{a:[{}]}}", repeat("{a:[]}")),
        format!("call:f{{a:[{}]}}", repeat("§ §,")),
        format!("call:f{{a:[{}", repeat("{a:")),
        format!("call:f{{a:\"{}\"}}", repeat("\\")),
        format!("call:f{{a:\"{}", repeat("\\ud800")),
        format!("call:{}", repeat(" ")),
        format!("call:f{{{}", repeat(" ,")),
    ];
    let start = Instant::now();
    for body in &bodies {
        call(body);
    }
    let string = by_character(&call_body(&bodies[0]));
    read(StartState::Model, &[&[CALL_OPEN], &string[..], &[CALL_CLOSE, END]].concat());
    for text in [repeat(" "), format!("a{}", repeat(" ")), repeat("a "), format!("thought\n{}", repeat("\n"))] {
        let pieces = by_character(&[Text(text)]);
        read(StartState::Model, &pieces);
        read(StartState::Model, &[&[Input::Control(Control::ChannelOpen)], &pieces[..], &[END]].concat());
    }
    // It takes about a second; to look at all of it for each character would take days.
    assert!(start.elapsed() < Duration::from_secs(120), "took {:?}", start.elapsed());
}

/// What comes out after each piece.
fn stream(start: StartState, pieces: &[Input]) -> Vec<Vec<Parsed>> {
    let mut parser = Parser::new(start);
    let push = |piece: &Input| {
        let mut out = Vec::new();
        parser.push(piece.borrow(), &mut out);
        out
    };
    pieces.iter().map(push).collect()
}

#[test]
fn nothing_is_held_back_without_need() {
    let text = |text: &str| vec![Parsed::Text(text.into())];
    let thinking = |text: &str| vec![Parsed::Thinking(text.into())];
    let pieces = [" ", "Hi", " ", "\n", "you  ", "!"].map(|piece| Text(piece.into()));
    let expected = [vec![], text("Hi"), vec![], vec![], text(" \nyou"), text("  !")];
    assert_eq!(stream(StartState::Model, &pieces), expected);

    let pieces = ["  a", "\n", "\nb "].map(|piece| Text(piece.into()));
    let expected = [thinking("  a"), vec![], thinking("\n\nb")];
    assert_eq!(stream(StartState::OpenThought, &pieces), expected);

    let mut labelled = vec![Input::Control(Control::ChannelOpen)];
    labelled.extend(["th", "ought", "\n", "a", " ", "b"].map(|piece| Text(piece.into())));
    let expected = [vec![], vec![], vec![], vec![], thinking("a"), vec![], thinking(" b")];
    assert_eq!(stream(StartState::Model, &labelled), expected);

    let mut other = vec![Input::Control(Control::ChannelOpen)];
    other.extend([" ", "th", "e"].map(|piece| Text(piece.into())));
    let warning = Parsed::Warning { name: "unknown_channel", raw: String::new() };
    let expected = [vec![], vec![], [vec![warning], thinking(" th")].concat(), thinking("e")];
    assert_eq!(stream(StartState::Model, &other), expected);
}

#[test]
fn zones() {
    let mut parser = Parser::new(StartState::OpenThought);
    let mut out = Vec::new();
    let steps = [
        (Control::Quote, Zone::Thought),
        (Control::ChannelOpen, Zone::Thought),
        (Control::ChannelClose, Zone::Text),
        (Control::CallClose, Zone::Text),
        (Control::CallOpen, Zone::Call),
        (Control::ChannelOpen, Zone::Call),
        (Control::ChannelClose, Zone::Call),
        (Control::Other, Zone::Call),
        (Control::CallOpen, Zone::Call),
        (Control::CallClose, Zone::Text),
        (Control::ChannelOpen, Zone::Thought),
        (Control::CallOpen, Zone::Call),
        (Control::End, Zone::Text),
    ];
    for (control, zone) in steps {
        assert!(!parser.has_ended());
        parser.push(Piece::Control(control), &mut out);
        assert_eq!(parser.zone(), zone, "{control:?}");
    }
    assert!(parser.has_ended() && !parser.has_called());
}

#[test]
fn two_thoughts_stay_two() {
    let thought =
        [Input::Control(Control::ChannelOpen), Text("thought\na ".into()), Input::Control(Control::ChannelClose)];
    let reply = read(StartState::Model, &[&thought[..], &thought].concat());
    assert_eq!(reply.events, [Event::Thinking("a".into()), Event::Thinking("a".into())]);
}

#[test]
fn nothing_comes_after_the_end() {
    let mut parser = Parser::new(StartState::Model);
    let mut out = Vec::new();
    parser.push(Piece::Text("a "), &mut out);
    parser.finish(&mut out);
    assert_eq!(out, [Parsed::Text("a".into()), Parsed::Text(" ".into())]);
    for piece in [Piece::Text("b"), Piece::Control(Control::CallOpen), Piece::Control(Control::End)] {
        parser.push(piece, &mut out);
    }
    parser.finish(&mut out);
    assert_eq!(out.len(), 2);
    assert!(!parser.has_ended() && parser.zone() == Zone::Text);
}

fn any_piece() -> impl Strategy<Value = Input> {
    const CONTROLS: &[Control] =
        &[Control::ChannelOpen, Control::ChannelClose, Control::CallOpen, Control::CallClose, Control::Other];
    const TEXTS: &[&str] = &[
        "thought\n",
        "call:",
        "f",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "=",
        ",",
        "\"",
        "'",
        "\\",
        "\\u00e9",
        " ",
        "\n",
        "1",
        "-2.5e3",
        "true",
        "None",
        "a",
        "key:",
        "日本 ",
        "👩‍🚀",
        "\u{0}",
    ];
    prop_oneof![
        6 => prop::sample::select(TEXTS).prop_map(|text| Text(text.into())),
        1 => any::<String>().prop_map(Text),
        2 => Just(QUOTE),
        2 => prop::sample::select(CONTROLS).prop_map(Input::Control),
    ]
}

/// A reply in which calls are likely.
fn any_reply() -> impl Strategy<Value = Vec<Input>> {
    let call = prop::collection::vec(any_piece(), 0..12).prop_map(|inner| {
        let open = [CALL_OPEN, Text("call:f{a:".into())];
        [&open[..], &inner, &[Text("}".into()), CALL_CLOSE]].concat()
    });
    let part = prop_oneof![call, prop::collection::vec(any_piece(), 0..8)];
    let end = prop_oneof![Just(vec![]), Just(vec![END])];
    (prop::collection::vec(part, 0..5), end).prop_map(|(parts, end)| [parts.concat(), end].concat())
}

proptest! {
    #[test]
    fn any_cut_reads_the_same(
        pieces in any_reply(),
        start in prop::sample::select(&[StartState::Model, StartState::ClosedThought, StartState::OpenThought][..]),
    ) {
        let reply = read(start, &pieces);
        prop_assert_eq!(&read(start, &joined(&pieces)), &reply);
        prop_assert_eq!(&read(start, &by_character(&pieces)), &reply);
        let cuts = single_cuts(&joined(&pieces));
        for cut in cuts.iter().step_by(cuts.len() / 8 + 1) {
            prop_assert_eq!(&read(start, cut), &reply);
        }
    }

    /// What is written as the template writes it, whatever it holds, comes back without a warning.
    #[test]
    fn canonical_arguments_come_back(value in any_value()) {
        let arguments = serde_json::json!({ "a": value });
        let mut pieces = vec![CALL_OPEN, Text("call:f".into())];
        write(&arguments, &mut pieces);
        pieces.extend([CALL_CLOSE, END]);
        let reply = read(StartState::Model, &pieces);
        prop_assert_eq!(reply.warning_names(), [""; 0]);
        prop_assert_eq!(reply.events, [Event::Call("f".into(), arguments.to_string())]);
    }
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        let map = prop::collection::vec(("[a-zа-я_][a-z0-9_.-]{0,8}", inner), 0..5);
        let object = map.prop_map(|members| serde_json::Value::Object(members.into_iter().collect()));
        prop_oneof![list.prop_map(Into::into), object]
    })
}

/// The syntax of the chat template: bare keys, strings between delimiter tokens.
fn write(value: &serde_json::Value, pieces: &mut Vec<Input>) {
    let list = |open: &str, close: &str, items: Vec<(String, &serde_json::Value)>, pieces: &mut Vec<Input>| {
        pieces.push(Text(open.into()));
        for (i, (key, item)) in items.into_iter().enumerate() {
            pieces.push(Text(format!("{}{key}", if i > 0 { "," } else { "" })));
            write(item, pieces);
        }
        pieces.push(Text(close.into()));
    };
    match value {
        serde_json::Value::String(text) => pieces.extend([QUOTE, Text(text.clone()), QUOTE]),
        serde_json::Value::Array(items) => list("[", "]", items.iter().map(|v| (String::new(), v)).collect(), pieces),
        serde_json::Value::Object(map) => {
            list("{", "}", map.iter().map(|(k, v)| (format!("{k}:"), v)).collect(), pieces)
        }
        other => pieces.push(Text(other.to_string())),
    }
}
