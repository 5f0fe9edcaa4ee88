//! The tokens between a call's opening and closing token: text, and the delimiters of strings.

#![forbid(unsafe_code)]

use super::spoken::SPACE;
use crate::limits;

/// A delimiter as text.
const SPELLED: &str = "<|\"|>";

/// The body of a call. Delimiters are known by their places, not by what they spell.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// All of it, delimiters spelled.
    text: String,
    /// Where in `text` the delimiters begin.
    delimiters: Vec<usize>,
}

impl Body {
    /// False, and nothing is taken, if the body would become too long.
    pub(super) fn push_text(&mut self, text: &str) -> bool {
        let fits = self.text.len() + text.len() <= limits::CALL_BYTES;
        if fits {
            self.text.push_str(text);
        }
        fits
    }

    /// The same for a delimiter.
    pub(super) fn push_delimiter(&mut self) -> bool {
        let at = self.text.len();
        let fits = self.push_text(SPELLED);
        if fits {
            self.delimiters.push(at);
        }
        fits
    }

    pub(super) fn into_raw(self) -> String {
        self.text
    }

    /// Its start.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { body: self, chunk: 0, text: self.chunk(0) }
    }

    /// What each delimiter can be, judged by its neighbours. `ends` are the characters that may follow a value.
    pub(super) fn delimiters(&self, ends: &[char]) -> Vec<Delimiter> {
        let last = self.delimiters.len().saturating_sub(1);
        (0..self.delimiters.len())
            .map(|i| {
                let before = self.chunk(i);
                let after = self.chunk(i + 1).trim_start_matches(SPACE);
                Delimiter {
                    opens: before.trim_end_matches(SPACE).ends_with([':', '=', '[', ',']),
                    closes: after.starts_with(ends) || (after.is_empty() && i == last),
                    flat: before.rsplit(['{', '}', '[', ']', ':']).next().unwrap_or(before).len(),
                }
            })
            .collect()
    }

    /// The text before delimiter `i`, from the one before it.
    fn chunk(&self, i: usize) -> &str {
        let start = i.checked_sub(1).and_then(|i| self.delimiters.get(i)).map_or(0, |at| at + SPELLED.len());
        let end = self.delimiters.get(i).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }
}

/// What a delimiter can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delimiter {
    /// It stands where a value begins.
    pub(super) opens: bool,
    /// It stands where a value ends.
    pub(super) closes: bool,
    /// Bytes of text right before it without any of `{ } [ ] :`.
    pub(super) flat: usize,
}

/// One step of a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Char(char),
    Delimiter,
}

/// A place in a body.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'b> {
    body: &'b Body,
    chunk: usize,
    text: &'b str,
}

impl<'b> Cursor<'b> {
    /// What stands here; `None` at the end.
    pub(super) fn peek(&self) -> Option<Symbol> {
        match self.text.chars().next() {
            Some(c) => Some(Symbol::Char(c)),
            None => self.body.delimiters.get(self.chunk).map(|_| Symbol::Delimiter),
        }
    }

    /// Whether this character stands here.
    pub(super) fn is_at(&self, c: char) -> bool {
        self.text.starts_with(c)
    }

    /// Goes on by one.
    pub(super) fn next(&mut self) -> Option<Symbol> {
        let symbol = self.peek()?;
        match symbol {
            Symbol::Char(c) => self.skip(c.len_utf8()),
            Symbol::Delimiter => {
                self.chunk += 1;
                self.text = self.body.chunk(self.chunk);
            }
        }
        Some(symbol)
    }

    /// The text from here to the next delimiter or the end.
    pub(super) fn text(&self) -> &'b str {
        self.text
    }

    /// Takes that many bytes of [`text`](Self::text).
    pub(super) fn take(&mut self, bytes: usize) -> &'b str {
        let (taken, rest) = self.text.split_at_checked(bytes).unwrap_or((self.text, ""));
        self.text = rest;
        taken
    }

    /// Goes on by that many bytes of [`text`](Self::text).
    pub(super) fn skip(&mut self, bytes: usize) {
        self.take(bytes);
    }

    pub(super) fn skip_space(&mut self) {
        self.text = self.text.trim_start_matches(SPACE);
    }

    /// The number of the next delimiter, if there is one.
    pub(super) fn delimiter(&self) -> usize {
        self.chunk
    }
}
