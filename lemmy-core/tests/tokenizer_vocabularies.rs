//! Small vocabularies: the order of joins, and what no honest tool writes. A fault of the file gives a typed error that names
//! the key, or the documented tolerance; never a panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::{Error, GgufError, Special, TokenId, Tokenizer, limits};
use proptest::prelude::*;

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const SUPPRESSED: &str = "tokenizer.ggml.suppress_tokens";

/// A sound vocabulary in the making, ready to be spoilt.
#[derive(Clone)]
struct Vocabulary {
    tokens: Vec<Vec<u8>>,
    types: Vec<i32>,
    scores: Vec<f32>,
    merges: Vec<Vec<u8>>,
    /// Keys besides the arrays; they win over them.
    keys: Vec<(&'static str, Option<Value>)>,
}

impl Vocabulary {
    /// 4 control tokens, 256 bytes, the letters a to e and a space, `ab`, `abc`, `<turn|>`.
    fn small() -> Self {
        let mut v = Self { tokens: vec![], types: vec![], scores: vec![], merges: vec![], keys: vec![] };
        for control in ["<pad>", "<eos>", "<bos>", "<unk>"] {
            v.add(control, 3, 0.0);
        }
        for byte in 0..=255 {
            v.add(format!("<0x{byte:02X}>"), 6, 0.0);
        }
        for letter in ["a", "b", "c", "d", "e", "\u{2581}"] {
            v.add(letter, 1, -9.0);
        }
        v.add("ab", 1, -1.0);
        v.add("abc", 1, -2.0);
        v.add("<turn|>", 3, 0.0);
        v.merges = vec![b"a b".to_vec(), b"ab c".to_vec()];
        v.key(MODEL, "gemma4").key(EOS, 1u32).key(BOS, 2u32).key(UNKNOWN, 3u32)
    }

    fn add(&mut self, spelling: impl AsRef<[u8]>, kind: i32, score: f32) -> TokenId {
        self.tokens.push(spelling.as_ref().to_vec());
        self.types.push(kind);
        self.scores.push(score);
        self.tokens.len() as TokenId - 1
    }

    fn with(mut self, spelling: impl AsRef<[u8]>, kind: i32) -> Self {
        self.add(spelling, kind, 0.0);
        self
    }

    fn merge(mut self, line: &str) -> Self {
        self.merges.push(line.into());
        self
    }

    fn key(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.keys.retain(|(k, _)| *k != key);
        self.keys.push((key, Some(value.into())));
        self
    }

    fn without(mut self, key: &'static str) -> Self {
        self.keys.retain(|(k, _)| *k != key);
        self.keys.push((key, None));
        self
    }

