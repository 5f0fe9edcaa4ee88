//! Every bound on untrusted input, in one place, each with its reason.
//!
//! A count that a file declares is compared with the bytes that are left before anything is reserved; the bounds here
//! come on top, for what would fit the file and still make no sense.

#![forbid(unsafe_code)]

/// Most tensors in a file. The largest models known have a few thousand.
pub const GGUF_TENSORS: u64 = 100_000;
/// Most metadata keys in a file. Real files have about fifty.
pub const GGUF_KEYS: u64 = 100_000;
/// Longest metadata key, in bytes.
pub const GGUF_KEY_BYTES: u64 = 65_535;
/// Longest single string value, in bytes. Chat templates are about 20 KB; token strings under 100 bytes.
pub const GGUF_STRING_BYTES: u64 = 64 << 20;
/// Most elements of an array of numbers. Arrays of arrays are refused.
pub const GGUF_ARRAY_NUMBERS: u64 = 16 << 20;
/// Most elements of an array of strings. The vocabulary has 262,144 tokens and 514,906 merges.
pub const GGUF_ARRAY_STRINGS: u64 = 4 << 20;
/// Longest tensor name, in bytes.
pub const GGUF_TENSOR_NAME_BYTES: u64 = 255;
/// Most dimensions of a tensor.
pub const GGUF_DIMS: u32 = 4;
/// Largest single dimension.
pub const GGUF_DIM: u64 = 1 << 40;
/// Most numbers in one tensor.
pub const GGUF_TENSOR_NUMBERS: u64 = 1 << 48;
/// Largest alignment of tensor data; any alignment is a power of two. 32 when a file does not say.
pub const GGUF_ALIGNMENT: u32 = 1 << 20;
/// Longest header (keys and tensor table), in bytes.
pub const GGUF_HEADER_BYTES: u64 = 1 << 30;
/// Smallest GGUF file: magic, version and two counts (24 bytes), padded to the default alignment.
pub const GGUF_FILE_BYTES: u64 = 32;
/// Most parts of a split model.
pub const GGUF_PARTS: u64 = 999;

/// Most layers.
pub const LAYERS: u64 = 1024;
/// Widest hidden state.
pub const HIDDEN: u64 = 65_536;
/// Widest feed-forward layer.
pub const FFN: u64 = 1 << 20;
/// Most attention heads of a layer.
pub const HEADS: u64 = 1024;
/// Largest size of one head; it is even and at least 2.
pub const HEAD_DIM: u64 = 4096;
/// Most experts of a layer.
pub const EXPERTS: u64 = 4096;
/// Largest vocabulary; the smallest has 2 tokens.
pub const VOCAB: u64 = 4_194_304;
/// Longest spelling of a token, in bytes. The longest of Gemma's has 93.
pub const TOKEN_BYTES: usize = 1024;
/// Longest spelling of a control or user-defined token, in bytes: text is searched for these, at most this far from each
/// place. The longest of Gemma's has 31.
pub const SPECIAL_TOKEN_BYTES: usize = 128;
/// Longest context, in tokens.
pub const CONTEXT: u64 = 16 << 20;
/// Most tokens of one forward pass: the working memory for more would be tens of gigabytes.
pub const BATCH: usize = 65_536;
/// Most threads of a pool.
pub const THREADS: usize = 1024;

/// Largest picture file, in bytes. Photographs of 50 megapixels have about 20 MB.
pub const IMAGE_BYTES: usize = 64 << 20;
/// Longest side of a picture, in pixels: what JPEG and GIF can say.
pub const IMAGE_SIDE: u64 = 65_535;
/// Most pixels of a picture. Whatever it is, at most 1120 x 2304 of them are looked at.
pub const IMAGE_PIXELS: u64 = 64 << 20;
/// Most bytes that decoding a picture may take: its pixels with four channels of 16 bits.
pub const IMAGE_MEMORY: u64 = IMAGE_PIXELS * 8;
