//! Keeps the values shallow that a stranger's template builds.
//!
//! The template engine prints, compares and frees a value by recursion, so that a list within a list, a hundred thousand
//! times over, would overflow the stack and end the process. Values can only become deep by being kept in a variable and
//! wrapped again. So each `{% set %}` of a source gets a filter that measures what is assigned, before the source is
//! compiled; nothing else about the source changes. What nests within one expression or macro call is bounded by the
//! parser and by [`TEMPLATE_RECURSION`](crate::limits::TEMPLATE_RECURSION), for which
//! [`TEMPLATE_STACK_BYTES`](crate::limits::TEMPLATE_STACK_BYTES) are enough.

#![forbid(unsafe_code)]

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::limits;

/// Name of the filter. A template cannot define filters.
pub(super) const FILTER: &str = "lemmy_shallow";

/// The filter: gives the value back. `attribute`: it is to be kept in a namespace, which outlives the loop that it stands
/// in; what can hold other values there in a way that cannot be measured is refused.
pub(super) fn shallow(state: &mut State<'_, '_>, value: Value, attribute: Option<bool>) -> Result<Value, Error> {
    measure(state, &value, attribute == Some(true), 0)?;
    Ok(value)
}

fn measure(state: &State<'_, '_>, value: &Value, attribute: bool, depth: usize) -> Result<(), Error> {
    state.consume_fuel(1)?;
    let error = |reason| Err(Error::new(ErrorKind::InvalidOperation, reason));
    if depth > limits::JSON_DEPTH + 2 {
        return error("a variable is nested too deep");
    }
    // Namespaces and macros look like mappings and can hold what cannot be measured; data are in an `IndexMap`.
    let is_data = || value.as_object().is_some_and(|object| object.type_name().contains("IndexMap"));
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                measure(state, &item, attribute, depth + 1)?;
            }
        }
        ValueKind::Map if attribute && !is_data() => return error("only data can be kept in a namespace"),
        ValueKind::Map => {
            for key in value.try_iter()? {
                measure(state, &value.get_item(&key)?, attribute, depth + 1)?;
                measure(state, &key, attribute, depth + 1)?;
            }
        }
        ValueKind::Plain if attribute => return error("only data can be kept in a namespace"),
        _ => {}
    }
    Ok(())
}

/// The source with the filter on each assignment.
pub(super) fn guarded(source: &str) -> String {
    let mut scanner = Scanner { source, at: 0, brackets: 0 };
    let mut guarded = String::with_capacity(source.len() + source.len() / 8);
    let mut copied = 0;
    while let Some(assignment) = scanner.next_assignment() {
        let argument = if assignment.attribute { "(true)" } else { "" };
        let (open, close) = if assignment.value.is_some() { ("(", ")") } else { ("", "") };
        let value = assignment.value.unwrap_or(assignment.end);
        guarded.push_str(source.get(copied..value).unwrap_or_default());
        guarded.push_str(open);
        guarded.push_str(source.get(value..assignment.end).unwrap_or_default());
        guarded.push_str(&format!("{close}|{FILTER}{argument} "));
        copied = assignment.end;
    }
    guarded.push_str(source.get(copied..).unwrap_or_default());
    guarded
}

/// A `{% set target = value %}`, or a `{% set target | filter %}`.
struct Assignment {
    /// Where the value begins.
    value: Option<usize>,
    /// Where the tag's end begins.
    end: usize,
    /// The target is an attribute.
    attribute: bool,
}

/// Finds tags as the engine's lexer does with its default delimiters.
struct Scanner<'s> {
    source: &'s str,
    at: usize,
    /// Open brackets; a tag ends outside of brackets only.
    brackets: i64,
}

