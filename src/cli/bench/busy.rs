//! `--busy N`: a machine with other work, made at will.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crate::cli::failure::{Failure, Result};

/// Threads that compute without an end and without memory, until this is dropped. Their priority is that of the
/// measurement, so the system gives them as much time as any of its threads.
#[derive(Debug)]
pub(super) struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    pub(super) fn start(threads: u16) -> Result<Self> {
        let mut busy = Self { stop: Arc::default(), threads: Vec::new() };
        for _ in 0..threads {
            let stop = busy.stop.clone();
            let thread = Builder::new().name("busy".into()).spawn(move || spin(&stop));
            busy.threads.push(thread.map_err(|e| Failure::io("cannot start a busy thread", &e))?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot panic: it adds.
            let _ = thread.join();
        }
    }
}

fn spin(stop: &AtomicBool) {
    let mut sum = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for i in 0..10_000 {
            sum = black_box(sum.wrapping_add(i));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn they_end_when_dropped() {
        let busy = Busy::start(3).unwrap();
        let stop = busy.stop.clone();
        assert_eq!(busy.threads.len(), 3);
        drop(busy);
        // Each thread held one.
        assert_eq!(Arc::strong_count(&stop), 1);
    }
}
