//! Texts, arrays and places for answers that come in as pointers, and texts that go out.

use std::ffi::{CStr, c_char};

use crate::error::Failure;

/// As a length: up to the first NUL. `LEMMY_NUL_TERMINATED`.
pub(crate) const NUL_TERMINATED: usize = usize::MAX;

/// A path or a name: it ends with a NUL.
///
/// # Safety
///
/// `text` is null or points to bytes that end in a NUL and stay as they are for `'a`.
pub(crate) unsafe fn name<'a>(name: &'static str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: as promised.
    unsafe { read(name, text, NUL_TERMINATED) }
}

/// A text of a length.
///
/// # Safety
///
/// `text` is null or points to `len` bytes (to bytes that end in a NUL, if it is `usize::MAX`) that stay as they are for
/// `'a`.
pub(crate) unsafe fn read<'a>(name: &'static str, text: *const c_char, len: usize) -> Result<&'a str, Failure> {
    // SAFETY: as promised.
    unsafe { optional(name, text, len) }?.ok_or_else(|| Failure::argument(name, "found null, expected text"))
}

/// As [`read`]; nothing for null.
///
/// # Safety
///
/// As for [`read`].
pub(crate) unsafe fn optional<'a>(
    name: &'static str,
    text: *const c_char,
    len: usize,
) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    let bytes = match len {
        // SAFETY: not null, and the caller says the rest.
        NUL_TERMINATED => unsafe { CStr::from_ptr(text) }.to_bytes(),
        // SAFETY: the caller says so.
        _ => unsafe { array(name, text.cast::<u8>(), len) }?,
    };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        Failure::argument(name, format!("found a byte at {at} that is not UTF-8, expected UTF-8"))
    })?;
    Ok(Some(text))
}

/// An array; null is one without entries.
///
/// # Safety
///
/// `at` is null or points to `count` values that stay as they are for `'a`.
pub(crate) unsafe fn array<'a, T>(name: &'static str, at: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(name, at, count)?;
    // SAFETY: checked; the caller says the rest.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

fn check<T>(name: &'static str, at: *const T, count: usize) -> Result<(), Failure> {
    if at.is_null() || !at.is_aligned() {
        let found = if at.is_null() { "null" } else { "a misaligned address" };
        return Err(Failure::argument(name, format!("found {found}, expected {count} entries")));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(name, format!("found a count of {count}, which no array has")));
    }
    Ok(())
}

/// Copies an answer into the caller's array; its count goes to `count` in any case.
///
/// # Safety
///
/// `at` is null or may be written to for `capacity` values.
pub(crate) unsafe fn fill<T: Copy>(
    name: &'static str,
    values: &[T],
    (at, capacity): (*mut T, usize),
    count: Slot<usize>,
) -> Result<(), Failure> {
    count.set(values.len());
    // SAFETY: as promised.
    unsafe { copy(name, values, (at, capacity)) }
}

/// As [`fill`], without the count.
///
/// # Safety
///
/// As for [`fill`].
pub(crate) unsafe fn copy<T: Copy>(
    name: &'static str,
    values: &[T],
    (at, capacity): (*mut T, usize),
) -> Result<(), Failure> {
    if values.len() > capacity {
        return Err(Failure::Buffer { name, needed: values.len(), capacity });
    }
    if !values.is_empty() {
        check(name, at, values.len())?;
        // SAFETY: checked, the caller says that so many values fit, and `values` is ours, so the two do not overlap.
        unsafe { at.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    }
    Ok(())
}

/// Where one value of the answer goes.
pub(crate) struct Slot<T>(*mut T);

impl<T> Slot<T> {
    /// A place that must be there; it holds `empty` until the call has succeeded.
    ///
    /// # Safety
    ///
    /// `at` is null or may be written to while this value lives. It may hold anything before.
    pub(crate) unsafe fn new(name: &'static str, at: *mut T, empty: T) -> Result<Self, Failure> {
        if at.is_null() || !at.is_aligned() {
            let found = if at.is_null() { "null" } else { "a misaligned address" };
            return Err(Failure::argument(name, format!("found {found}, expected a place for the answer")));
        }
        let slot = Self(at);
        slot.write(empty);
        Ok(slot)
    }

    pub(crate) fn set(self, value: T) {
        self.write(value);
    }

    fn write(&self, value: T) {
        // SAFETY: not null and aligned; the caller of `new` says that it may be written to. Nothing is read or dropped.
        unsafe { self.0.write(value) };
    }
}

/// A text that is lent to C, with a NUL behind it.
#[derive(Debug, Default)]
pub(crate) struct Lent(Vec<u8>);

impl Lent {
    /// Keeps a text; the one before is gone.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> (*const c_char, usize) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
        self.0.push(0);
        (self.0.as_ptr().cast(), bytes.len())
    }

    /// Keeps a name, which goes without its length: a NUL in it would end it.
    pub(crate) fn keep_name(&mut self, name: &str) -> *const c_char {
        self.keep(name.replace('\0', "\u{fffd}").as_bytes()).0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::ptr::{null, null_mut};

    #[test]
    fn only_utf8_is_text() {
        // SAFETY: string literals end in NUL and have the lengths that are said; null is allowed.
        unsafe {
            assert_eq!(name("path", c"m\u{f6}del".as_ptr()).unwrap(), "m\u{f6}del");
            assert!(name("path", null()).unwrap_err().to_string().contains("path: found null"));
            assert!(name("path", c"ab\xff".as_ptr()).unwrap_err().to_string().contains("byte at 2"));
            assert_eq!(read("text", b"a\0b".as_ptr().cast(), 3).unwrap(), "a\0b");
            assert_eq!(optional("text", null(), 7).unwrap(), None);
            assert!(read("text", c"a".as_ptr(), usize::MAX - 1).unwrap_err().to_string().contains("count"));
        }
    }

    #[test]
    fn arrays_are_checked() {
        let values = [1u32, 2, 3];
        // SAFETY: the array has three entries; what is refused is not touched.
        unsafe {
            assert_eq!(array("ids", values.as_ptr(), 3).unwrap(), values);
            assert!(array("ids", null::<u32>(), 0).unwrap().is_empty());
            assert!(array("ids", null::<u32>(), 1).is_err());
            assert!(array("ids", values.as_ptr().byte_add(1), 1).unwrap_err().to_string().contains("misaligned"));
        }
    }

    #[test]
    fn answers_fit_or_nothing_is_written() {
        let (mut out, mut count) = ([9u32; 3], 9usize);
        // SAFETY: three entries and a count, both ours.
        unsafe {
            let slot = Slot::new("out_count", &mut count, 0).unwrap();
            let failure = fill("ids", &[1, 2], (out.as_mut_ptr(), 1), slot).unwrap_err();
            assert_eq!((failure.status(), count, out), (2, 2, [9; 3]));
            let slot = Slot::new("out_count", &mut count, 0).unwrap();
            fill("ids", &[1, 2], (out.as_mut_ptr(), 3), slot).unwrap();
            assert_eq!((count, out), (2, [1, 2, 9]));
            assert!(Slot::<usize>::new("out_count", null_mut(), 0).is_err());
            let between = out.as_mut_ptr().byte_add(1);
            assert!(Slot::new("out", between, 0).err().unwrap().to_string().contains("misaligned"));
        }
    }
}
