//! Structured answers: JSON schemas, regular expressions, Lark grammars, and what is refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lemmy_core::grammar::{Grammars, Matcher};
use lemmy_core::sampler::TokenMask;
use lemmy_core::{Constraint, Error, ErrorKind, Special, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

static GEMMA4: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(&vocabulary::gguf()).unwrap());
static GRAMMARS: LazyLock<Grammars> = LazyLock::new(|| Grammars::new(&GEMMA4).unwrap());

fn json_schema(schema: &Value) -> Constraint {
    Constraint::JsonSchema(schema.to_string())
}

fn regex(text: &str) -> Constraint {
    Constraint::Regex(text.into())
}

fn lark(text: &str) -> Constraint {
    Constraint::Lark(text.into())
}

/// Whether an answer goes through, the mask and the matcher being of one mind at each token.
fn takes(constraint: &Constraint, answer: &str) -> bool {
    let mut matcher = GRAMMARS.answer(constraint).unwrap();
    for id in GEMMA4.encode(&format!("{answer}<turn|>"), Special::Parse) {
        let allowed = matcher.allowed().unwrap().contains(id);
        assert_eq!(matcher.accept(id).is_ok(), allowed, "{answer}: token {id} {:?}", GEMMA4.decode(&[id]));
        if !allowed {
            assert!(!matcher.is_finished());
            return false;
        }
    }
    assert!(matcher.is_finished());
    true
}

#[track_caller]
fn check(constraint: &Constraint, good: &[&str], bad: &[&str]) {
    for answer in good {
        assert!(takes(constraint, answer), "{answer:?} must fit {constraint:?}");
    }
    for answer in bad {
        assert!(!takes(constraint, answer), "{answer:?} must not fit {constraint:?}");
    }
}

