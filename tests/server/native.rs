//! Completions, tokens, properties, metrics: what is not a conversation.

use super::*;

const TEXTS: &str = "/v1/completions";

fn text(answer: &Answer, choice: usize) -> String {
    let json = answer.json();
    json["choices"][choice]["text"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

/// The prompt of a question, as the template writes it.
fn prompt(question_text: &str) -> String {
    let body = json!({"messages": [{"role": "user", "content": question_text}]});
    shared().post("/apply-template", &body).json()["prompt"].as_str().unwrap().to_owned()
}

#[test]
fn a_text_is_continued() {
    let prompt = prompt("What is 12 + 30?");
    assert!(prompt.contains("<|turn>user\nWhat is 12 + 30?<turn|>\n<|turn>model\n"), "{prompt}");
    let body = json!({"prompt": prompt, "temperature": 0});
    let answer = shared().post(TEXTS, &body);
    assert_eq!(text(&answer, 0), "42");
    let json = answer.json();
    assert!(json["id"].as_str().is_some_and(|id| id.starts_with("cmpl-")), "{json}");
    assert_eq!((&json["object"], &json["choices"][0]["finish_reason"]), (&json!("text_completion"), &json!("stop")));
    // The same as ids, and as text in which marks are no marks.
    let ids = shared().post("/tokenize", &json!({"content": prompt})).json()["tokens"].clone();
    assert_eq!(json["usage"]["prompt_tokens"], ids.as_array().unwrap().len());
    assert_eq!(text(&shared().post(TEXTS, &with(body.clone(), json!({"prompt": ids}))), 0), "42");
    let plain = shared().post(TEXTS, &with(body.clone(), json!({"special": false})));
    assert!(plain.json()["usage"]["prompt_tokens"].as_u64() > json["usage"]["prompt_tokens"].as_u64());
    let events = shared().post(TEXTS, &with(body.clone(), json!({"stream": true, "echo": true}))).events();
    let streamed: String = events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(streamed, format!("{prompt}42"));
    assert_eq!(text(&shared().post(TEXTS, &with(body, json!({"echo": true}))), 0), streamed);
}

#[test]
fn several_prompts_are_several_choices() {
    let prompts = [prompt("What is 12 + 30?"), prompt("What is 1 + 1?")];
    let answer = shared().post(TEXTS, &json!({"prompt": prompts, "temperature": 0, "n": 2, "best_of": 2}));
    let texts: Vec<String> = (0..4).map(|i| text(&answer, i)).collect();
    let alone = |i: usize| text(&shared().post(TEXTS, &json!({"prompt": prompts[i], "temperature": 0})), 0);
    assert_eq!(texts, [alone(0), alone(0), alone(1), alone(1)]);
    let usage = answer.json()["usage"].clone();
    let one = |i: usize| {
        let answer = shared().post(TEXTS, &json!({"prompt": prompts[i], "max_tokens": 1}));
        answer.json()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    assert_eq!(usage["prompt_tokens"], one(0) + one(1));
}

#[test]
fn probabilities_have_the_older_form() {
    let body = json!({"prompt": prompt("What is 12 + 30?"), "temperature": 0, "logprobs": 2});
    let logprobs = shared().post(TEXTS, &body).json()["choices"][0]["logprobs"].clone();
    assert_eq!((&logprobs["tokens"], &logprobs["text_offset"]), (&json!(["4", "2"]), &json!([0, 1])));
    assert_eq!(logprobs["top_logprobs"][0].as_object().map(|top| top.len()), Some(2), "{logprobs}");
    assert!(logprobs["token_logprobs"][1].as_f64().is_some_and(|p| p <= 0.0));
}

#[test]
fn prompts_that_make_no_sense_are_refused() {
    let long: Vec<&str> = vec!["a"; 17];
    for (more, code, param) in [
        (json!({}), "missing_required_parameter", "prompt"),
        (json!({"prompt": 5}), "invalid_type", "prompt"),
        (json!({"prompt": []}), "invalid_value", "prompt"),
        (json!({"prompt": long}), "invalid_value", "prompt"),
        (json!({"prompt": [1, 999_999_999]}), "invalid_value", "prompt[1]"),
        (json!({"prompt": ["a", {}]}), "invalid_type", "prompt[1]"),
        (json!({"prompt": "a", "suffix": "b"}), "unsupported_parameter", "suffix"),
        (json!({"prompt": "a", "best_of": 2}), "unsupported_parameter", "best_of"),
        (json!({"prompt": "a", "logprobs": 6}), "invalid_value", "logprobs"),
        (json!({"prompt": "a", "logprobs": 1, "echo": true}), "unsupported_parameter", "logprobs"),
    ] {
        assert_eq!(refused(&shared().post(TEXTS, &more), 400, code)["param"], param, "{more}");
    }
    let most = shared().post(TEXTS, &json!({"prompt": vec!["a"; 16], "max_tokens": 1}));
    assert_eq!(most.json()["choices"].as_array().map(Vec::len), Some(16), "{}", most.text());
}

#[test]
fn text_becomes_tokens_and_back() {
    let client = shared();
    let content = "<|turn>hi é";
    let tokens =
        |more: Value| client.post("/tokenize", &with(json!({"content": content}), more)).json()["tokens"].clone();
    let parsed = tokens(json!({}));
    let plain = tokens(json!({"parse_special": false}));
    assert!(plain.as_array().unwrap().len() > parsed.as_array().unwrap().len());
    assert_eq!(client.post("/detokenize", &json!({"tokens": plain})).json()["content"], "<|turn>hi é");
    let bos = tokens(json!({"add_special": true}));
    assert_eq!(bos.as_array().unwrap().len(), parsed.as_array().unwrap().len() + 1);
    let pieces = tokens(json!({"with_pieces": true}));
    assert_eq!((&pieces[0]["id"], &pieces[0]["piece"]), (&parsed[0], &json!("<|turn>")));
    // A piece that is no text by itself is told as bytes.
    let flag = client.post("/tokenize", &json!({"content": "🦀", "with_pieces": true})).json()["tokens"].clone();
    assert!(flag.as_array().unwrap().iter().all(|piece| piece["piece"].is_array()), "{flag}");
    refused(&client.post("/detokenize", &json!({"tokens": [999_999_999]})), 400, "invalid_value");
    refused(&client.post("/tokenize", &json!({})), 400, "missing_required_parameter");
}

#[test]
fn properties_tell_no_secrets() {
    let server = Server::start(&["--parallel", "3", "--api-key", "secret-key", "--no-slots", "--no-metrics"]);
    let ask = |method: &str, path: &str| server.client.send(method, path, &[("x-api-key", "secret-key")], b"");
    let answer = ask("GET", "/props");
    let props = answer.json();
    assert_eq!((&props["total_slots"], &props["model_alias"]), (&json!(3), &json!("lemmy-nano")));
    assert_eq!(props["default_generation_settings"]["n_ctx"], 4096);
    assert_eq!((&props["modalities"]["vision"], &props["bos_token"]), (&json!(false), &json!("<bos>")));
    assert!(props["chat_template"].as_str().is_some_and(|template| template.contains("<|turn>")));
    assert!(!answer.text().contains("secret-key"));
    refused(&ask("POST", "/props"), 501, "not_supported");
    refused(&ask("GET", "/slots"), 501, "not_supported");
    refused(&ask("GET", "/metrics"), 404, "unknown_url");
    let embeddings = ask("POST", "/v1/embeddings");
    assert_eq!(refused(&embeddings, 501, "not_supported")["type"], "not_supported_error");
    assert_eq!(embeddings.header("x-should-retry"), Some("false"));
}

#[test]
fn slots_tell_what_they_do() {
    use std::io::Read;
    let server = Server::start(&["--parallel", "1"]);
    let slots = || server.client.get("/slots").json();
    assert_eq!((&slots()[0]["id"], &slots()[0]["is_processing"]), (&json!(0), &json!(false)));
    let messages = json!([{"role": "user", "content": "Keep this to yourself."}]);
    let mut running = server.client.begin_post(CHAT, &with(endless(), json!({"messages": messages})));
    running.read_exact(&mut [0; 32]).unwrap();
    server.wait_for("slots_processing", 1);
    let busy = server.client.get("/slots");
    assert_eq!(busy.json()[0]["is_processing"], true, "{}", busy.text());
    assert!(!busy.text().contains("yourself"));
    refused(&server.client.get("/slots?fail_on_no_slot=1"), 503, "no_slot");
}

#[test]
fn everything_is_counted() {
    let server = Server::start(&["--metrics-compat", "vllm,llamacpp"]);
    let body = question("What is 12 + 30?");
    let usage = server.client.post(CHAT, &body).json()["usage"].clone();
    server.client.post(CHAT, &with(body, json!({"stream": true}))).events();
    server.client.post(CHAT, &json!({}));
    let answer = server.client.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let number = |name: &str| usage[name].as_f64().unwrap();
    assert_eq!(value("lemmy_generation_tokens_total"), 2.0 * number("completion_tokens"));
    assert_eq!(value("lemmy_prompt_tokens_total"), 2.0 * number("prompt_tokens"));
    assert_eq!(value("vllm:generation_tokens_total"), value("llamacpp:tokens_predicted_total"));
    assert!(value("lemmy_prompt_tokens_cached_total") > 0.0);
    let chat = "route=\"/v1/chat/completions\"";
    assert_eq!(value(&format!("lemmy_requests_total{{code=\"200\",finish_reason=\"stop\",{chat}}}")), 2.0);
    assert_eq!(value(&format!("lemmy_requests_total{{code=\"400\",finish_reason=\"\",{chat}}}")), 1.0);
    assert_eq!(value("lemmy_slots"), value("lemmy_slots").max(1.0));
    assert_eq!(value("vllm:time_to_first_token_seconds_count"), 2.0);
    assert!(text.contains("gen_ai_server_request_duration_seconds_bucket{") && text.contains("lemmy_build_info{"));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok_and(|value| value.is_finite()), "{line}");
    }
}
