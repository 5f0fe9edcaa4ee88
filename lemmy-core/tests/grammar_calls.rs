//! Strict tool calls: what the masks let through always parses and fits the tool's schema.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lemmy_core::chat::{Control, Controls, Parsed, Parser, Piece, StartState, Tool};
use lemmy_core::grammar::{Grammars, Matcher};
use lemmy_core::{Error, Special, TokenId, Tokenizer};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

static GEMMA4: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(&vocabulary::gguf()).unwrap());
static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| Grammars::new(&GEMMA4).unwrap());

fn tool(name: &str, parameters: &Value) -> Tool {
    Tool { name: name.into(), description: String::new(), parameters_json: parameters.to_string(), strict: true }
}

fn compile(tools: &[Tool]) -> lemmy_core::Result<Matcher> {
    GRAMMARS.tool_call(tools, &Controls::new(&GEMMA4))
}

fn call_of(parameters: Value) -> Matcher {
    compile(&[tool("f", &parameters)]).unwrap()
}

/// How many tokens of a call the masks and the matcher let through, of how many.
fn progress(mut matcher: Matcher, call: &str) -> (usize, usize) {
    let ids = GEMMA4.encode(call, Special::Parse);
    for (i, &id) in ids.iter().enumerate() {
        let allowed = matcher.allowed().unwrap().contains(id);
        let accepted = matcher.accept(id);
        assert_eq!(allowed, accepted.is_ok(), "{call}: token {i}: {accepted:?}");
        if !allowed {
            return (i, ids.len());
        }
    }
    assert!(matcher.is_finished(), "{call}");
    (ids.len(), ids.len())
}

#[track_caller]
fn check(parameters: Value, good: &[&str], bad: &[&str]) {
    for (arguments, expected) in good.iter().map(|&c| (c, true)).chain(bad.iter().map(|&c| (c, false))) {
        let (done, all) = progress(call_of(parameters.clone()), &format!("call:f{arguments}<tool_call|>"));
        assert_eq!(done == all, expected, "{arguments} with {parameters}: {done} of {all} tokens");
    }
}

#[test]
fn strings() {
    let q = r#"<|"|>"#;
    let of = |schema: Value| json!({ "type": "object", "properties": { "s": schema }, "required": ["s"] });
    let s = |text: &str| format!("{{s:{q}{text}{q}}}");
    let texts = [s("x"), s(""), s("a \"quoted\", {brace: [1]}\n\t"), s("naïve 🐕 ￿"), s("<b>&amp;</b>")];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check(of(json!({ "type": "string" })), &texts, &["{s:x}", "{s:\"x\"}", "{s:1}", "{}", "{s:null}", "{ s:1}"]);
    check(of(json!({ "enum": ["C", "F"] })), &[&s("C"), &s("F")], &[&s("K"), &s(""), "{s:C}"]);
    check(
        of(json!({ "type": "string", "pattern": "^[A-Z]{2}-\\d+$" })),
        &[&s("AB-12")],
        &[&s("AB-"), &s("xAB-1"), &s("")],
    );
    check(of(json!({ "type": "string", "pattern": "b" })), &[&s("abc"), &s("b")], &[&s("ac")]);
    check(
        of(json!({ "type": "string", "minLength": 2, "maxLength": 3 })),
        &[&s("ab"), &s("äöü")],
        &[&s("a"), &s("abcd")],
    );
    check(of(json!({ "type": "string", "maxLength": 0 })), &[&s("")], &[&s("a")]);
    check(of(json!({ "type": "string", "format": "date" })), &[&s("2024-02-29")], &[&s("2024-02-30"), &s("today")]);
    check(of(json!({ "type": "string", "nullable": true })), &[&s("a"), "{s:null}"], &["{s:1}"]);
}

