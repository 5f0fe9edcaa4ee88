//! Any ids, one by one, give the text that they give together.
//!
//! LEMMY_FUZZ_MODEL names a model file; the tiny one of the tests if it is not set.

#![no_main]

use std::sync::LazyLock;

use lemmy_core::gguf::{Gguf, LoadMode};
use lemmy_core::{CancelToken, Tokenizer};
use libfuzzer_sys::fuzz_target;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    let path = std::env::var("LEMMY_FUZZ_MODEL").unwrap_or_else(|_| tiny.into());
    let mut progress = |_, _| std::ops::ControlFlow::Continue(());
    let gguf = Gguf::open(path.as_ref(), LoadMode::Mmap, &CancelToken::new(), &mut progress).expect("a model file");
    Tokenizer::from_gguf(&gguf).expect("a tokenizer")
});

fuzz_target!(|numbers: Vec<u32>| {
    // Mostly ids of the vocabulary, some outside.
    let ids: Vec<u32> = numbers.iter().map(|n| n % (TOKENIZER.vocab_size() as u32 + 10)).collect();
    let mut decoder = TOKENIZER.stream();
    let mut text = String::new();
    for &id in &ids {
        text.push_str(decoder.push(id));
    }
    text.push_str(decoder.finish());
    assert_eq!(text, TOKENIZER.decode(&ids));
});
