//! Whether stdout was closed before the program began.
//!
//! Rust's start-up code opens /dev/null in the place of a closed descriptor 0, 1 or 2, and everything written to it is
//! lost without an error. Whoever closed stdout (`lemmy … >&-`) shall be told that the answer went nowhere, so the
//! question is asked before that code runs, by the loader. Elsewhere than on Linux the answer is "no".

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the program was started with its stdout closed.
pub(crate) fn stdout_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

// SAFETY: the loader calls every pointer of this section once, before `main`, on the only thread, with arguments that
// the C calling convention lets a function ignore. `ask` calls one system function and stores to an atomic.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static ASK: extern "C" fn() = ask;

#[cfg(target_os = "linux")]
extern "C" fn ask() {
    // SAFETY: F_GETFD takes no third argument and reads a flag of the descriptor; -1 says that there is none.
    let closed = unsafe { libc::fcntl(1, libc::F_GETFD) } == -1;
    STDOUT_CLOSED.store(closed, Ordering::Relaxed);
}
