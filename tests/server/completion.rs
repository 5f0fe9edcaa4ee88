//! llama-server's `/completion`, and the document of everything.

use super::*;

const COMPLETION: &str = "/completion";

fn prompt() -> String {
    let template = shared().post("/apply-template", &question("What is 12 + 30?")).json();
    template["prompt"].as_str().unwrap().to_owned()
}

fn ask(more: Value) -> Value {
    with(json!({"prompt": prompt(), "temperature": 0}), more)
}

#[test]
fn a_prompt_is_continued() {
    let answer = shared().post(COMPLETION, &ask(json!({"new": 1}))).json();
    assert_eq!((&answer["content"], &answer["stop"]), (&json!("42"), &json!(true)), "{answer}");
    assert_eq!((&answer["stop_type"], &answer["stopping_word"]), (&json!("eos"), &json!("")));
    assert_eq!((&answer["tokens"], &answer["truncated"]), (&json!([]), &json!(false)));
    assert_eq!((&answer["prompt"], &answer["generation_settings"]["n_predict"]), (&json!(prompt()), &json!(-1)));
    assert_eq!(answer["timings"]["predicted_n"], answer["tokens_predicted"]);
    assert_eq!(answer["lemmy_warnings"], json!(["new is not known here and was ignored"]));
    let tokens =
        shared().post("/tokenize", &json!({"content": prompt(), "add_special": true})).json()["tokens"].clone();
    assert_eq!(answer["tokens_evaluated"], tokens.as_array().unwrap().len());
    let (first, rest) = tokens.as_array().unwrap().split_first().unwrap();
    let rest = shared().post("/detokenize", &json!({"tokens": rest})).json()["content"].clone();
    for same in [json!(tokens), json!([first, rest])] {
        let answer = shared().post("/completions", &ask(json!({"prompt": same}))).json();
        assert_eq!(answer["content"], "42", "{answer}");
    }
}

#[test]
fn pieces_add_up_to_the_whole() {
    for more in [
        json!({}),
        json!({"n_predict": 1}),
        json!({"stop": ["2"]}),
        json!({"return_tokens": true, "n_probs": 2}),
        json!({"ignore_eos": true, "n_predict": 12}),
    ] {
        let whole = shared().post(COMPLETION, &ask(more.clone())).json();
        let answer = shared().post(COMPLETION, &ask(with(more.clone(), json!({"stream": true}))));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        let events = answer.text().split_terminator("\n\n");
        let events: Vec<Value> =
            events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect();
        let (last, others) = events.split_last().unwrap();
        assert!(last["stop"] == true && others.iter().all(|event| event["stop"] == false), "{events:?}");
        let text: String = events.iter().map(|event| event["content"].as_str().unwrap()).collect();
        assert_eq!(json!(text), whole["content"], "{more}");
        for name in ["stop_type", "stopping_word", "tokens_predicted"] {
            assert_eq!(last[name], whole[name], "{whole}");
        }
        for name in ["tokens", "completion_probabilities"] {
            let all: Vec<&Value> = events.iter().filter_map(|event| event[name].as_array()).flatten().collect();
            assert_eq!(json!(all), whole.get(name).cloned().unwrap_or(json!([])), "{more}");
        }
    }
}

#[test]
fn a_completion_ends_for_a_named_reason() {
    let end = |more: Value| {
        let answer = shared().post(COMPLETION, &ask(more)).json();
        (answer["stop_type"].clone(), answer["stopping_word"].clone())
    };
    assert_eq!(end(json!({"n_predict": 1})), (json!("limit"), json!("")));
    assert_eq!(end(json!({"stop": ["2"]})), (json!("word"), json!("2")));
    // No time at all is over with the first token.
    let late = json!({"t_max_predict_ms": 1, "ignore_eos": true, "n_predict": 3000});
    let answer = shared().post(COMPLETION, &ask(late)).json();
    assert_eq!(answer["stop_type"], "limit", "{answer}");
    assert!(answer["tokens_predicted"].as_u64().unwrap() < 3000, "{answer}");
}

#[test]
fn tokens_and_probabilities_are_told() {
    let answer = shared().post(COMPLETION, &ask(json!({"return_tokens": true, "n_probs": 3}))).json();
    let text = shared().post("/detokenize", &json!({"tokens": answer["tokens"]})).json();
    assert_eq!(text["content"], answer["content"], "{answer}");
    let probabilities = answer["completion_probabilities"].as_array().unwrap();
    assert_eq!(probabilities.len(), answer["tokens"].as_array().unwrap().len());
    for (entry, id) in probabilities.iter().zip(answer["tokens"].as_array().unwrap()) {
        assert_eq!((&entry["id"], entry["top_logprobs"].as_array().unwrap().len()), (id, 3));
        assert!(entry["logprob"].as_f64().unwrap() <= 0.0, "{entry}");
    }
}

#[test]
fn a_schema_is_kept_and_fields_are_chosen() {
    let schema = json!({"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"],
        "additionalProperties": false});
    let more = json!({"json_schema": schema, "n_predict": 60, "response_fields": ["content", "timings/prompt_n"]});
    let answer = shared().post(COMPLETION, &ask(more)).json();
    assert_eq!(answer.as_object().unwrap().len(), 2, "{answer}");
    assert!(answer["prompt_n"].is_u64(), "{answer}");
    let value: Value = serde_json::from_str(answer["content"].as_str().unwrap()).unwrap();
    assert!(value["answer"].is_i64(), "{answer}");
}

#[test]
fn what_cannot_be_had_is_refused() {
    for (more, param, code) in [
        (json!({"prompt": null}), "prompt", "missing_required_parameter"),
        (json!({"prompt": []}), "prompt", "invalid_value"),
        (json!({"prompt": [[1]]}), "prompt[0]", "invalid_type"),
        (json!({"prompt": [1, 1_000_000]}), "prompt[1]", "invalid_value"),
        (json!({"grammar": "root ::= \"a\""}), "grammar", "unsupported_parameter"),
        (json!({"post_sampling_probs": true}), "post_sampling_probs", "unsupported_parameter"),
    ] {
        let problem = refused(&shared().post(COMPLETION, &ask(more.clone())), 400, code);
        assert_eq!(problem["param"], param, "{more}");
    }
}

#[test]
fn every_field_of_the_document_is_taken() {
    let document = shared().get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"];
        let Some(properties) = schema["properties"].as_object() else { continue };
        let examples = properties.iter().map(|(name, property)| (name.clone(), property["examples"][0].clone()));
        let body = Value::Object(examples.collect());
        let answer = shared().post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {} {body}", answer.text());
        assert!(!answer.text().contains("is not known here"), "{path}: {}", answer.text());
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
}