#[test]
fn json_objects() {
    let any = json_schema(&json!({ "type": "object" }));
    check(
        &any,
        &["{}", r#"{"a": [1, {"b": null}], "c": "ü\n"}"#, "{\n  \"a\": 1\n}"],
        &["[]", "1", "", "{\"a\"}", "{'a': 1}"],
    );
    // The model cannot fill its context with blanks.
    check(&any, &["{\n\n  \"a\":  1}"], &["{\n\n\n\"a\":1}", &format!("{{{}}}", " ".repeat(40))]);
    check(&json_schema(&json!(true)), &["1", "\"a\"", "{}"], &["a"]);

    let person = json_schema(&json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "minLength": 1 }, "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "mail": { "type": "string", "format": "email" }, "mood": { "enum": ["good", "bad"] },
            "friend": { "$ref": "#" }, "nick": { "type": "string", "nullable": true },
        },
        "required": ["name", "age"], "additionalProperties": false,
    }));
    check(
        &person,
        &[
            r#"{"name": "Zoë", "age": 30}"#,
            r#"{"name":"A","age":0,"mail":"a@b.org","mood":"good","friend":{"name":"B","age":1},"nick":null}"#,
        ],
        &[
            r#"{"name": ""}"#,
            r#"{"name": "A"}"#,
            r#"{"name": "A", "age": 151}"#,
            r#"{"name": "A", "age": 1, "mood": "so-so"}"#,
            r#"{"name": "A", "age": 1, "extra": 1}"#,
            r#"{"name": "A", "age": 1, "friend": {}}"#,
        ],
    );
    let shapes = json_schema(&json!({ "oneOf": [
        { "type": "object", "properties": { "a": { "type": "integer" } }, "required": ["a"] },
        { "type": "object", "properties": { "b": { "type": "integer" } }, "required": ["b"] },
    ] }));
    check(&shapes, &[r#"{"a":1}"#, r#"{"b":1}"#], &["{}"]);
}

#[test]
fn regular_expressions() {
    check(&regex("[a-c]{2,3}"), &["ab", "abc"], &["a", "abcd", "xab"]);
    check(&regex("(?i)yes|no"), &["YES", "no"], &["yesno", ""]);
    check(&regex("^a+$"), &["aaa"], &["b"]);
    check(&regex("a*"), &["", "aaaa"], &["b"]);
    check(&regex(r"https?://\w+\.org/(\d+|[äöü]+)"), &["http://x.org/12", "https://x.org/ü"], &["ftp://x.org/1"]);
    check(&regex(".*\n."), &["two\nl"], &["one"]);
    check(&regex(""), &[""], &["a"]);
}

#[test]
fn lark_grammars() {
    let sum = lark("start: NUMBER (\"+\" NUMBER)*\nNUMBER: /[0-9]+/\n%ignore / /");
    check(&sum, &["1", "1+2", "1 + 20+3"], &["", "+", "1+", "1  +  +"]);
    let json = lark("start: \"answer: \" %json { \"type\": \"integer\" }");
    check(&json, &["answer: 12"], &["answer: x"]);
    // Control tokens are written by name or by number.
    let marked = lark(&format!("start: <|channel> /[a-z]+/ <[{}]>", GEMMA4.find("<channel|>").unwrap()));
    check(&marked, &["<|channel>thought<channel|>"], &["thought"]);
    let spelled = GEMMA4.encode("<|channel>", Special::Text);
    assert!(GRAMMARS.answer(&marked).unwrap().accept(spelled[0]).is_err(), "text is no control token");
}

#[test]
fn answers_end_with_any_end_token_and_then_nothing() {
    let mut matcher = GRAMMARS.answer(&regex("ab?")).unwrap();
    let ends = GEMMA4.end_of_generation();
    let (a, b) = (GEMMA4.find("a").unwrap(), GEMMA4.find("b").unwrap());
    assert!(ends.iter().all(|&end| !matcher.allowed().unwrap().contains(end)));
    assert!(matches!(matcher.accept(ends[0]), Err(Error::Argument { name: "token", .. })));
    matcher.accept(a).unwrap();
    assert!(matcher.allowed().unwrap().contains(b));
    for &end in ends {
        assert!(matcher.allowed().unwrap().contains(end));
        matcher.accept(end).unwrap();
        assert!(matcher.is_finished() && matcher.allowed().unwrap().is_empty() && matcher.accept(b).is_err());
        matcher.rollback(1).unwrap();
        assert!(!matcher.is_finished());
    }
    matcher.accept(b).unwrap();
    // The text cannot go on, but its end must be said.
    assert!(!matcher.is_finished());
    assert_eq!(matcher.allowed().unwrap().iter().collect::<Vec<_>>(), ends);
    matcher.accept(ends[0]).unwrap();
    matcher.rollback(3).unwrap();
    assert!(matcher.rollback(1).is_err());
    assert!(matches!(matcher.accept(u32::MAX), Err(Error::Argument { name: "token", .. })));
    matcher.accept(a).unwrap();
}

/// The masks are those of the text, whichever tokens it is cut into: a token is allowed exactly if its bytes are.
#[test]
fn masks_are_exact() {
    let mut matcher = GRAMMARS.answer(&regex("(foo|bar)[0-9]{2}")).unwrap();
    let language: Vec<String> =
        ["foo", "bar"].iter().flat_map(|word| (0..100).map(move |n| format!("{word}{n:02}"))).collect();
    let mut text = Vec::new();
    for said in ["f", "oo", "1", "7"] {
        let expected = TokenMask::none(GEMMA4.vocab_size());
        let expected = (0..GEMMA4.vocab_size() as u32).fold(expected, |mut mask, id| {
            let next = [&text, GEMMA4.piece(id)].concat();
            if !GEMMA4.is_control(id)
                && next.len() > text.len()
                && language.iter().any(|word| word.as_bytes().starts_with(&next))
            {
                mask.insert(id);
            }
            mask
        });
        assert_eq!(*matcher.allowed().unwrap(), expected, "after {:?}", String::from_utf8_lossy(&text));
        matcher.accept(GEMMA4.find(said).unwrap()).unwrap();
        text.extend(said.as_bytes());
    }
}

fn reason(constraint: &Constraint) -> String {
    match GRAMMARS.answer(constraint) {
        Err(Error::Argument { name: "constraint", reason }) => reason,
        other => panic!("{constraint:?}: {other:?}"),
    }
}

#[test]
fn refusals_name_what_is_wrong() {
    let with =
        |key: &str, value: Value| json_schema(&json!({ "type": "object", "properties": { "a": { key: value } } }));
    let cases = [
        (with("$ref", json!("https://example.org/schema")), "at `/properties/a/$ref`"),
        (with("$ref", json!("#/$defs/no")), "$defs"),
        (with("not", json!({})), "not"),
        (with("if", json!({})), "if"),
        (with("uniqueItems", json!(true)), "uniqueItems"),
        (with("patternProperties", json!([])), "at `/properties/a/patternProperties`"),
        (with("x-guidance", json!({})), "x-guidance"),
        (with("multipleOf", json!(1e-9)), "multipleOf"),
        (with("maximum", json!(1e300)), "2^53"),
        (with("maxLength", json!(1u64 << 40)), "maxLength"),
        (json_schema(&json!({ "type": "string", "format": "colour" })), "colour"),
        (json_schema(&json!({ "type": "string", "pattern": "(?=a)" })), "look"),
        (json_schema(&json!({ "type": "text" })), "text"),
        (json_schema(&json!(false)), "false"),
        (json_schema(&json!([])), "expected an object"),
        (Constraint::JsonSchema("{".into()), "EOF"),
        (Constraint::JsonSchema(" ".repeat(300_000)), "300000 bytes"),
        (regex("("), "unclosed"),
        (regex("a\\"), "escape"),
        (regex(r"(a)\1"), "backreference"),
        (regex(r"\bword"), "look"),
        (lark("begin: \"a\""), "start"),
        (lark("start: nothing"), "nothing"),
        (lark("start: \"a"), "lexer"),
        (lark("start: <no_such_token>"), "no_such_token"),
        (lark(""), "start"),
    ];
    for (constraint, expected) in cases {
        let reason = reason(&constraint);
        assert!(reason.contains(expected), "{constraint:?}: {reason:?} lacks {expected:?}");
        assert!(
            !reason.contains("<state>") && !reason.contains("verbose") && !reason.contains("backtrace"),
            "{reason}"
        );
    }
}

#[test]
fn harmless_keywords_are_not_refused() {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "T", "type": "object", "x-order": 1,
        "properties": { "a": {
            "type": "array", "uniqueItems": false, "items": { "type": "integer", "format": "int32" },
            "description": "d", "default": [], "examples": [[1]], "discriminator": { "propertyName": "k" },
        } },
    });
    assert!(takes(&json_schema(&schema), r#"{"a": [1, 1]}"#));
}

/// Grammars made to hurt: each is refused or followed within a time that has a bound, and nothing panics.
#[test]
fn hostile_grammars() {
    let repeat = |unit: &str, n: usize| unit.repeat(n);
    let nested = |open: &str, core: &str, close: &str, n| format!("{}{core}{}", repeat(open, n), repeat(close, n));
    let doubling: Value = (0..24)
        .map(|i| {
            let next = json!({ "$ref": format!("#/$defs/d{}", i + 1) });
            (format!("d{i}"), json!({ "allOf": [{ "anyOf": [next, { "type": "null" }] }, { "anyOf": [next, { "type": "integer" }] }] }))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    let wide: Value =
        (0..1024).map(|i| (format!("p{i}"), json!({ "type": "integer" }))).collect::<serde_json::Map<_, _>>().into();
    let texts: Vec<String> = (0..5000).map(|i| format!("value number {i}")).collect();
    let long_rules: String = (0..4000).map(|i| format!("r{i}: \"a\" r{}\n", i + 1)).collect();
    // Not to be timed with the first of them.
    LazyLock::force(&GRAMMARS);
    let constraints = [
        regex(&nested("(", "a", ")", 8_000)),
        regex(&nested("(", "a", "*)*", 240)),
        regex(&nested("(", "a", "{1000})", 10)),
        regex("(a|b)*a(a|b){30}"),
        regex("((a{0,1000}){0,1000}){0,1000}"),
        regex(".{0,30000}x.{0,30000}y"),
        regex(&repeat("(.*a)?", 2000)),
        regex(&repeat(r"\p{L}{1,50}[^\p{Lu}]", 200)),
        regex(&repeat("[", 16_000)),
        regex("a{4294967295}{4294967295}"),
        regex("\u{0}\u{7f}\u{ffff}[\u{10ffff}]"),
        lark(&nested("start: ", &nested("(", "\"a\"", ")", 30_000), "", 1)),
        lark(&format!("start: r0\n{long_rules}r4000: \"b\"")),
        lark("start: start"),
        lark("start: start start | \"a\""),
        lark("start: a\na: a a | a | \"\""),
        lark("start: \"a\"{0,100000}{0,100000}"),
        lark("start: x{1000000}\nx: \"a\" | \"b\""),
        lark(&format!("start: {}", repeat("\"a\" | ", 9_000) + "\"b\"")),
        lark("start: A\nA: B\nB: A"),
        lark("start: <[0-4294967295]>"),
        lark("start: <[99999999]>"),
        lark("start: @other"),
        lark("start: /a/ & /b/"),
        lark("start: A\nA: /.{1000}/ & /(a|b)*c(a|b){200}/ & ~/x*/"),
        lark("start: s\ns[stop=\"b\", max_tokens=0]: /.*/"),
        lark("%llguidance {\"allow_invalid_utf8\": true}\nstart: /[\\x80-\\xff]*/"),
        lark(&format!("start: %json {}", nested("{\"items\":", "{}", "}", 100))),
        lark("start: %lark { start: %lark { start: \"a\" } }"),
        lark("\u{0}\u{1}\u{fffd}"),
        Constraint::JsonSchema(nested("[", "", "]", 100_000)),
        Constraint::JsonSchema(nested("{\"items\":", "{}", "}", 60)),
        Constraint::JsonSchema(nested("{\"anyOf\":[", "{}", "]}", 60)),
        json_schema(&json!({ "$ref": "#" })),
        json_schema(&json!({ "allOf": [{ "$ref": "#" }, { "$ref": "#" }] })),
        json_schema(&json!({ "$ref": "#/$defs/d0", "$defs": doubling })),
        json_schema(&json!({ "type": "object", "properties": wide, "additionalProperties": { "type": "null" } })),
        json_schema(&json!({ "enum": texts })),
        json_schema(
            &json!({ "type": "string", "pattern": "^(a|aa|aaa)*(b|bb)*$", "minLength": 1000, "maxLength": 2000 }),
        ),
        json_schema(&json!({ "type": "string", "pattern": "^(.*a){20}$", "maxLength": 30000 })),
        json_schema(
            &json!({ "type": "array", "items": { "type": "string", "pattern": "(x+x+)+y" }, "minItems": 30000 }),
        ),
        json_schema(&json!({ "type": "integer", "minimum": -9e15, "maximum": 9e15, "multipleOf": 9999 })),
        json_schema(&json!({ "type": "integer", "minimum": 1, "maximum": 1, "multipleOf": 7 })),
        json_schema(&json!({ "type": "number", "multipleOf": 0.0003, "exclusiveMaximum": -1e-300 })),
        json_schema(&json!({ "allOf": [{ "multipleOf": 9999 }, { "multipleOf": 9998 }, { "multipleOf": 9997 }] })),
        json_schema(&json!({ "type": "string", "format": "é".repeat(200) })),
        json_schema(&json!({ "type": "é".repeat(200), "required": "é".repeat(200) })),
        json_schema(&json!({ "minLength": -1 })),
        json_schema(&json!({ "required": [1], "properties": [] })),
        json_schema(&json!({ "patternProperties": { "(a|b)*c": {}, "(a|b)*d": {}, "[a-c]*": {} } })),
    ];
    for constraint in &constraints {
        let start = Instant::now();
        let name: String = format!("{constraint:?}").chars().take(80).collect();
        let result = GRAMMARS.answer(constraint).and_then(|mut matcher| follow(&mut matcher));
        if let Err(error) = result {
            // An internal error would be a panic that the engine caught.
            assert_eq!(error.kind(), ErrorKind::Argument, "{name}: {error}");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
    }
}

/// Takes what comes, for some steps.
fn follow(matcher: &mut Matcher) -> lemmy_core::Result<()> {
    for step in 0..20 {
        let allowed: Vec<u32> = matcher.allowed()?.iter().take(1000).collect();
        let Some(&id) = allowed.get(step * 7919 % allowed.len().max(1)) else { break };
        matcher.accept(id)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_masks_let_through_fits(schema in schema::schemas(), choices in prop::collection::vec(any::<u32>(), 0..60)) {
        let mut matcher = GRAMMARS.answer(&json_schema(&schema)).unwrap();
        let said = schema::walk(&mut matcher, &GEMMA4, &choices);
        let text = GEMMA4.decode(&said);
        let found: Value = match serde_json::from_str(&text) {
            Ok(found) => found,
            // Sound JSON that f64 has no room for.
            Err(error) if error.to_string().contains("number out of range") => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{text}: {error}"))),
        };
        prop_assert!(schema::fits(&found, &schema, &schema), "{found} for {schema}");
    }
}
