//! A call's arguments, read with every repair that models were seen to need, and written as JSON.
//!
//! ```text
//! OBJECT := { KEY : VALUE , … }
//! VALUE  := DELIMITER any text DELIMITER | true | false | null | number | OBJECT | [ VALUE , … ]
//! ```
//!
//! Keys are bare. Delimiters are tokens, and a string between them has no escapes. Each symbol is looked at a fixed
//! number of times, so reading takes time in proportion to the body; texts of nested values are copied once per level.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::body::{Body, Cursor, Delimiter, Symbol};
use super::call::Fault;
use super::spoken::SPACE;
use super::{Names, json};
use crate::limits;

/// What is left of a call's body, and what is known of it.
#[derive(Debug)]
pub(super) struct Arguments<'b> {
    cursor: Cursor<'b>,
    /// `f(a=1)` instead of `f{a:1}`.
    in_parens: bool,
    delimiters: Vec<Delimiter>,
    /// The last delimiter that closes and does not open.
    last_closing: Option<usize>,
    depth: usize,
    repairs: Names,
}

impl<'b> Arguments<'b> {
    /// `cursor` stands at the opening brace or parenthesis.
    pub(super) fn new(body: &'b Body, cursor: Cursor<'b>, in_parens: bool, repairs: Names) -> Self {
        let delimiters = body.delimiters(ends(in_parens));
        let last_closing = delimiters.iter().rposition(|d| d.closes && !d.opens);
        Self { cursor, in_parens, delimiters, last_closing, depth: 0, repairs }
    }

    /// The arguments as a JSON object.
    pub(super) fn read(&mut self) -> Result<String, Fault> {
        let json = self.object(if self.in_parens { ')' } else { '}' })?;
        self.cursor.skip_space();
        if self.cursor.peek().is_some() {
            self.repairs.add("trailing_text");
        }
        Ok(json)
    }

    pub(super) fn into_repairs(self) -> Names {
        self.repairs
    }

    fn object(&mut self, closer: char) -> Result<String, Fault> {
        self.enter()?;
        let mut members: Vec<String> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        while !self.at_closer(closer, members.is_empty())? {
            let key = self.key()?;
            let member = format!("{}:{}", json::string(&key), self.value()?);
            // As in Python, a repeated key keeps its first place and its last value.
            match places.get(&key).and_then(|&place| members.get_mut(place)) {
                Some(earlier) => {
                    *earlier = member;
                    self.repairs.add("duplicate_key");
                }
                None => {
                    places.insert(key, members.len());
                    members.push(member);
                }
            }
            self.cursor.skip_space();
            match self.cursor.peek() {
                Some(Symbol::Char(c)) if c == ',' || c == closer => {}
                Some(_) if begins_with_key(self.cursor.text()) => _ = self.repairs.add("missing_comma"),
                Some(_) => return Err(Fault::Malformed),
                None => return Err(Fault::Truncated),
            }
        }
        self.leave();
        Ok(format!("{{{}}}", members.join(",")))
    }

    fn array(&mut self) -> Result<String, Fault> {
        self.enter()?;
        let mut items: Vec<String> = Vec::new();
        while !self.at_closer(']', items.is_empty())? {
            if self.cursor.text().starts_with(ends(self.in_parens)) {
                return Err(Fault::Malformed);
            }
            items.push(self.value()?);
            self.cursor.skip_space();
            if self.cursor.peek().is_some() && !self.cursor.text().starts_with([',', ']']) {
                self.repairs.add("missing_comma");
            }
        }
        self.leave();
        Ok(format!("[{}]", items.join(",")))
    }

    /// Takes the comma before a value or the closer; whether the closer came, taking it too.
    fn at_closer(&mut self, closer: char, first: bool) -> Result<bool, Fault> {
        let mut commas = 0;
        loop {
            self.cursor.skip_space();
            let symbol = self.cursor.peek().ok_or(Fault::Truncated)?;
            let closed = symbol == Symbol::Char(closer);
            let comma = symbol == Symbol::Char(',');
            if comma || closed {
                self.cursor.next();
            }
            if comma {
                commas += 1;
                continue;
            }
            if commas > usize::from(!first && !closed) {
                self.repairs.add("trailing_comma");
            }
            return Ok(closed);
        }
    }

    /// Takes a key and what separates it from its value.
    fn key(&mut self) -> Result<String, Fault> {
        let key = match self.cursor.peek() {
            Some(Symbol::Delimiter) => {
                self.cursor.next();
                let key = self.cursor.take(self.cursor.text().len()).to_owned();
                self.cursor.next().ok_or(Fault::Truncated)?;
                key
            }
            Some(Symbol::Char(quote @ ('"' | '\''))) => {
                self.repairs.add("json_key");
                self.cursor.next();
                self.quoted(quote)?
            }
            _ => {
                let in_parens = self.in_parens;
                let is_end = |c| matches!(c, ':' | '=' | ',' | '{' | '}') || (c == ')' && in_parens);
                let length = self.cursor.text().find(is_end).unwrap_or(self.cursor.text().len());
                self.cursor.take(length).trim_matches(SPACE).to_owned()
            }
        };
        self.cursor.skip_space();
        match self.cursor.next() {
            Some(Symbol::Char(':')) => {}
            Some(Symbol::Char('=')) if self.in_parens => {}
            Some(Symbol::Char('=')) => _ = self.repairs.add("equals_separator"),
            Some(_) => return Err(Fault::Malformed),
            None => return Err(Fault::Truncated),
        }
        if key.is_empty() { Err(Fault::Malformed) } else { Ok(key) }
    }

