//! Chat completions in chunks.

use std::io::Read;

use super::*;

/// What the deltas of a choice add up to.
#[derive(Debug, Default, PartialEq)]
struct Whole {
    content: String,
    thinking: String,
    calls: Vec<(String, String)>,
    finish: String,
}

/// Puts a choice together, and checks the rules of chunks on the way.
#[track_caller]
fn whole(events: &[Value], index: u64) -> Whole {
    let mut whole = Whole::default();
    let choices = events.iter().flat_map(|e| e["choices"].as_array().unwrap()).filter(|c| c["index"] == index);
    for (i, choice) in choices.enumerate() {
        let delta = choice["delta"].as_object().unwrap();
        assert!(whole.finish.is_empty(), "a chunk after the last: {choice}");
        if i == 0 {
            assert_eq!(choice["delta"], json!({"role": "assistant", "content": ""}));
            continue;
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            assert!(delta.is_empty(), "{choice}");
            whole.finish = finish.into();
            continue;
        }
        assert_eq!(delta.len(), 1, "{choice}");
        let text = |name: &str| delta.get(name).map(|text| text.as_str().unwrap());
        for (text, to) in [(text("content"), &mut whole.content), (text("reasoning_content"), &mut whole.thinking)] {
            if let Some(text) = text {
                assert!(!text.is_empty());
                to.push_str(text);
            }
        }
        for call in delta.get("tool_calls").into_iter().flat_map(|calls| calls.as_array().unwrap()) {
            let at = call["index"].as_u64().unwrap() as usize;
            if let Some(name) = call["function"]["name"].as_str() {
                assert_eq!((at, &call["function"]["arguments"]), (whole.calls.len(), &json!("")));
                assert!(call["id"].as_str().unwrap().starts_with("call_"));
                whole.calls.push((name.into(), String::new()));
            } else {
                whole.calls[at].1.push_str(call["function"]["arguments"].as_str().unwrap());
            }
        }
    }
    assert!(!whole.finish.is_empty(), "no last chunk");
    whole
}

#[track_caller]
fn streamed(client: &Client, body: &Value) -> Vec<Value> {
    client.post(CHAT, &with(body.clone(), json!({"stream": true}))).events()
}

#[test]
fn chunks_add_up_to_the_whole_answer() {
    let client = shared();
    for body in [
        question("What is 12 + 30?"),
        with(question("What is 12 + 30?"), json!({"reasoning_effort": "high"})),
        with(
            question("Tell me a story."),
            json!({"seed": 3, "temperature": 5, "top_k": 0, "top_p": 1, "max_tokens": 40}),
        ),
        with(question("Tell me a story."), json!({"stop": ["small"]})),
        with(
            question("Tell me a story."),
            json!({"seed": 3, "temperature": 5, "top_k": 0, "top_p": 1, "max_tokens": 10, "n": 3}),
        ),
    ] {
        let events = streamed(client, &body);
        let answer = client.post(CHAT, &body).json();
        for choice in answer["choices"].as_array().unwrap() {
            let message = &choice["message"];
            let whole = whole(&events, choice["index"].as_u64().unwrap());
            assert_eq!(json!(whole.content), message["content"], "{body}");
            assert_eq!(whole.thinking, message["reasoning_content"].as_str().unwrap_or_default());
            assert_eq!(json!(whole.finish), choice["finish_reason"]);
        }
        let head = |event: &Value| (event["id"].clone(), event["created"].clone(), event["model"].clone());
        assert!(events.iter().all(|event| head(event) == head(&events[0])), "{events:?}");
        assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk" && event.get("usage").is_none()));
        assert!(events.last().unwrap()["timings"]["predicted_n"].as_u64().is_some());
    }
}

#[test]
fn calls_come_in_pieces() {
    let body = with(question("What is the weather in Helsinki?"), json!({"tools": [tools::weather()]}));
    let whole = whole(&streamed(shared(), &body), 0);
    assert_eq!((whole.calls.len(), whole.finish.as_str()), (1, "tool_calls"), "{whole:?}");
    assert_eq!(whole.calls[0].0, "get_weather");
    assert!(serde_json::from_str::<Value>(&whole.calls[0].1).unwrap()["city"].is_string(), "{whole:?}");
}

#[test]
fn usage_comes_when_asked_for() {
    let body = question("What is 12 + 30?");
    let told = shared().post(CHAT, &body).json()["usage"].clone();
    let at_end = streamed(shared(), &with(body.clone(), json!({"stream_options": {"include_usage": true}})));
    let (last, others) = at_end.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &told["total_tokens"]));
    assert!(others.iter().all(|event| event.get("usage").is_some_and(Value::is_null)), "{others:?}");
    let more = json!({"stream_options": {"include_usage": true, "continuous_usage_stats": true},
        "timings_per_token": true, "return_progress": true, "unheard_of": 1});
    let always = streamed(shared(), &with(body, more));
    assert!(always.iter().all(|event| event["usage"].is_object()), "{always:?}");
    assert!(always.iter().any(|event| event["prompt_progress"]["total"] == told["prompt_tokens"]), "{always:?}");
    assert!(always.iter().any(|event| event["timings"]["predicted_n"] == 1), "{always:?}");
    assert_eq!(always.last().unwrap()["lemmy_warnings"], json!(["unheard_of is not known here and was ignored"]));
}

#[test]
fn probabilities_ride_on_the_text_that_they_made() {
    let body = with(question("Tell me a story."), json!({"logprobs": true, "top_logprobs": 1}));
    let events = streamed(shared(), &body);
    let told = shared().post(CHAT, &body).json()["choices"][0]["logprobs"]["content"].clone();
    let tokens: Vec<Value> = events
        .iter()
        .filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array().cloned())
        .flatten()
        .collect();
    assert_eq!(json!(tokens), told);
}

#[test]
fn a_bad_request_is_no_stream() {
    let body = json!({"messages": [], "stream": true});
    let answer = shared().post(CHAT, &body);
    refused(&answer, 400, "invalid_value");
    let long = with(question(&"word ".repeat(5000)), json!({"stream": true}));
    refused(&shared().post(CHAT, &long), 400, "context_length_exceeded");
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let server = Server::start(&["--parallel", "1"]);
    for stream in [true, false] {
        let body = with(endless(), json!({"stream": stream}));
        let mut leaving = server.client.begin_post(CHAT, &body);
        server.wait_for("slots_processing", 1);
        if stream {
            leaving.read_exact(&mut [0; 64]).unwrap();
        }
        drop(leaving);
        server.wait_for("slots_processing", 0);
        assert_eq!(server.client.post(CHAT, &question("What is 12 + 30?")).content(), "42");
    }
}

#[test]
fn silence_is_broken_by_comments() {
    let server = Server::start(&["--parallel", "1"]);
    let body = with(question(&"word ".repeat(2000)), json!({"stream": true, "sse_ping_interval": 0.001}));
    let answer = server.client.post(CHAT, &body);
    assert!(answer.text().contains(": keep-alive\n\n"), "{}", answer.text());
    assert!(!answer.events().is_empty());
}

#[test]
fn a_client_that_only_ends_its_sending_is_answered() {
    // Several times, since it is a matter of moments.
    for i in 0..20 {
        let stream = i % 2 == 0;
        let body = with(question("Tell me a story."), json!({"stream": stream, "max_tokens": 20}));
        let mut half = shared().begin_post(CHAT, &body);
        half.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        half.read_to_string(&mut text).unwrap();
        let end = if stream { "data: [DONE]" } else { "\"completion_tokens\"" };
        assert!(text.contains("HTTP/1.1 200 OK") && text.contains(end), "{text}");
    }
}
