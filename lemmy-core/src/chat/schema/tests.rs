#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What becomes of one property, and what is lost.
fn property(schema: Value) -> (Value, Vec<String>) {
    let defs = json!({
        "Colour": {"type": "string", "enum": ["red", "blue"], "description": "a colour"},
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "v": {"type": "integer"}}},
    });
    let schema = json!({"type": "object", "properties": {"p": schema}, "$defs": defs});
    let (parameters, lost) = parameters(&schema).unwrap();
    (parameters["properties"]["p"].clone(), lost)
}

#[test]
fn properties_become_what_templates_print() {
    let rows = [
        (json!({"type": ["string", "null"]}), json!({"type": "string", "nullable": true}), ""),
        (
            json!({"type": ["null", "integer", "string"]}),
            json!({"type": "integer", "nullable": true}),
            "all but the first type",
        ),
        (json!({"type": "null"}), json!({"type": "null"}), ""),
        (json!({"type": "STRING"}), json!({"type": "string"}), ""),
        (json!({"anyOf": [{"type": "null"}, {"type": "number"}]}), json!({"type": "number", "nullable": true}), ""),
        (
            json!({"oneOf": [{"type": "number"}, {"type": "string"}]}),
            json!({"type": "number"}),
            "all but the first of oneOf",
        ),
        (
            json!({"$ref": "#/$defs/Colour", "description": "of the car"}),
            json!({"type": "string", "description": "of the car", "enum": ["red", "blue"]}),
            "",
        ),
        (
            json!({"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "title": "C"}),
            json!({"type": "string", "description": "a colour", "nullable": true, "enum": ["red", "blue"]}),
            "",
        ),
        (
            json!({"allOf": [{"properties": {"a": {"const": "x"}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}]}),
            json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}, "b": {"type": "any"}}, "required": ["a", "b"]}),
            "",
        ),
        (json!({"enum": [1, 2]}), json!({"type": "integer"}), "`enum`"),
        (json!({"type": "integer", "minimum": 1, "default": 2}), json!({"type": "integer"}), "`default`, `minimum`"),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object", "properties": {}}),
            "",
        ),
        (json!({"type": "array", "items": true}), json!({"type": "array"}), ""),
        (
            json!({"type": "array", "items": {"$ref": "#/$defs/Colour"}}),
            json!({"type": "array", "items": {"type": "string", "enum": ["red", "blue"], "description": "a colour"}}),
            "",
        ),
        (
            json!({"type": "array", "items": {"type": ["string", "null"], "maxLength": 2}}),
            json!({"type": "array", "items": {"type": ["string", "null"], "maxLength": 2}}),
            "",
        ),
        (json!(true), json!({"type": "any"}), ""),
        (
            json!({"$ref": "#/$defs/Node"}),
            json!({"type": "object", "properties": {"next": {"type": "any"}, "v": {"type": "integer"}}}),
            "a $ref to itself",
        ),
    ];
    for (schema, expected, lost) in rows {
        let (found, found_lost) = property(schema.clone());
        assert_eq!((found, found_lost.join(", ").as_str()), (expected, lost), "{schema}");
    }
}

#[test]
fn hostile_references_are_refused() {
    for reference in ["#/$defs/none", "https://example.org/schema.json", "other.json#/a", "", "#nowhere"] {
        let schema = json!({"properties": {"a": {"$ref": reference}}});
        assert!(parameters(&schema).unwrap_err().contains("names nothing in this schema"), "{reference}");
    }
    // Each names the next twice: 2^40 schemas.
    let mut defs = Map::new();
    for i in 0..20 {
        let next = json!({"$ref": format!("#/$defs/{}", i + 1)});
        defs.insert(i.to_string(), json!({"properties": {"a": next, "b": next}}));
    }
    defs.insert("20".into(), json!({}));
    let bomb = json!({"$ref": "#/$defs/0", "$defs": defs});
    let error = parameters(&bomb).unwrap_err();
    assert!(error.contains("once references are followed") || error.contains("deeper"), "{error}");
    // A long text, named often.
    let properties: Map<String, Value> = (0..1000).map(|i| (i.to_string(), json!({"$ref": "#/$defs/long"}))).collect();
    let bomb = json!({"properties": properties, "$defs": {"long": {"description": "x".repeat(100_000)}}});
    assert!(parameters(&bomb).unwrap_err().contains("once references are followed"));
}

fn schema() -> impl Strategy<Value = Value> {
    let keys = vec![
        "type",
        "properties",
        "items",
        "$ref",
        "anyOf",
        "oneOf",
        "allOf",
        "enum",
        "const",
        "required",
        "description",
        "$defs",
        "nullable",
        "a",
    ];
    let words =
        prop::sample::select(vec!["string", "object", "array", "null", "#", "#/$defs/a", "#/properties/a", "a"]);
    let leaf = prop_oneof![
        words.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from)
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::vec((prop::sample::select(keys.clone()), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_schema_becomes_a_plain_one_or_an_error(schema in schema()) {
        if let Ok((parameters, _)) = parameters(&schema) {
            prop_assert_eq!(&parameters["type"], "object");
            prop_assert!(parameters["properties"].is_object());
            prop_assert!(size(&parameters) <= 2 * limits::SCHEMA_WORK_BYTES);
        }
    }
}
