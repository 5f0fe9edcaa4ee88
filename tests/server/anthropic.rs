//! Anthropic's `/v1/messages`.

use super::responses::{PIXEL, named_events};
use super::*;

const MESSAGES: &str = "/v1/messages";

fn ask(text: &str, more: Value) -> Value {
    with(with(question(text), json!({"max_tokens": 200})), more)
}

fn weather() -> Value {
    let function = tools::weather()["function"].clone();
    json!({"name": function["name"], "description": function["description"], "input_schema": function["parameters"]})
}

/// The content without the ids of its calls, which are new each time.
fn content(message: &Value) -> Vec<Value> {
    let mut blocks = message["content"].as_array().unwrap_or_else(|| panic!("{message}")).clone();
    for block in &mut blocks {
        block.as_object_mut().unwrap().remove("id");
    }
    blocks
}

#[track_caller]
fn problem(answer: &Answer, status: u16, kind: &str) -> String {
    let body = answer.json();
    let found = (answer.status, &body["type"], &body["error"]["type"]);
    assert_eq!(found, (status, &json!("error"), &json!(kind)), "{body}");
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"));
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_question_is_answered() {
    let answer = shared().post(MESSAGES, &ask("What is 12 + 30?", json!({"metadata": {"user_id": "x"}, "new": 1})));
    let message = answer.json();
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")), "{message}");
    assert_eq!(message["content"], json!([{"type": "text", "text": "42"}]));
    assert_eq!((&message["stop_reason"], &message["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    assert_eq!(message["lemmy_warnings"], json!(["new is not known here and was ignored"]));
    let usage = &message["usage"];
    let read = usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
    let counted = shared().post("/v1/messages/count_tokens", &question("What is 12 + 30?")).json();
    assert_eq!(counted, json!({"input_tokens": read}));
}

#[test]
fn instructions_come_as_text_or_blocks() {
    let blocks = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    let count = |system: Value| {
        let body = with(question("Hi"), json!({"system": system}));
        shared().post("/v1/messages/count_tokens", &body).json()["input_tokens"].as_u64().unwrap()
    };
    assert_eq!(count(json!("Be brief.")), count(blocks));
    assert!(count(json!("Be brief.")) > count(Value::Null));
}

#[test]
fn tools_are_used_and_their_results_are_read() {
    let question = json!({"role": "user", "content": "What is the weather in Paris?"});
    let body = json!({"messages": [question], "tools": [weather()], "max_tokens": 200, "temperature": 0});
    let called = shared().post(MESSAGES, &body).json();
    assert_eq!(called["stop_reason"], "tool_use", "{called}");
    let call = called["content"].as_array().unwrap().last().unwrap();
    assert_eq!((&call["name"], &call["input"]), (&json!("get_weather"), &json!({"city": "Paris"})), "{called}");
    assert!(call["id"].as_str().is_some_and(|id| id.starts_with("toolu_")), "{call}");
    let result = json!({"type": "tool_result", "tool_use_id": call["id"],
        "content": [{"type": "text", "text": "{\"weather\": \"sunny\", \"temperature\": 21}"}]});
    let messages = json!([question, {"role": "assistant", "content": called["content"]},
        {"role": "user", "content": [result]}]);
    let told = shared().post(MESSAGES, &with(body.clone(), json!({"messages": messages}))).json();
    let text = told["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("sunny") || text.contains("21"), "{told}");

    let hello = json!([{"role": "user", "content": "Hi"}]);
    for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "get_weather"})] {
        let forced = with(body.clone(), json!({"messages": hello, "tool_choice": choice}));
        let forced = shared().post(MESSAGES, &forced).json();
        assert_eq!(forced["content"].as_array().unwrap().last().unwrap()["name"], "get_weather", "{forced}");
    }
    let never = with(body, json!({"tool_choice": {"type": "none"}, "max_tokens": 30}));
    let never = shared().post(MESSAGES, &never).json();
    assert!(content(&never).iter().all(|block| block["type"] != "tool_use"), "{never}");
}

#[test]
fn events_add_up_to_the_whole_message() {
    for body in [
        ask("What is 12 + 30?", json!({})),
        ask("What is 12 + 30?", json!({"thinking": {"type": "enabled", "budget_tokens": 1024}})),
        ask("What is the weather in Paris?", json!({"tools": [weather()]})),
        ask("Tell me a story.", json!({"max_tokens": 12})),
        ask("What is 12 + 30?", json!({"stop_sequences": ["2"]})),
    ] {
        let whole = shared().post(MESSAGES, &body).json();
        let events = named_events(&shared().post(MESSAGES, &with(body.clone(), json!({"stream": true}))));
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let (first, last) = (&events[0], &events[events.len() - 2]);
        assert_eq!((kinds[0], kinds[kinds.len() - 2]), ("message_start", "message_delta"), "{kinds:?}");
        assert_eq!(*kinds.last().unwrap(), "message_stop");
        assert_eq!((&first["message"]["content"], &first["message"]["stop_reason"]), (&json!([]), &Value::Null));
        let read = |usage: &Value| {
            usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap()
        };
        assert_eq!(read(&first["message"]["usage"]), read(&whole["usage"]));
        for name in ["stop_reason", "stop_sequence"] {
            assert_eq!(last["delta"][name], whole[name], "{whole}");
        }
        assert_eq!(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
        assert_eq!(content(&json!({"content": blocks(&events)})), content(&whole), "{body}");
    }
}

/// The blocks of a stream, put together; the rules of their events are checked on the way.
#[track_caller]
fn blocks(events: &[Value]) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut json = String::new();
    let mut is_open = false;
    for event in events {
        let kind = event["type"].as_str().unwrap();
        if kind == "content_block_start" {
            assert!(!is_open);
            blocks.push(event["content_block"].clone());
            (is_open, json) = (true, String::new());
        }
        if !kind.starts_with("content_block_") {
            assert!(!is_open, "{event}");
            continue;
        }
        assert_eq!(event["index"], blocks.len() - 1, "{event}");
        let block = blocks.last_mut().unwrap();
        if kind == "content_block_stop" {
            is_open = false;
            if block["type"] == "tool_use" {
                block["input"] = serde_json::from_str(&json).unwrap();
            }
            assert!(block["type"] != "thinking" || block["signature"] != "", "{block}");
        }
        let delta = &event["delta"];
        let (name, more) = match delta["type"].as_str() {
            None => continue,
            Some("text_delta") => ("text", &delta["text"]),
            Some("thinking_delta") => ("thinking", &delta["thinking"]),
            Some("signature_delta") => ("signature", &delta["signature"]),
            Some("input_json_delta") => {
                json.push_str(delta["partial_json"].as_str().unwrap());
                continue;
            }
            Some(other) => panic!("{other}"),
        };
        assert!(name == "signature" || block["signature"].as_str().is_none_or(str::is_empty), "signed before its end");
        block[name] = (block[name].as_str().unwrap().to_owned() + more.as_str().unwrap()).into();
    }
    blocks
}

#[test]
fn a_reply_ends_for_a_named_reason() {
    let end = |body: Value| {
        let message = shared().post(MESSAGES, &body).json();
        (message["stop_reason"].clone(), message["stop_sequence"].clone())
    };
    let stopped = end(ask("What is 12 + 30?", json!({"stop_sequences": ["never", "2"]})));
    assert_eq!(stopped, (json!("stop_sequence"), json!("2")));
    assert_eq!(end(ask("Tell me a story.", json!({"max_tokens": 4}))), (json!("max_tokens"), Value::Null));
}

#[test]
fn what_the_assistant_began_is_gone_on_with() {
    let messages = json!([{"role": "user", "content": "What is 12 + 30?"}, {"role": "assistant", "content": "4"}]);
    let message = shared().post(MESSAGES, &json!({"messages": messages, "max_tokens": 20, "temperature": 0})).json();
    assert_eq!(message["content"][0]["text"], "2", "{message}");
}

#[test]
fn a_schema_is_kept() {
    let schema = json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false});
    let config = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let message = shared().post(MESSAGES, &ask("What is 12 + 30?", config)).json();
    let value: Value = serde_json::from_str(message["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(value["answer"].is_i64(), "{message}");
}

#[test]
fn problems_have_the_shape_of_the_dialect() {
    let bad = |body: Value| problem(&shared().post(MESSAGES, &body), 400, "invalid_request_error");
    assert!(bad(question("Hi")).starts_with("max_tokens: "));
    assert!(bad(json!({"max_tokens": 5})).starts_with("messages: "));
    let document = json!([{"role": "user", "content": [{"type": "document"}]}]);
    assert!(bad(json!({"max_tokens": 5, "messages": document})).starts_with("messages[0].content[0].type: "));
    let source = json!({"type": "base64", "media_type": "image/png", "data": PIXEL});
    let picture = json!([{"role": "user", "content": [{"type": "image", "source": source}]}]);
    bad(json!({"max_tokens": 5, "messages": picture}));
    assert!(
        bad(ask("Hi", json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}))).starts_with("tools[0].type: ")
    );
    let nothing = [("content-type", "application/json")];
    problem(&shared().send("GET", MESSAGES, &nothing, b""), 405, "invalid_request_error");
    let keyed = Server::start(&["--api-key", "secret", "--parallel", "1"]);
    problem(&keyed.client.post(MESSAGES, &ask("Hi", json!({}))), 401, "authentication_error");
    let headers = [("content-type", "application/json"), ("x-api-key", "secret"), ("anthropic-version", "2023-06-01")];
    let body = ask("What is 12 + 30?", json!({})).to_string();
    assert_eq!(keyed.client.send("POST", MESSAGES, &headers, body.as_bytes()).status, 200);
}

#[test]
fn silence_is_broken_by_pings() {
    let body = ask(&"word ".repeat(2000), json!({"stream": true, "max_tokens": 2, "sse_ping_interval": 0.001}));
    let server = Server::start(&["--parallel", "1"]);
    let events = named_events(&server.client.post(MESSAGES, &body));
    assert!(events.iter().any(|event| *event == json!({"type": "ping"})), "{events:?}");
}
