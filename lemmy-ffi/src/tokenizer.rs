//! Text to tokens and back.

use std::ffi::c_char;
use std::ptr::null;

use lemmy_core::{DecoderState, Special, TokenId, Tokenizer};

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::model::LemmyModel;
use crate::text::Slot;
use crate::value::{self, NO_TOKEN};
use crate::{handle, text};

/// `LEMMY_TOKENIZE_*`.
mod tokenize {
    pub(super) const PARSE_CONTROL: u32 = 1;
    pub(super) const ADD_BOS: u32 = 2;
}

/// `LEMMY_DETOKENIZE_*`.
mod detokenize {
    pub(super) const CONTROL: u32 = 1;
}

/// `LEMMY_TOKEN_*`.
mod kind {
    pub(super) const CONTROL: u32 = 1;
    pub(super) const END: u32 = 2;
    pub(super) const SUPPRESSED: u32 = 4;
}

/// Tokens of a text.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_tokenize(
    model: *mut LemmyModel,
    text: *const c_char,
    text_len: usize,
    flags: u32,
    ids: *mut u32,
    capacity: usize,
    out_count: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let count = Slot::new("out_count", out_count, 0)?;
            let model = handle::get("model", model)?;
            let text = text::read("text", text, text_len)?;
            let flags = value::bits("flags", flags, tokenize::PARSE_CONTROL | tokenize::ADD_BOS)?;
            let special = if flags & tokenize::PARSE_CONTROL != 0 { Special::Parse } else { Special::Text };
            let found = match flags & tokenize::ADD_BOS {
                0 => model.model.tokenizer().encode(text, special),
                _ => model.model.tokenizer().encode_prompt(text, special),
            };
            text::fill("ids", &found, (ids, capacity), count)
        })
    }
}

/// Text of tokens, with a NUL behind it.
fn spell(tokenizer: &Tokenizer, ids: &[TokenId], control: bool) -> String {
    let mut text = String::with_capacity(ids.len() * 4);
    let mut decoder = DecoderState::new();
    for &id in ids {
        text.push_str(decoder.push(tokenizer, id));
        if control && tokenizer.is_control(id) {
            text.push_str(&String::from_utf8_lossy(tokenizer.piece(id)));
        }
    }
    text.push_str(decoder.finish());
    text.push('\0');
    text
}

/// Text of tokens.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_detokenize(
    model: *mut LemmyModel,
    ids: *const u32,
    count: usize,
    flags: u32,
    text: *mut c_char,
    capacity: usize,
    out_len: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let len = Slot::new("out_len", out_len, 0)?;
            let handle = handle::get("model", model)?;
            let ids = text::array("ids", ids, count)?;
            let control = value::bits("flags", flags, detokenize::CONTROL)? != 0;
            for &id in ids {
                check(handle.model.tokenizer(), id)?;
            }
            let found = spell(handle.model.tokenizer(), ids, control);
            len.set(found.len() - 1);
            text::copy("text", found.as_bytes(), (text.cast(), capacity))
        })
    }
}

/// Refuses what is no token.
fn check(tokenizer: &Tokenizer, id: TokenId) -> Result<(), Failure> {
    let vocab = tokenizer.vocab_size();
    match (id as usize) < vocab {
        true => Ok(()),
        false => Err(Failure::argument("ids", format!("token {id} in a vocabulary of {vocab} tokens"))),
    }
}

/// Bytes of one token.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_token_bytes(
    model: *mut LemmyModel,
    id: u32,
    out: *mut *const u8,
    out_len: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out", out, null())?;
            let out_len = Slot::new("out_len", out_len, 0)?;
            let model = handle::get("model", model)?;
            check(model.model.tokenizer(), id)?;
            let bytes = model.model.tokenizer().piece(id);
            out.set(bytes.as_ptr());
            out_len.set(bytes.len());
            Ok(())
        })
    }
}

/// The token with exactly this spelling.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_token_find(
    model: *mut LemmyModel,
    text: *const c_char,
    text_len: usize,
    out_id: *mut u32,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out_id", out_id, NO_TOKEN)?;
            let model = handle::get("model", model)?;
            let text = text::read("text", text, text_len)?;
            out.set(model.model.tokenizer().find(text).unwrap_or(NO_TOKEN));
            Ok(())
        })
    }
}

/// What a token is.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_token_flags(
    model: *mut LemmyModel,
    id: u32,
    out_flags: *mut u32,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out = Slot::new("out_flags", out_flags, 0)?;
            let model = handle::get("model", model)?;
            let tokenizer = model.model.tokenizer();
            check(tokenizer, id)?;
            let flags = [
                (tokenizer.is_control(id), kind::CONTROL),
                (tokenizer.end_of_generation().contains(&id), kind::END),
                (tokenizer.suppressed().contains(&id), kind::SUPPRESSED),
            ];
            out.set(flags.iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum());
            Ok(())
        })
    }
}