#[test]
fn numbers_and_literals() {
    let of = |schema: Value| json!({ "type": "object", "properties": { "n": schema }, "required": ["n"] });
    check(
        of(json!({ "type": "integer" })),
        &["{n:0}", "{n:-12}", "{n:123456789012345678901}"],
        &["{n:1.0}", "{n:01}", "{n:1e3}"],
    );
    check(
        of(json!({ "type": "number" })),
        &["{n:0}", "{n:-1.5}", "{n:1e-07}", "{n:1E+20}"],
        &["{n:.5}", "{n:1.}", "{n:NaN}"],
    );
    check(
        of(json!({ "type": "integer", "minimum": -3, "maximum": 12 })),
        &["{n:-3}", "{n:12}", "{n:0}"],
        &["{n:-4}", "{n:13}"],
    );
    check(
        of(json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })),
        &["{n:0.5}", "{n:1}"],
        &["{n:0}", "{n:1.5}", "{n:-1}"],
    );
    check(of(json!({ "type": "integer", "multipleOf": 5 })), &["{n:10}", "{n:0}"], &["{n:11}"]);
    check(of(json!({ "type": "boolean" })), &["{n:true}", "{n:false}"], &["{n:True}", "{n:null}", "{n:1}"]);
    check(
        of(json!({ "enum": [1, "x", null, [1, {"a": true}]] })),
        &["{n:1}", r#"{n:<|"|>x<|"|>}"#, "{n:null}", "{n:[1,{a:true}]}"],
        &["{n:2}", "{n:x}"],
    );
    check(of(json!({ "type": ["integer", "boolean"] })), &["{n:1}", "{n:true}"], &["{n:null}"]);
    check(of(json!({ "const": 3 })), &["{n:3}"], &["{n:4}", "{n:33}"]);
}

