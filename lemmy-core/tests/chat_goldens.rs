//! Ids of rendered conversations against the reference tokenizer.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::collections::HashMap;

use lemmy_core::{Special, Tokenizer};
use serde_json::Value;

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ids_of_rendered_conversations_equal_the_reference() {
    let tokenizer = Tokenizer::from_gguf(&vocabulary::gguf()).unwrap();
    let conversations = rows(include_str!("fixtures/chat/golden.jsonl"));
    let text =
        |row: &Value| row.get("rendered").or(row.get("lemmy_rendered")).and_then(Value::as_str).map(str::to_owned);
    let texts: HashMap<_, _> = conversations.iter().map(|row| (row["name"].as_str().unwrap(), text(row))).collect();
    let golden = rows(include_str!("fixtures/chat/golden_ids.jsonl"));
    assert_eq!(golden.len(), 114);
    for row in &golden {
        let name = row["name"].as_str().unwrap();
        let expected: Vec<u32> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let text = texts[name].as_ref().unwrap();
        assert_eq!(tokenizer.encode(text, Special::Parse), expected, "{name}");
    }
}
