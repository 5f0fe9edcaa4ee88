//! The level of tokens and logits.

use std::ffi::c_void;
use std::ptr::null_mut;

use lemmy_core::Error;

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::model::{LemmyProgressFn, Progress};
use crate::reply::State;
use crate::session::{LemmySession, with};
use crate::text::{self, Slot};

/// Tokens between two calls of a progress function: a batch, if the session has the usual one.
const PIECE: usize = 512;

/// Reads tokens.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_prefill(
    session: *mut LemmySession,
    ids: *const u32,
    count: usize,
    on_progress: LemmyProgressFn,
    user_data: *mut c_void,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let ids = text::array("ids", ids, count)?;
            let progress = Progress::new(on_progress, user_data);
            with(session, |state| prefill(state, ids, progress))
        })
    }
}

/// Piece by piece, so that it can be stopped between two; what is wrong with any is said before the first.
fn prefill(state: &mut State, ids: &[u32], progress: Option<Progress>) -> Result<(), Failure> {
    state.halt();
    state.is_asked = false;
    let session = &mut state.session;
    let (used, capacity, vocab) =
        (session.tokens().len(), session.capacity(), session.model().tokenizer().vocab_size());
    if ids.len() > capacity - used {
        return Err(Error::ContextFull { used, requested: ids.len(), capacity }.into());
    }
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
        return Err(Failure::argument("ids", format!("token {id} in a vocabulary of {vocab} tokens")));
    }
    let mut done = 0;
    for piece in ids.chunks(PIECE) {
        session.prefill(piece, &mut |_, _| {})?;
        done += piece.len() as u64;
        let told = progress.map(|progress| progress.tell(Progress::PROMPT, done, ids.len() as u64));
        if told.is_some_and(|flow| flow.is_break()) {
            return Err(Error::Cancelled.into());
        }
    }
    Ok(())
}

/// Reads tokens; logits of the last one.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_session_forward(
    session: *mut LemmySession,
    ids: *const u32,
    count: usize,
    out_logits: *mut *mut f32,
    out_count: *mut usize,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let out_logits = Slot::new("out_logits", out_logits, null_mut())?;
            let out_count = Slot::new("out_count", out_count, 0)?;
            let ids = text::array("ids", ids, count)?;
            with(session, |state| {
                state.halt();
                state.is_asked = false;
                let mut logits = state.session.forward(ids)?;
                let row = logits.last();
                out_logits.set(row.as_mut_ptr());
                out_count.set(row.len());
                Ok(())
            })
        })
    }
}
