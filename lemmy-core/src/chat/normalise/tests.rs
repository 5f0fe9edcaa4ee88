#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use crate::chat::{Chat, ChatTemplate, Message, RenderOptions, Tool, messages_from_json, tools_from_json};
use crate::limits;

const LAUNCH: &str = include_str!("../../../tests/fixtures/chat/chat_template.2026-04-launch.jinja");
const APRIL_10: &str = include_str!("../../../tests/fixtures/chat/chat_template.2026-04-10.jinja");
const APRIL_28: &str = include_str!("../../../tests/fixtures/chat/chat_template.2026-04-28.jinja");

fn chat(messages: &str) -> Chat {
    Chat { messages: messages_from_json(messages).unwrap(), ..Chat::default() }
}

fn shown(template: &str, chat: &Chat) -> (String, Vec<String>) {
    let template = if template.is_empty() { ChatTemplate::canonical() } else { ChatTemplate::new(template) }.unwrap();
    let warnings = template.normalise(chat).unwrap().warnings;
    (template.render(chat, &RenderOptions::for_generation()).unwrap(), warnings)
}

/// The turns after `<bos><|turn>user\nq<turn|>\n`.
fn turns(template: &str, messages: &str) -> (String, Vec<String>) {
    let user = r#"{"role":"user","content":"q"}"#;
    let (text, warnings) = shown(template, &chat(&format!("[{user},{messages}]")));
    (text.strip_prefix("<bos><|turn>user\nq<turn|>\n").unwrap().to_owned(), warnings)
}

const CALL: &str = r#"{"id":"1","function":{"name":"f","arguments":"{\"x\":1}"}}"#;
const OFF: &str = "<|turn>model\n<|channel>thought\n<channel|>";

