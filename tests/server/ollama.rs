//! Ollama's `/api/*`.

use super::responses::PIXEL;
use super::*;

const OLLAMA: &str = "/api/chat";

fn ask(text: &str, more: Value) -> Value {
    let message = json!([{"role": "user", "content": text}]);
    with(json!({"model": "nano", "messages": message, "stream": false, "options": {"temperature": 0}}), more)
}

/// The objects of a stream, one a line.
#[track_caller]
fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{}",
        answer.text()
    );
    assert!(answer.text().ends_with('\n'));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A message without the ids of its calls, which are new each time.
fn message(answer: &Value) -> Value {
    let mut message = answer["message"].clone();
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        call.as_object_mut().unwrap().remove("id");
    }
    message
}

#[test]
fn a_question_is_answered() {
    let answer = shared().post(OLLAMA, &ask("What is 12 + 30?", json!({"keep_alive": "5m", "new": 1}))).json();
    assert_eq!(answer["message"], json!({"role": "assistant", "content": "42"}), "{answer}");
    assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!(answer["lemmy_warnings"], json!(["new is not known here and was ignored"]));
    for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
        assert!(answer[name].is_u64(), "{name}: {answer}");
    }
    let chat = shared().post(CHAT, &question("What is 12 + 30?")).json();
    assert_eq!(answer["prompt_eval_count"], chat["usage"]["prompt_tokens"]);
    assert_eq!(answer["eval_count"], chat["usage"]["completion_tokens"]);
    let generated = json!({"prompt": "What is 12 + 30?", "stream": false, "options": {"temperature": 0}});
    let generated = shared().post("/api/generate", &generated).json();
    assert_eq!((&generated["response"], &generated["done"]), (&json!("42"), &json!(true)), "{generated}");
}

#[test]
fn lines_add_up_to_the_whole_answer() {
    for body in [
        ask("What is 12 + 30?", json!({})),
        ask("What is 12 + 30?", json!({"think": true})),
        ask("What is the weather in Paris?", json!({"tools": [tools::weather()]})),
        ask("Tell me a story.", json!({"options": {"num_predict": 12, "temperature": 0}})),
        ask("What is 12 + 30?", json!({"options": {"stop": ["2"], "temperature": 0}})),
    ] {
        let whole = shared().post(OLLAMA, &body).json();
        let mut streamed = body.clone();
        // Streams are what a client gets that does not say.
        streamed.as_object_mut().unwrap().remove("stream");
        let lines = lines(&shared().post(OLLAMA, &streamed));
        let (last, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line["done"] == false), "{others:?}");
        let mut sum = json!({"role": "assistant", "content": ""});
        for line in &lines {
            let said = message(line);
            for name in ["content", "thinking"] {
                if let Some(more) = said[name].as_str().filter(|more| !more.is_empty()) {
                    sum[name] = (sum[name].as_str().unwrap_or_default().to_owned() + more).into();
                }
            }
            if let Some(calls) = said["tool_calls"].as_array() {
                let mut all = sum["tool_calls"].as_array().cloned().unwrap_or_default();
                all.extend(calls.iter().cloned());
                sum["tool_calls"] = all.into();
            }
        }
        assert_eq!(sum, message(&whole), "{body}");
        assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &whole["done_reason"]));
        assert_eq!(last["eval_count"], whole["eval_count"]);
    }
}

#[test]
fn tools_are_called_and_their_answers_are_read() {
    let body = ask("What is the weather in Paris?", json!({"tools": [tools::weather()]}));
    let called = shared().post(OLLAMA, &body).json();
    let call = &called["message"]["tool_calls"][0]["function"];
    assert_eq!((&call["name"], &call["arguments"]), (&json!("get_weather"), &json!({"city": "Paris"})), "{called}");
    let messages = json!([body["messages"][0], called["message"], {"role": "tool", "tool_name": "get_weather",
        "content": "{\"weather\": \"sunny\", \"temperature\": 21}"}]);
    let told = shared().post(OLLAMA, &with(body.clone(), json!({"messages": messages}))).json();
    let text = told["message"]["content"].as_str().unwrap_or_default();
    assert!(text.contains("sunny") || text.contains("21"), "{told}");
}

#[test]
fn thoughts_stand_beside_the_answer() {
    for think in [json!(true), json!("low")] {
        let answer = shared().post(OLLAMA, &ask("What is 12 + 30?", json!({"think": think}))).json();
        assert!(answer["message"]["thinking"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
}

#[test]
fn a_format_is_kept() {
    let schema = json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false});
    let more = json!({"format": schema, "options": {"temperature": 0, "num_predict": 60}});
    let answer = shared().post(OLLAMA, &ask("What is 12 + 30?", more)).json();
    let value: Value = serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap();
    assert!(value["answer"].is_i64(), "{answer}");
}

#[test]
fn the_model_is_there_and_says_what_it_is() {
    for (path, body) in [("/api/generate", json!({"model": "nano"})), (OLLAMA, json!({"messages": []}))] {
        let answer = shared().post(path, &body).json();
        assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!("load")), "{answer}");
    }
    let tags = shared().get("/api/tags").json();
    let model = &tags["models"][0];
    assert!(model["size"].as_u64().is_some_and(|size| size > 0), "{tags}");
    assert_eq!((model["digest"].as_str().map(str::len), &model["details"]["format"]), (Some(64), &json!("gguf")));
    let running = shared().get("/api/ps").json();
    assert_eq!(
        (&running["models"][0]["name"], &running["models"][0]["context_length"]),
        (&model["name"], &json!(4096))
    );
    let shown = shared().post("/api/show", &json!({"model": model["name"]})).json();
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "thinking"]), "{shown}");
    assert!(shown["template"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(shown["model_info"]["tokenizer.ggml.tokens"], Value::Null);
    assert!(shown["model_info"]["general.architecture"].is_string());
    assert!(shared().get("/api/version").json()["version"].is_string());
}

#[test]
fn a_raw_prompt_is_shown_as_it_is() {
    let raw = json!({"prompt": "a b c", "raw": true, "stream": false, "options": {"num_predict": 1}});
    let answer = shared().post("/api/generate", &raw).json();
    let tokens = shared().post("/tokenize", &json!({"content": "a b c", "add_special": true})).json();
    assert_eq!(answer["prompt_eval_count"], tokens["tokens"].as_array().unwrap().len(), "{answer}");
}

#[test]
fn problems_are_sentences() {
    let said = |answer: Answer, status: u16| {
        let body = answer.json();
        assert_eq!((answer.status, body.as_object().unwrap().len()), (status, 1), "{body}");
        body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    };
    let bad = |more: Value| said(shared().post(OLLAMA, &ask("Hi", more)), 400);
    assert!(bad(json!({"options": {"num_ctx": 4097}})).starts_with("options.num_ctx: "));
    assert!(bad(json!({"options": {"temperature": "hot"}})).starts_with("options.temperature: "));
    assert!(bad(json!({"messages": [{"role": "robot", "content": ""}]})).starts_with("messages[0].role: "));
    bad(json!({"messages": [{"role": "user", "content": "What is it?", "images": [PIXEL]}]}));
    assert!(bad(json!({"format": "xml"})).starts_with("format: "));
    assert!(said(shared().post("/api/generate", &json!({"prompt": "a", "suffix": "b"})), 400).starts_with("suffix: "));
    for path in ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/embed"] {
        said(shared().post(path, &json!({"model": "x"})), 501);
    }
    said(shared().send("DELETE", "/api/delete", &[], b""), 501);
}
