//! Thread pools.

use std::ptr::{null, null_mut};
use std::time::Duration;

use lemmy_core::ThreadPool;

use crate::error::{LemmyError, LemmyStatus};
use crate::guard::guard_value;
use crate::value::{self, DEFAULT};
use crate::{answer, handle, text, versioned};

/// Threads for the work of models. Shared.
pub struct LemmyPool(ThreadPool);

impl LemmyPool {
    pub(crate) fn threads(&self) -> ThreadPool {
        self.0.clone()
    }
}

/// Options of a pool.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyPoolOptions {
    struct_size: usize,
    threads: u32,
    spin_us: u32,
    cpus: *const u32,
    cpu_count: usize,
}

// SAFETY: numbers and pointers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyPoolOptions {
    const FIRST_SIZE: usize = 32;
}

impl versioned::Options for LemmyPoolOptions {
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), threads: DEFAULT, spin_us: DEFAULT, cpus: null(), cpu_count: 0 };
    const RESERVED: Option<usize> = None;
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_pool_options_init(options: *mut LemmyPoolOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// Starts the threads.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_pool_new(
    options: *const LemmyPoolOptions,
    pool: *mut *mut LemmyPool,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("pool", pool), || {
            let options = versioned::read("options", options)?;
            let cpus = text::array("cpus", options.cpus, options.cpu_count)?;
            let mut builder = ThreadPool::builder().pin(&cpus.iter().map(|&cpu| cpu as usize).collect::<Vec<_>>());
            if let Some(threads) = value::set(options.threads) {
                builder = builder.threads(threads as usize);
            }
            if let Some(spin) = value::set(options.spin_us) {
                builder = builder.spin(Duration::from_micros(spin.into()));
            }
            Ok(LemmyPool(builder.build()?))
        })
    }
}

/// Threads that work, the calling one included.
///
/// # Safety
///
/// Null, or a pool that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_pool_threads(pool: *mut LemmyPool) -> u32 {
    // SAFETY: as promised.
    guard_value(0, || unsafe { handle::get_optional(pool) }.map_or(0, |pool| pool.0.threads() as u32))
}

/// Another reference.
///
/// # Safety
///
/// Null, or a pool that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_pool_retain(pool: *mut LemmyPool) -> *mut LemmyPool {
    // SAFETY: as promised.
    guard_value(null_mut(), || unsafe { handle::retain(pool) })
}

/// Gives a reference back.
///
/// # Safety
///
/// Null, or a pool that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_pool_release(pool: *mut LemmyPool) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(pool) });
}