#[test]
fn text_before_calls_comes_before_them() {
    let messages = format!(
        r#"{{"role":"assistant","content":"Look.","reasoning_content":"hm","tool_calls":[{CALL}]}},
           {{"role":"tool","tool_call_id":"1","content":"r"}}"#
    );
    let call = "<|tool_call>call:f{x:1}<tool_call|><|tool_response>response:f{value:<|\"|>r<|\"|>}<tool_response|>";
    let canonical = format!("<|turn>model\n<|channel>thought\nhm\n<channel|>Look.{call}");
    assert_eq!(turns("", &messages), (canonical, vec![]));
    let launch = format!("<|turn>model\nLook.<turn|>\n<|turn>model\n{call}<|channel>thought\n<channel|>");
    assert_eq!(turns(LAUNCH, &messages), (launch, vec![]));
    for april in [APRIL_10, APRIL_28] {
        let (text, warnings) = turns(april, &messages);
        assert_eq!(text, format!("<|turn>model\n<|channel>thought\nhm\n<channel|>{call}Look.<turn|>\n{OFF}"));
        assert_eq!(warnings, ["this chat template shows what was said before a tool call after it"]);
    }
    let answered = format!(r#"{messages},{{"role":"assistant","content":"Done."}},{{"role":"user","content":"next"}}"#);
    let end = format!("<turn|>\n<|turn>user\nnext<turn|>\n{OFF}");
    assert_eq!(turns("", &answered).0, format!("<|turn>model\nLook.{call}Done.{end}"));
    assert_eq!(turns(LAUNCH, &answered).0, format!("<|turn>model\nLook.<turn|>\n<|turn>model\n{call}Done.{end}"));
    for april in [APRIL_10, APRIL_28] {
        assert_eq!(turns(april, &answered).0, format!("<|turn>model\n{call}Look.\n\nDone.{end}"));
    }
}

#[test]
fn answers_that_follow_each_other_are_well_formed() {
    let messages = r#"{"role":"assistant","content":" b "},{"role":"assistant","content":"c"}"#;
    assert_eq!(turns("", messages).0, format!("<|turn>model\nbc<turn|>\n{OFF}"));
    assert_eq!(turns(LAUNCH, messages).0, format!("<|turn>model\nb<turn|>\n<|turn>model\nc<turn|>\n{OFF}"));
    for april in [APRIL_10, APRIL_28] {
        assert_eq!(turns(april, messages).0, format!("<|turn>model\nbc<turn|>\n{OFF}"));
    }
}

#[test]
fn results_find_their_calls() {
    let calls = |ids: [&str; 2]| {
        let call = |id: &str, name: &str| format!(r#"{{"id":"{id}","function":{{"name":"{name}","arguments":""}}}}"#);
        format!(r#"{{"role":"assistant","tool_calls":[{},{}]}}"#, call(ids[0], "f"), call(ids[1], "g"))
    };
    let result = |id: &str, name: &str, text: &str| {
        format!(r#"{{"role":"tool","tool_call_id":"{id}","name":"{name}","content":"{text}"}}"#)
    };
    let response =
        |name: &str, text: &str| format!("<|tool_response>response:{name}{{value:<|\"|>{text}<|\"|>}}<tool_response|>");
    let rows = [
        // Ids as they should be, in another order.
        (["1", "2"], [("2", "", "b"), ("1", "", "a")], [("g", "b"), ("f", "a")], vec![]),
        // None; the order counts, or the name.
        (["", ""], [("", "", "a"), ("", "", "b")], [("f", "a"), ("g", "b")], vec![]),
        (["", ""], [("", "g", "b"), ("", "", "a")], [("g", "b"), ("f", "a")], vec![]),
        // The same twice.
        (["1", "1"], [("1", "", "a"), ("1", "", "b")], [("f", "a"), ("g", "b")], vec!["is taken"]),
        // Unknown ones.
        (["1", "2"], [("x", "", "a"), ("2", "", "b")], [("f", "a"), ("g", "b")], vec!["no call has the id \"x\""]),
        // An id that is known and one that is not.
        (["1", ""], [("1", "", "a"), ("y", "", "b")], [("f", "a"), ("g", "b")], vec!["no call has the id \"y\""]),
    ];
    for (ids, results, expected, warnings) in rows {
        let results = results.map(|(id, name, text)| result(id, name, text));
        let messages = format!("{},{},{}", calls(ids), results[0], results[1]);
        for template in ["", LAUNCH, APRIL_10, APRIL_28] {
            let (text, found) = turns(template, &messages);
            let responses: String = expected.iter().map(|(name, text)| response(name, text)).collect();
            assert!(text.contains(&responses), "{messages}: {text}");
            assert_eq!(found.len(), warnings.len(), "{found:?}");
            assert!(found.iter().zip(&warnings).all(|(found, expected)| found.contains(expected)), "{found:?}");
        }
    }
}

#[test]
fn lost_and_late_results_are_named() {
    let (text, warnings) =
        turns("", r#"{"role":"tool","tool_call_id":"1","content":"r"},{"role":"assistant","content":"a"}"#);
    assert_eq!(text, format!("<|turn>model\na<turn|>\n{OFF}"));
    assert_eq!(warnings, ["messages[1]: this result has no call before it; it is left out"]);

    let late = format!(
        r#"{{"role":"assistant","tool_calls":[{CALL}]}},{{"role":"user","content":"well?"}},{{"role":"tool","tool_call_id":"1","content":"r"}}"#
    );
    let (text, warnings) = turns("", &late);
    assert!(text.contains("<tool_call|><|tool_response>response:f{value:<|\"|>r<|\"|>}<tool_response|>"), "{text}");
    assert_eq!(warnings, ["messages[3]: this result comes late; it is shown at its call"]);

    let result = r#"{"role":"tool","content":"r"}"#;
    let (text, warnings) = turns("", &format!(r#"{{"role":"assistant","tool_calls":[{CALL}]}},{result},{result}"#));
    assert!(text.contains("response:unknown{") && text.contains("response:f{"), "{text}");
    assert_eq!(warnings, ["messages[3]: there are more results than calls"]);
}

#[test]
fn results_of_every_kind_print_as_values() {
    let rows = [
        ("\"text\"", "value:<|\"|>text<|\"|>"),
        ("{\"a\":[1,{\"b\":null}]}", "a:[1,{b:null}]"),
        ("[{\"type\":\"json\",\"json\":[1,\"x\"]}]", "value:[1,<|\"|>x<|\"|>]"),
        ("12.50", "value:12.5"),
        ("true", "value:true"),
    ];
    for (content, shown) in rows {
        let messages = format!(r#"{{"role":"assistant","tool_calls":[{CALL}]}},{{"role":"tool","content":{content}}}"#);
        for template in ["", LAUNCH, APRIL_10, APRIL_28] {
            let (text, _) = turns(template, &messages);
            let shown = if template.is_empty() { shown.into() } else { shown.replace("null", "None") };
            assert!(text.contains(&format!("response:f{{{shown}}}<tool_response|>")), "{text}");
        }
    }
}

#[test]
fn thoughts_are_kept_where_the_template_wants_them() {
    let turn = format!(
        r#"{{"role":"assistant","reasoning_content":"old","content":"Look.","tool_calls":[{CALL}]}},{{"role":"tool","content":"r"}},
           {{"role":"assistant","reasoning_content":"plain","content":"a"}},{{"role":"user","content":"next"}}"#
    );
    assert!(!turns("", &turn).0.contains("old"));
    let mut chat = chat(&format!("[{turn}]"));
    chat.preserve_thinking = true;
    let (text, _) = shown("", &chat);
    assert!(text.contains("Look.<|channel>thought\nold\n<channel|><|tool_call>"), "{text}");
    assert!(!text.contains("plain"));
}

#[test]
fn limits_and_errors_are_typed() {
    let tool = |name: &str, parameters: &str| Tool {
        name: name.into(),
        description: String::new(),
        parameters_json: parameters.into(),
        strict: false,
    };
    let call = |arguments: String| Message::Assistant {
        text: String::new(),
        thinking: None,
        tool_calls: vec![crate::chat::ToolCall { id: String::new(), name: "f".into(), arguments_json: arguments }],
    };
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let render = |messages: Vec<Message>, tools: Vec<Tool>| {
        let chat = Chat { messages, tools, ..Chat::default() };
        let texts = ["", LAUNCH, APRIL_10, APRIL_28].map(|template| {
            let template = if template.is_empty() { ChatTemplate::canonical() } else { ChatTemplate::new(template) };
            template.unwrap().render(&chat, &RenderOptions::default())
        });
        texts.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
    };
    let user = || Message::user("x");
    assert!(render(vec![user(), call(nested(limits::JSON_DEPTH))], vec![]).is_ok());
    let schema = |depth: usize| {
        let object = |inner: String| format!("{{\"type\":\"object\",\"properties\":{{\"a\":{inner}}}}}");
        (0..depth).fold("{\"type\":\"string\"}".to_owned(), |inner, _| object(inner))
    };
    assert!(render(vec![user()], vec![tool("f", &schema(limits::SCHEMA_DEPTH))]).is_ok());
    let turn = |i| if i % 2 == 0 { user() } else { Message::assistant("x") };
    // Steps grow with the square of the messages, as their bound does: a quarter shows it in a sixteenth of the time.
    let many = (0..limits::CHAT_MESSAGES / 4).map(turn).collect();
    let many = Chat { messages: many, tools: vec![tool("f", ""); limits::TOOLS], ..Chat::default() };
    assert!(ChatTemplate::canonical().unwrap().render(&many, &RenderOptions::default()).is_ok());
    let properties: Vec<String> = (0..20_000).map(|i| format!("\"p{i}\":{{\"type\":\"integer\"}}")).collect();
    let wide = vec![tool("f", &format!("{{\"properties\":{{{}}}}}", properties.join(",")))];
    let wide = Chat { messages: vec![user()], tools: wide, ..Chat::default() };
    assert!(ChatTemplate::canonical().unwrap().render(&wide, &RenderOptions::default()).is_ok());
    let rows = [
        (vec![user(); limits::CHAT_MESSAGES + 1], vec![], "messages: 4097, at most 4096"),
        (vec![user()], vec![tool("f", ""); limits::TOOLS + 1], "tools: 257, at most 256"),
        (vec![Message::user("x".repeat(limits::CHAT_BYTES + 1))], vec![], "bytes of text, at most"),
        (
            vec![user(), call(nested(limits::JSON_DEPTH + 1))],
            vec![],
            "messages[1].tool_calls[0].arguments: nested deeper",
        ),
        (
            vec![user(), call("[1]".into())],
            vec![],
            "messages[1].tool_calls[0].arguments: expected the text of a JSON object",
        ),
        (vec![user()], vec![tool("f", &schema(limits::SCHEMA_DEPTH + 1))], "tools[0].parameters_json: nested deeper"),
        (vec![user()], vec![tool("a b", "")], "tools[0].name: found \"a b\""),
        (vec![user()], vec![tool("", "")], "tools[0].name: found \"\""),
        (vec![user()], vec![tool("f", "{")], "tools[0].parameters_json: not JSON"),
        (vec![user()], vec![tool("f", "[]")], "tools[0].parameters_json: found no JSON object"),
    ];
    for (messages, tools, expected) in rows {
        let error = render(messages, tools).unwrap_err();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

/// Conversations of the goldens, read as messages: the same text, but where it is a repair or another way to hold it.
#[test]
fn golden_conversations_come_out_the_same_as_messages() {
    let rows = include_str!("../../../tests/fixtures/chat/golden.jsonl").lines();
    let mut same = 0;
    let mut other = Vec::new();
    for row in rows.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let Ok(messages) = messages_from_json(&row["messages"].to_string()) else { continue };
        let tools = if row["tools"].is_null() { Ok(vec![]) } else { tools_from_json(&row["tools"].to_string()) };
        let Ok(tools) = tools else { continue };
        let option = |name: &str| row["options"][name] == true;
        let chat = Chat {
            messages,
            tools,
            thinking: option("enable_thinking"),
            preserve_thinking: option("preserve_thinking"),
        };
        let options = RenderOptions { add_generation_prompt: option("add_generation_prompt") };
        let text = ChatTemplate::canonical().unwrap().render(&chat, &options).unwrap();
        match row.get("rendered").or(row.get("lemmy_rendered")) {
            Some(expected) if *expected == text => same += 1,
            _ => other.push(row["name"].as_str().unwrap().to_owned()),
        }
    }
    let by_design = [
        "system_parts",             // no space after the last part
        "strip_thinking_parts",     // the parts of an answer are one text
        "no_bos",                   // there is one always
        "call_resp_unknown",        // results find their calls
        "call_resp_wrong_id",       // the same
        "call_with_content",        // text before the calls
        "call_with_content_answer", // the same
        "call_args_string_error",   // arguments are read from their text
        "dup_ids",                  // results find their calls
        "call_no_ids",              // the same
    ];
    assert_eq!((same, other), (93, by_design.map(String::from).to_vec()));
}
