//! OpenAI's `/v1/responses`.

use super::*;

/// A picture of one pixel: well formed, but this model cannot see.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const RESPONSES: &str = "/v1/responses";

fn ask(more: Value) -> Value {
    with(json!({"input": "What is 12 + 30?", "temperature": 0}), more)
}

fn weather() -> Value {
    let function = tools::weather()["function"].clone();
    with(json!({"type": "function"}), function)
}

/// The items of an answer without their ids, which are new each time.
fn items(response: &Value) -> Vec<Value> {
    let mut items = response["output"].as_array().unwrap_or_else(|| panic!("{response}")).clone();
    for item in &mut items {
        for name in ["id", "call_id"] {
            item.as_object_mut().unwrap().remove(name);
        }
    }
    items
}

/// The events of a stream; what each is called stands before its data as well as in them.
#[track_caller]
pub(crate) fn named_events(answer: &Answer) -> Vec<Value> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{}", answer.text());
    let read = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("{event:?}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json!(name.strip_prefix("event: ")), data["type"], "{event}");
        data
    };
    answer.text().split_terminator("\n\n").map(read).collect()
}

#[test]
fn a_question_is_answered() {
    let answer = shared().post(RESPONSES, &ask(json!({"metadata": {"a": "b"}, "new": 1}))).json();
    assert_eq!((&answer["object"], &answer["status"]), (&json!("response"), &json!("completed")), "{answer}");
    assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("resp_")), "{answer}");
    assert_eq!(answer["output"][0]["content"][0]["text"], "42", "{answer}");
    assert_eq!(answer["metadata"], json!({"a": "b"}));
    assert_eq!((&answer["store"], &answer["temperature"]), (&json!(false), &json!(0.0)));
    assert_eq!(answer["lemmy_warnings"], json!(["new is not known here and was ignored"]));
    let usage = &answer["usage"];
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    assert_eq!(tokens("input_tokens") + tokens("output_tokens"), tokens("total_tokens"));

    let counted = shared().post("/v1/responses/input_tokens", &ask(json!({}))).json();
    assert_eq!(counted["input_tokens"], usage["input_tokens"], "{counted}");
    let chat = shared().post(CHAT, &question("What is 12 + 30?")).json();
    assert_eq!(chat["usage"]["prompt_tokens"], usage["input_tokens"], "the same prompt in another dialect");
}

#[test]
fn tools_are_called_and_their_answers_are_read() {
    let question = json!({"role": "user", "content": "What is the weather in Paris?"});
    let body = json!({"input": [question], "tools": [weather()], "temperature": 0});
    let called = shared().post(RESPONSES, &body).json();
    let call = called["output"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("get_weather")), "{called}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments["city"], "Paris");
    let output = json!({"type": "function_call_output", "call_id": call["call_id"],
        "output": "{\"weather\": \"sunny\", \"temperature\": 21}"});
    let told = shared().post(RESPONSES, &with(body, json!({"input": [question, call, output]}))).json();
    let text = told["output"][0]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains("sunny") || text.contains("21"), "{told}");
}

#[test]
fn events_add_up_to_the_whole_answer() {
    for body in [
        ask(json!({})),
        ask(json!({"reasoning": {"effort": "high"}})),
        ask(json!({"input": "What is the weather in Paris?", "tools": [weather()]})),
        ask(json!({"input": "Tell me a story.", "max_output_tokens": 12})),
        ask(json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2})),
        ask(json!({"max_output_tokens": 0})),
    ] {
        let whole = shared().post(RESPONSES, &body).json();
        let events = named_events(&shared().post(RESPONSES, &with(body.clone(), json!({"stream": true}))));
        let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[..2], ["response.created", "response.in_progress"]);
        assert_eq!(*kinds.last().unwrap(), format!("response.{}", whole["status"].as_str().unwrap()), "{whole}");
        for (i, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], i, "{event}");
        }
        let last = &events.last().unwrap()["response"];
        assert_eq!(items(last), items(&whole), "{body}");
        assert_eq!(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
        assert_eq!(last["incomplete_details"], whole["incomplete_details"]);
        check_items(&events, &last["output"]);
    }
}

