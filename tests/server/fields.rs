//! What the fields of a request do: honoured, ignored, refused, or named in a warning.

use super::*;

fn ask(more: Value) -> Answer {
    shared().post(CHAT, &with(question("What is 12 + 30?"), more))
}

#[test]
fn fields_that_change_nothing_are_taken_in_silence() {
    let answer = ask(json!({"user": "u", "metadata": {"a": "b"}, "store": true, "service_tier": "auto",
        "prompt_cache_key": "k", "safety_identifier": "s", "prediction": {}, "modalities": ["text"],
        "frequency_penalty": 0, "presence_penalty": null, "logit_bias": {}, "mirostat": 0, "lora": [],
        "stream_options": null, "tools": [], "response_format": {"type": "text"}, "top_k": 40, "min_p": 0.05,
        "typical_p": 1.0, "repeat_penalty": 1.1, "repeat_last_n": -1, "model": "gpt-4o", "cache_prompt": true,
        "id_slot": -1, "n": 1, "logprobs": false, "parallel_tool_calls": true, "verbosity": null}));
    assert_eq!(answer.content(), "42");
    assert!(answer.json().get("lemmy_warnings").is_none(), "{}", answer.text());
}

#[test]
fn what_is_not_known_is_named() {
    let answer = ask(json!({"brand_new": 1, "verbosity": "low",
        "chat_template_kwargs": {"chat_template": "{{ messages }}", "add_generation_prompt": false}}));
    assert_eq!(answer.content(), "42");
    let warnings = answer.json()["lemmy_warnings"].to_string();
    for name in ["brand_new", "verbosity", "chat_template_kwargs.chat_template", "add_generation_prompt"] {
        assert!(warnings.contains(name), "{name}: {warnings}");
    }
}

#[test]
fn what_cannot_be_had_is_refused_by_its_name() {
    let code = "unsupported_parameter";
    for (more, param) in [
        (json!({"audio": {"voice": "x"}}), "audio"),
        (json!({"web_search_options": {"a": 1}}), "web_search_options"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"mirostat": 2}), "mirostat"),
        (json!({"lora": [{"id": 0, "scale": 1}]}), "lora"),
        (json!({"grammar": "root ::= \"a\""}), "grammar"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
    ] {
        let error = refused(&ask(more.clone()), 400, code);
        assert_eq!((&error["param"], &error["type"]), (&json!(param), &json!("invalid_request_error")), "{more}");
    }
}

#[test]
fn ranges_hold_at_their_ends() {
    for good in [
        json!({"temperature": 5}),
        json!({"top_p": 1}),
        json!({"presence_penalty": -2}),
        json!({"n": 8, "max_tokens": 1}),
        json!({"stop": vec!["@@"; 16]}),
        json!({"stop": "x".repeat(256)}),
        json!({"seed": -1}),
        json!({"seed": i64::MIN}),
        json!({"max_tokens": -1}),
        json!({"logit_bias": [[5, 100]]}),
    ] {
        assert_eq!(ask(with(json!({"max_tokens": 2}), good.clone())).status, 200, "{good}");
    }
    for (bad, code, param) in [
        (json!({"temperature": -0.1}), "invalid_value", "temperature"),
        (json!({"temperature": 5.1}), "invalid_value", "temperature"),
        (json!({"temperature": "0"}), "invalid_type", "temperature"),
        (json!({"top_p": 1.1}), "invalid_value", "top_p"),
        (json!({"presence_penalty": 2.1}), "invalid_value", "presence_penalty"),
        (json!({"n": 9}), "invalid_value", "n"),
        (json!({"n": 0}), "invalid_value", "n"),
        (json!({"n": 1_000_000_000}), "invalid_value", "n"),
        (json!({"stop": vec!["@@"; 17]}), "invalid_value", "stop"),
        (json!({"stop": "x".repeat(257)}), "invalid_value", "stop"),
        (json!({"stop": ""}), "invalid_value", "stop"),
        (json!({"stop": ["a", 1]}), "invalid_type", "stop[1]"),
        (json!({"seed": 1.5}), "invalid_type", "seed"),
        (json!({"max_tokens": -2}), "invalid_value", "max_tokens"),
        (json!({"logit_bias": {"999999999": 1}}), "invalid_value", "logit_bias"),
        (json!({"logit_bias": {"5": 101}}), "invalid_value", "logit_bias"),
        (json!({"reasoning_effort": "extreme"}), "invalid_value", "reasoning_effort"),
        (json!({"reasoning_format": "xml"}), "invalid_value", "reasoning_format"),
        (json!({"id_slot": 99}), "invalid_value", "id_slot"),
        (json!({"stream": "yes"}), "invalid_type", "stream"),
        (json!({"messages": []}), "invalid_value", "messages"),
        (json!({"messages": null}), "missing_required_parameter", "messages"),
        (json!({"messages": [{"role": "robot", "content": "x"}]}), "invalid_value", "messages[0].role"),
        (json!({"messages": [{"role": "user", "content": 5}]}), "invalid_value", "messages[0].content"),
    ] {
        let error = refused(&ask(bad.clone()), 400, code);
        assert_eq!(error["param"], param, "{bad}: {error}");
    }
}