    /// A value as JSON.
    fn value(&mut self) -> Result<String, Fault> {
        self.cursor.skip_space();
        match self.cursor.peek() {
            None => Err(Fault::Truncated),
            Some(Symbol::Delimiter) => {
                self.cursor.next();
                self.delimited()
            }
            Some(Symbol::Char('{')) => self.object('}'),
            Some(Symbol::Char('[')) => self.array(),
            Some(Symbol::Char(quote @ ('"' | '\''))) => {
                self.repairs.add(if quote == '"' { "json_string" } else { "single_quoted" });
                self.cursor.next();
                Ok(json::string(&self.quoted(quote)?))
            }
            Some(Symbol::Char(_)) => self.bare(),
        }
    }

    /// The rest of a string after its opening delimiter. One that stands where no value can end is a plain quote, unless
    /// a key follows and no other delimiter could be the closing one: then a comma is missing.
    fn delimited(&mut self) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            text.push_str(self.cursor.take(self.cursor.text().len()));
            let place = self.cursor.delimiter();
            self.cursor.next().ok_or(Fault::Truncated)?;
            if self.delimiters.get(place).is_some_and(|d| d.closes) {
                break;
            }
            if begins_with_key(self.cursor.text()) && self.last_closing.is_none_or(|last| last <= place) {
                self.repairs.add("missing_comma");
                break;
            }
            text.push('"');
            self.repairs.add("interior_delim");
        }
        Ok(json::string(&text))
    }

    /// A value without quotes. One that ends at a delimiter is a string that lacks the opening one.
    fn bare(&mut self) -> Result<String, Fault> {
        let text = self.cursor.text();
        let length = text.find(ends(self.in_parens)).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(length).unwrap_or((text, ""));
        if rest.is_empty() || (rest.starts_with(',') && self.closes_unopened(rest)) {
            self.cursor.skip(text.len());
            self.cursor.next().ok_or(Fault::Truncated)?;
            self.repairs.add("missing_open_delim");
            return Ok(json::string(text));
        }
        self.cursor.skip(length);
        let value = value.trim_matches(SPACE);
        let python = match value {
            "true" | "false" | "null" => return Ok(value.to_owned()),
            number if json::is_number(number) => return Ok(number.to_owned()),
            "True" => "true",
            "False" => "false",
            "None" | "nil" => "null",
            _ => {
                self.repairs.add("bare_string");
                return Ok(json::string(value));
            }
        };
        self.repairs.add("python_literal");
        Ok(python.to_owned())
    }

    /// Whether the next delimiter closes a string that none opened, with nothing in between but `rest`, plain text.
    fn closes_unopened(&self, rest: &str) -> bool {
        let next = self.delimiters.get(self.cursor.delimiter());
        next.is_some_and(|d| d.closes && !d.opens && rest.len() <= d.flat)
    }

    /// The rest of a string after its opening quote. Only here do backslashes escape; one that escapes nothing is kept.
    fn quoted(&mut self, quote: char) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            match self.cursor.next().ok_or(Fault::Truncated)? {
                Symbol::Char('\\') => self.escape(&mut text),
                Symbol::Char(c) if c == quote => return Ok(text),
                Symbol::Char(c) => text.push(c),
                Symbol::Delimiter => {
                    text.push('"');
                    self.repairs.add("interior_delim");
                }
            }
        }
    }

    /// What a backslash makes of what follows it.
    fn escape(&mut self, text: &mut String) {
        let plain = match self.cursor.peek() {
            Some(Symbol::Char(c @ ('"' | '\'' | '\\' | '/'))) => c,
            Some(Symbol::Char('n')) => '\n',
            Some(Symbol::Char('t')) => '\t',
            Some(Symbol::Char('r')) => '\r',
            Some(Symbol::Char('b')) => '\u{8}',
            Some(Symbol::Char('f')) => '\u{c}',
            _ => {
                let unicode = self.cursor.text().strip_prefix('u').and_then(unicode_escape);
                let (c, digits) = unicode.unwrap_or(('\\', 0));
                text.push(c);
                // The digits and the `u` before them.
                self.cursor.skip(if digits > 0 { digits + 1 } else { 0 });
                return;
            }
        };
        self.cursor.next();
        text.push(plain);
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.cursor.next();
        self.depth += 1;
        if self.depth > limits::CALL_DEPTH { Err(Fault::Malformed) } else { Ok(()) }
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// What can follow a value.
fn ends(in_parens: bool) -> &'static [char] {
    if in_parens { &[',', '}', ']', ')'] } else { &[',', '}', ']'] }
}

/// Whether a bare key and its separator stand here.
fn begins_with_key(text: &str) -> bool {
    let text = text.trim_start_matches(SPACE);
    let rest = text.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    rest.len() < text.len() && rest.starts_with([':', '='])
}

/// The character of `XXXX` or `XXXX\uXXXX` (UTF-16), and how many bytes that takes.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let first = hex4(text)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some((c, 4));
    }
    let second = hex4(text.get(4..)?.strip_prefix("\\u")?)?;
    let c = char::decode_utf16([first, second]).next()?.ok()?;
    Some((c, 10))
}

fn hex4(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if all_hex { u16::from_str_radix(digits, 16).ok() } else { None }
}
