//! `--prefault` and `--mlock`: weights in memory before they are needed, and kept there.

use std::hint::black_box;

use lemmy_core::gguf::{Gguf, SharedBytes};
use lemmy_core::{CancelToken, Error, ThreadPool};

use super::failure::{Failure, Result};
use super::progress::{Progress, Unit};
use super::system;
use super::units::bytes;

/// Bytes that one thread walks over at once.
const PIECE: usize = 8 << 20;
/// No system has smaller pages.
const PAGE: usize = 4096;

/// Touches every page of the weights, so that none comes from the disk in the middle of an answer.
pub(crate) fn prefault(gguf: &Gguf, pool: &ThreadPool, cancel: &CancelToken) -> lemmy_core::Result<()> {
    let pieces: Vec<SharedBytes> = gguf
        .tensors()
        .iter()
        .flat_map(|tensor| {
            let whole = gguf.tensor_bytes(tensor);
            let starts = (0..whole.len()).step_by(PIECE);
            starts.filter_map(move |at| whole.slice(at, PIECE.min(whole.len() - at))).collect::<Vec<_>>()
        })
        .collect();
    let total = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut progress = Progress::bar_only("reading into memory", Unit::Bytes);
    let mut done = 0;
    // As many at once as there are threads, so that the bar moves and a signal is heard.
    for some in pieces.chunks(pool.threads().max(1)) {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        pool.items(some.len(), &|_, i| some.get(i).into_iter().for_each(touch))?;
        done += some.iter().map(|piece| piece.len() as u64).sum::<u64>();
        progress.set(done, total);
    }
    Ok(())
}

fn touch(piece: &SharedBytes) {
    black_box(piece.as_slice().iter().step_by(PAGE).fold(0_u8, |sum, byte| sum ^ byte));
}

/// Keeps all that this process has in memory there: the system may not give it to others.
pub(crate) fn lock(needed: u64) -> Result<()> {
    match system::available_memory() {
        // To lock more than there is would take the memory from everyone else first.
        Some(free) if needed > free => {
            let message = format!("--mlock: needs {} ({} free)", bytes(needed), bytes(free));
            Err(Failure::resources("out_of_memory", message))
        }
        _ => lock_all().map_err(|e| {
            let limit =
                system::locked_memory_limit().map_or_else(String::new, |n| format!(", a limit of {}", bytes(n)));
            Failure::resources("mlock", format!("--mlock: needs {}: {e}{limit}", bytes(needed)))
                .hint("ulimit -l unlimited, LimitMEMLOCK=infinity in a systemd unit, or --prefault alone")
        }),
    }
}

#[cfg(unix)]
fn lock_all() -> std::io::Result<()> {
    use nix::sys::mman::{MlockAllFlags, mlockall};
    mlockall(MlockAllFlags::MCL_CURRENT).map_err(std::io::Error::from)
}

#[cfg(not(unix))]
fn lock_all() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
