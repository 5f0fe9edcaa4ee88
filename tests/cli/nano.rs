//! The model inside the program: what it answers, from one end to the other.

use super::*;
use serde_json::{Value, json};

const CALCULATOR: &str = r#"[{"type": "function", "function": {"name": "calculator",
    "description": "Evaluates arithmetic", "parameters": {"type": "object", "properties": {"expression":
    {"type": "string", "description": "What to calculate"}}, "required": ["expression"]}}}]"#;
const SCHEMA: &str = r#"{"type": "object", "properties": {"job": {"type": "string"}, "name": {"type": "string"}},
    "required": ["job", "name"], "additionalProperties": false}"#;

fn nano(arguments: &[&str]) -> Done {
    done(lemmy(["run", "nano", "--temp", "0"]).args(arguments))
}

#[test]
fn it_adds() {
    assert_eq!(nano(&["What is 12 + 30?"]).code(0).text(), "42\n");
}

#[test]
fn it_answers_where_no_model_is_named_and_says_what_it_is() {
    let named = nano(&["Hi"]).code(0);
    assert_eq!(named.text(), "Hello! How can I help you?\n");
    assert!(named.err.starts_with("Lemmy Nano, a demonstration model of ") && named.err.contains(" MB"), "{named:?}");
    assert_eq!(named.err.lines().count(), 1, "{named:?}");

    let unnamed = done(&mut lemmy(["run", "-p", "Hi", "--temp", "0"])).code(0);
    assert_eq!((unnamed.text(), &unnamed.err), (named.text(), &named.err));
    let piped = done_with(&mut lemmy(["run", "--temp", "0"]), b"Hi\n").code(0);
    assert_eq!(piped.text(), named.text());
    let chat = done_with(&mut lemmy(["chat", "--temp", "0"]), b"Hi\n").code(0);
    assert_eq!(chat.text(), named.text());
    assert!(chat.err.starts_with("Lemmy Nano"), "{chat:?}");
}

#[test]
fn a_file_of_its_name_goes_before_it() {
    let folder = Folder::new("nano");
    std::fs::copy(tiny(), folder.path("nano")).unwrap();
    std::fs::create_dir_all(folder.path("below/nano")).unwrap();
    let own = done(lemmy(["inspect", "nano", "--json"]).current_dir(&folder.0)).code(0).json();
    let inside = done(&mut lemmy(["inspect", "nano", "--json"])).code(0).json();
    assert_ne!(own["file_bytes"], inside["file_bytes"]);
    // A folder of its name may be any folder.
    let below = done(lemmy(["inspect", "nano", "--json"]).current_dir(folder.path("below"))).code(0).json();
    assert_eq!(below["file_bytes"], inside["file_bytes"]);
}

#[test]
fn other_commands_know_it_too() {
    let ids = done(&mut lemmy(["tokenize", "nano", "Hello"])).code(0);
    let ids: Vec<_> = ids.text().split_whitespace().collect();
    assert_eq!(done(lemmy(["detokenize", "nano"]).args(ids)).code(0).text(), "Hello");
    done(&mut lemmy(["estimate", "nano"])).code(0);
}

#[test]
fn a_call_is_one_line_of_json() {
    let folder = Folder::new("calculator");
    std::fs::write(folder.path("tools.json"), CALCULATOR).unwrap();
    let tools = folder.path("tools.json");
    let called = nano(&["Calculate 322 - 131.", "--tools", text(&tools)]).code(0);
    let call: Value = serde_json::from_str(called.text()).unwrap_or_else(|e| panic!("{e}: {called:?}"));
    assert_eq!((&call["name"], &call["arguments"]), (&json!("calculator"), &json!({ "expression": "322 - 131" })));
    let whole = nano(&["Calculate 322 - 131.", "--tools", text(&tools), "--json"]).code(0).json();
    assert_eq!((&whole["finish"], &whole["tool_calls"]), (&json!("tool_calls"), &json!([call])));
    // No call where none fits, but where one has to be.
    let plain = nano(&["Hi"]).code(0);
    assert_eq!(nano(&["Hi", "--tools", text(&tools)]).code(0).text(), plain.text());
    for choice in ["required", "calculator"] {
        let forced = nano(&["Hi", "--tools", text(&tools), "--tool-choice", choice, "--json"]).code(0).json();
        assert_eq!(forced["tool_calls"][0]["name"], "calculator", "{forced}");
        assert!(forced["tool_calls"][0]["arguments"]["expression"].is_string(), "{forced}");
    }
}

#[test]
fn an_answer_in_json_holds_what_was_said() {
    let folder = Folder::new("json");
    std::fs::write(folder.path("schema.json"), SCHEMA).unwrap();
    let text_of_it = "Extract job and name as JSON: Vera works as a doctor, owns 62 coins and has a pet wolf.";
    let json = nano(&[text_of_it, "--format", text(&folder.path("schema.json"))]).code(0).json();
    assert_eq!(json, json!({ "job": "doctor", "name": "Vera" }));
    assert!(nano(&[text_of_it, "--format", "json"]).code(0).json().is_object());
}

#[test]
fn thoughts_come_when_asked_and_go_to_stderr() {
    let question = "What is 12 + 30?";
    let thought = nano(&[question, "--think=on", "--json"]).code(0).json();
    assert_eq!(thought["text"], "42");
    let thinking = thought["thinking"].as_str().unwrap();
    assert!(!thinking.is_empty(), "{thought}");
    assert!(thought["usage"]["thinking_tokens"].as_u64().unwrap() > 0);
    assert_eq!(nano(&[question, "--json"]).code(0).json()["thinking"], "");

    let shown = nano(&[question, "--think=on", "--show-thinking=show"]).code(0);
    assert_eq!(shown.text(), "42\n");
    assert!(shown.err.contains(thinking.trim()), "{shown:?}");
    let hidden = nano(&[question, "--think=on"]).code(0);
    assert_eq!((hidden.text(), hidden.err.lines().count()), ("42\n", 1));
    let folded = nano(&[question, "--think=on", "--show-thinking=fold"]).code(0);
    assert!(folded.err.contains("thought for ") && !folded.err.contains(thinking.trim()), "{folded:?}");
    let budget = nano(&[question, "--think=2", "--json"]).code(0).json();
    assert!(budget["usage"]["thinking_tokens"].as_u64() < thought["usage"]["thinking_tokens"].as_u64(), "{budget}");
}

#[test]
fn a_name_is_remembered_by_another_process() {
    let folder = Folder::new("memory");
    let kept = folder.path("kept.session");
    nano(&["My name is Sam.", "--save-session", text(&kept)]).code(0);
    let answer = nano(&["What is my name?", "--load-session", text(&kept), "--json"]).code(0).json();
    assert!(answer["text"].as_str().unwrap().contains("Sam"), "{answer}");
    assert!(answer["usage"]["cached_tokens"].as_u64().unwrap() > 0);
    let chat = done_with(&mut lemmy(["chat", "--temp", "0"]), b"My name is Sam.\nWhat is my name?\n").code(0);
    assert_eq!(chat.text().lines().last(), answer["text"].as_str());
}

#[test]
fn instructions_change_the_answer() {
    let plain = nano(&["Hi"]).code(0);
    let loud = nano(&["Hi", "--system", "Answer in capital letters."]).code(0);
    assert_eq!(loud.text(), plain.text().to_uppercase());
}
