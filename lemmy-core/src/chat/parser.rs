//! A reply's tokens to thoughts, text and tool calls.
//!
//! A reply is read by control tokens, never by what they spell: a model that writes `<|tool_call>` letter by letter writes
//! text. [`Parser`] is the machine of three states, text, thought and call; `spoken` has the rules for the first two,
//! `body` holds a call's tokens until it is whole, `call` reads it, `arguments` its arguments, `json` writes them.

#![forbid(unsafe_code)]

mod arguments;
mod body;
mod call;
mod json;
mod spoken;

use std::mem;

use self::call::{Call, Fault, OpenCall};
use self::spoken::{Answer, Spoken, Thought};
use super::StartState;
use crate::TokenId;
use crate::tokenizer::Tokenizer;

/// The control tokens that structure a reply; `None` where a vocabulary lacks one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// `<|channel>`
    pub channel_open: Option<TokenId>,
    /// `<channel|>`
    pub channel_close: Option<TokenId>,
    /// `<|tool_call>`
    pub call_open: Option<TokenId>,
    /// `<tool_call|>`
    pub call_close: Option<TokenId>,
    /// `<|"|>`
    pub quote: Option<TokenId>,
    /// What ends a reply.
    pub ends: Vec<TokenId>,
}

impl Controls {
    /// Finds them by their text.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            channel_open: tokenizer.find("<|channel>"),
            channel_close: tokenizer.find("<channel|>"),
            call_open: tokenizer.find("<|tool_call>"),
            call_close: tokenizer.find("<tool_call|>"),
            quote: tokenizer.find("<|\"|>"),
            ends: tokenizer.end_of_generation().to_vec(),
        }
    }

    /// Which of them a token is; `None` for text. Control tokens that structure nothing are [`Control::Other`].
    pub fn of(&self, tokenizer: &Tokenizer, id: TokenId) -> Option<Control> {
        let is = |known: Option<TokenId>| known == Some(id);
        match () {
            () if self.ends.contains(&id) => Some(Control::End),
            () if is(self.channel_open) => Some(Control::ChannelOpen),
            () if is(self.channel_close) => Some(Control::ChannelClose),
            () if is(self.call_open) => Some(Control::CallOpen),
            () if is(self.call_close) => Some(Control::CallClose),
            () if is(self.quote) => Some(Control::Quote),
            () if tokenizer.is_control(id) => Some(Control::Other),
            () => None,
        }
    }
}

/// A control token in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// `<|channel>`
    ChannelOpen,
    /// `<channel|>`
    ChannelClose,
    /// `<|tool_call>`
    CallOpen,
    /// `<tool_call|>`
    CallClose,
    /// `<|"|>`
    Quote,
    /// A token that ends the reply.
    End,
    /// Any other.
    Other,
}

/// What goes into a [`Parser`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Decoded text, cut anywhere between characters.
    Text(&'t str),
    /// A control token.
    Control(Control),
}

/// What comes out of a [`Parser`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parsed {
    /// More of the thoughts. A thought ends when [`Parser::zone`] leaves [`Zone::Thought`].
    Thinking(String),
    /// More of the answer.
    Text(String),
    /// A whole call; `arguments_json` is the text of a JSON object.
    ToolCall {
        /// The tool's name.
        name: String,
        /// Its arguments: keys in the order of the call, numbers digit by digit as the model wrote them.
        arguments_json: String,
    },
    /// A fault that the reply survived. Each name comes once in a reply, except for the two of a call that was given up
    /// (its repairs are not told): these come with every such call, for only they have its text.
    ///
    /// | Name | What it stands for |
    /// |---|---|
    /// | `stray_control` | a control token that fits nowhere was dropped |
    /// | `unknown_channel` | a thought without the label `thought`; what stood in its place is part of the thought |
    /// | `unterminated_thought` | a thought ended by the end of the reply or by a call |
    /// | `unterminated_call` | a call, complete but for its closing token, ended by the end of the reply or by a call |
    /// | `truncated_call` | a call that was cut off: no call |
    /// | `malformed_call` | a call beyond repair: no call |
    /// | `oversized_call` | a call longer than [`CALL_BYTES`](crate::limits::CALL_BYTES): no call, read as text from its beginning |
    ///
    /// and the repairs of a call: `channel_in_call` (a thought inside, dropped), `missing_call_prefix`, `paren_call`
    /// (`f(a=1)`), `json_key`, `json_string`, `single_quoted`, `equals_separator`, `missing_open_delim`,
    /// `interior_delim` (a delimiter meant as a plain quote), `missing_comma`, `trailing_comma`, `python_literal`,
    /// `bare_string`, `duplicate_key` (the last wins), `trailing_text` (after the arguments, dropped).
    Warning {
        /// A name that does not change, such as `malformed_call`.
        name: &'static str,
        /// The raw text of a call that was given up: what stood between its tokens. Empty otherwise.
        raw: String,
    },
}

