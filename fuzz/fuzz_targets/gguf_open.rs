//! Any bytes as a model file: an error or a model whose every key, tensor and tokenizer can be looked at.

#![no_main]

use lemmy_core::Tokenizer;
use lemmy_core::gguf::{FileBytes, Gguf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(gguf) = Gguf::from_bytes(FileBytes::Owned(data.to_vec())) else { return };
    for (key, value) in gguf.keys() {
        assert!(gguf.get(key).is_some());
        value.type_name();
    }
    for tensor in gguf.tensors() {
        let bytes = gguf.tensor_bytes(tensor);
        assert_eq!(bytes.as_slice().len() as u64, tensor.bytes, "{}", tensor.name);
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        tokenizer.encode("Hello, wörld", lemmy_core::Special::Parse);
    }
});
