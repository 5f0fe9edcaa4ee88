//! Load, tokenize, forward, sample: Lemmy / Gemma 4 26B-A4B inside your own program.
//!
//! Nothing is global, nothing is printed, nothing panics by design; every failure is an [`Error`] that names the file,
//! key, tensor or argument. Results do not depend on the number of threads, on how a prompt was cut into batches, nor on
//! other sessions.
//!
//! Modules stand in the order in which they may use each other: each uses only what is above it.

pub mod error;
pub mod limits;
pub mod threads;
pub mod quant;
pub mod gguf;
pub mod requantize;
pub mod tokenizer;
pub mod sampler;

pub use error::{Error, ErrorKind, GgufError, Result};
pub use sampler::{Sampler, SamplerParams, Stage};
pub use threads::{CancelToken, ThreadPool, ThreadPoolBuilder};
pub use tokenizer::{Special, TextDecoder, Tokenizer};

/// Index of a token in the vocabulary.
pub type TokenId = u32;
