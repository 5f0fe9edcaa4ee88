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
    let mut thought_goes_on = false;
    for piece in pieces {
        parser.push(piece.borrow(), &mut out);
        merge(&mut out, &mut reply, thought_goes_on);
        thought_goes_on = parser.zone() == Zone::Thought;
    }
    let stopped = parser.has_ended();
    parser.finish(&mut out);
    merge(&mut out, &mut reply, thought_goes_on);
    reply.finish = match (stopped, parser.has_called()) {
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

fn merge(out: &mut Vec<Parsed>, reply: &mut Reply, mut thought_goes_on: bool) {
    for parsed in out.drain(..) {
        let last = reply.events.last_mut();
        match parsed {
            Parsed::Thinking(more) => match last {
                Some(Event::Thinking(text)) if thought_goes_on => text.push_str(&more),
                _ => reply.events.push(Event::Thinking(more)),
            },
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
        thought_goes_on = true;
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
            let reply = read(start, &cut);
            assert_eq!(reply.events, expected.events, "{name}: {cut:?}");
            assert_eq!(reply.warning_names(), expected.warning_names(), "{name}: {cut:?}");
            assert_eq!(reply.finish, expected.finish, "{name}: {cut:?}");
        }
    }
}