/// Where in a reply a parser stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// In the answer.
    Text,
    /// In a thought.
    Thought,
    /// In a tool call.
    Call,
}

/// Reads a reply piece by piece. Nothing that it is fed is an error.
///
/// Text and thoughts come out at once, but for space that may turn out to stand before a thought or a call, and for a
/// thought's label; calls come out whole. How text was cut into pieces makes no difference to what comes out, joined.
///
/// ```
/// use lemmy_core::chat::{Control, Parsed, Parser, Piece, StartState};
///
/// let mut parser = Parser::new(StartState::Model);
/// let mut out = Vec::new();
/// parser.push(Piece::Control(Control::CallOpen), &mut out);
/// parser.push(Piece::Text("call:get_weather{days:3,city:"), &mut out);
/// parser.push(Piece::Control(Control::Quote), &mut out);
/// parser.push(Piece::Text("Paris"), &mut out);
/// parser.push(Piece::Control(Control::Quote), &mut out);
/// parser.push(Piece::Text("}"), &mut out);
/// parser.push(Piece::Control(Control::CallClose), &mut out);
/// parser.push(Piece::Control(Control::End), &mut out);
///
/// let arguments_json = r#"{"days":3,"city":"Paris"}"#.to_owned();
/// assert_eq!(out, [Parsed::ToolCall { name: "get_weather".into(), arguments_json }]);
/// assert!(parser.has_ended() && parser.has_called());
/// ```
#[derive(Debug)]
pub struct Parser {
    state: State,
    warned: Names,
    called: bool,
    ended: bool,
}

#[derive(Debug)]
enum State {
    Text(Answer),
    Thought(Thought),
    Call(OpenCall),
    /// Whatever comes now is ignored.
    Over,
}

impl Parser {
    /// For a reply that begins so.
    pub fn new(start: StartState) -> Self {
        let state = match start {
            StartState::OpenThought => State::Thought(Thought::unlabelled()),
            StartState::Model | StartState::ClosedThought => State::Text(Answer::default()),
        };
        Self { state, warned: Names::default(), called: false, ended: false }
    }

    /// Where it stands.
    pub fn zone(&self) -> Zone {
        match self.state {
            State::Text(_) | State::Over => Zone::Text,
            State::Thought(_) => Zone::Thought,
            State::Call(_) => Zone::Call,
        }
    }

    /// Whether a call came out. A reply that the model ended itself then waits for the answers of tools.
    pub fn has_called(&self) -> bool {
        self.called
    }

