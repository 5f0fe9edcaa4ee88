//! Leaves a terminal as it was, also when SIGTERM comes while a line is edited.
//!
//! The line editor restores the terminal whenever it returns, or panics. A SIGTERM ends the process in the middle of a
//! read; the handler here puts the terminal back first.

#![allow(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::signals::Raised;

/// Restores the terminal of stdin.
#[derive(Debug)]
pub(crate) struct Restore {
    editing: Arc<AtomicBool>,
}

impl Restore {
    /// From now on; stdin must be a terminal.
    #[cfg(unix)]
    pub(crate) fn install() -> io::Result<Self> {
        use std::mem::MaybeUninit;

        use signal_hook::consts::SIGTERM;
        use signal_hook::low_level;

        const TERMINATED: i32 = 143;
        /// Bracketed paste off, and a fresh line.
        const LEAVE: &[u8] = b"\x1b[?2004l\r\n";

        let mut modes = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the pointer leads to memory of the type that the function fills.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, modes.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the function said that it filled it.
        let modes = unsafe { modes.assume_init() };
        let editing = Arc::new(AtomicBool::new(false));
        let flag = editing.clone();
        let restore = move || {
            if flag.load(Ordering::SeqCst) {
                // SAFETY: both functions may be called from a signal handler; the pointers lead to a constant and to
                // what this closure owns.
                unsafe {
                    libc::write(libc::STDIN_FILENO, LEAVE.as_ptr().cast(), LEAVE.len());
                    libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const modes);
                }
                low_level::exit(TERMINATED);
            }
        };
        // SAFETY: the action allocates nothing, takes no lock and cannot panic: it loads an atomic and calls `write`,
        // `tcsetattr` and `_exit`, which POSIX allows in signal handlers.
        unsafe { low_level::register(SIGTERM, restore) }?;
        Ok(Self { editing })
    }

    /// There are no such signals here.
    #[cfg(not(unix))]
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self { editing: Arc::default() })
    }

    /// Until the answer is dropped, a line is edited.
    pub(crate) fn while_editing(&self) -> Raised {
        Raised::new(&self.editing)
    }
}
