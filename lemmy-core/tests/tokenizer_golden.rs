//! The tokenizer of the real vocabulary against what the reference implementation says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lemmy_core::{Special, TokenId, Tokenizer};
use proptest::prelude::*;

static GEMMA4: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(&vocabulary::gguf()).unwrap());

fn fixture(name: &str) -> String {
    std::fs::read_to_string(vocabulary::fixture(name)).unwrap()
}

fn json_lines(name: &str) -> Vec<serde_json::Value> {
    fixture(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(list: &serde_json::Value) -> Vec<TokenId> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

/// 4,068 texts of all scripts, kinds of white space, control characters, emoji, code, random strings and long runs.
#[test]
fn ids_equal_the_reference_on_all_golden_texts() {
    let tokenizer = &*GEMMA4;
    let (mut lines, mut plain_lines) = (0, 0);
    for row in json_lines("golden.jsonl") {
        let text = row["text"].as_str().unwrap();
        let expected = ids(&row["ids"]);
        assert_eq!(tokenizer.encode(text, Special::Parse), expected, "{text:?} with control tokens");
        // Where a text has no control strings both ways are the same.
        let plain = row.get("ids_plain").map_or(expected.clone(), ids);
        assert_eq!(tokenizer.encode(text, Special::Text), plain, "{text:?} as plain text");
        lines += 1;
        plain_lines += usize::from(row.get("ids_plain").is_some());
    }
    assert_eq!((lines, plain_lines), (4068, 325));
}

#[test]
fn golden_texts_survive_the_way_to_ids_and_back() {
    let tokenizer = &*GEMMA4;
    for row in json_lines("golden.jsonl") {
        let text = row["text"].as_str().unwrap();
        let ids = tokenizer.encode(text, Special::Text);
        assert_eq!(tokenizer.decode(&ids), text.replace('\u{2581}', " "));
    }
}

#[test]
fn streamed_text_comes_in_the_golden_pieces() {
    let mut rows = 0;
    for row in json_lines("decode_stream.jsonl") {
        let mut decoder = GEMMA4.stream();
        let deltas: Vec<String> = ids(&row["ids"]).into_iter().map(|id| decoder.push(id).to_owned()).collect();
        let expected: Vec<&str> = row["deltas"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
        assert_eq!(deltas, expected, "{}", row["name"]);
        assert_eq!(decoder.finish(), row["final_flush"].as_str().unwrap(), "{}", row["name"]);
        assert_eq!(decoder.finish(), "", "{}: the decoder is empty after its end", row["name"]);
        rows += 1;
    }
    assert_eq!(rows, 15);
}

#[test]
fn special_tokens_are_those_of_the_table() {
    let tokenizer = &*GEMMA4;
    let table = fixture("special_tokens.tsv");
    let mut listed = Vec::new();
    for line in table.lines().skip(1) {
        let [id, spelling, _, _, role] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let id: TokenId = id.parse().unwrap();
        assert_eq!(tokenizer.find(spelling), Some(id), "{spelling}");
        assert_eq!(tokenizer.piece(id), spelling.as_bytes());
        assert!(tokenizer.is_control(id), "{spelling}");
        assert_eq!(tokenizer.decode(&[id]), "", "{spelling}");
        assert_eq!(tokenizer.encode(spelling, Special::Parse), [id], "{spelling}");
        assert!(!tokenizer.encode(spelling, Special::Text).contains(&id), "{spelling}");
        let ends = role.to_lowercase().contains("end of generation");
        assert_eq!(tokenizer.end_of_generation().contains(&id), ends || spelling == "<turn|>", "{spelling}");
        listed.push(id);
    }
    assert_eq!(listed.len(), 24);
    let all: Vec<TokenId> = (0..tokenizer.vocab_size() as TokenId).filter(|&id| tokenizer.is_control(id)).collect();
    assert_eq!(all, listed, "no other token is a control token");
}

#[test]
fn facts_of_the_file() {
    let tokenizer = &*GEMMA4;
    assert_eq!(tokenizer.vocab_size(), 262_144);
    assert_eq!(tokenizer.bos(), Some(2));
    assert!(tokenizer.adds_bos());
    assert_eq!(tokenizer.end_of_generation(), [1, 50, 106]);
    let never = [0, 2, 3, 4, 46, 47, 51, 98, 105, 255_999, 256_000, 258_880, 258_881, 258_882, 258_883, 258_884];
    assert_eq!(tokenizer.suppressed(), never);
    for byte in 0..=255u8 {
        assert_eq!(tokenizer.piece(238 + TokenId::from(byte)), [byte]);
    }
    assert_eq!(tokenizer.find("\n"), Some(107));
    assert_eq!(tokenizer.find(" "), Some(236_743));
    assert_eq!(tokenizer.find("\u{2581}"), Some(236_743));
    assert_eq!(tokenizer.find("no token at all"), None);
    // Tags are in the vocabulary but no merge makes them; a model may still say them.
    let tag = tokenizer.find("<table>").unwrap();
    assert!(!tokenizer.encode("<table>", Special::Parse).contains(&tag));
    assert_eq!(tokenizer.decode(&[tag]), "<table>");
}

#[test]
fn bos_is_added_once() {
    let tokenizer = &*GEMMA4;
    assert_eq!(tokenizer.encode("hi", Special::Parse), [2202]);
    assert_eq!(tokenizer.encode_prompt("hi", Special::Parse), [2, 2202]);
    assert_eq!(tokenizer.encode_prompt("<bos>hi", Special::Parse), [2, 2202]);
    assert_eq!(tokenizer.encode_prompt("", Special::Text), [2]);
}

#[test]
fn ids_outside_of_the_vocabulary_print_nothing() {
    let tokenizer = &*GEMMA4;
    for id in [262_144, TokenId::MAX - 1, TokenId::MAX] {
        assert_eq!(tokenizer.piece(id), b"");
        assert!(!tokenizer.is_control(id));
        assert_eq!(tokenizer.decode(&[2202, id, 2202]), "hihi");
    }
}

#[test]
fn a_literal_space_mark_is_a_space() {
    let tokenizer = &*GEMMA4;
    assert_eq!(tokenizer.encode("a\u{2581}b", Special::Text), tokenizer.encode("a b", Special::Text));
}

/// CVE-2025-46560 (vLLM): texts of placeholders took quadratic time. Here a megabyte of one short string: the worst inputs for a tokenizer that looks again and again at what it
/// has seen. The bound is that of a busy machine; a quadratic step would take hours.
#[test]
fn cve_2025_46560_no_input_is_quadratic() {
    let tokenizer = &*GEMMA4;
    for unit in ["a", " ", "\n", "=", "é", "漢", "😀", "\0", "ab", "<", "<|", "<|tool_respons", "<|turn>", "\u{2581}"]
    {
        let text = unit.repeat(1_000_000 / unit.len());
        let start = Instant::now();
        let ids = tokenizer.encode(&text, Special::Parse);
        let spent = start.elapsed();
        assert!(spent < Duration::from_secs(5), "{unit:?}: {spent:?}");
        if unit != "<|turn>" {
            assert!(tokenizer.decode(&ids) == text.replace('\u{2581}', " "), "{unit:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_gives_the_text_back(text in texts()) {
        let ids = GEMMA4.encode(&text, Special::Text);
        prop_assert_eq!(GEMMA4.decode(&ids), text.replace('\u{2581}', " "));
    }

    #[test]
    fn what_a_user_types_never_becomes_a_control_token(text in texts()) {
        let ids = GEMMA4.encode(&text, Special::Text);
        prop_assert!(!ids.iter().any(|&id| GEMMA4.is_control(id)));
    }

    #[test]
    fn a_template_and_its_texts_encode_apart_as_together(parts in prop::collection::vec(texts(), 1..4)) {
        let apart: Vec<TokenId> = parts.iter().flat_map(|p| [&[105], &GEMMA4.encode(p, Special::Parse)[..]].concat()).collect();
        let together: String = parts.iter().map(|p| format!("<|turn>{p}")).collect();
        prop_assert_eq!(GEMMA4.encode(&together, Special::Parse), apart);
    }

    /// Any ids, cut anywhere: the pieces put together are the text of all, and each is valid text by its type.
    #[test]
    fn streaming_gives_what_decoding_at_once_gives(ids in prop::collection::vec(prop_oneof![0u32..494, 0u32..262_200], 0..60)) {
        let mut stream = GEMMA4.stream();
        let mut text = String::new();
        for &id in &ids {
            text.push_str(stream.push(id));
        }
        text.push_str(stream.finish());
        prop_assert_eq!(&text, &GEMMA4.decode(&ids));
        // Control tokens part what stands around them; between them it is the lossy text of the bytes.
        let bytes = ids.split(|&id| GEMMA4.is_control(id)).map(|part| part.iter().flat_map(|&id| GEMMA4.piece(id)).copied().collect::<Vec<u8>>());
        let expected: String = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
        prop_assert_eq!(text, expected);
    }
}

/// Any characters, and texts rich in what the vocabulary treats on its own.
fn texts() -> impl Strategy<Value = String> {
    let rich = prop::sample::select(vec![
        "<|turn>",
        "<turn|>",
        "<eos>",
        "<bos>",
        "<|\"|>",
        "<|tool_call>",
        "<|",
        "|>",
        "<",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "\r\n",
        "\u{2581}",
        ">\u{2581}</",
        "the",
        "é",
        "e\u{301}",
        "漢",
        "🦀",
        "👩\u{200D}🚀",
        "\u{FEFF}",
        "0",
        "1234",
        "<0x0A>",
    ]);
    prop_oneof![any::<String>(), prop::collection::vec(rich, 0..12).prop_map(|parts| parts.concat())]
}