/// Each item is added, filled by its deltas, and done, before the next one begins.
#[track_caller]
fn check_items(events: &[Value], output: &Value) {
    let mut rest = events.iter().filter(|event| event.get("output_index").is_some()).peekable();
    for (i, item) in output.as_array().unwrap().iter().enumerate() {
        let added = rest.next().unwrap();
        assert_eq!((&added["type"], &added["output_index"]), (&json!("response.output_item.added"), &json!(i)));
        assert_eq!((&added["item"]["id"], &added["item"]["status"]), (&item["id"], &json!("in_progress")));
        let mut said = String::new();
        let mut kinds = Vec::new();
        loop {
            let event = rest.next().unwrap();
            let kind = event["type"].as_str().unwrap();
            if kind == "response.output_item.done" {
                assert_eq!(event["item"], *item);
                break;
            }
            assert_eq!((&event["item_id"], &event["output_index"]), (&item["id"], &json!(i)), "{event}");
            said.push_str(event["delta"].as_str().unwrap_or_default());
            if kinds.last() != Some(&kind) {
                kinds.push(kind);
            }
        }
        let name = match item["type"].as_str().unwrap() {
            "function_call" => {
                assert_eq!(item["arguments"], said);
                assert_eq!(kinds, ["response.function_call_arguments.delta", "response.function_call_arguments.done"]);
                continue;
            }
            "reasoning" => "response.reasoning_text",
            _ => "response.output_text",
        };
        assert_eq!(item["content"][0]["text"], said);
        let (delta, done) = (format!("{name}.delta"), format!("{name}.done"));
        assert_eq!(kinds, ["response.content_part.added", &delta, &done, "response.content_part.done"]);
    }
    assert!(rest.peek().is_none(), "{:?}", rest.peek());
}

#[test]
fn thoughts_are_items_and_go_back_in() {
    let answer = shared().post(RESPONSES, &ask(json!({"reasoning": {"effort": "high"}}))).json();
    let output = answer["output"].as_array().unwrap();
    assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("reasoning"), &json!("message")), "{answer}");
    assert!(answer["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 0, "{answer}");
    let mut input = vec![json!({"role": "user", "content": "What is 12 + 30?"})];
    input.extend(output.iter().cloned());
    input.push(json!({"role": "user", "content": "What is 12 + 30?"}));
    let again = shared().post(RESPONSES, &ask(json!({"input": input}))).json();
    assert_eq!(again["output"][0]["content"][0]["text"], "42", "{again}");
}

#[test]
fn a_schema_is_kept() {
    let schema = json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false});
    let format = json!({"type": "json_schema", "name": "sum", "schema": schema, "strict": true});
    let answer = shared().post(RESPONSES, &ask(json!({"text": {"format": format}, "max_output_tokens": 60}))).json();
    let text = answer["output"][0]["content"][0]["text"].as_str().unwrap_or_default();
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert!(value["answer"].is_i64(), "{value}");
    let format = json!({"type": "json_schema", "name": "x", "schema": {"type": "nothing"}});
    let problem = refused(&shared().post(RESPONSES, &ask(json!({"text": {"format": format}}))), 400, "invalid_schema");
    assert_eq!(problem["param"], "text.format", "{problem}");
}

#[test]
fn what_would_need_a_memory_is_refused_by_name() {
    for (more, param) in [
        (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
        (json!({"conversation": "conv_1"}), "conversation"),
        (json!({"background": true}), "background"),
        (json!({"prompt": {"id": "p"}}), "prompt"),
        (json!({"truncation": "auto"}), "truncation"),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"input": [{"type": "item_reference", "id": "x"}]}), "input[0].type"),
    ] {
        let problem = refused(&shared().post(RESPONSES, &ask(more)), 400, "unsupported_parameter");
        assert_eq!(problem["param"], param);
    }
    let problem = refused(&shared().post(RESPONSES, &json!({})), 400, "missing_required_parameter");
    assert_eq!(problem["param"], "input");
    let long = ask(json!({"input": "word ".repeat(5000), "stream": true}));
    refused(&shared().post(RESPONSES, &long), 400, "context_length_exceeded");
    let part = json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PIXEL}")});
    let seen = shared().post(RESPONSES, &ask(json!({"input": [{"role": "user", "content": [part]}]})));
    assert_eq!(seen.status, 400, "{}", seen.text());
    let part = json!({"type": "input_image", "image_url": "https://example.com/a.png"});
    let fetched = shared().post(RESPONSES, &ask(json!({"input": [{"role": "user", "content": [part]}]})));
    let problem = refused(&fetched, 400, "unsupported_parameter");
    assert_eq!(problem["param"], "input[0].content[0].image_url");
}
