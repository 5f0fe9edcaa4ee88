//! Any reply, cut anywhere: the parser gives the same events, and arguments are JSON.

#![no_main]

use lemmy_core::chat::{Control, Parsed, Parser, Piece, StartState, Zone};
use libfuzzer_sys::fuzz_target;

/// Control tokens, as the characters from U+0001 on; all other characters are text.
const CONTROLS: [Control; 7] = [
    Control::ChannelOpen,
    Control::ChannelClose,
    Control::CallOpen,
    Control::CallClose,
    Control::Quote,
    Control::Other,
    Control::End,
];

fuzz_target!(|input: &str| {
    for start in [StartState::Model, StartState::OpenThought] {
        let whole = read(start, input.split_inclusive(is_control).flat_map(split_off_control));
        let by_character = read(start, input.split_inclusive(|_| true));
        assert_eq!(whole, by_character);
    }
});

fn is_control(c: char) -> bool {
    control(c).is_some()
}

fn control(c: char) -> Option<Control> {
    let number = u32::from(c).checked_sub(1)?;
    CONTROLS.get(number as usize).copied()
}

fn split_off_control(text: &str) -> [&str; 2] {
    match text.char_indices().next_back() {
        Some((at, c)) if is_control(c) => text.split_at(at).into(),
        _ => [text, ""],
    }
}

/// What came out: events, adjacent ones of a kind joined (each thought alone), and warnings.
#[derive(Debug, Default, PartialEq)]
struct Reply {
    events: Vec<Parsed>,
    warnings: Vec<Parsed>,
    in_thought: bool,
}

fn read<'i>(start: StartState, pieces: impl Iterator<Item = &'i str>) -> Reply {
    let mut parser = Parser::new(start);
    let mut reply = Reply::default();
    let mut out = Vec::new();
    for text in pieces {
        let control = text.chars().next().and_then(control);
        parser.push(control.map_or(Piece::Text(text), Piece::Control), &mut out);
        out.drain(..).for_each(|event| reply.add(event));
        reply.in_thought &= parser.zone() == Zone::Thought;
    }
    parser.finish(&mut out);
    out.drain(..).for_each(|event| reply.add(event));
    reply
}

impl Reply {
    fn add(&mut self, event: Parsed) {
        match (self.events.last_mut(), event) {
            (Some(Parsed::Text(text)), Parsed::Text(more)) => text.push_str(&more),
            (Some(Parsed::Thinking(text)), Parsed::Thinking(more)) if self.in_thought => text.push_str(&more),
            (_, warning @ Parsed::Warning { .. }) => self.warnings.push(warning),
            (_, event) => {
                self.in_thought = matches!(event, Parsed::Thinking(_));
                if let Parsed::ToolCall { arguments_json, .. } = &event {
                    // Numbers of any length are JSON; this reader takes those that fit.
                    let read = serde_json::from_str::<serde_json::Map<_, _>>(arguments_json);
                    assert!(
                        read.as_ref().err().is_none_or(|e| e.to_string().starts_with("number out of range")),
                        "{read:?}"
                    );
                }
                self.events.push(event);
            }
        }
    }
}
