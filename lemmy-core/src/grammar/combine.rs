//! What the keywords of a JSON schema say together.

#![forbid(unsafe_code)]

use serde_json::{Map, Number, Value, json};

use super::schema::Fault;

/// Keywords that ask for something that a grammar of calls cannot promise.
const UNENFORCEABLE: [&str; 17] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "patternProperties",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
];

/// Keywords that restrict values.
const ENFORCED: [&str; 24] = [
    "type",
    "enum",
    "const",
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];

/// A keyword that cannot be enforced, if there is one.
pub(super) fn unenforceable(keys: &Map<String, Value>) -> Option<&'static str> {
    UNENFORCEABLE.into_iter().find(|key| keys.contains_key(*key))
}

/// Whether every value fits.
pub(super) fn says_nothing(keys: &Map<String, Value>) -> bool {
    unenforceable(keys).is_none() && !keys.keys().any(|key| ENFORCED.contains(&key.as_str()))
}

/// A schema of the values that fit both.
pub(super) fn both(a: &Map<String, Value>, b: &Value) -> Result<Map<String, Value>, Fault> {
    let b = match b {
        Value::Bool(true) => return Ok(a.clone()),
        // Nothing has one of no values.
        Value::Bool(false) => return Ok(Map::from_iter([("enum".to_string(), json!([]))])),
        Value::Object(keys) => keys,
        _ => return Err("JSON schema: expected a schema".into()),
    };
    if says_nothing(a) {
        return Ok(b.clone());
    }
    let mut keys = a.clone();
    for (key, value) in b {
        let value = match keys.get(key) {
            Some(other) if ENFORCED.contains(&key.as_str()) && other != value => combined(key, other, value)?,
            _ => value.clone(),
        };
        keys.insert(key.clone(), value);
    }
    Ok(keys)
}

/// Two values of a keyword in one.
fn combined(key: &str, a: &Value, b: &Value) -> Result<Value, Fault> {
    let lists = || Some((a.as_array()?, b.as_array()?));
    let objects = || Some((a.as_object()?, b.as_object()?));
    let numbers = || Some((a.as_f64()?, b.as_f64()?));
    let result = match key {
        "required" => lists().map(|(a, b)| {
            let new = b.iter().filter(|name| !a.contains(name));
            a.iter().chain(new).cloned().collect()
        }),
        "enum" => lists().map(|(a, b)| a.iter().filter(|value| b.contains(value)).cloned().collect()),
        "allOf" => lists().map(|(a, b)| a.iter().chain(b).cloned().collect()),
        "type" => {
            let (a, b) = (names(a)?, names(b)?);
            let both = |name: &String| b.contains(name) || (name == "integer" && b.contains(&"number".to_string()));
            let mut shared: Vec<String> = a.iter().filter(|name| both(name)).cloned().collect();
            if a.contains(&"number".to_string())
                && b.contains(&"integer".to_string())
                && !shared.contains(&"integer".into())
            {
                shared.push("integer".into());
            }
            Some(json!(shared))
        }
        "properties" => objects().map(|(a, b)| {
            let mut members = a.clone();
            for (name, schema) in b {
                let schema = match a.get(name) {
                    Some(other) if other != schema => json!({ "allOf": [other, schema] }),
                    _ => schema.clone(),
                };
                members.insert(name.clone(), schema);
            }
            Value::Object(members)
        }),
        "additionalProperties" | "items" => match (a, b) {
            (Value::Bool(false), _) | (_, Value::Bool(false)) => Some(Value::Bool(false)),
            (Value::Bool(true), other) | (other, Value::Bool(true)) => Some(other.clone()),
            (Value::Object(_), Value::Object(_)) => Some(json!({ "allOf": [a, b] })),
            _ => None,
        },
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" => {
            numbers().map(|(x, y)| if x < y { b.clone() } else { a.clone() })
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" => {
            numbers().map(|(x, y)| if x > y { b.clone() } else { a.clone() })
        }
        _ => None,
    };
    result.ok_or_else(|| format!("JSON schema: two different `{key}` for one value cannot be enforced"))
}

/// The types that a schema names.
pub(super) fn types(keys: &Map<String, Value>) -> Result<Option<Vec<String>>, Fault> {
    keys.get("type").map(names).transpose()
}

fn names(types: &Value) -> Result<Vec<String>, Fault> {
    let names = match types {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    names.ok_or_else(|| "JSON schema: `type`: expected a name or a list of names".into())
}

/// The values that `enum` and `const` leave; `None` if there is neither.
pub(super) fn values(keys: &Map<String, Value>) -> Result<Option<Vec<Value>>, Fault> {
    let values = match (keys.get("enum"), keys.get("const")) {
        (None, None) => return Ok(None),
        (None, Some(one)) => vec![one.clone()],
        (Some(Value::Array(values)), None) => values.clone(),
        (Some(Value::Array(values)), Some(one)) => values.iter().filter(|value| *value == one).cloned().collect(),
        (Some(_), _) => return Err("JSON schema: `enum`: expected a list".into()),
    };
    let beside = keys.keys().find(|key| {
        let key = key.as_str();
        ENFORCED.contains(&key) && !["type", "enum", "const"].contains(&key)
    });
    match beside {
        Some(key) => Err(format!("JSON schema: `{key}` beside `enum` or `const` cannot be enforced")),
        None => Ok(Some(values)),
    }
}

pub(super) fn has_type(value: &Value, types: &[String]) -> bool {
    types.iter().any(|name| match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && is_whole(number)),
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    })
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}