#[test]
fn a_bias_moves_the_answer() {
    let tokens = shared().post(CHAT, &with(question("What is 12 + 30?"), json!({"logprobs": true, "top_logprobs": 2})));
    let first = tokens.json()["choices"][0]["logprobs"]["content"][0].clone();
    let ids = shared().post("/tokenize", &json!({"content": first["token"]})).json()["tokens"].clone();
    let banned = ask(json!({"logit_bias": {ids[0].to_string(): -100}})).content();
    assert!(!banned.starts_with(first["token"].as_str().unwrap()), "{banned}");
}

#[test]
fn names_of_models_are_free_unless_the_server_is_strict() {
    let strict = Server::start(&["--strict-model", "--alias", "org/name:q8", "--alias", "other"]);
    for (model, status) in [
        (json!("org/name:q8"), 200),
        (json!("other"), 200),
        (json!(""), 200),
        (json!("default"), 200),
        (Value::Null, 200),
        (json!("gpt-4o"), 404),
    ] {
        let answer = strict.client.post(CHAT, &with(question("Hi"), json!({"model": model})));
        assert_eq!(answer.status, status, "{model}");
        match status {
            200 => assert_eq!(answer.json()["model"], "org/name:q8"),
            _ => drop(refused(&answer, 404, "model_not_found")),
        }
    }
    let models = strict.client.get("/v1/models").json();
    let model = &models["data"][0];
    assert_eq!((&model["id"], &model["aliases"]), (&json!("org/name:q8"), &json!(["other"])));
    assert_eq!((&model["object"], &model["max_model_len"]), (&json!("model"), &json!(4096)));
    assert!(model["meta"]["n_params"].as_u64().is_some_and(|n| n > 0), "{model}");
    for path in ["/v1/models/org/name:q8", "/v1/models/org%2Fname%3Aq8", "/v1/models/other"] {
        assert_eq!(strict.client.get(path).json()["id"], "org/name:q8", "{path}");
    }
    refused(&strict.client.get("/v1/models/gpt-4o"), 404, "model_not_found");
}

#[test]
fn messages_may_hold_what_clients_send() {
    let long_message = json!({"role": "assistant", "content": [{"type": "text", "text": "Hello!"}],
        "reasoning_content": "A greeting.", "refusal": null, "annotations": [], "audio": null});
    let messages = json!([{"role": "developer", "content": "Answer in capital letters."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}], "name": "sam"}, long_message,
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]);
    let answer = shared().post(CHAT, &json!({"messages": messages, "temperature": 0}));
    assert!(answer.content().chars().any(char::is_uppercase), "{}", answer.text());
    assert!(answer.json().get("lemmy_warnings").is_none(), "{}", answer.text());
}

#[test]
fn pictures_that_this_model_cannot_see_are_refused() {
    let pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let picture =
        |url: &str| json!([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]);
    let ask = |content: Value| shared().post(CHAT, &json!({"messages": [{"role": "user", "content": content}]}));
    assert_eq!(ask(picture(&format!("data:image/png;base64,{pixel}"))).status, 400);
    for url in ["https://example.com/x.png", "http://127.0.0.1/x.png", "file:///etc/passwd"] {
        let error = refused(&ask(picture(url)), 400, "unsupported_parameter");
        assert!(error["message"].as_str().unwrap().contains("data:image"), "{error}");
        assert_eq!(error["param"], "messages[0].content[1].image_url.url");
    }
}
