//! What a reply has said: tokens become text, text becomes events and the message for the history.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::Event;
use super::stop::StopSearch;
use crate::TokenId;
use crate::chat::{Control, Controls, Message, Parsed, Parser, Piece, StartState, ToolCall, Zone};
use crate::tokenizer::{DecoderState, Tokenizer};

/// Reads a reply token by token.
#[derive(Debug)]
pub(super) struct Transcript {
    controls: Controls,
    decoder: DecoderState,
    parser: Parser,
    stops: StopSearch,
    /// The stop string that has come.
    stopped: Option<usize>,
    events: VecDeque<Event>,
    /// What the parser gave out last.
    parsed: Vec<Parsed>,
    text: String,
    thinking: String,
    calls: Vec<ToolCall>,
    /// Number of the next call's id.
    next_call: u64,
}

impl Transcript {
    /// Of a reply that begins so; its calls are named `call_N`, counted from `next_call`.
    pub(super) fn new(controls: Controls, start: StartState, stops: StopSearch, next_call: u64) -> Self {
        Self {
            controls,
            decoder: DecoderState::new(),
            parser: Parser::new(start),
            stops,
            stopped: None,
            events: VecDeque::new(),
            parsed: Vec::new(),
            text: String::new(),
            thinking: String::new(),
            calls: Vec::new(),
            next_call,
        }
    }

    /// The next token.
    pub(super) fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) {
        let control = self.controls.of(tokenizer, id);
        let text = match control {
            None => self.decoder.push(tokenizer, id),
            Some(_) => self.decoder.finish(),
        };
        if !text.is_empty() {
            self.parser.push(Piece::Text(text), &mut self.parsed);
        }
        if let Some(control) = control {
            self.parser.push(Piece::Control(control), &mut self.parsed);
        }
        self.tell_parsed();
    }

    /// Nothing more comes. `is_whole` if the model itself ended it.
    pub(super) fn close(&mut self, is_whole: bool) {
        if !is_whole {
            let rest = self.decoder.finish();
            if !rest.is_empty() {
                self.parser.push(Piece::Text(rest), &mut self.parsed);
            }
            self.parser.finish(&mut self.parsed);
        }
        self.tell_parsed();
        self.tell_held();
    }

    /// Where a token stands, if it comes next.
    pub(super) fn zone_of(&self, tokenizer: &Tokenizer, id: TokenId) -> Zone {
        match (self.zone(), self.controls.of(tokenizer, id)) {
            (Zone::Text, Some(Control::ChannelOpen)) => Zone::Thought,
            (Zone::Text, Some(Control::CallOpen)) => Zone::Call,
            (zone, _) => zone,
        }
    }

    /// Where the reply stands.
    pub(super) fn zone(&self) -> Zone {
        self.parser.zone()
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The stop string that has come, if one has.
    pub(super) fn stopped(&self) -> Option<usize> {
        self.stopped
    }

    /// Adds an event that is not made of the reply's text.
    pub(super) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// The next event.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The message so far; `None` if nothing was said.
    pub(super) fn message(&self) -> Option<Message> {
        if self.text.is_empty() && self.thinking.is_empty() && self.calls.is_empty() {
            return None;
        }
        let thinking = (!self.thinking.is_empty()).then(|| self.thinking.clone());
        Some(Message::Assistant { text: self.text.clone(), thinking, tool_calls: self.calls.clone() })
    }

    fn tell_parsed(&mut self) {
        let mut parsed = std::mem::take(&mut self.parsed);
        for part in parsed.drain(..) {
            // Nothing counts behind a stop string.
            if self.stopped.is_some() {
                break;
            }
            match part {
                Parsed::Text(text) => {
                    let mut free = String::new();
                    self.stopped = self.stops.push(&text, &mut free);
                    self.tell_text(free);
                }
                Parsed::Thinking(text) => {
                    self.tell_held();
                    self.thinking.push_str(&text);
                    self.tell(Event::Thinking(text));
                }
                Parsed::ToolCall { name, arguments_json } => {
                    self.tell_held();
                    let call = ToolCall { id: format!("call_{}", self.next_call), name, arguments_json };
                    self.next_call += 1;
                    self.calls.push(call.clone());
                    self.tell(Event::ToolCall(call));
                }
                Parsed::Warning { name, raw } => {
                    if !raw.is_empty() {
                        self.tell_held();
                        self.tell_text(raw);
                    }
                    self.tell(Event::Warning(name.into()));
                }
            }
        }
        self.parsed = parsed;
    }

    /// A stop string does not reach across a thought or a call.
    fn tell_held(&mut self) {
        let mut held = String::new();
        self.stops.flush(&mut held);
        self.tell_text(held);
    }

    fn tell_text(&mut self, text: String) {
        if !text.is_empty() {
            self.text.push_str(&text);
            self.tell(Event::Text(text));
        }
    }
}
