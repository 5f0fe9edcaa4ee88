//! SIGINT and SIGTERM: a flag that running work reads, or the end at once where nothing reads it.
//!
//! At first a signal ends the process at once, with exit code 130 or 143. A command that has something to finish calls
//! [`Signals::watch`]; from then on the first signal triggers the cancel token, and only a second SIGINT ends the
//! process. Waiting for others is what no token can stop: while a command reads stdin the old rule holds, and while it
//! writes to stdout the old rule holds for SIGTERM. (A SIGINT then waits for the write, so that the answer ends well;
//! whoever reads the other end got it too, and there is the second one.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lemmy_core::CancelToken;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::failure::{Failure, Result};

const INTERRUPTED: i32 = 130;
const TERMINATED: i32 = 143;

/// The flags that the signal handlers set and read.
#[derive(Debug)]
pub(crate) struct Signals {
    stopped: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
    writing: Arc<AtomicBool>,
    second: SigId,
}

/// Keeps a flag set until it is dropped.
#[derive(Debug)]
pub(crate) struct Raised {
    flag: Arc<AtomicBool>,
    before: bool,
}

impl Signals {
    /// Installs the handlers; a signal ends the process at once.
    pub(crate) fn install() -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let terminated = Arc::new(AtomicBool::new(false));
        let at_once = Arc::new(AtomicBool::new(true));
        let writing = Arc::new(AtomicBool::new(false));
        let handlers = || {
            // Handlers of one signal run in this order: the one for a second signal looks before the flag is set.
            flag::register_conditional_shutdown(SIGINT, INTERRUPTED, at_once.clone())?;
            flag::register_conditional_shutdown(SIGTERM, TERMINATED, at_once.clone())?;
            flag::register_conditional_shutdown(SIGTERM, TERMINATED, writing.clone())?;
            let second = flag::register_conditional_shutdown(SIGINT, INTERRUPTED, stopped.clone())?;
            flag::register(SIGTERM, terminated.clone())?;
            flag::register(SIGINT, stopped.clone())?;
            flag::register(SIGTERM, stopped.clone())?;
            // With any handler, a file above the user's size limit is an error of `write` and not the end.
            #[cfg(target_os = "linux")]
            flag::register(libc::SIGXFSZ, Arc::default())?;
            Ok(second)
        };
        let second = handlers().map_err(|e: std::io::Error| Failure::io("cannot catch signals", &e))?;
        Ok(Self { stopped, terminated, at_once, writing, second })
    }

    /// From now on a signal only triggers the token that this returns.
    pub(crate) fn watch(&self) -> CancelToken {
        self.at_once.store(false, Ordering::SeqCst);
        CancelToken::from(self.stopped.clone())
    }

    /// Lets not even a second SIGINT end the process: for work that reads the token often and has a file to remove.
    pub(crate) fn ignore_second(&self) {
        low_level::unregister(self.second);
    }

    /// Forgets a SIGINT, so that work can go on; a SIGTERM stays. Whether it can go on.
    pub(crate) fn forget_interrupt(&self) -> bool {
        self.stopped.store(false, Ordering::SeqCst);
        // In this order, because the handler sets `terminated` first.
        let terminated = self.terminated.load(Ordering::SeqCst);
        self.stopped.fetch_or(terminated, Ordering::SeqCst);
        !terminated
    }

    /// For reading stdin: until the answer is dropped a signal ends the process at once.
    pub(crate) fn while_reading(&self) -> Raised {
        Raised::new(&self.at_once)
    }

    /// The flag to [raise](Raised::new) while writing to stdout.
    pub(crate) fn writing(&self) -> Arc<AtomicBool> {
        self.writing.clone()
    }

    /// What the signal that came leads to.
    pub(crate) fn failure(&self) -> Failure {
        Failure::signal(self.terminated.load(Ordering::SeqCst))
    }

    /// Tells the two signals apart, which the library's `Cancelled` cannot.
    pub(crate) fn name<T>(&self, result: lemmy_core::Result<T>) -> Result<T> {
        result.map_err(|e| match e {
            lemmy_core::Error::Cancelled => self.failure(),
            e => e.into(),
        })
    }
}

impl Raised {
    pub(crate) fn new(flag: &Arc<AtomicBool>) -> Self {
        Self { before: flag.swap(true, Ordering::SeqCst), flag: flag.clone() }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.flag.store(self.before, Ordering::SeqCst);
    }
}
