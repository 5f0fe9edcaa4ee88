//! What models can run on.

use lemmy_core::ThreadPool;
use lemmy_core::backend::Backend;
use lemmy_core::backend::cpu::CpuBackend;

use crate::answer;
use crate::buffer::LemmyBuffer;
use crate::error::{LemmyError, LemmyStatus};

/// A JSON array of devices.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_devices(json: *mut *mut LemmyBuffer, error: *mut *mut LemmyError) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::buffer(error, ("json", json), || {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            // Names of backends are plain ASCII, so that Rust's quotes are JSON's.
            let name = CpuBackend::new(ThreadPool::new(1)?).name();
            Ok(format!(r#"[{{"backend":"cpu","index":0,"name":{name:?},"threads":{threads}}}]"#))
        })
    }
}
