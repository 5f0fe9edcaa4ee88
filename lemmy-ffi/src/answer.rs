//! Exports of the same kind: those that make an object, make a buffer, or fill a struct.
//!
//! Each takes the error's place, the answer's place under its name, and the work. The answer's place is looked at
//! first, so that no work is done for nothing.

use std::ptr::null_mut;

use crate::buffer::LemmyBuffer;
use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::handle;
use crate::text::Slot;
use crate::versioned::{Out, Versioned};

/// Runs an export that makes an object; `*out` is null until it has one.
///
/// # Safety
///
/// `error` and `out` are null or may be written to. They may hold anything before.
pub(crate) unsafe fn object<T: Send + Sync>(
    error: *mut *mut LemmyError,
    (name, out): (&'static str, *mut *mut T),
    make: impl FnOnce() -> Result<T, Failure>,
) -> LemmyStatus {
    let body = || {
        // SAFETY: as promised.
        let out = unsafe { Slot::new(name, out, null_mut()) }?;
        out.set(handle::give(make()?));
        Ok(())
    };
    // SAFETY: as promised.
    unsafe { guard(error, body) }
}

/// Runs an export that makes a text; `*out` is null until it has one.
///
/// # Safety
///
/// As for [`object`].
pub(crate) unsafe fn buffer(
    error: *mut *mut LemmyError,
    (name, out): (&'static str, *mut *mut LemmyBuffer),
    make: impl FnOnce() -> Result<String, Failure>,
) -> LemmyStatus {
    let body = || {
        // SAFETY: as promised.
        let out = unsafe { Slot::new(name, out, null_mut()) }?;
        out.set(LemmyBuffer::into_raw(make()?));
        Ok(())
    };
    // SAFETY: as promised.
    unsafe { guard(error, body) }
}

/// Runs an export that fills a struct, `out`; it is left alone if that fails.
///
/// # Safety
///
/// `error` is null or may be written to, `out` is as for [`Out::new`].
pub(crate) unsafe fn filled<T: Versioned>(
    error: *mut *mut LemmyError,
    out: *mut T,
    make: impl FnOnce() -> Result<T, Failure>,
) -> LemmyStatus {
    let body = || {
        // SAFETY: as promised.
        let out = unsafe { Out::new("out", out) }?;
        out.write(&make()?);
        Ok(())
    };
    // SAFETY: as promised.
    unsafe { guard(error, body) }
}
