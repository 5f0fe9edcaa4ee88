//! `lemmy run` as a turn of a conversation. The tiny model's weights are random, so nothing here looks at what it says.

use super::*;

const SCHEMA: &str = r#"{"type": "object", "properties": {"shape": {"enum": ["round", "square"]}}, "required": ["shape"],
    "additionalProperties": false}"#;
const TOOLS: &str = r#"[{"type": "function", "function": {"name": "find", "description": "Finds things.",
    "parameters": {"type": "object", "properties": {"what": {"enum": ["cat", "dog"]}}, "required": ["what"]}}}]"#;

fn answer(arguments: &[&str]) -> Done {
    done(lemmy(["run", &tiny(), "Hello", "--temp", "0", "-n", "20"]).args(arguments))
}

#[test]
fn the_prompt_is_a_turn_and_raw_text_is_not() {
    let tokens = |arguments: &[&str]| {
        let json = answer(&[arguments, &["--json"]].concat()).code(0).json();
        json["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let turn = tokens(&[]);
    assert!(tokens(&["--raw"]) < turn);
    assert!(tokens(&["--system", "Be brief."]) > turn);
    let folder = Folder::new("system");
    std::fs::write(folder.path("system.txt"), "Be brief.\n").unwrap();
    assert_eq!(tokens(&["--system-file", text(&folder.path("system.txt"))]), tokens(&["-sys", "Be brief."]));
}

#[test]
fn one_object_has_all_of_it() {
    let json = answer(&["--json"]).code(0).json();
    for key in ["model", "text", "thinking", "tool_calls", "tokens", "finish", "seed", "usage", "timings"] {
        assert!(json.get(key).is_some(), "{key} in {json}");
    }
    let tokens = json["tokens"].as_array().unwrap().len() as u64;
    assert_eq!(json["usage"]["completion_tokens"], tokens);
}

#[test]
fn events_are_lines_that_add_up() {
    let whole = answer(&["--json"]).code(0).json();
    let events = answer(&["--stream-json"]).code(0);
    let events: Vec<serde_json::Value> =
        events.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts = events.iter().filter(|event| event["event"] == "text").map(|event| event["text"].as_str().unwrap());
    assert_eq!(texts.collect::<String>(), whole["text"]);
    let last = events.last().unwrap();
    assert_eq!(last["event"], "finished");
    assert_eq!((&last["finish"], &last["usage"]), (&whole["finish"], &whole["usage"]));
    let failed = done(&mut lemmy(["run", "no-such.gguf", "a", "--stream-json"])).code(3);
    assert_eq!(failed.json()["error"]["kind"], "not_found");
}

#[test]
fn an_answer_fits_its_schema() {
    let folder = Folder::new("schema");
    std::fs::write(folder.path("schema.json"), SCHEMA).unwrap();
    let schema = folder.path("schema.json");
    for seed in ["1", "2", "3"] {
        let mut command = lemmy(["run", &tiny(), "A ball?", "--temp", "1", "--seed", seed, "-n", "200", "--format"]);
        let json = done(command.arg(&schema)).code(0).json();
        assert!(json["shape"] == "round" || json["shape"] == "square", "{json}");
    }
    std::fs::write(&schema, "{").unwrap();
    answer(&["--format", text(&schema)]).code(2).says("constraint");
    answer(&["--format", "no-such.json"]).code(3).says("no-such.json");
}

#[test]
fn tools_that_cannot_be_called_are_refused() {
    let folder = Folder::new("tools");
    std::fs::write(folder.path("tools.json"), TOOLS).unwrap();
    let tools = folder.path("tools.json");
    answer(&["--tools", text(&tools), "--tool-choice", "required"]).code(5).says("<|tool_call>");
    answer(&["--tools", text(&tools), "--tool-choice", "lose"]).code(2).says("expected one of the 1 tools: find");
    std::fs::write(&tools, r#"[{"type": "function"}]"#).unwrap();
    answer(&["--tools", text(&tools)]).code(2).says("tools[0]");
}

#[test]
fn a_conversation_goes_on_in_another_process() {
    let folder = Folder::new("session");
    let kept = folder.path("kept.session");
    let first = answer(&["--save-session", text(&kept), "--json"]).code(0).json();
    let both = ["--load-session", text(&kept), "--json"];
    let second = answer(&both).code(0).json();
    assert!(second["usage"]["prompt_tokens"].as_u64().unwrap() > first["usage"]["total_tokens"].as_u64().unwrap());
    // What the prompt puts before an answer without thoughts is no part of the conversation.
    assert!(second["usage"]["cached_tokens"].as_u64().unwrap() > 0);
    assert_eq!(answer(&both).code(0).json()["tokens"], second["tokens"], "loading changes nothing");

    answer(&["--load-session", "no-such.session"]).code(3).says("no-such.session");
    answer(&["--load-session", &tiny()]).code(5).says("saved session");
    answer(&["--load-session", text(&kept), "--system", "a"]).code(2).says("cannot be used with");
}

#[test]
fn guesses_and_caches_of_other_types() {
    let plain = answer(&["--json", "-n", "60"]).code(0).json();
    let guessed = answer(&["--json", "-n", "60", "--speculate", "8"]).code(0).json();
    assert_eq!(guessed["tokens"], plain["tokens"]);
    answer(&["--kv-type", "f32"]).code(0);
    answer(&["--kv-type", "q4_0"]).code(2).says("q4_0");
}

#[test]
fn a_file_without_a_template_continues_text() {
    let folder = Folder::new("base");
    let base = folder.path("base.gguf");
    let mut bytes = std::fs::read(tiny()).unwrap();
    let mark = b"<|turn>";
    while let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
        bytes[at + 2] = b'T';
    }
    std::fs::write(&base, bytes).unwrap();
    let run =
        |arguments: &[&str]| done(lemmy(["run", text(&base), "Hello", "--temp", "0", "-n", "20"]).args(arguments));
    let chosen = run(&[]).code(0);
    assert!(chosen.err.contains("no chat template") && chosen.err.contains("--raw"), "{chosen:?}");
    let asked = run(&["--raw"]).code(0);
    assert_eq!((asked.err.as_str(), &asked.out), ("", &chosen.out));
    run(&["--system", "a"]).code(2).says("--system: found no chat template");
    done(&mut lemmy(["chat", text(&base)])).code(2).says("found no chat template");
}

#[test]
fn the_word_behind_think_is_the_prompt_unless_it_is_a_value() {
    let count = |arguments: &[&str]| {
        let json = done(lemmy(["run", "-m", &tiny(), "--json", "-n", "1"]).args(arguments)).code(0).json();
        json["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let thinking = count(&["--think=on", "Hello"]);
    assert_eq!(count(&["--think", "Hello"]), thinking);
    assert_eq!(count(&["--think", "on", "Hello"]), thinking);
    assert_eq!(count(&["--think", "50", "Hello"]), thinking);
    assert_ne!(count(&["--think", "off", "Hello"]), thinking);
}
