//! Tokens that come one by one to text.

use std::ffi::c_char;
use std::ptr::null;
use std::sync::Mutex;

use lemmy_core::{DecoderState, Model};

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::{guard, guard_value};
use crate::model::LemmyModel;
use crate::text::{Lent, Slot};
use crate::{answer, handle};

/// Turns tokens into text. Has one owner.
pub struct LemmyDecoder {
    model: Model,
    inside: Mutex<(DecoderState, Lent)>,
}

/// A decoder with nothing in it.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_decoder_new(
    model: *mut LemmyModel,
    decoder: *mut *mut LemmyDecoder,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("decoder", decoder), || {
            let model = handle::get("model", model)?.model.clone();
            Ok(LemmyDecoder { model, inside: Mutex::default() })
        })
    }
}

/// Decodes a token, or finishes.
///
/// # Safety
///
/// Pointers are as the header says.
unsafe fn decode(
    decoder: *mut LemmyDecoder,
    id: Option<u32>,
    out: *mut *const c_char,
    out_len: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: as promised.
    let (out, out_len, decoder) = unsafe {
        (Slot::new("out", out, null())?, Slot::new("out_len", out_len, 0)?, handle::get("decoder", decoder)?)
    };
    let (state, lent) = &mut *handle::lock("decoder", &decoder.inside)?;
    let text = match id {
        Some(id) => state.push(decoder.model.tokenizer(), id),
        None => state.finish(),
    };
    let (at, len) = lent.keep(text.as_bytes());
    out.set(at);
    out_len.set(len);
    Ok(())
}

/// Text that is complete after this token.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_decoder_push(
    decoder: *mut LemmyDecoder,
    id: u32,
    out: *mut *const c_char,
    out_len: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { guard(error, || decode(decoder, Some(id), out, out_len)) }
}

/// What was kept back.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_decoder_finish(
    decoder: *mut LemmyDecoder,
    out: *mut *const c_char,
    out_len: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { guard(error, || decode(decoder, None, out, out_len)) }
}

/// Frees a decoder.
///
/// # Safety
///
/// Null, or a decoder that was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_decoder_free(decoder: *mut LemmyDecoder) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(decoder) });
}
