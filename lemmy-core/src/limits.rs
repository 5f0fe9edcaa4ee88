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

/// Most stop strings of a reply. APIs of the field allow 4 to 16.
pub const STOP_STRINGS: usize = 256;
/// Longest stop string, in bytes.
pub const STOP_BYTES: usize = 1024;
/// Most alternatives that are given with a token.
pub const TOP_LOGPROBS: u8 = 20;

/// Longest tool call, in bytes; a longer one is read as text. A context of 262,144 tokens holds about 1 MB of text.
pub const CALL_BYTES: usize = 4 << 20;
/// Deepest nesting of a tool call's arguments. Common readers of JSON go 127 deep; schemas of tools, under ten.
pub const CALL_DEPTH: usize = 100;

/// Longest chat template, in bytes. Those of Gemma 4 have 12 to 19 KB.
pub const TEMPLATE_BYTES: usize = 1 << 20;
/// Steps that a chat template may take whatever it is given; for each message and byte of the input some more. A step pays
/// for 64 bytes too, so this is at most 128 MB and a fraction of a second. An ordinary conversation takes some thousands.
pub const TEMPLATE_FUEL: u64 = 2_000_000;
/// Deepest nesting of calls and blocks while a template runs; a macro's call counts for several. It is the most that the
/// engine allows, and enough for values of [`JSON_DEPTH`].
pub const TEMPLATE_RECURSION: usize = 500;
/// Stack of the thread that a template runs on, in bytes; only what is used takes memory.
pub const TEMPLATE_STACK_BYTES: usize = 64 << 20;
/// Longest text that a template may make whatever it is given, in bytes; four bytes more for each byte of the input.
pub const TEMPLATE_OUTPUT_BYTES: usize = 1 << 20;
/// Deepest nesting of a JSON text: messages, arguments, schemas. Real schemas stay under ten.
pub const JSON_DEPTH: usize = 64;
/// Most values in a JSON text: each takes some tens of bytes once it is read.
pub const JSON_VALUES: usize = 1_000_000;
/// Most messages of a conversation. Templates look from each at all others.
pub const CHAT_MESSAGES: usize = 4096;
/// Most bytes of text in a conversation, pictures apart: 256K tokens are about 1 MB.
pub const CHAT_BYTES: usize = 16 << 20;
/// Most bytes of a JSON text of messages, pictures as base64 among them.
pub const CHAT_JSON_BYTES: usize = 256 << 20;
/// Most tools of a conversation.
pub const TOOLS: usize = 256;
/// Longest name of a tool, in bytes. OpenAI allows 64, connectors put prefixes before it.
pub const TOOL_NAME_BYTES: usize = 256;
/// Longest JSON of a tool call's arguments or of a tool's answer, in bytes.
pub const ARGUMENTS_BYTES: usize = 4 << 20;
/// Longest JSON schema of a tool, in bytes.
pub const SCHEMA_BYTES: usize = 1 << 20;
/// Most bytes that a schema may become once its references are followed, some for each schema in it included.
pub const SCHEMA_WORK_BYTES: usize = 8 << 20;
/// Deepest nesting of a schema once its references are followed.
pub const SCHEMA_DEPTH: usize = 24;

/// Longest JSON schema of an answer, in bytes.
pub const ANSWER_SCHEMA_BYTES: usize = 256 << 10;
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
/// Longest token that a grammar can ask for, in bytes; a longer one never comes while an answer is constrained.
pub const GRAMMAR_TOKEN_BYTES: usize = 1000;
/// Most tokens with one spelling that a grammar knows; real vocabularies have a character and its byte token.
pub const GRAMMAR_TWINS: usize = 4;
/// Most nodes of the prefix tree of a vocabulary. Gemma's has half a million.
pub const GRAMMAR_NODES: usize = 1 << 22;
/// Compiled grammars that are kept for the next reply, a few megabytes each.
pub const GRAMMARS_KEPT: usize = 16;

/// Largest picture file, in bytes. Photographs of 50 megapixels have about 20 MB.
pub const IMAGE_BYTES: usize = 64 << 20;
/// Longest side of a picture, in pixels: what JPEG and GIF can say.
pub const IMAGE_SIDE: u64 = 65_535;
/// Most pixels of a picture. Whatever it is, at most 1120 x 2304 of them are looked at.
pub const IMAGE_PIXELS: u64 = 64 << 20;
/// Most bytes that decoding a picture may take: its pixels with four channels of 16 bits.
pub const IMAGE_MEMORY: u64 = IMAGE_PIXELS * 8;
