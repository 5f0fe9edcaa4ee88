//! Tools in chat completions.

use super::*;

pub(crate) fn weather() -> Value {
    json!({"type": "function", "function": {"name": "get_weather", "description": "The current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "City name"}},
        "required": ["city"]}}})
}

fn calculator() -> Value {
    json!({"type": "function", "function": {"name": "calculator", "description": "Evaluates arithmetic",
        "parameters": {"type": "object", "properties": {"expression":
        {"type": "string", "description": "What to calculate"}}, "required": ["expression"]}}})
}

fn ask(text: &str, more: Value) -> Answer {
    shared().post(CHAT, &with(question(text), more))
}

#[test]
fn the_model_calls_and_goes_on_with_the_answer() {
    let body = with(question("What is the weather in Helsinki?"), json!({"tools": [weather(), calculator()]}));
    let called = shared().post(CHAT, &body).json();
    let choice = &called["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{called}");
    assert!(choice["message"]["content"].is_null(), "{called}");
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    assert!(call["id"].as_str().is_some_and(|id| id.starts_with("call_") && id.len() == 29), "{call}");
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments["city"], "Helsinki");
    let again = shared().post(CHAT, &body).json();
    assert_ne!(again["choices"][0]["message"]["tool_calls"][0]["id"], call["id"]);

    let messages = json!([{"role": "user", "content": "What is the weather in Helsinki?"}, choice["message"],
        {"role": "tool", "tool_call_id": call["id"], "content": "{\"condition\": \"sunny\", \"temperature\": 21}"}]);
    let told = shared().post(CHAT, &json!({"messages": messages, "tools": [weather()], "temperature": 0}));
    let told = told.content();
    assert!(told.contains("sunny") || told.contains("21"), "{told}");
}

#[test]
fn a_choice_of_tools_is_kept() {
    let tools = json!([weather(), calculator()]);
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    for choice in [json!("required"), named("calculator"), named("get_weather")] {
        let answer = ask("Hi", json!({"tools": tools, "tool_choice": choice})).json();
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        assert!(serde_json::from_str::<Value>(call["arguments"].as_str().unwrap_or_default()).is_ok(), "{answer}");
        if let Some(name) = choice.pointer("/function/name") {
            assert_eq!(&call["name"], name);
        }
    }
    for choice in [json!("auto"), json!("none")] {
        let answer = ask("Hi", json!({"tools": tools, "tool_choice": choice})).json();
        assert!(answer["choices"][0]["message"].get("tool_calls").is_none(), "{answer}");
    }
    let answer = ask("What is 12 + 30?", json!({"tools": [], "parallel_tool_calls": null}));
    assert_eq!(answer.content(), "42");
}

#[test]
fn choices_that_make_no_sense_are_refused() {
    let named = json!({"type": "function", "function": {"name": "other"}});
    for (more, param) in [
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": [weather()], "tool_choice": named}), "tool_choice"),
        (json!({"tools": [weather()], "tool_choice": "any"}), "tool_choice"),
        (json!({"tools": [{"type": "custom", "custom": {}}]}), "tools[0].type"),
        (json!({"tools": [weather(), {"type": "function", "function": {"name": "a b"}}]}), "tools[1].function.name"),
    ] {
        let answer = ask("Hi", more.clone());
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{more}");
    }
}

#[test]
fn one_call_is_enough_where_one_is_allowed() {
    let more = json!({"tools": [weather()], "tool_choice": "required", "parallel_tool_calls": false});
    let answer = ask("What is the weather in Helsinki and Rome?", more).json();
    assert_eq!(answer["choices"][0]["message"]["tool_calls"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn what_was_called_functions_still_works() {
    let more = json!({"functions": [weather()["function"]], "function_call": {"name": "get_weather"}});
    let answer = ask("Hi", more).json();
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "get_weather", "{answer}");
}
