//! Bytes or text that a call made.

use crate::guard::guard_value;

/// Bytes or text that a call made. Belongs to the caller.
pub struct LemmyBuffer {
    /// With a NUL behind them.
    bytes: Vec<u8>,
}

impl LemmyBuffer {
    pub(crate) fn into_raw(text: String) -> *mut Self {
        let mut bytes = text.into_bytes();
        bytes.push(0);
        Box::into_raw(Box::new(Self { bytes }))
    }
}

/// Its bytes, and a NUL behind them; "" for null.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_buffer_data(buffer: Option<&LemmyBuffer>) -> *const u8 {
    guard_value(c"".as_ptr().cast(), || buffer.map_or(c"".as_ptr().cast(), |buffer| buffer.bytes.as_ptr()))
}

/// Their number, without the NUL; 0 for null.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_buffer_size(buffer: Option<&LemmyBuffer>) -> usize {
    guard_value(0, || buffer.map_or(0, |buffer| buffer.bytes.len().saturating_sub(1)))
}

/// Frees a buffer.
///
/// # Safety
///
/// `buffer` is null or came from this library and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_buffer_free(buffer: *mut LemmyBuffer) {
    guard_value((), || {
        if !buffer.is_null() {
            // SAFETY: not null, made by `into_raw`, and the caller gives it back once.
            drop(unsafe { Box::from_raw(buffer) });
        }
    });
}
