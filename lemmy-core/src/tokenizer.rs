//! Text to token ids and back, by the arrays that a model file carries.
//!
//! Gemma 4 files (`tokenizer.ggml.model` = `gemma4`) list byte-pair merges; Gemma 3 files (`llama`) give a SentencePiece
//! score to each token. Both work alike from there: control tokens are cut out of the text, the rest is split into words
//! and characters, and neighbours are joined, strongest join first, leftmost first among equals. A character without a
//! token becomes the tokens of its bytes. Nothing is normalised, trimmed or lower-cased: decoding the ids of a text gives
//! the text, but for U+2581, which vocabularies write for a space and which comes back as one.
//!
//! Reading order: `vocabulary` (what the file says), `pieces` (the tokens), `specials` (whole strings), `words` (where a
//! text may be cut), `ranks` (what joins), `encoder`, `decoder`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use crate::TokenId;
use crate::error::Result;
use crate::gguf::Gguf;

mod vocabulary;
mod pieces;
mod specials;
mod words;
mod ranks;
mod encoder;
mod decoder;

pub use decoder::{DecoderState, TextDecoder};
use encoder::{Encoder, Scratch};
use pieces::{Kind, Pieces, SPACE_MARK};
use specials::Specials;
use vocabulary::Vocabulary;

/// What becomes of control strings such as `<|turn>` inside a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// They stay text: safe for what a user typed.
    Text,
    /// They become control tokens: for text that a template made.
    Parse,
}

/// The vocabulary and its rules. Immutable; share it between threads by reference.
///
/// ```no_run
/// use lemmy_core::{Model, Special};
/// let model = Model::open("gemma-4-26B-A4B-it-Q4_K_M.gguf")?;
/// let tokenizer = model.tokenizer();
/// let ids = tokenizer.encode("Why is the sky blue?", Special::Text);
/// assert_eq!(tokenizer.decode(&ids), "Why is the sky blue?");
/// # Ok::<(), lemmy_core::Error>(())
/// ```
pub struct Tokenizer {
    pieces: Pieces,
    specials: Specials,
    encoder: Encoder,
    bos: Option<TokenId>,
    adds_bos: bool,
    adds_space: bool,
    end_of_generation: Vec<TokenId>,
    suppressed: Vec<TokenId>,
}

