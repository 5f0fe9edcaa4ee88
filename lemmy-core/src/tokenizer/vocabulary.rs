//! What a model file says about its tokens, before any of it is believed.

#![forbid(unsafe_code)]

use crate::TokenId;
use crate::error::{Error, GgufError, Result};
use crate::gguf::{Array, Gguf, Value};
use crate::limits;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
const SUPPRESSED: &str = "tokenizer.ggml.suppress_tokens";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
/// Tokens that end a generation: of the text, of the turn, of the message.
const ENDS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// Tokens that carry no text and end nothing.
const FILLERS: [&str; 2] = ["tokenizer.ggml.padding_token_id", "tokenizer.ggml.mask_token_id"];

/// Elements of one array of the file, read as they are needed.
pub(super) struct List<'a, T> {
    pub(super) len: usize,
    pub(super) items: Box<dyn Iterator<Item = T> + 'a>,
}

/// The rule by which pieces of text are joined, with the array that it reads.
pub(super) enum Rule<'a> {
    /// `gemma4`: byte-pair merges, "LEFT RIGHT", the first one strongest.
    Merges(List<'a, &'a [u8]>),
    /// `llama`: SentencePiece scores, one per token, the highest one strongest.
    Scores(List<'a, f64>),
}

/// The tokenizer's keys, each of a usable type; nothing else about them has been checked.
pub(super) struct Vocabulary<'a> {
    /// Name of the file, for messages.
    pub(super) file: &'a str,
    pub(super) tokens: List<'a, &'a [u8]>,
    /// 0 undefined, 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub(super) types: Option<List<'a, i64>>,
    pub(super) rule: Rule<'a>,
    pub(super) bos: Option<TokenId>,
    pub(super) unknown: Option<TokenId>,
    pub(super) ends: Vec<TokenId>,
    pub(super) fillers: Vec<TokenId>,
    pub(super) suppressed: Vec<TokenId>,
    pub(super) adds_bos: bool,
    pub(super) adds_space: bool,
}

impl<'a> Vocabulary<'a> {
    pub(super) fn from_gguf(gguf: &'a Gguf) -> Result<Self> {
        let keys = Keys { gguf };
        let tokens = keys.list(TOKENS, "an array of strings", Array::strings)?;
        if tokens.len == 0 || tokens.len as u64 > limits::VOCAB {
            let expected = format!("1 to {} tokens", limits::VOCAB);
            return Err(keys.error(TOKENS, format!("{} tokens", tokens.len), expected));
        }
        let vocab = tokens.len;
        let types = match gguf.get(TYPES) {
            Some(_) => Some(keys.list(TYPES, "an array of integers", Array::integers)?),
            None => None,
        };
        let (rule, spm) = match keys.string(MODEL)? {
            "gemma4" => (Rule::Merges(keys.list(MERGES, "an array of strings", Array::strings)?), false),
            "llama" => (Rule::Scores(keys.list(SCORES, "an array of numbers", Array::floats)?), true),
            other => {
                return Err(Error::Unsupported(format!(
                    "{}: tokenizer `{other:.64}` (known: gemma4, llama)",
                    gguf.name()
                )));
            }
        };
        let all = |names: &[&str]| -> Result<Vec<TokenId>> {
            names.iter().filter_map(|key| keys.token(key, vocab).transpose()).collect()
        };
        Ok(Self {
            file: gguf.name(),
            types,
            rule,
            bos: keys.token(BOS, vocab)?,
            unknown: keys.token(UNKNOWN, vocab)?,
            ends: all(&ENDS)?,
            fillers: all(&FILLERS)?,
            suppressed: keys.suppressed(vocab)?,
            // The first Gemma 4 files said false by mistake; every prompt of that model starts with the token.
            adds_bos: keys.flag(ADD_BOS)?.unwrap_or(true) || !spm,
            // SentencePiece puts a space before a text unless told otherwise.
            adds_space: keys.flag(ADD_SPACE)?.unwrap_or(spm),
            tokens,
        })
    }

    pub(super) fn error(&self, key: &str, found: String, expected: impl Into<String>) -> Error {
        key_error(self.file, key, found, expected)
    }
}

/// An unusable value of a key.
pub(super) fn key_error(file: &str, key: &str, found: String, expected: impl Into<String>) -> Error {
    Error::Gguf { file: file.into(), source: GgufError::Key { key: key.into(), found, expected: expected.into() } }
}

/// Typed access to the keys of a file.
struct Keys<'a> {
    gguf: &'a Gguf,
}

impl<'a> Keys<'a> {
    fn error(&self, key: &str, found: String, expected: impl Into<String>) -> Error {
        key_error(self.gguf.name(), key, found, expected)
    }

    fn required(&self, key: &str) -> Result<&'a Value> {
        self.gguf.get(key).ok_or_else(|| self.gguf.error(GgufError::MissingKey(key.into())))
    }

    fn string(&self, key: &str) -> Result<&'a str> {
        let value = self.required(key)?;
        value.as_str().ok_or_else(|| self.error(key, value.type_name(), "a string"))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.gguf.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.error(key, value.type_name(), "a bool"))
    }

    fn list<I: Iterator + 'a>(
        &self,
        key: &str,
        expected: &str,
        items: impl Fn(&'a Array) -> Option<I>,
    ) -> Result<List<'a, I::Item>> {
        let value = self.required(key)?;
        value
            .as_array()
            .and_then(|array| Some(List { len: array.len(), items: Box::new(items(array)?) }))
            .ok_or_else(|| self.error(key, value.type_name(), expected))
    }

    fn token(&self, key: &str, vocab: usize) -> Result<Option<TokenId>> {
        let Some(value) = self.gguf.get(key) else { return Ok(None) };
        let Some(id) = value.as_i64() else { return Err(self.error(key, value.type_name(), "a token id")) };
        self.checked_id(key, id, vocab).map(Some)
    }

    /// Written as any kind of number by the tools that exist.
    fn suppressed(&self, vocab: usize) -> Result<Vec<TokenId>> {
        if self.gguf.get(SUPPRESSED).is_none() {
            return Ok(Vec::new());
        }
        let ids = self.list(SUPPRESSED, "an array of token ids", Array::floats)?;
        if ids.len > vocab {
            return Err(self.error(SUPPRESSED, format!("{} ids", ids.len), format!("at most {vocab}")));
        }
        ids.items
            .map(|id| match id.fract() == 0.0 {
                true => self.checked_id(SUPPRESSED, id as i64, vocab),
                false => Err(self.error(SUPPRESSED, id.to_string(), "a token id")),
            })
            .collect()
    }

    fn checked_id(&self, key: &str, id: i64, vocab: usize) -> Result<TokenId> {
        TokenId::try_from(id)
            .ok()
            .filter(|&id| (id as usize) < vocab)
            .ok_or_else(|| self.error(key, id.to_string(), format!("a token id from 0 to {}", vocab - 1)))
    }
}
