//! What models can run on.

use std::ptr::null_mut;

use lemmy_core::ThreadPool;
use lemmy_core::backend::Backend;
use lemmy_core::backend::cpu::CpuBackend;

use crate::buffer::LemmyBuffer;
use crate::error::{LemmyError, LemmyStatus};
use crate::guard::guard;
use crate::text::Slot;

/// A JSON array of devices.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_devices(json: *mut *mut LemmyBuffer, error: *mut *mut LemmyError) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        guard(error, || {
            let json = Slot::new("json", json, null_mut())?;
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            // Names of backends are plain ASCII, so that Rust's quotes are JSON's.
            let name = CpuBackend::new(ThreadPool::new(1)?).name();
            let list = format!(r#"[{{"backend":"cpu","index":0,"name":{name:?},"threads":{threads}}}]"#);
            json.set(LemmyBuffer::into_raw(list));
            Ok(())
        })
    }
}
