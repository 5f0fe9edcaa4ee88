//! Threads as a value: a pool that the caller owns, a cancel token, and safe windows into shared output.
//!
//! The calling thread is worker 0 and works too. Idle workers look for work for a moment and then sleep, so an idle pool
//! costs nothing and a busy machine is not made busier by waiting.

mod crew;
mod deck;
mod window;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::limits;
use crew::{Crew, Turn};
use window::Base;
pub use window::{Window, WindowMut};

/// Asks running work to stop. Clones share one flag; any thread may trigger it.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has triggered.
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks the work that holds this token to stop. One relaxed store: safe in a signal handler.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Makes the token usable again.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for CancelToken {
    /// A token on a flag that exists already, for instance one that a signal handler sets.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// A pool of threads; clones share it and the last one to be dropped ends the threads. Never global.
///
/// All calls return when all of their work is done. Common rules:
///
/// - A closure that panics stops the call, which then gives [`Error::Internal`]; the pool stays usable.
/// - Calls from several threads at once take turns.
/// - A call from inside a closure of the same pool runs on that worker alone, under its own worker id. (Two pools whose
///   closures call each other in a circle do wait for each other for ever.)
/// - After `fork` the threads exist in the parent only: every call in the child gives [`Error::Forked`].
///
/// ```
/// let pool = lemmy_core::ThreadPool::new(2)?;
/// let mut squares = vec![0; 1000];
/// pool.rows(&mut squares, 1, 16, &|_worker, first, rows| {
///     for (i, x) in rows.iter_mut().enumerate() {
///         *x = (first + i) * (first + i);
///     }
/// })?;
/// assert_eq!(squares[999], 999 * 999);
/// # Ok::<(), lemmy_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ThreadPool(Arc<Crew>);

/// Options of a [`ThreadPool`].
#[derive(Debug, Clone, Default)]
pub struct ThreadPoolBuilder {
    threads: Option<usize>,
    spin: Option<Duration>,
    pin: Vec<usize>,
}

impl ThreadPoolBuilder {
    /// Most threads that a pool may have.
    pub const MAX_THREADS: usize = limits::THREADS;
    /// About 2000 pause instructions: longer than the gaps between the steps of a forward pass, and too short to hurt
    /// the other processes of a busy machine.
    const DEFAULT_SPIN: Duration = Duration::from_micros(50);

    /// Threads that work, the caller's included. Default: what the system says this process may use.
    pub fn threads(mut self, n: usize) -> Self {
        self.threads = Some(n);
        self
    }
    /// How long an idle worker looks for work before it sleeps. Default: 50 microseconds.
    pub fn spin(mut self, d: Duration) -> Self {
        self.spin = Some(d);
        self
    }
    /// Binds worker `i` to CPU `cpus[i % cpus.len()]` (Linux only). Worker 0 is the calling thread, which belongs to the
    /// caller: it stays where it is.
    pub fn pin(mut self, cpus: &[usize]) -> Self {
        self.pin = cpus.to_vec();
        self
    }
    /// Starts the threads. Where the system refuses some, the pool has fewer, down to the caller's alone.
    pub fn build(self) -> Result<ThreadPool> {
        let threads = match self.threads {
            Some(n) => n,
            None => std::thread::available_parallelism().map_or(1, usize::from).min(Self::MAX_THREADS),
        };
        if !(1..=Self::MAX_THREADS).contains(&threads) {
            return Err(Error::Argument {
                name: "threads",
                reason: format!("found {threads}, allowed 1 to {}", Self::MAX_THREADS),
            });
        }
        Ok(ThreadPool(Arc::new(Crew::start(threads, self.spin.unwrap_or(Self::DEFAULT_SPIN), &self.pin)?)))
    }
}

impl ThreadPool {
    /// A pool of `threads` threads, the caller's included.
    pub fn new(threads: usize) -> Result<Self> {
        Self::builder().threads(threads).build()
    }

    /// Options first.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    /// Threads that work, the caller's included. Worker ids are below this.
    pub fn threads(&self) -> usize {
        self.0.threads()
    }

    /// Calls `f(worker, range)` for ranges that together cover `0..n`, cut at multiples of `grain`. Each worker starts
    /// with one contiguous share; who is done steals from the far end of another's. For matvecs: memory likes streams.
    pub fn ranges(&self, n: usize, grain: usize, f: &(dyn Fn(usize, Range<usize>) + Sync)) -> Result<()> {
        // The deck counts in 32 bits; a coarser grain that is a multiple of the wished one cuts at allowed places too.
        let grain = grain.max(1);
        let grain = grain.saturating_mul(n.div_ceil(grain).div_ceil(u32::MAX as usize).max(1));
        let units = n.div_ceil(grain);
        match self.0.turn()? {
            _ if n == 0 => Ok(()),
            Turn::Nested(worker) => crew::alone(|| f(worker, 0..n)),
            Turn::Mine(_mine) if units == 1 => crew::alone(|| f(0, 0..n)),
            Turn::Mine(mine) => {
                mine.deck().deal(units as u32);
                mine.together(&|worker| {
                    while let Some(taken) = mine.deck().take(worker) {
                        let (start, end) = (taken.start as usize * grain, taken.end as usize);
                        f(worker, start..if end == units { n } else { end * grain });
                    }
                })
            }
        }
    }

    /// Calls `f(worker, item)` for each item of `0..n`, dealt in order from one counter. For uneven items: put the
    /// largest first.
    pub fn items(&self, n: usize, f: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        match self.0.turn()? {
            Turn::Nested(worker) => crew::alone(|| (0..n).for_each(|item| f(worker, item))),
            Turn::Mine(_mine) if n <= 1 => crew::alone(|| (0..n).for_each(|item| f(0, item))),
            Turn::Mine(mine) => {
                mine.deck().start_counting();
                mine.together(&|worker| {
                    while let Some(item) = mine.deck().next(n) {
                        f(worker, item);
                    }
                })
            }
        }
    }

    /// [`ranges`](Self::ranges) over the rows of a matrix `out` of row length `row_len`: calls
    /// `f(worker, first_row, rows)` with exclusive whole rows. [`Error::Internal`] if `out` is not whole rows.
    pub fn rows<T: Send>(
        &self,
        out: &mut [T],
        row_len: usize,
        grain: usize,
        f: &(dyn Fn(usize, usize, &mut [T]) + Sync),
    ) -> Result<()> {
        let rows = window::whole_rows(out.len(), row_len)?;
        let base = Base::new(out);
        self.ranges(rows, grain, &|worker, range| {
            // SAFETY: `range` is within `0..rows`, so the slice is within `out`, which is borrowed for this whole call;
            // `ranges` hands out each index once, so no two calls hold the same rows.
            let part = unsafe { base.slice(range.start * row_len, range.len() * row_len) };
            f(worker, range.start, part);
        })
    }

    /// [`ranges`](Self::ranges) over the columns of a row-major matrix `out` of row length `stride`: each call owns its
    /// columns of every row. [`Error::Internal`] if `out` is not whole rows.
    pub fn columns<T: Send>(
        &self,
        out: &mut [T],
        stride: usize,
        grain: usize,
        f: &(dyn Fn(usize, WindowMut<'_, T>) + Sync),
    ) -> Result<()> {
        let rows = window::whole_rows(out.len(), stride)?;
        let base = Base::new(out);
        self.ranges(stride, grain, &|worker, cols| {
            // SAFETY: all rows and `cols`, a part of `0..stride`, lie within `out`, which is borrowed for this whole
            // call; `ranges` hands out each column once, so windows of different calls do not overlap.
            f(worker, unsafe { base.window(stride, Window { rows: 0..rows, cols }) });
        })
    }

    /// [`items`](Self::items) over windows of a row-major matrix `out` of row length `stride`; calls
    /// `f(worker, item, window)`. The windows must lie in the matrix, be in order and disjoint: each next one either has
    /// the same rows and starts at or after the former's last column, or starts at or after the former's last row; else
    /// [`Error::Internal`].
    pub fn windows<T: Send>(
        &self,
        out: &mut [T],
        stride: usize,
        windows: &[Window],
        f: &(dyn Fn(usize, usize, WindowMut<'_, T>) + Sync),
    ) -> Result<()> {
        window::check_disjoint(windows, window::whole_rows(out.len(), stride)?, stride)?;
        let base = Base::new(out);
        self.items(windows.len(), &|worker, item| {
            if let Some(window) = windows.get(item) {
                // SAFETY: `check_disjoint` proved that the windows lie in `out` and do not overlap, `items` hands out
                // each once, and `out` is borrowed for this whole call.
                f(worker, item, unsafe { base.window(stride, window.clone()) });
            }
        })
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ThreadPool").field("threads", &self.threads()).finish()
    }
}