    /// Whether the model ended the reply itself, with an end token.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: Piece<'_>, out: &mut Vec<Parsed>) {
        match piece {
            Piece::Text(text) => self.text(text, out),
            Piece::Control(Control::Quote) => self.quote(out),
            Piece::Control(control) => self.control(control, out),
        }
    }

    /// The reply is over without an end token (length, cancel, stop string): gives out what is still held back. A call
    /// that is still open is given up even if only its closing token is missing: the model did not say that it is done.
    /// What is pushed after this or after an end token is ignored.
    pub fn finish(&mut self, out: &mut Vec<Parsed>) {
        match mem::replace(&mut self.state, State::Over) {
            State::Text(answer) => emit(Parsed::Text, answer.finish(), out),
            State::Thought(thought) => {
                self.think(thought.finish(), out);
                self.warn("unterminated_thought", out);
            }
            State::Call(call) => give_up(Fault::Truncated, call, out),
            State::Over => {}
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<Parsed>) {
        match &mut self.state {
            State::Text(answer) => emit(Parsed::Text, answer.push(text), out),
            State::Thought(thought) => {
                let spoken = thought.push(text);
                self.think(spoken, out);
            }
            State::Call(call) => {
                if !call.push_text(text) {
                    self.abandon_call(out);
                    self.text(text, out);
                }
            }
            State::Over => {}
        }
    }

    fn quote(&mut self, out: &mut Vec<Parsed>) {
        if let State::Call(call) = &mut self.state {
            if call.push_delimiter() {
                return;
            }
            self.abandon_call(out);
        }
        self.text("\"", out);
    }

    fn control(&mut self, control: Control, out: &mut Vec<Parsed>) {
        match (&mut self.state, control) {
            (State::Over, _) => {}
            (_, Control::End) => {
                self.close(Closing::Early, out);
                self.state = State::Over;
                self.ended = true;
            }
            // Space before a thought or a call is dropped with the answer that holds it back.
            (State::Text(_), Control::ChannelOpen) => self.state = State::Thought(Thought::labelled()),
            (State::Text(_), Control::CallOpen) => self.state = State::Call(OpenCall::default()),
            (State::Thought(_) | State::Call(_), Control::CallOpen) => {
                self.close(Closing::Early, out);
                self.state = State::Call(OpenCall::default());
            }
            (State::Thought(_), Control::ChannelClose) | (State::Call(_), Control::CallClose) => {
                self.close(Closing::Proper, out);
            }
            (State::Call(call), Control::ChannelOpen) => call.open_channel(),
            (State::Call(call), Control::ChannelClose) => call.close_channel(),
            (State::Call(call), _) => call.stray_control(),
            (State::Text(_) | State::Thought(_), _) => self.warn("stray_control", out),
        }
    }

    /// Gives out what is open; an answer begins.
    fn close(&mut self, closing: Closing, out: &mut Vec<Parsed>) {
        match mem::replace(&mut self.state, State::Text(Answer::default())) {
            State::Text(answer) => emit(Parsed::Text, answer.finish(), out),
            State::Thought(thought) => {
                self.think(thought.close(), out);
                if closing == Closing::Early {
                    self.warn("unterminated_thought", out);
                }
            }
            State::Call(call) => match call.read() {
                Ok(Call { name, arguments_json, repairs }) => {
                    repairs.iter().for_each(|repair| self.warn(repair, out));
                    if closing == Closing::Early {
                        self.warn("unterminated_call", out);
                    }
                    self.called = true;
                    out.push(Parsed::ToolCall { name, arguments_json });
                }
                Err(fault) => give_up(fault, call, out),
            },
            State::Over => {}
        }
    }

    /// A call became too long: goes back to the answer with all of it.
    fn abandon_call(&mut self, out: &mut Vec<Parsed>) {
        if let State::Call(call) = mem::replace(&mut self.state, State::Text(Answer::default())) {
            self.warn("oversized_call", out);
            self.text(&call.into_raw(), out);
        }
    }

    fn think(&mut self, spoken: Spoken, out: &mut Vec<Parsed>) {
        if spoken.unknown_label {
            self.warn("unknown_channel", out);
        }
        emit(Parsed::Thinking, spoken.text, out);
    }

    fn warn(&mut self, name: &'static str, out: &mut Vec<Parsed>) {
        if self.warned.add(name) {
            out.push(Parsed::Warning { name, raw: String::new() });
        }
    }
}

/// How a thought or a call ends: with its own token, or by what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Proper,
    Early,
}

fn emit(kind: fn(String) -> Parsed, text: String, out: &mut Vec<Parsed>) {
    if !text.is_empty() {
        out.push(kind(text));
    }
}

fn give_up(fault: Fault, call: OpenCall, out: &mut Vec<Parsed>) {
    out.push(Parsed::Warning { name: fault.name(), raw: call.into_raw() });
}

/// Names of warnings, each once, in the order in which they came.
#[derive(Debug, Clone, Default)]
struct Names(Vec<&'static str>);

impl Names {
    /// Whether it is new.
    fn add(&mut self, name: &'static str) -> bool {
        let new = !self.0.contains(&name);
        if new {
            self.0.push(name);
        }
        new
    }

    fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}