impl Scanner<'_> {
    fn rest(&self) -> &[u8] {
        self.source.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Moves behind the next occurrence of a text, or to the end.
    fn skip_to(&mut self, text: &[u8]) {
        let found = self.rest().windows(text.len()).position(|window| window == text);
        self.at = found.map_or(self.source.len(), |found| self.at + found + text.len());
    }

    fn next_assignment(&mut self) -> Option<Assignment> {
        loop {
            self.at += self.rest().windows(2).position(|w| matches!(w, b"{{" | b"{%" | b"{#"))?;
            let kind = self.rest().get(1).copied()?;
            self.at += 2;
            match kind {
                b'#' => self.skip_to(b"#}"),
                b'{' => {
                    self.sign();
                    self.tag(b"}}");
                }
                _ if self.basic_tag(b"raw", false) => self.raw(),
                _ => {
                    self.sign();
                    let is_set = self.word(b"set");
                    let assignment = self.tag(b"%}");
                    if let Some(assignment) = assignment.filter(|_| is_set) {
                        return Some(assignment);
                    }
                }
            }
        }
    }

    /// Steps over the sign of white-space control.
    fn sign(&mut self) {
        if let Some(b'-' | b'+') = self.rest().first() {
            self.at += 1;
        }
    }

    fn spaces(&mut self) {
        self.at += self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    /// Steps over a word, if it stands here.
    fn word(&mut self, word: &[u8]) -> bool {
        self.spaces();
        let after = self.rest().strip_prefix(word).map(|after| after.first().copied());
        let whole = after.is_some_and(|next| next.is_none_or(|c| !c.is_ascii_alphanumeric() && c != b'_' && c < 0x80));
        self.at += if whole { word.len() } else { 0 };
        whole
    }

    /// Steps over the rest of a tag that is nothing but a name, if it is one.
    fn basic_tag(&mut self, name: &[u8], sign: bool) -> bool {
        let start = self.at;
        if sign {
            self.sign();
        }
        self.spaces();
        if self.rest().starts_with(name) {
            self.at += name.len();
            self.spaces();
            self.sign();
            if self.rest().starts_with(b"%}") {
                self.at += 2;
                return true;
            }
        }
        self.at = start;
        false
    }

    fn raw(&mut self) {
        while self.at < self.source.len() {
            self.skip_to(b"{%");
            if self.basic_tag(b"endraw", true) {
                return;
            }
        }
    }

    /// Reads to the end of a tag.
    fn tag(&mut self, end: &[u8]) -> Option<Assignment> {
        let (mut value, mut filtered, mut dots) = (None, false, false);
        loop {
            self.spaces();
            let rest = self.rest();
            let &first = rest.first()?;
            let signed = matches!(first, b'-' | b'+');
            if self.brackets == 0 && rest.get(usize::from(signed)..).is_some_and(|rest| rest.starts_with(end)) {
                let at = self.at;
                self.at += usize::from(signed) + end.len();
                return (value.is_some() || filtered).then_some(Assignment { value, end: at, attribute: dots });
            }
            if matches!(rest.get(..2), Some(b"//" | b"**" | b"==" | b"!=" | b">=" | b"<=")) {
                self.at += 2;
                continue;
            }
            self.at += 1;
            match first {
                b'(' | b'[' | b'{' => self.brackets += 1,
                b')' | b']' | b'}' => self.brackets -= 1,
                b'=' if self.brackets == 0 && value.is_none() => value = Some(self.at),
                b'|' if self.brackets == 0 => filtered = true,
                b'.' if value.is_none() => dots = true,
                b'\'' | b'"' => self.string(first),
                _ => {}
            }
        }
    }

    /// Steps behind a string's end.
    fn string(&mut self, quote: u8) {
        let mut escaped = false;
        let len = self.rest().iter().position(|&byte| {
            let end = byte == quote && !escaped;
            escaped = byte == b'\\' && !escaped;
            end
        });
        self.at = len.map_or(self.source.len(), |len| self.at + len + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_assignment_gets_the_filter() {
        let rows = [
            ("{% set x = 1 %}", "{% set x =( 1 )|lemmy_shallow %}"),
            ("{%- set ns.x=[ns.x]-%}", "{%- set ns.x=([ns.x])|lemmy_shallow(true) -%}"),
            ("{% set (a.b, c) = x, y %}", "{% set (a.b, c) =( x, y )|lemmy_shallow(true) %}"),
            ("{% set x = '%}' ~ \"\\\"%}\" %}{{ 1 }}", "{% set x =( '%}' ~ \"\\\"%}\" )|lemmy_shallow %}{{ 1 }}"),
            ("{% set x = {'a': {}}%}", "{% set x =( {'a': {}})|lemmy_shallow %}"),
            (
                "{% set x | default([y], true) %}z{% endset %}",
                "{% set x | default([y], true) |lemmy_shallow %}z{% endset %}",
            ),
            (
                "{% set x = a == b if c >= d else e(f=1) %}",
                "{% set x =( a == b if c >= d else e(f=1) )|lemmy_shallow %}",
            ),
        ];
        for (source, expected) in rows {
            assert_eq!(guarded(source), expected);
        }
        for same in [
            "{# {% set x = 1 %} #}",
            "{% raw %}{% set x = 1 %}{%- endraw -%}",
            "{% set x %}a = b{% endset %}",
            "{{ '{% set x = 1 %}' }}",
            "{% if x == 'set' %}set y = 1{% endif %}",
            "{% settle x = 1 %}",
            "{{ f(a=1) }} {% set",
            "{% set x = 'open",
        ] {
            assert_eq!(guarded(same), same);
        }
    }
}