#[test]
fn objects() {
    let schema = json!({
        "type": "object",
        "properties": {
            "b": { "type": "integer" }, "A": { "type": "integer" }, "c": { "type": "integer" },
            "o": { "type": "object", "properties": { "x": { "type": "null" } } },
        },
        "required": ["c"],
    });
    check(
        schema,
        &["{c:1}", "{A:1,b:2,c:3,o:{}}", "{b:2,c:3}", "{c:3,o:{x:null}}"],
        &["{}", "{A:1}", "{c:1,A:2}", "{c:1,c:2}", "{c:1,}", "{c:1,z:1}", "{,c:1}", "{c:3,o:{y:null}}"],
    );
    check(json!({}), &["{}"], &["{a:1}"]);
    check(json!({ "type": "object", "properties": {} }), &["{}"], &["{a:1}"]);
    check(json!({ "type": "object" }), &["{}", "{a:1,b:[{c:true}]}"], &["{a:}", "{:1}"]);
    let more = json!({
        "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a", "z"],
        "additionalProperties": { "type": "boolean" },
    });
    check(
        more,
        &["{a:1,z:true}", "{a:1,z:true,q:false}"],
        &["{a:1}", "{a:1,z:1}", "{a:1,z:true,a:true}", "{a:1,z:true,q:1}"],
    );
    let odd = json!({ "type": "object", "properties": { "a b": { "type": "integer" }, "": { "type": "integer" } } });
    check(odd, &[r#"{<|"|>a b<|"|>:1}"#, r#"{<|"|><|"|>:1}"#], &["{a b:1}"]);
}

#[test]
fn as_many_properties_as_there_may_be() {
    let members = |n: usize| -> Value {
        (0..n).map(|i| (format!("p{i:04}"), json!({ "type": "integer" }))).collect::<Map<String, Value>>().into()
    };
    let most = json!({ "type": "object", "properties": members(1024), "additionalProperties": true });
    check(most, &["{}", "{p0000:1,p0500:2,p1023:3,more:4}"], &["{p0001:1,p0000:1}"]);
    let more = compile(&[tool("f", &json!({ "type": "object", "properties": members(1025) }))]);
    assert!(matches!(more, Err(Error::Argument { name: "tools", .. })));
}

#[test]
fn arrays() {
    let of = |schema: Value| json!({ "type": "object", "properties": { "l": schema }, "required": ["l"] });
    let bounded = json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1, "maxItems": 3 });
    check(of(bounded), &["{l:[1]}", "{l:[1,2,3]}"], &["{l:[]}", "{l:[1,2,3,4]}", "{l:[1,]}", "{l:[true]}"]);
    check(of(json!({ "type": "array", "maxItems": 0 })), &["{l:[]}"], &["{l:[1]}"]);
    check(of(json!({ "type": "array" })), &["{l:[]}", r#"{l:[1,<|"|>a<|"|>,[null]]}"#], &["{l:[a]}"]);
    let tuple =
        json!({ "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "boolean" }], "items": false });
    check(of(tuple), &["{l:[]}", "{l:[1]}", "{l:[1,true]}"], &["{l:[true]}", "{l:[1,true,1]}"]);
    let rest = json!({ "type": "array", "prefixItems": [{ "type": "integer" }], "items": { "type": "boolean" }, "minItems": 2 });
    check(of(rest), &["{l:[1,true]}", "{l:[1,true,false]}"], &["{l:[1]}", "{l:[1,1]}"]);
}

#[test]
fn combinations_and_references() {
    let either = json!({
        "type": "object",
        "properties": { "a": { "type": "integer" }, "b": { "type": "integer" } },
        "anyOf": [{ "required": ["a"] }, { "required": ["b"] }],
    });
    check(either, &["{a:1}", "{b:1}", "{a:1,b:2}"], &["{}"]);
    let all = json!({ "allOf": [
        { "$ref": "#/$defs/named" },
        { "properties": { "name": { "maxLength": 3 }, "age": { "type": "number" } }, "required": ["age"] },
        { "properties": { "age": { "type": "integer" } } },
    ], "$defs": { "named": { "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"] } } });
    check(
        all,
        &[r#"{age:1,name:<|"|>abc<|"|>}"#],
        &[r#"{age:1,name:<|"|>abcd<|"|>}"#, r#"{age:1.5,name:<|"|>a<|"|>}"#, "{age:1}"],
    );
    let tree = json!({
        "$ref": "#/$defs/node",
        "$defs": { "node": { "type": "object", "properties": {
            "children": { "type": "array", "items": { "$ref": "#/$defs/node" } }, "v": { "type": "integer" } },
            "required": ["v"] } },
    });
    check(tree, &["{v:1}", "{children:[{children:[],v:2},{v:3}],v:1}"], &["{children:[{}],v:1}", "{children:[1],v:1}"]);
    let kinds = json!({ "type": "object", "properties": { "shape": { "oneOf": [
        { "type": "object", "properties": { "kind": { "const": "dot" } }, "required": ["kind"] },
        { "type": "object", "properties": { "kind": { "const": "disc" }, "r": { "type": "number" } }, "required": ["kind", "r"] },
    ] } }, "required": ["shape"] });
    check(
        kinds,
        &[r#"{shape:{kind:<|"|>dot<|"|>}}"#, r#"{shape:{kind:<|"|>disc<|"|>,r:1}}"#],
        &[r#"{shape:{kind:<|"|>disc<|"|>}}"#],
    );
    // An optional value that would never end is not begun.
    let endless = json!({ "type": "object", "properties": {
        "e": { "$ref": "#/$defs/e" }, "n": { "type": "integer" } },
        "$defs": { "e": { "type": "object", "properties": { "e": { "$ref": "#/$defs/e" } }, "required": ["e"] } } });
    check(endless, &["{}", "{n:1}"], &["{e:{e:1}}"]);
}

#[test]
fn names() {
    let none = json!({});
    let tools = [tool("get", &none), tool("get_weather", &none), tool("ns.a:b/c-d", &none)];
    for name in ["get", "get_weather", "ns.a:b/c-d"] {
        let (done, all) = progress(compile(&tools).unwrap(), &format!("call:{name}{{}}<tool_call|>"));
        assert_eq!(done, all, "{name}");
    }
    for call in
        ["call:get_{}<tool_call|>", "call:set{}<tool_call|>", "get{}<tool_call|>", "call:get{}", "call:get{}<turn|>"]
    {
        let mut matcher = compile(&tools).unwrap();
        let taken = GEMMA4.encode(call, Special::Parse).into_iter().all(|id| matcher.accept(id).is_ok());
        assert!(!(taken && matcher.is_finished()), "{call}");
    }
}

#[test]
fn what_cannot_be_promised_is_refused_by_name() {
    let refused = |parameters: Value| match compile(&[tool("f", &parameters)]) {
        Err(Error::Argument { name: "tools", reason }) => reason,
        other => panic!("{parameters}: {other:?}"),
    };
    for key in [
        "not",
        "if",
        "contains",
        "propertyNames",
        "patternProperties",
        "minProperties",
        "uniqueItems",
        "dependentRequired",
    ] {
        let value = if key == "uniqueItems" {
            json!(true)
        } else if key == "minProperties" {
            json!(1)
        } else {
            json!({})
        };
        let reason = refused(json!({ "type": "object", "properties": { "a": { key: value } } }));
        assert!(reason.contains("tool `f`") && reason.contains(&format!("`{key}`")), "{reason}");
    }
    let cases = [
        (
            json!({ "type": "object", "properties": { "a": { "$ref": "https://example.org/x" } } }),
            "https://example.org/x",
        ),
        (json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/no" } } }), "#/$defs/no"),
        (json!({ "type": "object", "properties": { "a": { "type": "string", "format": "color" } } }), "`color`"),
        (json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "(?=a)" } } }), "`pattern`"),
        (json!({ "type": "object", "properties": { "a": { "type": "text" } } }), "`text`"),
        (json!({ "type": "array" }), "no arguments"),
        (json!({ "type": "object", "required": ["a"], "properties": { "a": false } }), "no arguments"),
        (json!({ "$ref": "#" }), "references"),
        (json!([1]), "expected"),
        (
            json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "^a$", "minLength": 2 } } }),
            "no text",
        ),
    ];
    for (parameters, expected) in cases {
        let reason = refused(parameters);
        assert!(reason.contains(expected), "{reason} lacks {expected}");
    }
    let twice = [tool("f", &json!({})), tool("f", &json!({}))];
    assert!(matches!(compile(&twice), Err(Error::Argument { name: "tools", .. })));
    assert!(matches!(compile(&[]), Err(Error::Argument { name: "tools", .. })));
    assert!(matches!(compile(&[tool("a b", &json!({}))]), Err(Error::Argument { name: "tools", .. })));
}

