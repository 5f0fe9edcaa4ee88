//! Stopping work from anywhere.

use std::ptr::null_mut;

use lemmy_core::CancelToken;

use crate::guard::guard_value;
use crate::handle;

/// Asks running work to stop. Shared.
pub struct LemmyCancel(CancelToken);

impl LemmyCancel {
    /// The token, if there is one.
    ///
    /// # Safety
    ///
    /// As for [`handle::get`].
    pub(crate) unsafe fn token(at: *mut Self) -> Option<CancelToken> {
        // SAFETY: as promised.
        unsafe { handle::get_optional(at) }.map(|cancel| cancel.0.clone())
    }
}

/// A token that nobody has triggered.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_cancel_new() -> *mut LemmyCancel {
    guard_value(null_mut(), || handle::give(LemmyCancel(CancelToken::new())))
}

/// Triggers it. One store and nothing else, not even the guard: it may be called in a signal handler.
///
/// # Safety
///
/// Null, or a token that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_cancel_trigger(cancel: *mut LemmyCancel) {
    // SAFETY: null or held, and an `Arc`'s pointer is one to its inside.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        cancel.0.cancel();
    }
}

/// Makes it usable again.
///
/// # Safety
///
/// Null, or a token that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_cancel_reset(cancel: *mut LemmyCancel) {
    guard_value((), || {
        // SAFETY: as promised.
        if let Some(cancel) = unsafe { cancel.as_ref() } {
            cancel.0.reset();
        }
    });
}

/// 1 if it was triggered, else 0.
///
/// # Safety
///
/// Null, or a token that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_cancel_is_triggered(cancel: *mut LemmyCancel) -> i32 {
    // SAFETY: as promised.
    guard_value(0, || unsafe { cancel.as_ref() }.is_some_and(|cancel| cancel.0.is_cancelled()).into())
}

/// Another reference.
///
/// # Safety
///
/// Null, or a token that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_cancel_retain(cancel: *mut LemmyCancel) -> *mut LemmyCancel {
    // SAFETY: as promised.
    guard_value(null_mut(), || unsafe { handle::retain(cancel) })
}

/// Gives a reference back.
///
/// # Safety
///
/// Null, or a token that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_cancel_release(cancel: *mut LemmyCancel) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(cancel) });
}
