//! What a JSON schema says about a text, as a regular expression.

#![forbid(unsafe_code)]

use llguidance::derivre::{RegexAst, RegexBuilder};
use serde_json::{Map, Value};

use super::schema::Fault;

/// Work that a look for a text that matches may take.
const FUEL: u64 = 100_000;

/// Texts that a schema allows.
#[derive(Debug, PartialEq)]
pub(super) struct Texts {
    /// Whether the empty text is one of them.
    pub(super) empty: bool,
    /// Definition of the terminal of all others; `None` if there are none.
    pub(super) others: Option<String>,
}

/// Reads `pattern`, `format`, `minLength` and `maxLength`.
pub(super) fn texts(keys: &Map<String, Value>) -> Result<Texts, Fault> {
    let mut all = Vec::new();
    if let Some(pattern) = keys.get("pattern") {
        all.push(search(pattern.as_str().ok_or("`pattern`: expected a string")?)?);
    }
    if let Some(name) = keys.get("format") {
        let name = name.as_str().ok_or("`format`: expected a string")?;
        all.push(format(name).ok_or_else(|| format!("`format`: `{name:.40}` cannot be enforced"))?);
    }
    let (least, most) = (length(keys, "minLength")?, length(keys, "maxLength")?);
    if least.is_some() || most.is_some() {
        let most = most.map(|most| most.to_string()).unwrap_or_default();
        all.push(format!("(?s:.{{{},{most}}})", least.unwrap_or(0)));
    }
    if all.is_empty() {
        return Ok(Texts { empty: true, others: Some("/(?s:.+)/".into()) });
    }
    let (empty, _) = kinds(&all)?;
    all.push("(?s:.+)".into());
    let (_, others) = kinds(&all)?;
    let terminal = || all.iter().map(|regex| format!("/{regex}/")).collect::<Vec<_>>().join(" & ");
    match (empty, others) {
        (false, false) => Err("no text has this `pattern`, `format` and length".into()),
        (empty, others) => Ok(Texts { empty, others: others.then(terminal) }),
    }
}

/// Whether the empty text matches all these, and whether any text does.
fn kinds(all: &[String]) -> Result<(bool, bool), Fault> {
    let mut builder = RegexBuilder::new();
    let all = all.iter().map(|regex| RegexAst::Regex(regex.clone())).collect();
    let both = builder.mk(&RegexAst::And(all)).map_err(|error| format!("`pattern`: {error:#}"))?;
    let empty = builder.is_nullable(both);
    let mut regex = builder.to_regex_limited(both, FUEL).map_err(|error| format!("`pattern`: {error:#}"))?;
    Ok((empty, !regex.always_empty()))
}

pub(super) fn length(keys: &Map<String, Value>, key: &str) -> Result<Option<u64>, Fault> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    value.as_u64().map(Some).ok_or_else(|| format!("`{key}`: found {value:.40}, expected a whole number"))
}

/// A regular expression for the texts in which a schema's `pattern` is found.
///
/// `^` and `$` are understood where an alternative begins and ends; the engine refuses them elsewhere.
fn search(pattern: &str) -> Result<String, Fault> {
    // What is no regular expression may become one below: a backslash at the end gets lost.
    RegexBuilder::new().mk_regex_for_serach(pattern).map_err(|error| format!("`pattern`: {error:#}"))?;
    let anywhere = "(?s:.*)";
    let alternatives = alternatives(pattern).into_iter().map(|alternative| {
        let (before, rest) = match alternative.strip_prefix('^') {
            Some(rest) => ("", rest),
            None => (anywhere, alternative),
        };
        match rest.strip_suffix('$').filter(|rest| !ends_in_escape(rest)) {
            Some(middle) => format!("{before}(?:{middle})"),
            None => format!("{before}(?:{rest}){anywhere}"),
        }
    });
    // Classes as ECMA-262 has them, which JSON Schema refers to.
    Ok(llguidance::regex_to_lark(&alternatives.collect::<Vec<_>>().join("|"), "dw"))
}

fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Cuts a regular expression at each `|` that stands in no group and no class.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut groups, mut class, mut escaped) = (0usize, false, false);
    let cuts = pattern.split(|c| {
        let here = !std::mem::take(&mut escaped);
        match c {
            _ if !here => {}
            '\\' => escaped = true,
            ']' => class = false,
            '[' => class = true,
            '(' if !class => groups += 1,
            ')' if !class => groups = groups.saturating_sub(1),
            _ => {}
        }
        here && c == '|' && groups == 0 && !class
    });
    cuts.collect()
}

