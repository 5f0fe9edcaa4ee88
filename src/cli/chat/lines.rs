//! A message of several lines, put together from lines: `"""` around it, or `\` at the end of each line but the last.

const QUOTES: &str = "\"\"\"";

/// Whether a text waits for another line.
pub(super) fn is_open(text: &str) -> bool {
    text.ends_with('\\') || is_quote_open(text)
}

/// The message of a text that is not [open](is_open).
pub(super) fn unquote(text: &str) -> &str {
    let inner = text.trim().strip_prefix(QUOTES).and_then(|rest| rest.strip_suffix(QUOTES));
    inner.map_or(text, |inner| inner.trim_matches('\n'))
}

/// Adds the next line to a text that is [open](is_open).
pub(super) fn extend(text: &mut String, line: &str) {
    if text.ends_with('\\') && !is_quote_open(text) {
        text.pop();
    }
    text.push('\n');
    text.push_str(line);
}

/// Takes out the `\` at the end of each of these beginnings, if a line ends there still.
pub(super) fn join(mut text: String, beginnings: &[String]) -> String {
    let ends = |text: &str, start: &str| text.strip_prefix(start).is_some_and(|rest| rest.starts_with('\n'));
    let mut at: Vec<_> = beginnings.iter().filter(|start| ends(&text, start)).map(|start| start.len() - 1).collect();
    at.sort_unstable();
    at.dedup();
    // From the end, so that the places before stay right.
    for at in at.into_iter().rev() {
        text.remove(at);
    }
    text
}

fn is_quote_open(text: &str) -> bool {
    let text = text.trim();
    text.strip_prefix(QUOTES).is_some_and(|rest| !rest.ends_with(QUOTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: &[&str]) -> String {
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            if i == 0 {
                text.push_str(line)
            } else {
                extend(&mut text, line)
            }
            assert_eq!(is_open(&text), i + 1 < lines.len(), "{text}");
        }
        unquote(&text).to_owned()
    }

    #[test]
    fn only_lines_that_were_continued_are_joined() {
        let beginnings = ["a\\", "a\\\nb\\", "x\\"].map(str::to_owned);
        assert_eq!(join("a\\\nb\\\nc\\\nd".into(), &beginnings), "a\nb\nc\\\nd");
        assert_eq!(join("ax\\\nb".into(), &beginnings), "ax\\\nb");
    }

    #[test]
    fn lines_become_messages() {
        assert_eq!(message(&["one"]), "one");
        assert_eq!(message(&["one\\", "two\\", "three"]), "one\ntwo\nthree");
        assert_eq!(message(&["\"\"\"one", "", "two\"\"\""]), "one\n\ntwo");
        assert_eq!(message(&["\"\"\"", "a \\", "b", "\"\"\""]), "a \\\nb");
        assert_eq!(message(&["\"\"\"one\"\"\""]), "one");
        assert_eq!(message(&["\"\"\"", "\"\"\""]), "");
        assert_eq!(message(&["say \"\"\""]), "say \"\"\"");
    }
}
