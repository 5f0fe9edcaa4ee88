//! Schemas that ask for more than can be enforced: whoever did not insist gets an answer that fits the rest, and is
//! told.

use serde_json::Value;

/// Keywords that no grammar can enforce.
const UNENFORCEABLE: [&str; 14] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "propertyNames",
    "uniqueItems",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Formats that can be enforced.
const FORMATS: [&str; 10] =
    ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// Takes off a schema what cannot be enforced, and names each with its place.
pub(super) fn loosen(schema: &mut Value, at: &str, warnings: &mut Vec<String>) {
    let Value::Object(keywords) = schema else { return };
    keywords.retain(|keyword, value| {
        let is_unknown_format = || value.as_str().is_some_and(|name| !FORMATS.contains(&name));
        let is_lost = UNENFORCEABLE.contains(&keyword.as_str()) && *value != Value::Bool(false)
            || keyword == "format" && is_unknown_format();
        if is_lost {
            warnings.push(format!("{at}/{keyword} cannot be enforced and was ignored"));
        }
        !is_lost
    });
    for (keyword, value) in keywords.iter_mut() {
        let at = format!("{at}/{keyword}");
        match (keyword.as_str(), value) {
            // Names of properties are no keywords.
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(members)) => {
                for (name, member) in members.iter_mut() {
                    loosen(member, &format!("{at}/{name:.64}"), warnings);
                }
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(members)) => {
                for (i, member) in members.iter_mut().enumerate() {
                    loosen(member, &format!("{at}/{i}"), warnings);
                }
            }
            ("items" | "additionalProperties" | "additionalItems", member) => loosen(member, &at, warnings),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_cannot_be_enforced_is_taken_off() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "not": {"type": "string", "format": "regex"},
                "list": {"type": "array", "uniqueItems": true, "items": {"type": "string", "format": "uri"}},
            },
            "if": {}, "then": {},
            "anyOf": [{"contains": {}}, {"type": "null"}],
        });
        let mut warnings = Vec::new();
        loosen(&mut schema, "schema", &mut warnings);
        let left = json!({
            "type": "object",
            "properties": {
                "not": {"type": "string"},
                "list": {"type": "array", "items": {"type": "string", "format": "uri"}},
            },
            "anyOf": [{}, {"type": "null"}],
        });
        assert_eq!(schema, left);
        let names = ["/if", "/then", "/properties/not/format", "/properties/list/uniqueItems", "/anyOf/0/contains"];
        assert_eq!(warnings, names.map(|name| format!("schema{name} cannot be enforced and was ignored")));
    }
}
