#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::{Part, ToolCall, ToolOutput};

fn read(json: Value) -> Result<Vec<Message>> {
    messages_from_json(&json.to_string())
}

#[test]
fn what_clients_write_is_read() {
    let messages = read(json!([
        {"role": "developer", "content": [{"type": "text", "text": " Be brief. "}, {"type": "input_text", "text": "Please."}]},
        {"role": "user", "name": "ann", "content": "Hi"},
        {"role": "assistant", "content": null, "reasoning": "hm", "refusal": null, "tool_calls": [
            {"id": "a", "type": "function", "index": 0, "function": {"name": "f", "arguments": ""}},
            {"function": {"name": "g", "arguments": {"x": 1.0, "b": [null]}}},
        ]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]},
        {"role": "tool", "name": "g", "content": {"ok": true}},
        {"role": "assistant", "refusal": "No."},
    ]))
    .unwrap();
    let call = |id: &str, name: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: name.into(),
        arguments_json: arguments.into(),
    };
    let result =
        |call_id: &str, name: &str, output| Message::ToolResult { call_id: call_id.into(), name: name.into(), output };
    assert_eq!(
        messages,
        [
            Message::System("Be brief. Please.".into()),
            Message::user("Hi"),
            Message::Assistant {
                text: String::new(),
                thinking: Some("hm".into()),
                tool_calls: vec![call("a", "f", "{}"), call("", "g", r#"{"x":1.0,"b":[null]}"#)],
            },
            result("a", "", ToolOutput::Text("12".into())),
            result("", "g", ToolOutput::Json(r#"{"ok":true}"#.into())),
            Message::assistant("No."),
        ]
    );
}

#[test]
fn pictures_come_as_data_urls_or_by_index() {
    let given = [Image::from_bytes(*b"first"), Image::from_bytes(*b"second").budget(70)];
    let parts = json!([
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC", "detail": "high"}},
        {"type": "image_url", "image_url": "DATA:;base64,AAEC"},
        {"type": "input_image", "image_url": "data:image/gif;base64,AAEC", "detail": "low"},
        {"type": "image", "index": 1},
        {"type": "image", "index": 0, "soft_tokens": 1120},
        {"type": "image", "data": "AAEC"},
    ]);
    let messages = json!([{"role": "user", "content": parts}]).to_string();
    let bytes = || Image::from_bytes([0, 1, 2]);
    let expected =
        [bytes().budget(560), bytes(), bytes().budget(70), given[1].clone(), given[0].clone().budget(1120), bytes()];
    let read = messages_from_json_with_images(&messages, &given).unwrap();
    assert_eq!(read, [Message::User(expected.into_iter().map(Part::Image).collect())]);
    let error = messages_from_json(&messages).unwrap_err().to_string();
    assert!(error.contains("messages[0].content[3].index: found 1, but 0 pictures are given"), "{error}");
}

#[test]
fn errors_name_the_place() {
    let user = |part: Value| json!([{"role": "user", "content": [part]}]);
    let call = |function: Value| json!([{"role": "assistant", "tool_calls": [{"function": function}]}]);
    let rows = [
        (json!({}), "bad argument messages: expected a list, found an object"),
        (json!(["x"]), "messages[0]: expected an object, found a string"),
        (json!([{"content": "x"}]), "messages[0]: `role` is missing"),
        (json!([{"role": "robot"}]), "messages[0].role: found \"robot\""),
        (json!([{"role": "user"}]), "messages[0].content: is missing"),
        (json!([{"role": "user", "content": 1}]), "messages[0].content: expected a string or a list, found a number"),
        (json!([{"role": "user", "content": "x", "colour": 1}]), "messages[0]: the key \"colour\" is not known here"),
        (
            json!([{"role": "system", "content": [{"type": "image", "index": 0}]}]),
            "content[0]: only text can stand here",
        ),
        (json!([{"role": "assistant", "function_call": {}}]), "messages[0].function_call: is not supported"),
        (user(json!({"type": "video_url"})), "content[0].type: found \"video_url\""),
        (user(json!({"type": "text", "text": "x", "cache": 1})), "content[0]: the key \"cache\""),
        (user(json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}})), "image_url.url: only data URLs"),
        (user(json!({"type": "image_url", "image_url": "data:image/png,x"})), "expected data:image/...;base64,"),
        (user(json!({"type": "image_url", "image_url": "data:image/png;base64,A"})), "base64: its end"),
        (user(json!({"type": "image", "data": "AAEC", "detail": "huge"})), "detail: found \"huge\""),
        (user(json!({"type": "image", "data": "AAEC", "soft_tokens": 71})), "soft_tokens: expected 70, 140"),
        (
            call(json!({"name": "f", "arguments": "[]"})),
            "tool_calls[0].function.arguments: expected the text of a JSON",
        ),
        (call(json!({"name": "f", "arguments": "{"})), "tool_calls[0].function.arguments: not JSON"),
        (call(json!({"arguments": "{}"})), "tool_calls[0].function.name: is missing"),
    ];
    for (json, expected) in rows {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
    let tools = [
        (json!([{"type": "custom"}]), "tools[0].type: found \"custom\""),
        (json!([{"type": "function"}]), "tools[0].function: is missing"),
        (json!([{"function": {"name": "f", "parameters": []}}]), "tools[0].function.parameters: expected an object"),
        (json!([{"function": {"name": "f", "strict": 1}}]), "tools[0].function.strict: expected true or false"),
    ];
    for (json, expected) in tools {
        let error = tools_from_json(&json.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
    let many = format!("[{}1]", "1,".repeat(limits::CHAT_MESSAGES));
    assert!(messages_from_json(&many).unwrap_err().to_string().contains("4097 entries, at most 4096"));
}

#[test]
fn tools_are_read() {
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let tools = json!([
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": parameters, "strict": true}},
        {"function": {"name": "g", "description": null}},
    ]);
    let tool = |name: &str, description: &str, parameters_json: &str, strict| Tool {
        name: name.into(),
        description: description.into(),
        parameters_json: parameters_json.into(),
        strict,
    };
    let expected = [tool("f", "d", &parameters.to_string(), true), tool("g", "", "", false)];
    assert_eq!(tools_from_json(&tools.to_string()).unwrap(), expected);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..3).prop_map(|e| Value::Object(e.into_iter().collect())),
        ]
    })
}

