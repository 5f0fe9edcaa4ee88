//! JSON of strangers: its size, depth and number of values are looked at before anything is built from it.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use crate::limits;

/// Reads a JSON text of at most so many bytes. The error says what was found and what is allowed.
pub(super) fn parse(json: &str, bytes: usize) -> Result<Value, String> {
    if json.len() > bytes {
        return Err(format!("{} bytes of JSON, at most {bytes} are read", json.len()));
    }
    check(json)?;
    serde_json::from_str(&whole_surrogates(json)).map_err(|error| format!("not JSON: {error}"))
}

/// Counts depth and values. A text that is no JSON may pass: it fails when it is read.
fn check(json: &str) -> Result<(), String> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > limits::JSON_DEPTH {
            return Err(format!("nested deeper than {}", limits::JSON_DEPTH));
        }
    }
    match values > limits::JSON_VALUES {
        true => Err(format!("about {values} values, at most {} are read", limits::JSON_VALUES)),
        false => Ok(()),
    }
}

/// Half an UTF-16 pair (`\ud83d` alone: an emoji that somebody cut) becomes U+FFFD instead of an error.
fn whole_surrogates(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u") {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let len = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                text.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            // The backslash and what it escapes: one character, or the first of a number.
            _ => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at_checked(len).unwrap_or((escape, ""));
        text.push_str(escape);
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The number of an escape `\uXXXX` that a text begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(json: &str) -> Result<Value, String> {
        parse(json, 1 << 20)
    }

    #[test]
    fn bounds_hold() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(limits::JSON_DEPTH)).is_ok());
        assert_eq!(read(&nested(limits::JSON_DEPTH + 1)), Err("nested deeper than 64".into()));
        assert!(read(&"[".repeat(1 << 20)).is_err());
        assert!(read("\"[[[[{{{{\\\"[[[[\"").is_ok());
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert!(parse(&list(limits::JSON_VALUES - 1), usize::MAX).is_ok());
        assert!(parse(&list(limits::JSON_VALUES), usize::MAX).unwrap_err().contains("values"));
        assert_eq!(parse("[1]", 2), Err("3 bytes of JSON, at most 2 are read".into()));
        assert!(read("{\"a\":}").unwrap_err().contains("line 1 column 6"));
    }

    #[test]
    fn half_a_pair_becomes_a_replacement() {
        let rows = [
            (r#""\ud83e\udd80""#, "🦀"),
            (r#""a\ud83eb""#, "a\u{FFFD}b"),
            (r#""\udd80\ud83e""#, "\u{FFFD}\u{FFFD}"),
            (r#""\ud83e\ud83e\udd80""#, "\u{FFFD}🦀"),
            (r#""\\ud83e""#, "\\ud83e"),
            (r#""\\\ud83e\n""#, "\\\u{FFFD}\n"),
            (r#""\u00e9\"""#, "é\""),
        ];
        for (json, text) in rows {
            assert_eq!(read(json).unwrap(), text, "{json}");
        }
        for json in [r#""\u12"#, r#""\"#, r#""\uD83"#, r#""\uzzzz""#, "\"\\é\""] {
            assert!(read(json).is_err());
        }
    }
}
