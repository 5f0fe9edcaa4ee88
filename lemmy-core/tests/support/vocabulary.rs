//! The fixtures of the tokenizer.

use std::path::PathBuf;

use lemmy_core::gguf::{FileBytes, Gguf};

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizer").join(name)
}

/// The vocabulary of Gemma 4 26B-A4B without its tensors.
pub(crate) fn gguf() -> Gguf {
    Gguf::from_bytes(FileBytes::Owned(gguf_bytes())).unwrap()
}

/// The GGUF file, unpacked.
fn gguf_bytes() -> Vec<u8> {
    let mut packed = std::io::BufReader::new(std::fs::File::open(fixture("ggml-vocab-gemma-4.gguf.xz")).unwrap());
    let mut bytes = Vec::with_capacity(15_776_467);
    lzma_rs::xz_decompress(&mut packed, &mut bytes).unwrap();
    assert_eq!(bytes.len(), 15_776_467);
    bytes
}