    fn build(&self) -> Result<Tokenizer, Error> {
        let arrays = [
            (TOKENS, Value::Array(Array::from_strings(&self.tokens))),
            (TYPES, Value::Array(Array::from(&self.types[..]))),
            (SCORES, Value::Array(Array::from(&self.scores[..]))),
            (MERGES, Value::Array(Array::from_strings(&self.merges))),
        ];
        let mut writer = GgufWriter::new();
        for (key, value) in arrays {
            if !self.keys.iter().any(|(k, _)| *k == key) {
                writer.key(key, value);
            }
        }
        for (key, value) in &self.keys {
            if let Some(value) = value {
                writer.key(*key, value.clone());
            }
        }
        let file = writer.begin(Vec::new()).unwrap().finish().unwrap();
        Tokenizer::from_gguf(&Gguf::from_bytes(FileBytes::Owned(file)).unwrap())
    }
}

fn strings(list: &[&str]) -> Value {
    Value::Array(Array::from_strings(list))
}

fn integers(list: &[i32]) -> Value {
    Value::Array(Array::from(list))
}

#[test]
fn the_unspoilt_vocabulary_works() {
    for model in ["gemma4", "llama"] {
        let tokenizer = Vocabulary::small().key(MODEL, model).key(SPACE_PREFIX, false).build();
        let tokenizer = tokenizer.unwrap();
        let (a, ab, abc, turn) = (260, 266, 267, 268);
        assert_eq!(tokenizer.encode("abcab", Special::Text), [abc, ab], "{model}");
        assert_eq!(tokenizer.encode("a<turn|>", Special::Parse), [a, turn], "{model}");
        assert_eq!(tokenizer.decode(&tokenizer.encode("é<turn|> abc", Special::Text)), "é<turn|> abc", "{model}");
        assert_eq!(tokenizer.end_of_generation(), [1, turn], "{model}");
    }
}

#[test]
fn merges_go_by_rank_then_from_left_to_right() {
    let mut v = Vocabulary::small().with("bc", 1).with("ee", 1).merge("e e").merge("b c");
    let (a, c, e, ab, abc, bc, ee) = (260, 262, 264, 266, 267, 269, 270);
    let tokenizer = v.build().unwrap();
    assert_eq!(tokenizer.encode("abc", Special::Text), [abc], "`a b` before `b c`");
    assert_eq!(tokenizer.encode("eee", Special::Text), [ee, e], "leftmost first");
    v.merges.swap(0, 3);
    let tokenizer = v.build().unwrap();
    assert_eq!(tokenizer.encode("abc", Special::Text), [a, bc], "`b c` before `a b`");
    assert_eq!(tokenizer.encode("abab c", Special::Text), [ab, ab, 265, c]);
}

#[test]
fn scores_go_from_high_to_low_then_from_left_to_right() {
    let llama = Vocabulary::small().key(MODEL, "llama").key(SPACE_PREFIX, false);
    let ids = |ab: f32, bc: f32| {
        let mut v = llama.clone();
        v.add("bc", 1, bc);
        (v.scores[266], v.types[267]) = (ab, 3);
        v.build().unwrap().encode("abc", Special::Text)
    };
    let (a, c, ab, bc) = (260, 262, 266, 269);
    assert_eq!(ids(-1.0, -2.0), [ab, c]);
    assert_eq!(ids(-2.0, -1.0), [a, bc]);
    assert_eq!(ids(2.0, 1.0), [ab, c]);
    assert_eq!(ids(-1.0, 1.0), [a, bc]);
    assert_eq!(ids(-1.0, -1.0), [ab, c], "leftmost of equals");
    assert_eq!(ids(-0.0, 0.0), [ab, c], "both zeros are equal");
}

#[test]
fn user_defined_tokens_are_whole_with_and_without_control_tokens() {
    for model in ["gemma4", "llama"] {
        let tokenizer = Vocabulary::small()
            .with("b|", 4)
            .with("b|c", 4)
            .with("<turn|>d", 4)
            .key(MODEL, model)
            .key(SPACE_PREFIX, false)
            .build()
            .unwrap();
        for special in [Special::Text, Special::Parse] {
            let ids = tokenizer.encode("ab|cb|", special);
            assert_eq!(ids, [260, 270, 269], "{model}, {special:?}: before `ab` is joined, the longest first");
            assert_eq!(tokenizer.decode(&ids), "ab|cb|");
            assert_eq!(tokenizer.encode("<turn|>d", special), [271], "{model}, {special:?}");
        }
        assert_eq!(tokenizer.encode("<turn|>e", Special::Parse), [268, 264], "{model}");
    }
}

/// As SentencePiece does: in front of the text and after each control token, unless the file says no.
#[test]
fn a_space_goes_before_text_if_the_file_says_so() {
    let space = 265;
    let llama = Vocabulary::small().key(MODEL, "llama");
    let tokenizer = llama.build().unwrap();
    assert_eq!(tokenizer.encode("a<turn|>b", Special::Parse), [space, 260, 268, space, 261]);
    assert_eq!(tokenizer.encode("<turn|>", Special::Parse), [268]);
    assert!(tokenizer.encode("", Special::Parse).is_empty());
    let tokenizer = llama.key(SPACE_PREFIX, false).build().unwrap();
    assert_eq!(tokenizer.encode("a<turn|>b", Special::Parse), [260, 268, 261]);
    let tokenizer = Vocabulary::small().build().unwrap();
    assert_eq!(tokenizer.encode("a", Special::Parse), [260], "gemma4");
}

/// llama.cpp issue 26511: the number in a byte token's name became an index below 0.
#[test]
fn llama_cpp_26511_byte_tokens_that_spell_no_byte() {
    for spelling in ["<0x-1>", "<0xGG>", "<0x100>", "<0x1>", "<0x+1>", "<0x>", "0x41", "A", ""] {
        refuses(Vocabulary::small().with(spelling, 6), TOKENS, &format!("byte token 269 `{spelling}`"));
    }
}

/// CVE-2025-49847: a token's text longer than the reader's number for lengths.
#[test]
fn cve_2025_49847_token_text_beyond_the_limit() {
    let with = |len: usize, kind| Vocabulary::small().with("x".repeat(len), kind);
    refuses(with(limits::TOKEN_BYTES + 1, 1), TOKENS, "1025 bytes");
    refuses(with(limits::SPECIAL_TOKEN_BYTES + 1, 3), TOKENS, "129 bytes");
    refuses(with(limits::SPECIAL_TOKEN_BYTES + 1, 4), TOKENS, "129 bytes");
    refuses(with(32 << 20, 1), TOKENS, "33554432 bytes");

    let tokenizer = with(limits::TOKEN_BYTES, 1).with("y".repeat(limits::SPECIAL_TOKEN_BYTES), 3).build().unwrap();
    assert_eq!(tokenizer.piece(269).len(), limits::TOKEN_BYTES);
    assert_eq!(tokenizer.encode(&"y".repeat(limits::SPECIAL_TOKEN_BYTES), Special::Parse), [270]);
}

#[test]
fn each_fault_is_a_typed_error_that_names_the_key() {
    let v = Vocabulary::small;
    let types_of = |n: usize| Value::Array(Array::from(&vec![1i32; n][..]));
    let scores_of = |n: usize, x: f32| Value::Array(Array::from(&vec![x; n][..]));
    let vocab = v().tokens.len();
    let llama = || v().key(MODEL, "llama");
    let mut no_byte = v().without(UNKNOWN);
    no_byte.tokens[4 + 0x41] = b"replaced".to_vec();
    no_byte.types[4 + 0x41] = 1;

    let faults: Vec<(&str, Vocabulary, &str, &str)> = vec![
        ("byte without token, and no unknown token", no_byte, TOKENS, "<0x41>"),
        ("no tokens", v().key(TOKENS, strings(&[])), TOKENS, "0 tokens"),
        ("tokens of another type", v().key(TOKENS, 7u32), TOKENS, "u32"),
        ("too few types", v().key(TYPES, types_of(vocab - 1)), TYPES, "268 types"),
        ("too many types", v().key(TYPES, types_of(vocab + 1)), TYPES, "270 types"),
        ("type 7", v().with("x", 7), TYPES, "7 for token 269"),
        ("type -1", v().with("x", -1), TYPES, "-1 for token 269"),
        ("types that are strings", v().key(TYPES, strings(&["1"])), TYPES, "string"),
        ("merges of another type", v().key(MERGES, integers(&[1])), MERGES, "i32"),
        ("merge of one word", v().merge("ab"), MERGES, "merge 2 `ab`"),
        ("merge without a left side", v().merge(" b"), MERGES, "merge 2"),
        ("merge without a right side", v().merge("a "), MERGES, "merge 2"),
        ("empty merge", v().merge(""), MERGES, "merge 2 ``"),
        ("merge with an unknown left side", v().merge("zz b"), MERGES, "merge 2 `zz b`"),
        ("merge with an unknown right side", v().merge("a zz"), MERGES, "merge 2 `a zz`"),
        ("merge that makes no token", v().merge("b a"), MERGES, "merge 2 `b a`"),
        ("merge of a byte token", v().with("a<0x41>", 1).merge("a <0x41>"), MERGES, "merge 2 `a <0x41>`"),
        ("merges of a larger vocabulary", v().key(MERGES, strings(&["th e", "i n"])), MERGES, "merge 0 `th e`"),
        ("too few scores", llama().key(SCORES, scores_of(vocab - 1, 0.0)), SCORES, "268 scores"),
        ("scores that are not numbers", llama().key(SCORES, scores_of(vocab, f32::NAN)), SCORES, "NaN for token 0"),
        ("endless scores", llama().key(SCORES, scores_of(vocab, f32::NEG_INFINITY)), SCORES, "-inf"),
        ("scores that are strings", llama().key(SCORES, strings(&["1"])), SCORES, "string"),
        ("bos beyond the vocabulary", v().key(BOS, vocab as u32), BOS, "269"),
        ("bos below 0", v().key(BOS, -1i32), BOS, "-1"),
        ("eos of 2^32 - 1", v().key(EOS, u32::MAX), EOS, "4294967295"),
        ("eos of 2^32 + 1", v().key(EOS, (1u64 << 32) + 1), EOS, "4294967297"),
        ("unknown token that is a word", v().key(UNKNOWN, "<unk>"), UNKNOWN, "string"),
        ("suppressed token beyond the vocabulary", v().key(SUPPRESSED, integers(&[0, 269])), SUPPRESSED, "269"),
        ("suppressed token below 0", v().key(SUPPRESSED, integers(&[-1])), SUPPRESSED, "-1"),
        ("suppressed half token", v().key(SUPPRESSED, Array::from(&[0.5f32][..])), SUPPRESSED, "0.5"),
        ("suppressed token that is no number", v().key(SUPPRESSED, Array::from(&[f32::NAN][..])), SUPPRESSED, "NaN"),
        ("more suppressed tokens than tokens", v().key(SUPPRESSED, types_of(vocab + 1)), SUPPRESSED, "270 ids"),
        ("a model that is a number", v().key(MODEL, 4u32), MODEL, "u32"),
    ];
    for (name, vocabulary, key, says) in faults {
        println!("{name}");
        refuses(vocabulary, key, says);
    }
}

/// The error names the key and says what was found.
fn refuses(vocabulary: Vocabulary, key: &str, says: &str) {
    match vocabulary.build() {
        Err(Error::Gguf { source: GgufError::Key { key: k, found, expected }, .. }) => {
            assert_eq!(k, key);
            assert!(found.contains(says), "found {found}, not {says}");
            assert!(!expected.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_keys_are_named() {
    let llama = Vocabulary::small().key(MODEL, "llama").without(SCORES);
    let gemma4 = Vocabulary::small();
    for (vocabulary, key) in [
        (gemma4.clone().without(MODEL), MODEL),
        (gemma4.clone().without(TOKENS), TOKENS),
        (gemma4.clone().without(MERGES), MERGES),
        (llama, SCORES),
    ] {
        match vocabulary.build() {
            Err(Error::Gguf { source: GgufError::MissingKey(missing), .. }) => assert_eq!(missing, key),
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn another_kind_of_tokenizer_is_unsupported() {
    let error = Vocabulary::small().key(MODEL, "gpt2").build().unwrap_err();
    assert!(matches!(&error, Error::Unsupported(what) if what.contains("gpt2")), "{error}");
}

#[test]
fn of_equal_spellings_the_lower_id_is_made_and_both_decode() {
    let tokenizer = Vocabulary::small().with("ab", 1).with("<0x41>", 6).with("<turn|>", 3).build().unwrap();
    assert_eq!(tokenizer.find("ab"), Some(266));
    assert_eq!(tokenizer.encode("abA<turn|>", Special::Parse), [266, 4 + 0x41, 268]);
    assert_eq!(tokenizer.decode(&[269, 270, 271]), "abA");
}

#[test]
fn a_missing_byte_becomes_the_unknown_token() {
    let mut vocabulary = Vocabulary::small();
    vocabulary.tokens[4 + 0x41] = b"replaced".to_vec();
    vocabulary.types[4 + 0x41] = 1;
    let tokenizer = vocabulary.build().unwrap();
    assert_eq!(tokenizer.encode("aAb", Special::Text), [260, 3, 261]);
}

#[test]
fn empty_tokens_and_tokens_that_are_not_utf8_are_never_made() {
    let tokenizer =
        Vocabulary::small().with("", 1).with("", 3).with("", 4).with(b"\xC3", 1).with(b"\xA9", 3).build().unwrap();
    let ids = tokenizer.encode("aé", Special::Parse);
    assert_eq!(ids, [260, 4 + 0xC3, 4 + 0xA9]);
    assert_eq!(tokenizer.piece(272), b"\xC3");
    assert_eq!(tokenizer.decode(&[269, 272, 4 + 0xA9, 272]), "é\u{FFFD}");
}

/// A file may not arm ordinary text with a merge or a score: only `Special::Parse` makes control tokens.
#[test]
fn no_merge_and_no_score_makes_a_control_token() {
    let spoilt = Vocabulary::small()
        .with("<", 1)
        .with("turn|>", 1)
        .with("<turn|", 1)
        .with(">", 1)
        .merge("< turn|>")
        .merge("<turn| >");
    for model in ["gemma4", "llama"] {
        let tokenizer = spoilt.clone().key(MODEL, model).build().unwrap();
        let ids = tokenizer.encode("<turn|>", Special::Text);
        assert!(!ids.iter().any(|&id| tokenizer.is_control(id)), "{model}: {ids:?}");
        assert_eq!(tokenizer.encode("<turn|>", Special::Parse).last(), Some(&268), "{model}");
    }
}

/// Files exist that give `<eos>` and others the type of ordinary tokens.
#[test]
fn control_tokens_are_known_by_spelling_and_by_key_too() {
    let mut vocabulary = Vocabulary::small().key(EOS, 264u32);
    vocabulary.types.fill(1);
    vocabulary.types[4..260].fill(6);
    let tokenizer = vocabulary.build().unwrap();
    let control: Vec<TokenId> = (0..tokenizer.vocab_size() as TokenId).filter(|&id| tokenizer.is_control(id)).collect();
    assert_eq!(control, [0, 1, 2, 3, 264, 268]);
    assert_eq!(tokenizer.end_of_generation(), [1, 264, 268]);
}

#[test]
fn bytes_are_known_by_spelling_if_the_file_has_no_types() {
    let tokenizer = Vocabulary::small().without(TYPES).build().unwrap();
    assert_eq!(tokenizer.encode("A", Special::Text), [4 + 0x41]);
    assert_eq!(tokenizer.decode(&[4 + 0x41]), "A");
}

#[test]
fn suppressed_tokens_may_be_any_kind_of_number() {
    for list in [Array::from(&[263i32, 260][..]), Array::from(&[263u64, 260][..]), Array::from(&[263f32, 260.0][..])] {
        let tokenizer = Vocabulary::small().key(SUPPRESSED, list).build().unwrap();
        // Besides the file's own: <pad>, <bos>, <unk>.
        assert_eq!(tokenizer.suppressed(), [0, 2, 3, 260, 263]);
    }
}

#[test]
fn without_bos_nothing_is_added() {
    let tokenizer = Vocabulary::small().without(BOS).build().unwrap();
    assert!(!tokenizer.adds_bos());
    assert_eq!(tokenizer.encode_prompt("a", Special::Text), [260]);
    // Gemma 4 files that say false do not mean it; others do.
    let says_no = Vocabulary::small().key("tokenizer.ggml.add_bos_token", false);
    assert!(says_no.build().unwrap().adds_bos());
    assert!(!says_no.key(MODEL, "llama").build().unwrap().adds_bos());
}

/// Many merges of one pair, many tokens of one spelling, long chains of prefixes: nothing is quadratic.
#[test]
fn large_degenerate_vocabularies_build_quickly() {
    let start = Instant::now();
    let mut vocabulary = Vocabulary::small();
    for i in 0..100_000 {
        vocabulary.add("same", 1, 0.0);
        vocabulary.add("<same>", 3, 0.0);
        vocabulary.add(format!("<{}>", "a".repeat(i % limits::SPECIAL_TOKEN_BYTES.min(120))), 4, 0.0);
        vocabulary.merges.push(b"a b".to_vec());
    }
    let tokenizer = vocabulary.build().unwrap();
    tokenizer.encode(&format!("<{}", "a".repeat(118)).repeat(1000), Special::Parse);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, types, scores and merges: an answer and not a panic.
    #[test]
    fn any_vocabulary_gives_a_tokenizer_or_an_error(
        extra in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..6), 0i32..8, any::<f32>()), 0..4),
        merges in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..2),
        llama in any::<bool>(),
        text in any::<String>(),
    ) {
        let mut vocabulary = Vocabulary::small().key(MODEL, if llama { "llama" } else { "gemma4" });
        for (spelling, kind, score) in extra {
            vocabulary.add(spelling, kind, score);
        }
        vocabulary.merges.extend(merges);
        if let Ok(tokenizer) = vocabulary.build() {
            for special in [Special::Text, Special::Parse] {
                let ids = tokenizer.encode(&text, special);
                prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
            }
        }
    }

    /// Whatever the tokens, scores and merges are: the ids are those of the plainest algorithm, text comes back, and no control token is made of it.
    #[test]
    fn text_survives_every_sound_vocabulary(
        extra in prop::collection::vec(("[a-e<>| ]{0,5}", kinds(), -20i8..0), 0..60),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..5), 0..60),
        llama in any::<bool>(),
        text in prop_oneof!["[a-e<>| \u{2581}é\n]{0,60}", any::<String>()],
    ) {
        let model = if llama { "llama" } else { "gemma4" };
        let mut vocabulary = Vocabulary::small().key(MODEL, model).key(SPACE_PREFIX, false);
        for (spelling, kind, score) in extra {
            vocabulary.add(spelling.replace(' ', "\u{2581}"), kind, score.into());
        }
        for (token, at) in cuts {
            let spelling = String::from_utf8(token.get(&vocabulary.tokens).clone()).unwrap();
            if let Some((left, right)) = spelling.split_at_checked(at)
                && [left, right].iter().all(|side| vocabulary.tokens[260..].contains(&side.as_bytes().to_vec()))
            {
                vocabulary.merges.extend([left, right].iter().all(|s| !s.is_empty()).then(|| format!("{left} {right}").into()));
            }
        }
        let tokenizer = vocabulary.build().unwrap();
        let ids = tokenizer.encode(&text, Special::Text);
        if !vocabulary.types.contains(&4) {
            prop_assert_eq!(&ids, &naive(&vocabulary, llama, &text));
        }
        prop_assert_eq!(tokenizer.decode(&ids), text.replace('\u{2581}', " "));
        prop_assert!(!ids.iter().any(|&id| tokenizer.is_control(id)));
    }
}

/// Normal tokens mostly; user-defined ones in few vocabularies.
fn kinds() -> impl Strategy<Value = i32> {
    prop_oneof![30 => Just(1), 2 => Just(5), 2 => Just(3), 1 => Just(4)]
}

/// Joins the best pair of the whole text again and again, over strings, without words, heaps or tables.
fn naive(v: &Vocabulary, llama: bool, text: &str) -> Vec<TokenId> {
    let find = |s: &[u8]| (0..v.tokens.len()).find(|&id| v.tokens[id] == s && v.types[id] != 6);
    let normal = |s: &[u8]| find(s).filter(|&id| matches!(v.types[id], 1 | 5));
    let strength = |left: &[u8], right: &[u8]| -> Option<f64> {
        let id = normal(&[left, right].concat())?;
        if llama {
            return Some(v.scores[id].into());
        }
        let line = [left, b" ", right].concat();
        (normal(left).is_some() && normal(right).is_some())
            .then(|| v.merges.iter().position(|merge| *merge == line).map(|rank| -(rank as f64)))?
    };
    let mut parts: Vec<Vec<u8>> = text.replace(' ', "\u{2581}").chars().map(|c| c.to_string().into()).collect();
    loop {
        let mut best: Option<(f64, usize)> = None;
        for at in 1..parts.len() {
            if let Some(s) = strength(&parts[at - 1], &parts[at])
                && best.is_none_or(|(most, _)| s > most)
            {
                best = Some((s, at));
            }
        }
        let Some((_, at)) = best else { break };
        let right = parts.remove(at);
        parts[at - 1].extend(right);
    }
    let bytes = |part: &[u8]| part.iter().map(|&byte| 4 + TokenId::from(byte)).collect();
    parts.iter().flat_map(|part| normal(part).map_or_else(|| bytes(part), |id| vec![id as TokenId])).collect()
}
