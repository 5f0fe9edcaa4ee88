//! Without the feature `grammar` nothing can be compiled, and the error says what is missing.

#![cfg(not(feature = "grammar"))]
#![allow(clippy::unwrap_used)]

#[path = "support/vocabulary.rs"]
mod vocabulary;

use lemmy_core::Tokenizer;
use lemmy_core::error::ErrorKind;
use lemmy_core::grammar::Grammars;

#[test]
fn the_error_names_the_feature() {
    let tokenizer = Tokenizer::from_gguf(&vocabulary::gguf()).unwrap();
    let error = Grammars::new(&tokenizer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`grammar`"), "{error}");
}