/// Without the promise a call still parses.
#[test]
fn lenient_tools_take_any_arguments_where_the_schema_cannot_be_enforced() {
    let mut lenient = tool("f", &json!({ "type": "object", "properties": { "a": { "not": {} } } }));
    lenient.strict = false;
    let (done, all) = progress(compile(&[lenient]).unwrap(), "call:f{a:1,b:[true]}<tool_call|>");
    assert_eq!(done, all);
}

/// Tools made to hurt are refused or compiled within a time that has a bound.
#[test]
fn hostile_tools() {
    LazyLock::force(&GRAMMARS);
    let members = |n: usize, schema: Value| -> Value {
        (0..n).map(|i| (format!("p{i}"), schema.clone())).collect::<Map<String, Value>>().into()
    };
    let chain = |join: &dyn Fn(Value) -> Value| -> Value {
        (0..60)
            .map(|i| (format!("d{i}"), join(json!({ "$ref": format!("#/$defs/d{}", i + 1) }))))
            .collect::<Map<_, _>>()
            .into()
    };
    let twice = chain(
        &|next| json!({ "type": "object", "properties": { "a": { "$ref": next["$ref"], "description": "x", "required": [] }, "b": { "$ref": next["$ref"], "required": ["q"] } } }),
    );
    let texts: Vec<String> = (0..5000).map(|i| format!("value number {i}")).collect();
    let deep = (0..30).fold(json!({}), |inner, _| json!({ "type": "object", "properties": { "a": inner } }));
    let choices: Vec<Value> = (0..2000).map(|i| json!([i, { "a": i }])).collect();
    let schemas = [
        json!({ "type": "object", "properties": members(1024, json!({ "type": "integer" })), "additionalProperties": true }),
        json!({ "type": "object", "properties": members(300, json!({ "type": "integer", "minimum": 0, "maximum": 123_456 })) }),
        json!({ "type": "object", "properties": { "a": { "enum": texts } } }),
        json!({ "type": "object", "properties": { "a": { "enum": choices } } }),
        json!({ "$ref": "#/$defs/d0", "$defs": twice }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        deep,
        json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "^(.*a){20}(.*b){20}$", "maxLength": 30000 } } }),
        json!({ "type": "object", "properties": { "a": { "type": "array", "minItems": 30000, "maxItems": 32768 } } }),
        json!({ "type": "object", "properties": { "a": { "prefixItems": vec![json!({ "type": "null" }); 3000] } } }),
    ];
    for schema in &schemas {
        let start = Instant::now();
        let name: String = schema.to_string().chars().take(80).collect();
        let compiled = compile(&[tool("f", schema)]);
        // An internal error would be a panic that the engine caught.
        assert!(!matches!(compiled, Err(Error::Internal(_))), "{name}: {compiled:?}");
        if let Ok(mut matcher) = compiled {
            for id in GEMMA4.encode("call:f{a:", Special::Parse) {
                // Too complex at this place: an error like any other.
                let Ok(mask) = matcher.allowed() else { break };
                if !mask.contains(id) || matcher.accept(id).is_err() {
                    break;
                }
            }
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn a_clone_and_a_step_back_go_on_from_where_they_were() {
    let mut matcher =
        call_of(json!({ "type": "object", "properties": { "s": { "type": "string" } }, "required": ["s"] }));
    let ids = GEMMA4.encode(r#"call:f{s:<|"|>some words<|"|>}<tool_call|>"#, Special::Parse);
    let mut masks = Vec::new();
    for &id in &ids {
        masks.push(matcher.allowed().unwrap().clone());
        matcher.accept(id).unwrap();
    }
    assert!(matcher.is_finished() && matcher.allowed().unwrap().is_empty());
    assert!(matcher.accept(ids[0]).is_err());
    assert!(matcher.rollback(ids.len() + 1).is_err());
    for back in (0..ids.len()).rev() {
        matcher.rollback(1).unwrap();
        assert!(!matcher.is_finished());
        assert_eq!(*matcher.allowed().unwrap(), masks[back], "before token {back}");
    }
    let mut other = matcher.clone();
    ids.iter().for_each(|&id| other.accept(id).unwrap());
    assert!(other.is_finished() && !matcher.is_finished());
    assert_eq!(*matcher.allowed().unwrap(), masks[0]);
}

/// The arguments of a call of `f`, as the parser of replies reads them: without a single repair.
fn arguments(ids: &[TokenId]) -> Value {
    let controls = Controls::new(&GEMMA4);
    let (mut parser, mut out) = (Parser::new(StartState::ClosedThought), Vec::new());
    let mut decoder = GEMMA4.stream();
    parser.push(Piece::Control(Control::CallOpen), &mut out);
    for &id in ids {
        match controls.of(&GEMMA4, id) {
            Some(control) => parser.push(Piece::Control(control), &mut out),
            None => parser.push(Piece::Text(decoder.push(id)), &mut out),
        }
    }
    parser.finish(&mut out);
    match &out[..] {
        [Parsed::ToolCall { name, arguments_json }] if name == "f" => serde_json::from_str(arguments_json).unwrap(),
        other => panic!("{other:?} of {:?}", GEMMA4.decode(ids)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_masks_let_through_fits(
        properties in prop::collection::vec(schema::schemas(), 1..4),
        required in any::<u8>(),
        choices in prop::collection::vec(any::<u32>(), 0..60),
    ) {
        let names = ["alpha", "Beta", "gamma"];
        let required: Vec<_> = (0..properties.len()).filter(|i| required >> i & 1 == 1).map(|i| names[i]).collect();
        let members: Map<String, Value> = names.iter().map(|&name| name.to_string()).zip(properties).collect();
        let parameters = json!({ "type": "object", "properties": members, "required": required });
        let mut matcher = call_of(parameters.clone());
        let said = schema::walk(&mut matcher, &GEMMA4, &choices);
        let found = arguments(&said);
        prop_assert!(schema::fits(&found, &parameters, &parameters), "{found} for {parameters}");
    }
}