fn a_message() -> impl Strategy<Value = Message> {
    let image =
        (prop::collection::vec(any::<u8>(), 0..8), prop::option::of(prop::sample::select(vec![70_u16, 280, 1120])));
    let image = image.prop_map(|(bytes, budget)| {
        let image = Image::from_bytes(bytes);
        budget.map_or(image.clone(), |budget| image.budget(budget))
    });
    let part = prop_oneof![any::<String>().prop_map(Part::Text), image.prop_map(Part::Image)];
    let arguments = prop::collection::vec((any::<String>(), value()), 0..3);
    let call = (any::<String>(), any::<String>(), arguments).prop_map(|(id, name, arguments)| ToolCall {
        id,
        name,
        arguments_json: Value::Object(arguments.into_iter().collect()).to_string(),
    });
    let output = prop_oneof![
        any::<String>().prop_map(ToolOutput::Text),
        value().prop_map(|value| ToolOutput::Json(value.to_string())),
    ];
    prop_oneof![
        any::<String>().prop_map(Message::System),
        prop::collection::vec(part, 0..4).prop_map(Message::User),
        (any::<String>(), any::<Option<String>>(), prop::collection::vec(call, 0..3))
            .prop_map(|(text, thinking, tool_calls)| Message::Assistant { text, thinking, tool_calls }),
        (any::<String>(), any::<String>(), output).prop_map(|(call_id, name, output)| Message::ToolResult {
            call_id,
            name,
            output
        }),
    ]
}

/// JSON that is nearly right: known keys and values in any places.
fn nearly() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "role",
        "content",
        "user",
        "assistant",
        "tool",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "{}",
        "id",
        "type",
        "text",
        "image_url",
        "url",
        "data:image/png;base64,AA",
        "index",
        "image",
        "parameters",
        "strict",
        "json",
    ]);
    let leaf = prop_oneof![word.clone().prop_map(Value::from), any::<i8>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        let word = word.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.prop_map(String::from), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_come_back(messages in prop::collection::vec(a_message(), 0..5)) {
        let json = messages_to_json(&messages).unwrap();
        prop_assert_eq!(messages_from_json(&json).unwrap(), messages, "{}", json);
    }

    #[test]
    fn no_text_makes_it_panic(text: String, json in nearly()) {
        for text in [text, json.to_string(), Value::Array(vec![json]).to_string()] {
            let _ = messages_from_json(&text).map(|messages| messages_to_json(&messages).unwrap());
            let _ = tools_from_json(&text);
        }
    }
}
