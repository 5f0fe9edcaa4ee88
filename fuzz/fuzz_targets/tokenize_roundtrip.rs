//! Any text comes back from its tokens; text that spells control tokens does so when it is taken as text.
//!
//! LEMMY_FUZZ_MODEL names a model file.

#![no_main]

use std::sync::LazyLock;

use lemmy_core::gguf::{Gguf, LoadMode};
use lemmy_core::{CancelToken, Special, Tokenizer};
use libfuzzer_sys::fuzz_target;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let path = std::env::var("LEMMY_FUZZ_MODEL").expect("LEMMY_FUZZ_MODEL names a model file");
    let mut progress = |_, _| std::ops::ControlFlow::Continue(());
    let gguf = Gguf::open(path.as_ref(), LoadMode::Mmap, &CancelToken::new(), &mut progress).expect("a model file");
    Tokenizer::from_gguf(&gguf).expect("a tokenizer")
});

fuzz_target!(|text: &str| {
    let ids = TOKENIZER.encode(text, Special::Text);
    assert!(ids.iter().all(|&id| !TOKENIZER.is_control(id)));
    assert_eq!(TOKENIZER.decode(&ids), text);
    TOKENIZER.encode(text, Special::Parse);
});
