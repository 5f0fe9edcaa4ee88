//! Structs that grow: their first field is `size_t struct_size`, the size that the caller's header gave them.

use crate::error::{Failure, LemmyStatus};
use crate::guard::guard;

/// Larger than any struct of ours will ever be: whoever claims this passed a variable that was never set.
const MAX_SIZE: usize = 4096;

/// A `#[repr(C)]` struct of numbers and pointers without padding, the first of which is its size.
///
/// # Safety
///
/// The type is as just said, so every byte of it is initialised.
pub(crate) unsafe trait Versioned: Copy {
    /// Size in the first version of the ABI that had it.
    const FIRST_SIZE: usize;
}

/// A struct that the caller fills, or lets an `_init` function fill.
pub(crate) trait Options: Versioned {
    /// What it says when nobody set anything. `struct_size` is not looked at.
    const DEFAULT: Self;
    /// Offset of the four bytes named `reserved`, which must be zero; `None` if there are none.
    const RESERVED: Option<usize>;
}

fn checked_size<T: Versioned>(name: &'static str, size: usize, advice: &str) -> Result<usize, Failure> {
    if (T::FIRST_SIZE..=MAX_SIZE).contains(&size) {
        return Ok(size);
    }
    let expected = T::FIRST_SIZE;
    let reason = format!("found struct_size {size}, expected sizeof the struct, at least {expected}{advice}");
    Err(Failure::argument(name, reason))
}

/// The caller's options over the defaults; null means the defaults.
///
/// # Safety
///
/// `at` is null or points to a struct whose first field is the number of its bytes, or no size that this struct can
/// have. Its pointers are what the header says.
pub(crate) unsafe fn read<T: Options>(name: &'static str, at: *const T) -> Result<T, Failure> {
    let mut options = T::DEFAULT;
    if at.is_null() {
        return Ok(options);
    }
    let from = at.cast::<u8>();
    // SAFETY: not null; every version of the struct starts with its size. It may lie anywhere, so no reference.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    let size = checked_size::<T>(name, size, ": call its _init function first")?;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are there and fit `options`. They are what C calls a struct of this type, up to a field
    // that an older header did not have; the type is made of numbers and pointers, for which any bytes will do.
    unsafe { std::ptr::from_mut(&mut options).cast::<u8>().copy_from_nonoverlapping(from, known) };
    // SAFETY: the caller says that so many bytes are there.
    let byte = |at: usize| unsafe { from.add(at).read() };
    let reserved = T::RESERVED.map_or(0..0, |at| at..(at + 4).min(known));
    match reserved.chain(known..size).find(|&at| byte(at) != 0) {
        Some(offset) => Err(Failure::Field { name, offset }),
        None => Ok(options),
    }
}

/// Writes the defaults into a struct of `size` bytes: what every `_init` function does.
///
/// # Safety
///
/// `at` is null or may be written to for `size` bytes, if that is a size that the struct can have.
pub(crate) unsafe fn init<T: Options>(at: *mut T, size: usize) -> LemmyStatus {
    let body = || {
        if at.is_null() {
            return Err(Failure::argument("options", "found null, expected a struct"));
        }
        let size = checked_size::<T>("options", size, "")?;
        // SAFETY: not null, and `size` bytes may be written.
        unsafe { at.cast::<usize>().write_unaligned(size) };
        Out { at, size }.write(&T::DEFAULT);
        Ok(())
    };
    // SAFETY: nobody takes the error.
    unsafe { guard(std::ptr::null_mut(), body) }
}

/// A caller's struct that may be written to.
pub(crate) struct Out<T> {
    at: *mut T,
    size: usize,
}

impl<T: Versioned> Out<T> {
    /// Checks a struct before any work is done for it.
    ///
    /// # Safety
    ///
    /// `at` is null or points to a struct whose first field is set to the bytes that may be written there, for as long
    /// as this value lives.
    pub(crate) unsafe fn new(name: &'static str, at: *mut T) -> Result<Self, Failure> {
        // SAFETY: as promised.
        unsafe { Self::optional(name, at) }?.ok_or_else(|| Failure::argument(name, "found null, expected a struct"))
    }

