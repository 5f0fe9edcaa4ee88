//! Typed access to the members of a JSON object, by which every dialect keeps the same rules: `null` is absent, a wrong
//! type is refused with its place, what nobody asked for is named in a warning.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::json::kind;
use super::problem::{Problem, Result};

/// The members of one object that nobody has asked for yet.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// Where the object stands: empty, or for instance `tools[0].`.
    place: String,
    /// Members that were not there, so that what is asked for twice is no surprise.
    given: BTreeSet<String>,
}

impl Fields {
    pub(crate) fn new(values: Map<String, Value>) -> Self {
        Self::at("", values)
    }

    /// The object at a place such as `tools[0].function`.
    pub(crate) fn at(place: &str, values: Map<String, Value>) -> Self {
        let place = if place.is_empty() { String::new() } else { format!("{place}.") };
        let given = values.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect();
        Self { values, place, given }
    }

    /// A value that has to be an object.
    pub(crate) fn of(place: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(values) => Ok(Self::at(place, values)),
            other => Err(unexpected(place, "an object", &other)),
        }
    }

    /// Where a member stands.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// Whether a member was sent, taken or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    /// A member, whatever it is.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.values.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&mut self, name: &str) -> Result<Value> {
        self.take(name).ok_or_else(|| missing(&self.place(name)))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(unexpected(&self.place(name), "a string", &other)),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(unexpected(&self.place(name), "true or false", &other)),
        }
    }

    /// A whole number; `40.0` is one.
    pub(crate) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let place = self.place(name);
        let Value::Number(number) = &value else { return Err(unexpected(&place, "a whole number", &value)) };
        let float = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15);
        let found = number.as_i64().or(float.map(|f| f as i64));
        match found.filter(|n| range.contains(n)) {
            Some(n) => Ok(Some(n)),
            None => {
                let most = if *range.end() == i64::MAX { String::new() } else { range.end().to_string() };
                let message = format!("found {number}, expected a whole number in {}..={most}", range.start());
                Err(Problem::value(place, message))
            }
        }
    }

    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let place = self.place(name);
        let Value::Number(number) = &value else { return Err(unexpected(&place, "a number", &value)) };
        match number.as_f64().filter(|f| f.is_finite() && range.contains(f)) {
            Some(f) => Ok(Some(f)),
            None => {
                let message = format!("found {number}, expected a number from {} to {}", range.start(), range.end());
                Err(Problem::value(place, message))
            }
        }
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(unexpected(&self.place(name), "a list", &other)),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Fields>> {
        let place = self.place(name);
        self.take(name).map(|value| Self::of(&place, value)).transpose()
    }

    /// Drops members that cannot change the answer.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.values.shift_remove(*name);
        }
    }

    /// Refuses members that are not supported, unless they say nothing: null, false, 0, 0.0, empty.
    pub(crate) fn refuse(&mut self, names: &[&str], why: &str) -> Result<()> {
        for name in names {
            let says_something = |value: &Value| match value {
                Value::Null | Value::Bool(false) => false,
                Value::Number(n) => n.as_f64() != Some(0.0),
                Value::String(text) => !text.is_empty(),
                Value::Array(list) => !list.is_empty(),
                Value::Object(object) => !object.is_empty(),
                Value::Bool(true) => true,
            };
            if self.take(name).filter(says_something).is_some() {
                return Err(Problem::unsupported(self.place(name), why));
            }
        }
        Ok(())
    }

    /// Names what is left.
    pub(crate) fn warn_of_rest(self, warnings: &mut Vec<String>) {
        for (name, value) in self.values {
            if !value.is_null() {
                warnings.push(format!("{}{name:.64} is not known here and was ignored", self.place));
            }
        }
    }
}

/// A field that has to be there.
pub(crate) fn missing(place: &str) -> Problem {
    Problem::bad("missing_required_parameter", format!("{place}: is missing")).param(place)
}

/// A field of another type.
pub(crate) fn unexpected(place: &str, expected: &str, found: &Value) -> Problem {
    Problem::bad("invalid_type", format!("{place}: found {}, expected {expected}", kind(found))).param(place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of("", value).unwrap()
    }

    #[test]
    fn null_is_absent_and_types_are_told_with_their_place() {
        let mut fields = fields(json!({"a": null, "b": "5", "c": {"d": 7}, "n": 40.0}));
        assert!(!fields.has("a") && fields.has("b"));
        assert_eq!(fields.integer("a", 0..=9).unwrap(), None);
        let problem = fields.integer("b", 0..=9).unwrap_err();
        assert_eq!((problem.code, problem.param.as_deref()), (Some("invalid_type"), Some("b")));
        let problem = fields.object("c").unwrap().unwrap().integer("d", 0..=6).unwrap_err();
        assert_eq!((problem.code, problem.param.as_deref()), (Some("invalid_value"), Some("c.d")));
        assert_eq!(fields.integer("n", 0..=40).unwrap(), Some(40));
    }

    #[test]
    fn what_is_left_is_named_and_what_says_nothing_is_not_refused() {
        let mut rest = fields(json!({"mirostat": 0, "lora": [], "user": "x", "new_thing": 1}));
        rest.refuse(&["mirostat", "lora"], "no").unwrap();
        rest.ignore(&["user"]);
        let mut warnings = Vec::new();
        rest.warn_of_rest(&mut warnings);
        assert_eq!(warnings, ["new_thing is not known here and was ignored"]);
        let problem = fields(json!({"lora": [1]})).refuse(&["lora"], "no").unwrap_err();
        assert_eq!(problem.code, Some("unsupported_parameter"));
    }
}
