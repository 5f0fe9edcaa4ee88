//! Any text comes back from its tokens; text that spells control tokens does so when it is taken as text.
//!
//! LEMMY_FUZZ_MODEL names a model file; the tiny one of the tests if it is not set.

#![no_main]

use std::sync::LazyLock;

use lemmy_core::gguf::{Gguf, LoadMode};
use lemmy_core::{CancelToken, Special, Tokenizer};
use libfuzzer_sys::fuzz_target;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny/tiny-q4_k_m.gguf");
    let path = std::env::var("LEMMY_FUZZ_MODEL").unwrap_or_else(|_| tiny.into());
    let mut progress = |_, _| std::ops::ControlFlow::Continue(());
    let gguf = Gguf::open(path.as_ref(), LoadMode::Mmap, &CancelToken::new(), &mut progress).expect("a model file");
    Tokenizer::from_gguf(&gguf).expect("a tokenizer")
});

fuzz_target!(|text: &str| {
    let ids = TOKENIZER.encode(text, Special::Text);
    assert!(ids.iter().all(|&id| !TOKENIZER.is_control(id)));
    // The vocabulary writes a space as U+2581, so that character comes back as a space.
    assert_eq!(TOKENIZER.decode(&ids), text.replace('\u{2581}', " "));
    TOKENIZER.encode(text, Special::Parse);
});