    /// As [`new`](Self::new); nothing for null.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub(crate) unsafe fn optional(name: &'static str, at: *mut T) -> Result<Option<Self>, Failure> {
        if at.is_null() {
            return Ok(None);
        }
        // SAFETY: not null; every version of the struct starts with its size. It may lie anywhere, so no reference.
        let size = unsafe { at.cast::<usize>().read_unaligned() };
        let size = checked_size::<T>(name, size, "")?;
        Ok(Some(Self { at, size }))
    }

    /// Writes no more than the caller's header knows, and zeros where it knows more than we do. `struct_size` stays what
    /// the caller set.
    pub(crate) fn write(self, value: &T) {
        let skip = size_of::<usize>();
        let known = self.size.min(size_of::<T>());
        let (from, to) = (std::ptr::from_ref(value).cast::<u8>(), self.at.cast::<u8>());
        // SAFETY: `skip <= known <= size`, and `size` bytes may be written by the promise to `new`; `known` bytes of
        // `value` are initialised by the promise of `Versioned`; the two cannot overlap since `value` is ours.
        unsafe {
            to.add(skip).copy_from_nonoverlapping(from.add(skip), known - skip);
            to.add(known).write_bytes(0, self.size - known);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Old {
        struct_size: usize,
        a: u64,
    }

    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Now {
        struct_size: usize,
        a: u64,
        b: u32,
        reserved: u32,
    }

    // SAFETY: numbers without padding on every machine, as `size_t` has at most 8 bytes and stands before a `u64`.
    unsafe impl Versioned for Now {
        const FIRST_SIZE: usize = size_of::<Old>();
    }

    impl Options for Now {
        const DEFAULT: Self = Self { struct_size: 0, a: 10, b: 20, reserved: 0 };
        const RESERVED: Option<usize> = Some(std::mem::offset_of!(Now, reserved));
    }

    const VALUE: Now = Now { struct_size: 0, a: 1, b: 2, reserved: 0 };

    #[test]
    fn older_caller_gets_what_it_knows() {
        let mut out = [Old { struct_size: size_of::<Old>(), a: 9 }, Old { struct_size: 7, a: 7 }];
        // SAFETY: the first element says its true size.
        unsafe { Out::new("out", out.as_mut_ptr().cast::<Now>()) }.unwrap().write(&VALUE);
        assert_eq!(out, [Old { struct_size: size_of::<Old>(), a: 1 }, Old { struct_size: 7, a: 7 }]);
    }

    #[test]
    fn newer_caller_gets_zeros_beyond() {
        let mut out = [size_of::<[u64; 5]>() as u64, 9, 9, 9, 9];
        if size_of::<usize>() == 8 {
            // SAFETY: the first field says the array's true size.
            unsafe { Out::new("out", out.as_mut_ptr().cast::<Now>()) }.unwrap().write(&VALUE);
            assert_eq!(out, [40, 1, 2, 0, 0]);
        }
    }

    #[test]
    fn sizes_that_nobody_set_are_refused() {
        for size in [0, size_of::<Old>() - 1, MAX_SIZE + 1, usize::MAX] {
            let mut out = Now { struct_size: size, a: 9, b: 9, reserved: 9 };
            // SAFETY: nothing is written for such sizes.
            let error = unsafe { Out::new("out", &mut out) }.err().unwrap();
            assert!(error.to_string().contains("struct_size"), "{error}");
            // SAFETY: nothing but the size is read for such sizes.
            let error = unsafe { read::<Now>("options", &out) }.unwrap_err();
            assert!(error.to_string().contains("_init"), "{error}");
            // SAFETY: nothing is written for such sizes.
            assert_eq!(unsafe { init(&mut out, size) }, 850);
            assert_eq!(out, Now { struct_size: size, a: 9, b: 9, reserved: 9 });
        }
        // SAFETY: null is allowed.
        assert!(unsafe { Out::<Now>::new("out", std::ptr::null_mut()) }.is_err());
    }

    #[test]
    fn older_options_keep_our_defaults() {
        let old = Old { struct_size: size_of::<Old>(), a: 1 };
        // SAFETY: it says its true size; null is allowed.
        let (some, none) = unsafe {
            (read::<Now>("options", (&raw const old).cast()).unwrap(), read::<Now>("o", std::ptr::null()).unwrap())
        };
        assert_eq!((some.a, some.b), (1, 20));
        assert_eq!((none.a, none.b), (10, 20));
    }

    #[test]
    fn newer_options_must_be_unset() {
        let mut new = [size_of::<[u64; 5]>() as u64, 1, 2, 0, 0];
        if size_of::<usize>() == 8 {
            // SAFETY: the first field says the array's true size.
            assert_eq!(unsafe { read::<Now>("options", new.as_ptr().cast()) }.unwrap().b, 2);
            new[4] = 1 << 16;
            // SAFETY: as above.
            let failure = unsafe { read::<Now>("options", new.as_ptr().cast()) }.unwrap_err();
            assert_eq!((failure.status(), failure.to_string().contains("byte 34")), (3, true), "{failure}");
            new[2] = 1 << 32;
            // SAFETY: as above.
            let failure = unsafe { read::<Now>("options", new.as_ptr().cast()) }.unwrap_err();
            assert!(failure.to_string().contains("byte 20"), "{failure}");
        }
    }

    #[test]
    fn init_writes_what_the_caller_knows() {
        let mut old = [Old { struct_size: 9, a: 9 }; 2];
        // SAFETY: the first entry has the size that is said.
        assert_eq!(unsafe { init(old.as_mut_ptr().cast::<Now>(), size_of::<Old>()) }, 0);
        assert_eq!(old, [Old { struct_size: size_of::<Old>(), a: 10 }, Old { struct_size: 9, a: 9 }]);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { init(std::ptr::null_mut::<Now>(), size_of::<Now>()) }, 850);
    }
}
