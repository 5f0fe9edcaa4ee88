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

/// Longest JSON schema of an answer, in bytes.
pub const SCHEMA_BYTES: usize = 256 << 10;
/// Longest Lark grammar, in bytes. Work grows with the square of the alternatives of a rule.
pub const LARK_BYTES: usize = 64 << 10;
/// Longest regular expression of an answer, in bytes.
pub const REGEX_BYTES: usize = 16 << 10;
/// Longest names and schemas of all tools that a call is constrained to, in bytes.
pub const TOOLS_BYTES: usize = 1 << 20;
/// Most properties of one object of a JSON schema. Work grows with their square.
pub const SCHEMA_PROPERTIES: usize = 1024;
/// Largest bound on lengths of texts and arrays that a JSON schema may set.
pub const SCHEMA_LENGTH: u64 = 1 << 15;
/// Compiled grammars that are kept for the next reply, a few megabytes each.
pub const GRAMMARS_KEPT: usize = 16;
/// Longest token that a grammar can ask for, in bytes; a longer one never comes while an answer is constrained.
pub const GRAMMAR_TOKEN_BYTES: usize = 1000;
/// Most tokens with one spelling that a grammar knows; real vocabularies have a character and its byte token.
pub const GRAMMAR_TWINS: usize = 4;
/// Most nodes of the prefix tree of a vocabulary. Gemma's has half a million.
pub const GRAMMAR_NODES: usize = 1 << 22;

/// Longest tool call, in bytes; a longer one is read as text. A context of 262,144 tokens holds about 1 MB of text.
pub const CALL_BYTES: usize = 4 << 20;
/// Deepest nesting of a tool call's arguments. Common readers of JSON go 127 deep; schemas of tools, under ten.
pub const CALL_DEPTH: usize = 100;