/// Texts of a format of JSON Schema; some sound ones are missing, but none is wrong.
fn format(name: &str) -> Option<String> {
    let leap = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29";
    let date = format!(
        "([0-9]{{4}}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|{leap})"
    );
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
    let byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let group = "[0-9A-Fa-f]{1,4}";
    let path = r"([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
    Some(match name {
        "date" => date,
        "time" => time.into(),
        "date-time" => format!("{date}T{time}"),
        "duration" => {
            let days = "([0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?|[0-9]{1,9}M([0-9]{1,9}D)?|[0-9]{1,9}D)";
            let hours = "T([0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?|[0-9]{1,9}M([0-9]{1,9}S)?|[0-9]{1,9}S)";
            format!("P({days}({hours})?|{hours}|[0-9]{{1,9}}W)")
        }
        "email" => format!(r"[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*@({label}\.)+[A-Za-z]{{2,63}}"),
        "hostname" => format!(r"{label}(\.{label})*"),
        "ipv4" => format!(r"{byte}(\.{byte}){{3}}"),
        "ipv6" => {
            let short = (0..=7).map(|left| {
                let before = if left == 0 { String::new() } else { format!("{group}(:{group}){{{}}}", left - 1) };
                let after = if left == 7 { String::new() } else { format!("({group}(:{group}){{0,{}}})?", 6 - left) };
                format!("{before}::{after}")
            });
            let short: Vec<String> = short.collect();
            format!("({group}(:{group}){{7}}|{})", short.join("|"))
        }
        "uuid" => "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}".into(),
        // Slashes are escaped since these stand between slashes.
        "uri" => format!(
            r"[A-Za-z][A-Za-z0-9+.-]{{0,20}}:(\/\/{path}+(\/{path}*)*|{path}+(\/{path}*)*)(\?({path}|[\/?])*)?(#({path}|[\/?])*)?"
        ),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use llguidance::derivre::Regex;
    use serde_json::json;

    use super::*;

    fn of(schema: Value) -> Result<Texts, Fault> {
        texts(schema.as_object().unwrap())
    }

    fn matches(regex: &str, text: &str) -> bool {
        Regex::new(regex).unwrap().is_match(text)
    }

    #[test]
    fn patterns_are_searched_for() {
        let cases = [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a.c$", "abc", true),
            ("^a$|^c", "cd", true),
            ("^a$|^c", "ab", false),
            (r"a\$", "xa$x", true),
            (r"^a\\$", "a\\", true),
            (r"[|^]$", "x|", true),
            ("^(a|b)$", "b", true),
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            ("a/b", "a/b", true),
            ("", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(&search(pattern).unwrap(), text), expected, "{pattern} in {text}");
        }
        for bad in ["(", "a\\", r"(?=x)", r"(a)\1", r"a(^b)", r"\bx"] {
            let error = of(json!({ "pattern": bad })).unwrap_err();
            assert!(error.starts_with("`pattern`: "), "{bad}: {error}");
        }
    }

    #[test]
    fn empty_texts_are_told_from_others() {
        let any = of(json!({})).unwrap();
        assert_eq!(any, Texts { empty: true, others: Some("/(?s:.+)/".into()) });
        assert_eq!(of(json!({ "maxLength": 0 })).unwrap(), Texts { empty: true, others: None });
        let long = of(json!({ "minLength": 2 })).unwrap();
        assert_eq!(long, Texts { empty: false, others: Some("/(?s:.{2,})/ & /(?s:.+)/".into()) });
        assert!(of(json!({ "pattern": "^a*$" })).unwrap().empty);
        assert!(of(json!({ "pattern": "^a*$", "maxLength": 0 })).unwrap().others.is_none());
        assert!(of(json!({ "pattern": "^a$", "minLength": 2 })).unwrap_err().contains("no text"));
        assert!(of(json!({ "minLength": 3, "maxLength": 2 })).is_err());
        assert!(of(json!({ "format": "regex" })).unwrap_err().contains("`regex`"));
    }

    #[test]
    fn formats_match_what_they_name() {
        let cases = [
            ("date", "2024-02-29", true),
            ("date", "2023-02-29", false),
            ("date", "1900-02-29", false),
            ("date", "2000-02-29", true),
            ("date", "2023-04-31", false),
            ("time", "23:59:59.5+01:00", true),
            ("time", "24:00:00Z", false),
            ("date-time", "2024-12-31T00:00:00Z", true),
            ("duration", "P1Y2M", true),
            ("duration", "P", false),
            ("email", "a.b+c@example.org", true),
            ("email", "a@b", false),
            ("hostname", "a-b.example", true),
            ("hostname", "-a", false),
            ("ipv4", "192.168.0.1", true),
            ("ipv4", "256.1.1.1", false),
            ("ipv6", "::1", true),
            ("ipv6", "2001:db8::8:800:200c:417a", true),
            ("ipv6", "1:2:3:4:5:6:7::", true),
            ("ipv6", "::", true),
            ("ipv6", "1:2:3:4:5:6:7", false),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", true),
            ("uuid", "123e4567", false),
            ("uri", "https://example.org/a%20b?q=1#x", true),
            ("uri", "mailto:a@b.c", true),
            ("uri", "a b", false),
        ];
        for (name, text, expected) in cases {
            assert_eq!(matches(&format(name).unwrap(), text), expected, "{text} as {name}");
        }
    }
}
