//! Model files.

use std::ffi::c_char;

use lemmy_core::{Error, Model, limits};

use crate::error::{LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::{text, versioned};

/// Memory that a model and one session take, in bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct LemmyMemory {
    struct_size: usize,
    weights: u64,
    engine: u64,
    kv_per_session: u64,
    scratch: u64,
}

// SAFETY: numbers without padding on 64-bit machines; on 32-bit ones four bytes after `struct_size`, which the assertion
// below refuses until the layout says what stands there.
unsafe impl versioned::Versioned for LemmyMemory {
    const FIRST_SIZE: usize = 40;
}

const _: () =
    assert!(size_of::<LemmyMemory>() == 40 && size_of::<usize>() == 8, "lay out LemmyMemory for this machine");

/// Reads the headers of a model file and says how much memory it takes with a context of so many tokens.
///
/// # Safety
///
/// `path` is null or NUL-terminated; `out` is null or points to a struct whose `struct_size` is set to its size;
/// `error` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_estimate(
    path: *const c_char,
    context: u64,
    out: *mut LemmyMemory,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    let body = || {
        // SAFETY: the caller says so.
        let path = unsafe { text::read("path", path) }?;
        // SAFETY: the caller says so.
        let out = unsafe { versioned::Out::new("out", out) }?;
        if context > limits::CONTEXT {
            let reason = format!("found {context}, expected at most {}", limits::CONTEXT);
            return Err(Error::Argument { name: "context", reason });
        }
        let memory = Model::builder(path).estimate(context as usize)?;
        out.write(&LemmyMemory {
            struct_size: size_of::<LemmyMemory>(),
            weights: memory.weights,
            engine: memory.engine,
            kv_per_session: memory.kv_per_session,
            scratch: memory.scratch,
        });
        Ok(())
    };
    // SAFETY: the caller says so.
    unsafe { guard(error, body) }
}
