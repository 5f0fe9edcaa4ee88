#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

const CANONICAL: &str = include_str!("../canonical.jinja");
const OLDER: [(&str, &str); 3] = [
    ("2026-04-launch", include_str!("../../../tests/fixtures/chat/chat_template.2026-04-launch.jinja")),
    ("2026-04-10", include_str!("../../../tests/fixtures/chat/chat_template.2026-04-10.jinja")),
    ("2026-04-28", include_str!("../../../tests/fixtures/chat/chat_template.2026-04-28.jinja")),
];

fn rows(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn conversations() -> Vec<Json> {
    rows(include_str!("../../../tests/fixtures/chat/golden.jsonl"))
}

fn variables(conversation: &Json) -> Map<String, Json> {
    let mut variables = conversation["options"].as_object().unwrap().clone();
    variables.insert("messages".into(), conversation["messages"].clone());
    variables.insert("tools".into(), conversation["tools"].clone());
    variables
}

/// Compares with what Jinja2 printed, or with the error that it stopped with.
fn check(engine: &Engine, conversation: &Json, expected: &Json) {
    let name = &conversation["name"];
    let rendered = engine.render(&variables(conversation));
    match expected["error"].as_str() {
        None => assert_eq!(rendered.unwrap(), expected["rendered"], "{name}"),
        // Python takes a dictionary for a sequence of its keys and fails at the first; here it prints as the mapping that
        // it is, in all templates that come so far.
        Some(_) if name == "call_resp_obj" => {
            let text = conversation["lemmy_rendered"].as_str().unwrap();
            let null = if expected["template"].is_null() { "null" } else { "None" };
            assert_eq!(rendered.unwrap(), text.replace("note:null", &format!("note:{null}")), "{name}");
        }
        Some(error) => {
            let message = error.strip_prefix("TemplateError: ").unwrap_or_default();
            let found = rendered.unwrap_err().to_string();
            assert!(found.contains(message), "{name}: {found}");
        }
    }
}

#[test]
fn canonical_template_equals_jinja2() {
    let conversations = conversations();
    assert_eq!(conversations.len(), 115);
    for trust in [Trust::Known, Trust::Unknown] {
        let engine = Engine::new(CANONICAL, trust).unwrap();
        conversations.iter().for_each(|conversation| check(&engine, conversation, conversation));
    }
}

#[test]
fn older_templates_equal_jinja2() {
    let conversations = conversations();
    let by_name: HashMap<&str, &Json> = conversations.iter().map(|c| (c["name"].as_str().unwrap(), c)).collect();
    let trust = Trust::Known;
    let engines = OLDER.map(|(date, source)| (date, Engine::new(source, trust).unwrap()));
    let rows = rows(include_str!("../../../tests/fixtures/chat/golden_older_templates.jsonl"));
    assert_eq!(rows.len(), 345);
    for row in &rows {
        let (_, engine) = engines.iter().find(|(date, _)| row["template"] == *date).unwrap();
        check(engine, by_name[row["name"].as_str().unwrap()], row);
    }
}

/// The error of a template that must stop soon, without memory or stack being used up.
fn stopped(source: &str) -> String {
    let start = Instant::now();
    let result = Engine::new(source, Trust::Unknown).and_then(|engine| engine.render(&variables(&conversations()[0])));
    assert!(start.elapsed() < Duration::from_secs(60), "{source}");
    match result {
        Err(Error::Template(message)) => message,
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn endless_loops_end() {
    let ranges = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}";
    let ends = "{% endfor %}{% endfor %}{% endfor %}";
    assert!(stopped(&format!("{ranges}{ends}")).contains("did not end within"));
    assert!(stopped(&format!("{ranges}{{% set x = a + b + c %}}{ends}")).contains("did not end within"));
    assert!(stopped("{% for x in ['a'] recursive %}{{ loop(['a']) }}{% endfor %}").contains("recursion"));
}

#[test]
fn deep_recursion_ends() {
    assert!(stopped("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}").contains("recursion"));
    let nested = format!("{}x{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    assert!(stopped(&nested).contains("recursion"));
    let brackets = format!("{{{{ {}1{} }}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(stopped(&brackets).contains("recursion"));
}

#[test]
fn output_bombs_end() {
    stopped("{{ 'x' * 1000000000000 }}");
    stopped("{{ 'x' * 100000000 }}");
    stopped("{{ [1] * 1000000000 }}");
    stopped("{{ ([1] * 1000000000) | tojson }}");
    stopped(
        "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    );
    stopped("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
    let long = "x".repeat(1000);
    let printed = stopped(&format!("{{% for i in range(99999) %}}{long}{{% endfor %}}"));
    assert!(printed.contains("prints more than"), "{printed}");
    let source = " ".repeat(limits::TEMPLATE_BYTES + 1);
    assert!(stopped(&source).contains("bytes of source"));
}

#[test]
fn deep_values_end() {
    let repeated = |set: &str| {
        format!(
            "{{% set ns = namespace(x=[], m={{}}) %}}{{% set x = [] %}}{{% for i in range(99999) %}}{set}{{% endfor %}}"
        )
    };
    let wraps = [
        "[ns.x]",
        "{'a': ns.x}",
        "(ns.x, 1)",
        "ns.x, 1",
        "dict(a=ns.x)",
        "[ns.x] + [1]",
        "[ns.x] * 2",
        "namespace(a=ns.x)",
    ];
    let reasons = ["nested too deep", "in a namespace", "did not end within"];
    for value in wraps {
        let message = stopped(&repeated(&format!("{{% set ns.x = {value} %}}")));
        assert!(reasons.iter().any(|reason| message.contains(reason)), "{value}: {message}");
    }
    stopped(&repeated("{% set ns.x | default([ns.x], true) %}{% endset %}"));
    stopped(&repeated("{% macro m() %}{{ ns.x }}{% endmacro %}{% set ns.x = m %}"));
    stopped("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}");
    stopped(&format!("{{% set x = [] %}}{}{{{{ x }}}}", "{% set x = [[[[[[[[[[x]]]]]]]]]] %}".repeat(1000)));
    // Within one expression and through the arguments of macros: deep, but bounded.
    let wrapped = format!("{}x{}", "[".repeat(100), "]".repeat(100));
    for use_of in ["", "{{ x }}", "{{ x == [x] }}", "{{ x | string | length }}"] {
        stopped(&format!("{{% macro m(x) %}}{use_of}{{{{ m({wrapped}) }}}}{{% endmacro %}}{{{{ m([]) }}}}"));
    }
}

#[test]
fn nothing_outside_can_be_reached() {
    for source in [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends '/etc/passwd' %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ open('/etc/passwd').read() }}",
        "{{ strftime_now('%Y') }}",
    ] {
        stopped(source);
    }
    let engine = Engine::new("{{ 'clock' if strftime_now is defined else 'no clock' }}", Trust::Known).unwrap();
    assert_eq!(engine.render(&Map::new()).unwrap(), "no clock");
}

#[test]
fn json_prints_as_in_python() {
    let value = json!({"b": [1, 2.0, 1e20, true, null, "é<>&'\"\n"], "a": {}, "c": []});
    let variables = Map::from_iter([("v".to_owned(), value)]);
    // Python 3: json.dumps(v, ensure_ascii=False, ...) with the same arguments.
    let rows = [
        ("v | tojson", r#"{"b": [1, 2.0, 1e+20, true, null, "é<>&'\"\n"], "a": {}, "c": []}"#),
        ("v.b | tojson(separators=[',', ':'])", r#"[1,2.0,1e+20,true,null,"é<>&'\"\n"]"#),
        (
            "v | tojson(sort_keys=true, ensure_ascii=false)",
            r#"{"a": {}, "b": [1, 2.0, 1e+20, true, null, "é<>&'\"\n"], "c": []}"#,
        ),
        ("{'x': [1, 2]} | tojson(indent=2)", "{\n  \"x\": [\n    1,\n    2\n  ]\n}"),
    ];
    for (expression, text) in rows {
        assert_eq!(
            Engine::new(&format!("{{{{ {expression} }}}}"), Trust::Known).unwrap().render(&variables).unwrap(),
            text
        );
    }
}
