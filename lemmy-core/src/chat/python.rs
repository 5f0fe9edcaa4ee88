//! What Jinja templates expect of Python and the template engine does otherwise.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};

use crate::limits;

/// Prints a value as Python's `str` does where that differs: floats.
pub(super) fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match float(value) {
        Some(x) => Ok(out.write_str(&float_repr(x))?),
        None => minijinja::escape_formatter(out, state, value),
    }
}

/// The `trim` filter, and the methods `strip`, `lstrip`, `rstrip`.
pub(super) fn trim(text: &str, chars: Option<&str>, start: bool, end: bool) -> String {
    let strip = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(strip) } else { text };
    let text = if end { text.trim_end_matches(strip) } else { text };
    text.to_owned()
}

/// Python counts the separators U+001C to U+001F as spaces, Unicode's White_Space does not.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&c)
}

/// Methods of Python's strings, lists and dictionaries.
pub(super) fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let text = match name {
        "strip" | "lstrip" | "rstrip" => value.as_str(),
        _ => None,
    };
    let Some(text) = text else {
        return minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args);
    };
    let (chars,): (Option<&str>,) = minijinja::value::from_args(args)?;
    Ok(trim(text, chars, name != "rstrip", name != "lstrip").into())
}

/// The `tojson` filter: `json.dumps(value, ensure_ascii=False)`, nothing escaped for HTML.
pub(super) fn to_json(state: &mut State<'_, '_>, value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.get::<Option<bool>>("ensure_ascii")?;
    kwargs.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.as_str(), key.as_str()),
        _ => (if indent.is_some() { "," } else { ", " }, ": "),
    };
    let indent = indent.map(|n| n.min(limits::JSON_DEPTH));
    let mut json = Json { text: String::new(), item, key, indent, sort_keys: sort_keys.unwrap_or(false) };
    json.value(state, value, 0)?;
    Ok(json.text)
}

struct Json<'a> {
    text: String,
    item: &'a str,
    key: &'a str,
    indent: Option<usize>,
    sort_keys: bool,
}

impl Json<'_> {
    fn value(&mut self, state: &State<'_, '_>, value: &Value, depth: usize) -> Result<(), Error> {
        // The filter's result is paid for when it is there; while it grows, each value costs a step.
        state.consume_fuel(1)?;
        if depth > limits::JSON_DEPTH || self.text.len() > limits::TEMPLATE_OUTPUT_BYTES {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is too deep or too large"));
        }
        match value.kind() {
            ValueKind::None | ValueKind::Undefined => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => match float(value) {
                Some(x) if x.is_nan() => self.text.push_str("NaN"),
                Some(x) if x.is_infinite() => self.text.push_str(if x > 0.0 { "Infinity" } else { "-Infinity" }),
                Some(x) => self.text.push_str(&float_repr(x)),
                None => write!(self.text, "{value}")?,
            },
            ValueKind::Map => {
                let mut keys = value.try_iter()?.collect::<Vec<_>>();
                if self.sort_keys {
                    keys.sort();
                }
                self.sequence(state, keys, ('{', '}'), depth, |json, key| {
                    json.string(&key.to_string());
                    json.text.push_str(json.key);
                    json.value(state, &value.get_item(key)?, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.sequence(state, value.try_iter()?, ('[', ']'), depth, |json, item| {
                    json.value(state, item, depth + 1)
                })?;
            }
            _ => self.string(&value.to_string()),
        }
        Ok(())
    }

    fn sequence(
        &mut self,
        state: &State<'_, '_>,
        items: impl IntoIterator<Item = Value>,
        (open, close): (char, char),
        depth: usize,
        mut item: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        let mut any = false;
        for value in items {
            state.consume_fuel(1)?;
            if any {
                self.text.push_str(self.item);
            }
            any = true;
            self.line(depth + 1);
            item(self, &value)?;
        }
        if any {
            self.line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The number if it is one with a fraction by its type.
fn float(value: &Value) -> Option<f64> {
    (value.kind() == ValueKind::Number && !value.is_integer()).then(|| f64::try_from(value.clone()).ok()).flatten()
}

/// Python's `repr` of a float: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16.
pub(super) fn float_repr(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = x.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        // Python 3: repr of each.
        let rows = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (0.00012345, "0.00012345"),
            (9.999e-5, "9.999e-05"),
            (1e-7, "1e-07"),
            (2.5e-5, "2.5e-05"),
            (1e15, "1000000000000000.0"),
            (9007199254740993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (1.5e20, "1.5e+20"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (x, text) in rows {
            assert_eq!(float_repr(x), text);
        }
    }
}
