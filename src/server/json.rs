//! The one reader of request bodies: bounds first, then the text becomes values.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Deserializer, Map, Value};

use super::problem::{Problem, Result};

/// Deepest nesting of a body.
pub(crate) const DEPTH: usize = 128;
/// Most values of a body: each takes some tens of bytes once it is read.
pub(crate) const VALUES: usize = 1_000_000;

/// Reads a body that has to be a JSON object. Of equal keys the last one counts.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Problem::bad("invalid_json", format!("the body is not UTF-8 from byte {} on", e.valid_up_to())))?;
    check(text)?;
    let text = whole_surrogates(text);
    let mut reader = Deserializer::from_str(&text);
    // `check` has looked already.
    reader.disable_recursion_limit();
    let value = Value::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Problem::bad("invalid_type", format!("the body is {}, expected a JSON object", kind(&other)))),
        Err(e) => Err(Problem::bad("invalid_json", format!("the body is not JSON: {e}"))),
    }
}

/// What a value is, without its content: that may be private, or long.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Counts depth and values. A text that is no JSON may pass: it fails when it is read.
fn check(text: &str) -> Result<()> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > DEPTH {
            return Err(Problem::bad("invalid_json", format!("the body is nested deeper than {DEPTH}")));
        }
    }
    match values > VALUES {
        true => Err(Problem::bad("invalid_json", format!("the body has {values} values, at most {VALUES} are read"))),
        false => Ok(()),
    }
}

/// Half an UTF-16 pair (`\ud83d` alone: an emoji that somebody cut) becomes U+FFFD instead of an error.
fn whole_surrogates(text: &str) -> Cow<'_, str> {
    let is_half = |unit: Option<u16>| unit.is_some_and(|unit| (0xD800..=0xDFFF).contains(&unit));
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let (first, second) = (unit(escape), escape.get(6..).and_then(unit));
        let is_pair = first.is_some_and(|u| u < 0xDC00) && second.is_some_and(|u| (0xDC00..=0xDFFF).contains(&u));
        let len = match is_half(first) {
            true if is_pair => 12,
            true => {
                whole.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            false => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at_checked(len).unwrap_or((escape, ""));
        whole.push_str(escape);
        rest = after;
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The number of an escape `\uXXXX` that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// Sets a member of an object; anything else stays as it is.
pub(crate) fn put(object: &mut Value, name: &str, member: impl Into<Value>) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), member.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn bounds_hold_at_their_limits() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(object(nested(DEPTH).as_bytes()).is_ok());
        assert!(object(nested(DEPTH + 1).as_bytes()).unwrap_err().message.contains("deeper than 128"));
        assert!(object("[".repeat(1 << 20).as_bytes()).is_err());
        let list = |n: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(n - 1));
        assert!(object(list(VALUES).as_bytes()).is_ok());
        assert!(object(list(VALUES + 1).as_bytes()).unwrap_err().message.contains("values"));
    }

    #[test]
    fn only_objects_are_bodies() {
        for (body, code) in
            [("", "invalid_json"), ("{", "invalid_json"), ("{} x", "invalid_json"), ("[1]", "invalid_type")]
        {
            assert_eq!(object(body.as_bytes()).unwrap_err().code, Some(code), "{body}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").unwrap_err().message.contains("byte 6"));
        assert_eq!(object(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
    }

    #[test]
    fn half_a_pair_becomes_a_replacement() {
        let rows = [
            (r"\ud83e\udd80", "🦀"),
            (r"a\ud83eb", "a\u{FFFD}b"),
            (r"\udd80\ud83e", "\u{FFFD}\u{FFFD}"),
            (r"\\ud83e", "\\ud83e"),
            (r#"\ud83e\n\""#, "\u{FFFD}\n\""),
            (r"\u0000", "\0"),
        ];
        for (json, text) in rows {
            assert_eq!(object(format!("{{\"a\":\"{json}\"}}").as_bytes()).unwrap()["a"], text, "{json}");
        }
    }
}
