//! Text that comes in.

use std::ffi::{CStr, c_char};

use lemmy_core::Error;

/// The text of a NUL-terminated argument.
///
/// # Safety
///
/// `text` is null or points to bytes that end in a NUL and stay as they are for `'a`.
pub(crate) unsafe fn read<'a>(name: &'static str, text: *const c_char) -> Result<&'a str, Error> {
    if text.is_null() {
        return Err(Error::Argument { name, reason: "found null, expected text".into() });
    }
    // SAFETY: not null, and the caller says the rest.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map_err(|e| Error::Argument {
        name,
        reason: format!("found a byte at {} that is not UTF-8, expected UTF-8", e.valid_up_to()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_utf8_is_text() {
        // SAFETY: string literals end in NUL; null is allowed.
        unsafe {
            assert_eq!(read("path", c"m\u{f6}del".as_ptr()).unwrap(), "m\u{f6}del");
            assert!(read("path", std::ptr::null()).unwrap_err().to_string().contains("path: found null"));
            assert!(read("path", c"ab\xff".as_ptr()).unwrap_err().to_string().contains("byte at 2"));
        }
    }
}
