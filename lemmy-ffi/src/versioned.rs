//! Structs that grow: their first field is `size_t struct_size`, the size that the caller's header gave them.

use lemmy_core::Error;

/// Larger than any struct of ours will ever be: whoever claims this passed a variable that was never set.
const MAX_SIZE: usize = 4096;

/// A `#[repr(C)]` struct of plain numbers without padding, the first of which is its size.
///
/// # Safety
///
/// The type is as just said, so every byte of it is initialised and any bytes are a value of it.
pub(crate) unsafe trait Versioned: Copy {
    /// Size in the first version of the ABI that had it.
    const FIRST_SIZE: usize;
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
    pub(crate) unsafe fn new(name: &'static str, at: *mut T) -> Result<Self, Error> {
        if at.is_null() {
            return Err(Error::Argument { name, reason: "found null, expected a struct".into() });
        }
        // SAFETY: not null; every version of the struct starts with its size. It may lie anywhere, so no reference.
        let size = unsafe { at.cast::<usize>().read_unaligned() };
        if !(T::FIRST_SIZE..=MAX_SIZE).contains(&size) {
            let expected = T::FIRST_SIZE;
            let reason = format!("found struct_size {size}, expected sizeof the struct, at least {expected}");
            return Err(Error::Argument { name, reason });
        }
        Ok(Self { at, size })
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
        b: u64,
    }

    // SAFETY: numbers without padding on every machine, as `size_t` has at most 8 bytes and stands before a `u64`.
    unsafe impl Versioned for Now {
        const FIRST_SIZE: usize = size_of::<Old>();
    }

    const VALUE: Now = Now { struct_size: 0, a: 1, b: 2 };

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
            let mut out = Now { struct_size: size, a: 9, b: 9 };
            // SAFETY: nothing is written for such sizes.
            let error = unsafe { Out::new("out", &mut out) }.err().unwrap();
            assert!(error.to_string().contains("struct_size"), "{error}");
            assert_eq!(out, Now { struct_size: size, a: 9, b: 9 });
        }
        // SAFETY: null is allowed.
        assert!(unsafe { Out::<Now>::new("out", std::ptr::null_mut()) }.is_err());
    }
}