impl Tokenizer {
    /// Builds the tokenizer from a model file's own arrays (`tokenizer.ggml.*`).
    ///
    /// # Errors
    ///
    /// [`Error::Gguf`](crate::Error::Gguf) names the key if one is missing, of another type, or contradicts another: arrays
    /// of different lengths, ids outside of the vocabulary, merges of unknown tokens, byte tokens that spell no byte.
    /// [`Error::Unsupported`](crate::Error::Unsupported) if the file wants another kind of tokenizer.
    ///
    /// Tolerated: two tokens with one spelling (the lower id is made from text, both decode), empty tokens and tokens that
    /// are not UTF-8 (never made from text), missing byte tokens if there is an unknown token to stand in, and merges that
    /// would make a control token (left out).
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        Self::new(Vocabulary::from_gguf(gguf)?)
    }

    fn new(mut vocabulary: Vocabulary<'_>) -> Result<Self> {
        let by_key: Vec<TokenId> = [&vocabulary.ends, &vocabulary.fillers]
            .into_iter()
            .flatten()
            .copied()
            .chain(vocabulary.bos)
            .chain(vocabulary.unknown)
            .collect();
        let is_control =
            |id, spelling: &[u8]| by_key.contains(&id) || specials::CONTROL.iter().any(|s| s.as_bytes() == spelling);
        let pieces = Pieces::new(&mut vocabulary, is_control)?;

        let by_spelling = |spellings: &'static [&'static str]| {
            let found = spellings.iter().filter_map(|spelling| pieces.find(spelling.as_bytes()));
            found.filter(|&id| pieces.kind(id) == Some(Kind::Control))
        };
        let end_of_generation =
            sorted(by_spelling(&specials::END_OF_GENERATION).chain(vocabulary.ends.iter().copied()));
        let suppressed = sorted(by_spelling(&specials::NEVER_SAMPLED).chain(vocabulary.suppressed.iter().copied()));
        Ok(Self {
            specials: Specials::new(&pieces),
            end_of_generation,
            suppressed,
            bos: vocabulary.bos,
            adds_bos: vocabulary.adds_bos && vocabulary.bos.is_some(),
            adds_space: vocabulary.adds_space,
            encoder: Encoder::new(vocabulary, &pieces)?,
            pieces,
        })
    }

    /// Ids of a text. Adds no BOS.
    ///
    /// With [`Special::Text`] no id is a control token, whatever the text says. Time is O(n log n) in the text's length.
    pub fn encode(&self, text: &str, special: Special) -> Vec<TokenId> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        let mut scratch = Scratch::new(text.len());
        let (mut rest, mut space) = (text, self.adds_space);
        while let Some((before, id, after)) = self.specials.cut(rest, special) {
            self.encode_plain(before, space, &mut scratch, &mut ids);
            ids.push(id);
            (rest, space) = (after, self.adds_space);
        }
        self.encode_plain(rest, space, &mut scratch, &mut ids);
        ids
    }

    /// Ids of a raw text as the model wants to see it: BOS in front if the model asks for one and the text has none.
    pub fn encode_prompt(&self, text: &str, special: Special) -> Vec<TokenId> {
        let mut ids = self.encode(text, special);
        if let Some(bos) = self.bos.filter(|bos| self.adds_bos && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        ids
    }

    /// A stretch without special tokens. A literal U+2581 cannot be told from a space: vocabularies spell it so.
    fn encode_plain(&self, text: &str, space: bool, scratch: &mut Scratch, ids: &mut Vec<TokenId>) {
        let text = match text.contains(SPACE_MARK) {
            true => Cow::Owned(text.replace(SPACE_MARK, " ")),
            false => Cow::Borrowed(text),
        };
        let text = match space && !text.is_empty() {
            true => Cow::Owned(format!(" {text}")),
            false => text,
        };
        self.encoder.encode(&text, &self.pieces, scratch, ids);
    }

    /// Text of ids; control tokens give nothing, bytes that are no UTF-8 give U+FFFD.
    pub fn decode(&self, ids: &[TokenId]) -> String {
        let mut text = String::with_capacity(ids.len() * 4);
        let mut decoder = self.stream();
        for &id in ids {
            text.push_str(decoder.push(id));
        }
        text.push_str(decoder.finish());
        text
    }

    /// A decoder for ids that come one by one.
    pub fn stream(&self) -> TextDecoder<'_> {
        TextDecoder::new(self)
    }

    /// Bytes of one token as it would be printed (a byte token is its byte; a control token is its own spelling).
    /// Empty for an id outside of the vocabulary.
    pub fn piece(&self, id: TokenId) -> &[u8] {
        self.pieces.piece(id)
    }

    /// The control token or plain piece with exactly this spelling (a space may be written as U+2581); never a byte token.
    pub fn find(&self, piece: &str) -> Option<TokenId> {
        self.pieces.find(piece.replace(SPACE_MARK, " ").as_bytes())
    }

    /// Whether the id is a control token: by its type in the file, by its spelling, or named by a key (bos, eos, ...).
    pub fn is_control(&self, id: TokenId) -> bool {
        self.pieces.kind(id) == Some(Kind::Control)
    }

    /// Tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token that starts a text.
    pub fn bos(&self) -> Option<TokenId> {
        self.bos
    }

    /// Whether raw text gets a BOS in front.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Tokens that end a generation, ascending: the file's own and `<eos>`, `<turn|>`, `<|tool_response>` by spelling, as
    /// files name only some of them.
    pub fn end_of_generation(&self) -> &[TokenId] {
        &self.end_of_generation
    }

    /// Tokens that are never to be sampled, ascending: `tokenizer.ggml.suppress_tokens` and the control tokens that a
    /// model's turn never holds (paddings, media places, marks of the prompt).
    pub fn suppressed(&self) -> &[TokenId] {
        &self.suppressed
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).finish_non_exhaustive()
    }
}

fn sorted(ids: impl Iterator<Item = TokenId>) -> Vec<TokenId> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
