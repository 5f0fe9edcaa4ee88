//! Ids to text, never in the middle of a character.

#![forbid(unsafe_code)]

use super::Tokenizer;
use crate::TokenId;

/// Turns ids that come one by one into text that never ends inside a character.
///
/// Bytes of a character that is not yet whole are kept back, three at most. Bytes that can no longer become a character
/// are replaced as browsers do it: one U+FFFD for each maximal part of a character (Unicode 16, section 3.9, "U+FFFD
/// Substitution of Maximal Subparts"; WHATWG Encoding, UTF-8 decoder). A control token prints nothing and ends what was
/// kept back.
///
/// ```no_run
/// # fn f(tokenizer: &lemmy_core::Tokenizer, ids: &[u32]) {
/// let mut text = tokenizer.stream();
/// for &id in ids {
///     print!("{}", text.push(id));
/// }
/// println!("{}", text.finish());
/// # }
/// ```
#[derive(Debug)]
pub struct TextDecoder<'t> {
    tokenizer: &'t Tokenizer,
    state: DecoderState,
}

impl<'t> TextDecoder<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, state: DecoderState::new() }
    }
}

impl TextDecoder<'_> {
    /// Text that is complete after this id; may be empty.
    pub fn push(&mut self, id: TokenId) -> &str {
        self.state.push(self.tokenizer, id)
    }

    /// What was kept back, as U+FFFD; the decoder is empty afterwards.
    pub fn finish(&mut self) -> &str {
        self.state.finish()
    }
}

/// What a [`TextDecoder`] remembers, for whoever cannot borrow the tokenizer for so long: it is handed in with each id.
#[derive(Debug, Clone, Default)]
pub struct DecoderState {
    /// Bytes not yet given out.
    pending: Vec<u8>,
    /// What the last call gave out.
    text: String,
}

impl DecoderState {
    /// Nothing decoded yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Text that is complete after this id; may be empty. All ids of one text need the same tokenizer.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: TokenId) -> &str {
        self.text.clear();
        if tokenizer.is_control(id) {
            self.drop_pending();
        } else {
            self.pending.extend_from_slice(tokenizer.piece(id));
            self.take_complete();
        }
        &self.text
    }

    /// What was kept back, as U+FFFD; nothing is kept afterwards.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        self.drop_pending();
        &self.text
    }

    /// Moves whole characters from `pending` to `text`.
    fn take_complete(&mut self) {
        let (mut taken, total) = (0, self.pending.len());
        for chunk in self.pending.utf8_chunks() {
            self.text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let bad = chunk.invalid();
            let kept = taken + bad.len() == total && may_go_on(bad);
            if !bad.is_empty() && !kept {
                self.text.push(char::REPLACEMENT_CHARACTER);
                taken += bad.len();
            }
        }
        self.pending.drain(..taken);
    }

    fn drop_pending(&mut self) {
        if !self.pending.is_empty() {
            self.text.push(char::REPLACEMENT_CHARACTER);
            self.pending.clear();
        }
    }
}

/// Whether more bytes can make a character of these.
fn may_go_on(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}
