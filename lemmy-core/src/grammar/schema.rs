//! JSON schemas before they are believed: bounds, references, and what other dialects write.

#![forbid(unsafe_code)]

use serde_json::{Map, Value, json};

use crate::limits;

/// What is wrong with a schema or a tool, in words.
pub(super) type Fault = String;

type Result<T> = std::result::Result<T, Fault>;

/// What may stand between two tokens of JSON. A model that is not sure how to go on would fill its context with blanks.
const BLANKS: &str = r"(\r?\n){1,2}[ \t]{0,32}|[ \t]{1,32}";

/// Largest number that a bound may name: f64 holds all integers up to here.
const LARGEST: f64 = 9_007_199_254_740_992.0;

/// The schema of an answer, as the engine wants it.
pub(super) fn for_json(text: &str) -> Result<Value> {
    let mut schema = parse(text)?;
    if let Value::Bool(true) = schema {
        schema = json!({});
    }
    if let Value::Object(keys) = &mut schema {
        let options = json!({ "whitespace_pattern": BLANKS, "coerce_one_of": true });
        keys.insert("x-guidance".into(), options);
    }
    Ok(schema)
}

/// Reads a schema; its bounds are checked, its references are local, and `nullable` is spelled out.
pub(super) fn parse(text: &str) -> Result<Value> {
    // No deeper than 128 levels: serde_json refuses more.
    let mut schema: Value = serde_json::from_str(text).map_err(|error| format!("JSON schema: {error}"))?;
    let mut checker = Checker { at: Vec::new(), multiples: Vec::new() };
    checker.schema(&mut schema)?;
    if !can_combine(&checker.multiples) {
        let found: Vec<String> = checker.multiples.iter().map(f64::to_string).collect();
        return Err(format!("JSON schema: `multipleOf` {} together are too large", found.join(", ")));
    }
    Ok(schema)
}

/// Walks over a schema.
struct Checker {
    /// Keys on the way to the place that is looked at.
    at: Vec<String>,
    /// The values of `multipleOf`, each once.
    multiples: Vec<f64>,
}

impl Checker {
    fn schema(&mut self, schema: &mut Value) -> Result<()> {
        let keys = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(keys) => keys,
            other => return Err(self.error(&format!("found {other:.40}, expected an object or a boolean"))),
        };
        for (key, value) in keys.iter_mut() {
            self.within(key, |checker| checker.keyword(key, value))?;
        }
        // It asks for nothing.
        if keys.get("uniqueItems") == Some(&Value::Bool(false)) {
            keys.shift_remove("uniqueItems");
        }
        if keys.shift_remove("nullable") == Some(Value::Bool(true)) {
            allow_null(keys);
        }
        Ok(())
    }

    fn keyword(&mut self, key: &str, value: &mut Value) -> Result<()> {
        match key {
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                let Value::Object(members) = value else { return Err(self.error("expected an object")) };
                if members.len() > limits::SCHEMA_PROPERTIES {
                    let (found, most) = (members.len(), limits::SCHEMA_PROPERTIES);
                    return Err(self.error(&format!("found {found} entries, expected at most {most}")));
                }
                members.iter_mut().try_for_each(|(name, member)| self.within(name, |c| c.schema(member)))
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                let Value::Array(members) = value else { return Err(self.error("expected an array")) };
                self.list(members)
            }
            // An array in older drafts.
            "items" => match value {
                Value::Array(members) => self.list(members),
                value => self.schema(value),
            },
            "additionalProperties"
            | "additionalItems"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "propertyNames"
            | "unevaluatedItems"
            | "unevaluatedProperties" => self.schema(value),
            "required" => match value.as_array() {
                Some(names) if names.iter().all(Value::is_string) => Ok(()),
                _ => Err(self.error("expected a list of names")),
            },
            "$ref" => match value.as_str() {
                Some(reference) if reference.starts_with('#') => Ok(()),
                Some(reference) => Err(self.error(&format!(
                    "found {reference:.200}, expected a reference within the schema (`#/…`): nothing is fetched"
                ))),
                None => Err(self.error("expected a string")),
            },
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => match value.as_f64() {
                Some(number) if number.abs() > LARGEST => {
                    Err(self.error(&format!("found {number}, expected at most 2^53 in magnitude")))
                }
                _ => Ok(()),
            },
            "multipleOf" => match value.as_f64() {
                Some(number) if is_simple(number) => {
                    if !self.multiples.contains(&number) {
                        self.multiples.push(number);
                    }
                    Ok(())
                }
                _ => Err(self.error(&format!("found {value:.40}, expected 0.0001 to 10000 with at most 4 decimals"))),
            },
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                match value.as_u64() {
                    Some(number) if number > limits::SCHEMA_LENGTH => {
                        Err(self.error(&format!("found {number}, expected at most {}", limits::SCHEMA_LENGTH)))
                    }
                    _ => Ok(()),
                }
            }
            // The engine would take its own options from there.
            "x-guidance" => Err(self.error("is not supported")),
            _ => Ok(()),
        }
    }

    fn list(&mut self, members: &mut [Value]) -> Result<()> {
        members.iter_mut().enumerate().try_for_each(|(i, member)| self.within(&i.to_string(), |c| c.schema(member)))
    }

    fn within<T>(&mut self, key: &str, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.at.push(key.replace('~', "~0").replace('/', "~1"));
        let result = f(self);
        self.at.pop();
        result
    }

    /// Names the place as a JSON pointer (RFC 6901).
    fn error(&self, what: &str) -> Fault {
        format!("JSON schema, at `/{}`: {what}", self.at.join("/"))
    }
}

/// Numbers that the engine can test multiples of with few states.
fn is_simple(number: f64) -> bool {
    (0.0001..=10_000.0).contains(&number) && decimals(number).is_some()
}

/// How many decimals a number has, at most 4.
fn decimals(number: f64) -> Option<i32> {
    (0..=4).find(|&n| {
        let scaled = number * 10f64.powi(n);
        (scaled - scaled.round()).abs() < 1e-6
    })
}

/// Whether the engine can find a common multiple of any of these: it multiplies them in 32 bits.
fn can_combine(multiples: &[f64]) -> bool {
    let scale = multiples.iter().filter_map(|&number| decimals(number)).max().unwrap_or(0);
    let scaled: Vec<f64> = multiples.iter().map(|number| (number * 10f64.powi(scale)).round()).collect();
    // One of them may meet itself.
    scaled.iter().all(|number| *number < 65_536.0) && scaled.iter().product::<f64>() < 4_294_967_296.0
}

/// What OpenAPI 3.0 means by `nullable`.
fn allow_null(keys: &mut Map<String, Value>) {
    match keys.get_mut("type") {
        Some(Value::Array(types)) => types.push(json!("null")),
        Some(one) => *one = json!([one.take(), "null"]),
        None => {}
    }
    if let Some(Value::Array(values)) = keys.get_mut("enum") {
        values.push(Value::Null);
    }
}
