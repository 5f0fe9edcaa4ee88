//! The vocabulary: what each token prints, of which kind it is, and which token prints a given text.

#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};

use super::vocabulary::{TOKENS, TYPES, Vocabulary};
use crate::TokenId;
use crate::error::{Result, try_vec};
use crate::limits;

/// Marks the absence of a token; no vocabulary is this large.
pub(super) const NO_TOKEN: TokenId = TokenId::MAX;

/// How a token takes part in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Made by joining smaller pieces.
    Normal,
    /// Carries no text: a mark for the model.
    Control,
    /// Text that is one token wherever it stands, before anything is joined.
    UserDefined,
    /// One byte of a character that has no token of its own.
    Byte,
}

/// All tokens of a vocabulary.
///
/// Pieces are kept as they are printed: the mark U+2581 that vocabularies write for a space is a space here, and a byte
/// token is its byte. Two tokens that print the same text are tolerated; only the lower id is found by text.
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Start of each piece in `bytes`, and the end of the last.
    starts: Vec<u32>,
    kinds: Vec<Kind>,
    /// Open addressing; tokens of all kinds but `Byte`.
    index: Vec<Slot>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Bits of the hash that the slot's place does not tell.
    tag: u32,
    id: TokenId,
}

impl Pieces {
    /// `control` answers for an id and its spelling whether the token is a control token whatever its type says.
    pub(super) fn new(vocabulary: &mut Vocabulary<'_>, control: impl Fn(TokenId, &[u8]) -> bool) -> Result<Self> {
        let vocab = vocabulary.tokens.len;
        if let Some(types) = vocabulary.types.as_ref().filter(|types| types.len != vocab) {
            return Err(vocabulary.error(TYPES, format!("{} types", types.len), format!("{vocab}, one per token")));
        }
        let mut pieces = Self {
            bytes: Vec::new(),
            starts: try_vec(1, 0, "token offsets")?,
            kinds: try_vec(vocab, Kind::Normal, "token kinds")?,
            index: Vec::new(),
            hasher: RandomState::new(),
        };
        let mut tokens = std::mem::replace(&mut vocabulary.tokens.items, Box::new(std::iter::empty()));
        let mut types = vocabulary.types.take().map(|types| types.items);
        for id in 0..vocab {
            let spelling = tokens.next().unwrap_or_default();
            let kind = match types.as_mut().map(|types| types.next().unwrap_or_default()) {
                _ if control(id as TokenId, spelling) => Kind::Control,
                Some(0 | 1 | 5) => Kind::Normal,
                Some(2 | 3) => Kind::Control,
                Some(4) => Kind::UserDefined,
                Some(6) => Kind::Byte,
                None if byte_value(spelling).is_some() => Kind::Byte,
                None => Kind::Normal,
                Some(other) => {
                    return Err(vocabulary.error(TYPES, format!("{other} for token {id}"), "0 to 6"));
                }
            };
            pieces.push(vocabulary, id, kind, spelling)?;
        }
        pieces.bytes.shrink_to_fit();
        pieces.starts.shrink_to_fit();
        pieces.build_index()?;
        Ok(pieces)
    }

    fn push(&mut self, vocabulary: &Vocabulary<'_>, id: usize, kind: Kind, spelling: &[u8]) -> Result<()> {
        let limit = match kind {
            Kind::Control | Kind::UserDefined => limits::SPECIAL_TOKEN_BYTES,
            Kind::Normal | Kind::Byte => limits::TOKEN_BYTES,
        };
        if spelling.len() > limit {
            let found = format!("token {id} of {} bytes ({kind:?})", spelling.len());
            return Err(vocabulary.error(TOKENS, found, format!("at most {limit}")));
        }
        match kind {
            Kind::Byte => self.bytes.push(byte_value(spelling).ok_or_else(|| {
                let found = format!("byte token {id} `{:.64}`", String::from_utf8_lossy(spelling));
                vocabulary.error(TOKENS, found, "<0x00> to <0xFF>")
            })?),
            _ => push_printed(spelling, &mut self.bytes),
        }
        let end = u32::try_from(self.bytes.len())
            .map_err(|_| vocabulary.error(TOKENS, format!("{} bytes of text", self.bytes.len()), "less than 4 GiB"))?;
        self.starts.push(end);
        if let Some(slot) = self.kinds.get_mut(id) {
            *slot = kind;
        }
        Ok(())
    }

    fn build_index(&mut self) -> Result<()> {
        let slots = (self.len() * 2).next_power_of_two();
        self.index = try_vec(slots, Slot { tag: 0, id: NO_TOKEN }, "token index")?;
        for id in 0..self.len() as TokenId {
            if self.kind(id) == Some(Kind::Byte) {
                continue;
            }
            let (tag, place) = self.look_up(self.piece(id));
            if let Some(slot) = self.index.get_mut(place).filter(|slot| slot.id == NO_TOKEN) {
                *slot = Slot { tag, id };
            }
        }
        Ok(())
    }

    /// Tag of a text and its place in the index: the slot that holds its token, or the free one where it would be.
    fn look_up(&self, text: &[u8]) -> (u32, usize) {
        let hash = self.hasher.hash_one(text);
        let tag = (hash >> 32) as u32;
        let mask = self.index.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(slot) = self.index.get(place) {
            if slot.id == NO_TOKEN || (slot.tag == tag && self.piece(slot.id) == text) {
                break;
            }
            place = (place + 1) & mask;
        }
        (tag, place)
    }

    /// The token that prints exactly this text; never a byte token.
    pub(super) fn find(&self, text: &[u8]) -> Option<TokenId> {
        let (_, place) = self.look_up(text);
        self.index.get(place).map(|slot| slot.id).filter(|&id| id != NO_TOKEN)
    }

    /// The normal token that prints exactly this text: the only kind that joining may make or use.
    pub(super) fn find_normal(&self, text: &[u8]) -> Option<TokenId> {
        self.find(text).filter(|&id| self.kind(id) == Some(Kind::Normal))
    }

    pub(super) fn piece(&self, id: TokenId) -> &[u8] {
        let at = |i: usize| self.starts.get(i).map(|&start| start as usize);
        let id = id as usize;
        at(id).zip(at(id + 1)).and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    pub(super) fn kind(&self, id: TokenId) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Every token's id and kind.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TokenId, Kind)> + '_ {
        (0..).zip(self.kinds.iter().copied())
    }
}

/// U+2581, which stands for a space in spellings.
pub(super) const SPACE_MARK: char = '\u{2581}';

/// Appends a spelling as it is printed.
pub(super) fn push_printed(spelling: &[u8], to: &mut Vec<u8>) {
    let mut rest = spelling;
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix("\u{2581}".as_bytes()) {
            Some(after) => {
                to.push(b' ');
                rest = after;
            }
            None => {
                to.push(byte);
                rest = after;
            }
        }
    }
}

/// The byte that `<0xHH>` spells.
fn byte_value(spelling: &[u8]) -> Option<u8> {
    let digits = spelling.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let &[high, low] = digits else { return None };
    let digit = |c: u8| (c as char).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
