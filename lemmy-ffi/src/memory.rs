//! How much memory a model takes.

use std::ffi::c_char;

use lemmy_core::{KvType, MemoryEstimate, Model, limits};

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::model::{LemmyModel, LemmyModelOptions};
use crate::session::{KV_TYPES, LemmySessionOptions};
use crate::{answer, handle, text, value, versioned};

/// Memory that a model and one session take, in bytes.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct LemmyMemory {
    struct_size: usize,
    weights: u64,
    engine: u64,
    kv_per_session: u64,
    scratch: u64,
    picture: u64,
}

// SAFETY: numbers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyMemory {
    const FIRST_SIZE: usize = 40;
}

impl LemmyMemory {
    fn new(memory: &MemoryEstimate) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            weights: memory.weights,
            engine: memory.engine,
            kv_per_session: memory.kv_per_session,
            scratch: memory.scratch,
            picture: memory.picture,
        }
    }
}

fn checked_context(context: u64) -> Result<usize, Failure> {
    if context > limits::CONTEXT {
        let reason = format!("found {context}, expected at most {}", limits::CONTEXT);
        return Err(Failure::argument("context", reason));
    }
    Ok(context as usize)
}

/// Reads the headers of a model file and says how much memory it takes with a context of so many tokens.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_estimate(
    path: *const c_char,
    context: u64,
    out: *mut LemmyMemory,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            let path = text::name("path", path)?;
            let memory = Model::builder(path).estimate(checked_context(context)?)?;
            Ok(LemmyMemory::new(&memory))
        })
    }
}

/// The same for other options, and a cache of another type.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_estimate_with(
    path: *const c_char,
    options: *const LemmyModelOptions,
    context: u64,
    kv_type: u32,
    out: *mut LemmyMemory,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            let path = text::name("path", path)?;
            let options: LemmyModelOptions = versioned::read("options", options)?;
            let context = checked_context(context)?;
            let kv_type: KvType = value::choice("kv_type", kv_type, KV_TYPES)?;
            let memory = options.builder(path)?.estimate_with(context, kv_type)?;
            Ok(LemmyMemory::new(&memory))
        })
    }
}

/// Memory that a loaded model and a session with these options take.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_model_memory(
    model: *mut LemmyModel,
    options: *const LemmySessionOptions,
    out: *mut LemmyMemory,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::filled(error, out, || {
            let model = handle::get("model", model)?;
            let options: LemmySessionOptions = versioned::read("options", options)?;
            Ok(LemmyMemory::new(&options.builder(&model.model)?.estimate()?))
        })
    }
}
