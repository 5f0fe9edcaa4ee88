//! One call: `call:NAME{key:VALUE,…}`, and what models write instead.

#![forbid(unsafe_code)]

use super::Names;
use super::arguments::Arguments;
use super::body::Body;
use super::spoken::SPACE;

/// A call in the making.
#[derive(Debug, Default)]
pub(super) struct OpenCall {
    body: Body,
    /// In a thought within the call: it is dropped.
    in_channel: bool,
    repairs: Names,
}

/// A call, read.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments_json: String,
    pub(super) repairs: Names,
}

/// Why a call is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends too early.
    Truncated,
    /// It cannot be read. Values are never invented.
    Malformed,
}

impl Fault {
    /// The warning's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated_call",
            Self::Malformed => "malformed_call",
        }
    }
}

impl OpenCall {
    /// False, and nothing is taken, if the call would become too long.
    pub(super) fn push_text(&mut self, text: &str) -> bool {
        self.in_channel || self.body.push_text(text)
    }

    /// The same for a delimiter.
    pub(super) fn push_delimiter(&mut self) -> bool {
        self.in_channel || self.body.push_delimiter()
    }

    pub(super) fn open_channel(&mut self) {
        self.in_channel = true;
        self.repairs.add("channel_in_call");
    }

    pub(super) fn close_channel(&mut self) {
        if !self.in_channel {
            self.stray_control();
        }
        self.in_channel = false;
    }

    pub(super) fn stray_control(&mut self) {
        self.repairs.add("stray_control");
    }

    pub(super) fn into_raw(self) -> String {
        self.body.into_raw()
    }

    /// Reads the whole call.
    pub(super) fn read(&self) -> Result<Call, Fault> {
        let mut repairs = self.repairs.clone();
        let mut cursor = self.body.cursor();
        cursor.skip_space();
        let has_prefix = cursor.text().starts_with(PREFIX);
        if has_prefix {
            cursor.skip(PREFIX.len());
        } else {
            repairs.add("missing_call_prefix");
        }
        let Some(length) = cursor.text().find(['{', '(']) else {
            let nothing = cursor.text().is_empty();
            cursor.skip(cursor.text().len());
            let cut_off = cursor.peek().is_none() && (has_prefix || nothing);
            return Err(if cut_off { Fault::Truncated } else { Fault::Malformed });
        };
        let name = cursor.take(length).trim_matches(SPACE).to_owned();
        if !is_name(&name) {
            return Err(Fault::Malformed);
        }
        let in_parens = cursor.is_at('(');
        if in_parens {
            repairs.add("paren_call");
        }
        let mut arguments = Arguments::new(&self.body, cursor, in_parens, repairs);
        let arguments_json = arguments.read()?;
        Ok(Call { name, arguments_json, repairs: arguments.into_repairs() })
    }
}

const PREFIX: &str = "call:";

/// Letters of any script, digits, `_ - . : /`. Beyond ASCII all but space counts: vowel signs are no letters to Unicode.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| match c {
        '_' | '-' | '.' | ':' | '/' => true,
        _ if c.is_ascii() => c.is_ascii_alphanumeric(),
        _ => !c.is_whitespace() && !c.is_control(),
    };
    !text.is_empty() && text.chars().all(is_part)
}
