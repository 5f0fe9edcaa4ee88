//! Random JSON schemas, whether a value fits one, and random texts of a grammar.

use lemmy_core::grammar::Matcher;
use lemmy_core::{TokenId, Tokenizer};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Whether a value fits. Knows what [`schemas`] makes, and panics at anything else.
pub(crate) fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    let Some(keys) = schema.as_object() else { return schema.as_bool().unwrap() };
    keys.iter().all(|(key, rule)| keyword(key, rule, value, keys, root))
}

fn keyword(key: &str, rule: &Value, value: &Value, keys: &Map<String, Value>, root: &Value) -> bool {
    let number = || rule.as_f64().unwrap();
    match key {
        "type" => match rule {
            Value::Array(names) => names.iter().any(|name| has_type(value, name)),
            name => has_type(value, name),
        },
        "enum" => rule.as_array().unwrap().iter().any(|one| same(one, value)),
        "const" => same(rule, value),
        "anyOf" | "oneOf" => rule.as_array().unwrap().iter().any(|one| fits(value, one, root)),
        "$ref" => fits(value, root.pointer(&rule.as_str().unwrap()[1..]).unwrap(), root),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 >= number()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as f64 <= number()),
        "minimum" => value.as_f64().is_none_or(|found| found >= number()),
        "maximum" => value.as_f64().is_none_or(|found| found <= number()),
        "multipleOf" => value.as_i64().is_none_or(|found| found % rule.as_i64().unwrap() == 0),
        "minItems" => value.as_array().is_none_or(|items| items.len() as f64 >= number()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as f64 <= number()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, rule, root))),
        "properties" => value.as_object().is_none_or(|members| {
            members.iter().all(|(name, member)| rule.get(name).is_none_or(|schema| fits(member, schema, root)))
        }),
        "required" => value.as_object().is_none_or(|members| {
            rule.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = |name: &String| keys.get("properties").is_some_and(|known| known.get(name).is_some());
            members.iter().all(|(name, member)| known(name) || fits(member, rule, root))
        }),
        "$defs" | "description" => true,
        other => panic!("the validator does not know `{other}`"),
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|x| x.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type: {other}"),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

/// Schemas that some value fits.
pub(crate) fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "string" })),
        (0u32..4, 0u32..5)
            .prop_map(|(least, more)| json!({ "type": "string", "minLength": least, "maxLength": least + more })),
        Just(json!({ "type": "string", "enum": ["celsius", "fahrenheit", "", "a \"b\", {c: 1}\n"] })),
        Just(json!({ "type": "integer" })),
        (-50i64..50, 0i64..2000)
            .prop_map(|(from, more)| json!({ "type": "integer", "minimum": from, "maximum": from + more })),
        Just(json!({ "type": "integer", "minimum": 1, "multipleOf": 7 })),
        Just(json!({ "type": "number" })),
        Just(json!({ "type": "number", "minimum": -1.5, "maximum": 2 })),
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": ["integer", "null"] })),
        Just(json!({ "const": { "b": [1, "x"], "A": null } })),
        Just(json!({ "enum": [1, "one", [true], null, 2.5] })),
        Just(json!({})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = prop::sample::subsequence(vec!["city", "Zip", "unit", "a b", "naïve", "x:y"], 0..=4);
        let object = (names, prop::collection::vec(inner.clone(), 4), any::<u8>(), prop::option::of(any::<bool>()))
            .prop_map(|(names, schemas, required, additional)| {
                let members: Map<String, Value> = names.iter().map(|&name| name.to_string()).zip(schemas).collect();
                let required: Vec<&&str> =
                    names.iter().enumerate().filter(|(i, _)| required >> i & 1 == 1).map(|(_, name)| name).collect();
                let mut schema = json!({ "type": "object", "properties": members, "required": required });
                if let Some(additional) = additional {
                    schema["additionalProperties"] = json!(additional);
                }
                schema
            });
        let array = (inner.clone(), 0u32..3, prop::option::of(0u32..3)).prop_map(|(items, least, more)| {
            let mut schema = json!({ "type": "array", "items": items, "minItems": least });
            if let Some(more) = more {
                schema["maxItems"] = json!(least + more);
            }
            schema
        });
        let either = (inner.clone(), inner).prop_map(|(a, b)| json!({ "anyOf": [a, b], "description": "either" }));
        prop_oneof![3 => object, 2 => array, 1 => either]
    })
}

/// Follows the masks to the end of a text, at random: the numbers choose. Gives the tokens.
pub(crate) fn walk(matcher: &mut Matcher, tokenizer: &Tokenizer, choices: &[u32]) -> Vec<TokenId> {
    let find = |spelling: &&str| tokenizer.find(spelling);
    let controls = ["<tool_call|>", "<turn|>", "<|\"|>"];
    // What brings a text to its end: a quote first, or a text of braces would go on.
    let closing: Vec<TokenId> =
        ["<tool_call|>", "<turn|>", "<|\"|>", "\"", "}", "]", ",", ":"].iter().filter_map(find).collect();
    let mut said = Vec::new();
    let mut choices = choices.iter().copied();
    while !matcher.is_finished() {
        assert!(said.len() < 2000, "no end: {}", tokenizer.decode(&said));
        let mask = matcher.allowed().unwrap();
        let allowed: Vec<TokenId> = mask.iter().collect();
        assert!(!allowed.is_empty(), "stuck after {}", tokenizer.decode(&said));
        let id = match choices.next() {
            // One time in three something that structures the text.
            Some(choice) if choice % 3 > 0 => allowed[choice as usize % allowed.len()],
            Some(choice) => {
                let some = controls.iter().filter_map(find).chain(closing.iter().copied());
                let some: Vec<TokenId> = some.filter(|&id| mask.contains(id)).collect();
                *some.get(choice as usize % some.len().max(1)).unwrap_or(&allowed[choice as usize % allowed.len()])
            }
            None => closing.iter().copied().find(|&id| mask.contains(id)).unwrap_or_else(|| {
                // The shortest tokens lead on; not always the same, or a number might never become a multiple.
                let shortest = allowed.iter().map(|&id| tokenizer.piece(id).len()).min().unwrap();
                let short: Vec<TokenId> =
                    allowed.iter().copied().filter(|&id| tokenizer.piece(id).len() <= shortest).collect();
                short[said.len() * 7919 % short.len()]
            }),
        };
        matcher.accept(id).unwrap();
        said.push(id);
    }
    said
}
